//! Compaction against a naive one that has all the time and memory in the world, over random logs with transactions,
//! tombstones, small maps and crashes at any step.

use std::collections::{BTreeMap, BTreeSet};

use millrace_wire::compression::Compression;
use millrace_wire::record::{self, Record};
use proptest::prelude::*;

use super::*;
use crate::compaction::Cleaner;

const RETENTION_MS: i64 = 1000;

#[derive(Clone, Debug)]
enum Step {
    /// Producer (0: none), in a transaction, codec, key and value length of each record (0: a tombstone).
    Append(i64, bool, usize, Vec<(u8, usize)>),
    /// Which producer's transaction ends, and whether it is aborted.
    End(i64, bool),
    Roll,
    Wait(i64),
    /// Bytes for the offset map.
    Compact(usize),
    /// The same, until the machine dies after so many changes on the disk; whether the power goes too.
    Crash(usize, u32, Option<u64>),
    /// Everything is read again at the start.
    Recover,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let record = (0..6u8, prop_oneof![3 => 1..300usize, 1 => Just(0)]);
    let records = prop::collection::vec(record, 1..6);
    let memory = prop_oneof![Just(0usize), Just(100_000)];
    prop_oneof![
        14 => (0..4i64, any::<bool>(), 0..5usize, records).prop_map(|(p, t, c, r)| Step::Append(p, t, c, r)),
        4 => (1..4i64, any::<bool>()).prop_map(|(id, aborts)| Step::End(id, aborts)),
        2 => Just(Step::Roll),
        2 => (1..2 * RETENTION_MS).prop_map(Step::Wait),
        5 => memory.clone().prop_map(Step::Compact),
        2 => (memory, 0..60u32, any::<Option<u64>>()).prop_map(|(m, n, seed)| Step::Crash(m, n, seed)),
        1 => Just(Step::Recover),
        1 => Just(Step::Reopen),
    ]
}

/// A batch as the naive compaction sees it.
#[derive(Clone, Debug, PartialEq)]
struct Batch {
    base: i64,
    last: i64,
    producer: i64,
    last_sequence: i32,
    is_control: bool,
    horizon: Option<i64>,
    records: Vec<Record>,
}

impl Batch {
    fn of(raw: &RawBatch) -> Self {
        let header = &raw.header;
        Self {
            base: header.base_offset.0,
            last: header.last_offset().0,
            producer: header.producer_id.0,
            last_sequence: header.last_sequence(),
            is_control: header.attributes.is_control(),
            horizon: header.delete_horizon_ms(),
            records: record::decode(raw, 1 << 20).unwrap().map(Result::unwrap).collect(),
        }
    }
}

struct World {
    rig: Rig,
    log: Log,
    now_ms: i64,
    first_dirty: Option<Offset>,
    /// What the log should hold.
    batches: Vec<Batch>,
    /// Every data batch that was ever written, with its transaction.
    history: Vec<(Batch, Option<usize>)>,
    /// The transaction that each producer has open.
    open: BTreeMap<i64, usize>,
    aborted: BTreeSet<usize>,
    transactions: usize,
    next_sequence: BTreeMap<i64, i32>,
}

impl World {
    fn new() -> Self {
        let mut rig = Rig::new(LogConfig {
            segment_bytes: 3_000,
            index_interval_bytes: 200,
            compact: true,
            delete: false,
            delete_retention_ms: RETENTION_MS,
            ..config()
        });
        rig.options.config.corruption_policy = crate::CorruptionPolicy::Refuse;
        let log = rig.open();
        Self {
            rig,
            log,
            now_ms: NOW_MS,
            first_dirty: None,
            batches: Vec::new(),
            history: Vec::new(),
            open: BTreeMap::new(),
            aborted: BTreeSet::new(),
            transactions: 0,
            next_sequence: BTreeMap::new(),
        }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Append(producer, transactional, codec, records) => {
                self.append(producer, transactional, codec, &records);
            }
            Step::End(producer, aborts) => self.end(producer, aborts),
            Step::Roll => self.log.roll(self.now_ms).unwrap(),
            Step::Wait(ms) => self.now_ms += ms,
            Step::Compact(memory) => self.compact(memory),
            Step::Crash(memory, changes, seed) => self.crash(memory, changes, seed),
            Step::Recover => {
                self.log.sync().unwrap();
                self.reopen(false, None);
            }
            Step::Reopen => {
                self.log.close_clean().unwrap();
                self.reopen(true, None);
            }
        }
        self.log.set_high_watermark(self.log.end_offset());
    }

    fn append(&mut self, producer: i64, transactional: bool, codec: usize, records: &[(u8, usize)]) {
        let transactional = producer > 0 && (transactional || self.open.contains_key(&producer));
        let sequence = self.next_sequence.entry(producer).or_default();
        let stamp = (producer > 0).then(|| stamp(producer, 0, *sequence)).flatten();
        let compression = Compression::ALL[codec % Compression::ALL.len()];
        let options = BatchOptions { compression, producer: stamp, transactional, ..Default::default() };
        let mut builder = BatchBuilder::new(options);
        for (nth, (key, len)) in records.iter().enumerate() {
            let value = vec![nth as u8; *len];
            let header = (&b"h"[..], Some(&value[..*len / 2]));
            builder
                .push(self.now_ms - nth as i64, Some(&[*key]), (*len > 0).then_some(&value[..]), [header])
                .unwrap();
        }
        *sequence += records.len() as i32;
        let raw = RawBatch::parse(&builder.build(Offset(0)).unwrap()).unwrap();
        let info = append(&self.log, raw.clone()).unwrap();
        let prefix = raw.header.prefix(info.first_offset, EPOCH);
        let placed = Batch::of(&RawBatch::parse(&[&prefix[..], &raw.bytes[16..]].concat().into()).unwrap());
        let transaction = transactional.then(|| {
            *self.open.entry(producer).or_insert_with(|| {
                self.transactions += 1;
                self.transactions
            })
        });
        self.history.push((placed.clone(), transaction));
        self.batches.push(placed);
    }

    fn end(&mut self, producer: i64, aborts: bool) {
        let kind = if aborts { ControlKind::Abort } else { ControlKind::Commit };
        let id = (ProducerId(producer), ProducerEpoch(0));
        let info = self.log.append_marker(kind, id, 0, EPOCH, self.now_ms).unwrap();
        if let Some(transaction) = self.open.remove(&producer)
            && aborts
        {
            self.aborted.insert(transaction);
        }
        let read = self.log.read(info.first_offset, 1, self.log.end_offset(), true).unwrap();
        let raw = split(read.parts.concat().into()).next().unwrap().unwrap();
        self.batches.push(Batch::of(&raw));
    }

    fn round(&mut self, memory: usize) -> Result<Option<Offset>, crate::CompactionError> {
        let range = self.log.compaction_range(self.first_dirty, self.now_ms)?;
        if range.dirty_bytes == 0 {
            return Ok(None);
        }
        let mut cleaner = Cleaner::new(memory, 0.9);
        let report = self.log.compact(&mut cleaner, &range, self.now_ms, &mut |_| true)?;
        assert!(report.clean_end > range.first_dirty, "a round comes forward: {report:?}");
        assert!(report.clean_end <= range.end);
        Ok(Some(report.clean_end))
    }

    fn compact(&mut self, memory: usize) {
        let end_before = self.log.compaction_range(self.first_dirty, self.now_ms).unwrap().end;
        let bases: Vec<i64> = self.log.segments.read().keys().map(|base| base.0).collect();
        let Some(clean_end) = self.round(memory).unwrap() else { return };
        self.first_dirty = Some(clean_end);
        let touched = bases.iter().copied().find(|base| *base >= clean_end.0.min(end_before.0));
        self.naive(clean_end.0, touched.unwrap_or(i64::MAX));
    }

    /// What compaction up to `clean_end` leaves of the batches below `touched`.
    fn naive(&mut self, clean_end: i64, touched: i64) {
        let aborted: BTreeSet<i64> = self
            .history
            .iter()
            .filter(|(_, transaction)| transaction.is_some_and(|number| self.aborted.contains(&number)))
            .map(|(batch, _)| batch.base)
            .collect();
        let transactional: BTreeSet<i64> =
            self.history.iter().filter(|(_, t)| t.is_some()).map(|(batch, _)| batch.base).collect();
        let mut newest: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
        for batch in self.batches.iter().filter(|batch| !batch.is_control && !aborted.contains(&batch.base)) {
            for record in batch.records.iter().filter(|record| record.offset < clean_end) {
                newest.insert(record.key.clone().unwrap().to_vec(), record.offset);
            }
        }
        let mut last_of_producer: BTreeMap<i64, i64> = BTreeMap::new();
        for (batch, _) in &self.history {
            last_of_producer.insert(batch.producer, batch.last);
        }
        let bases: Vec<i64> = self.log.segments.read().keys().map(|base| base.0).collect();
        let before = std::mem::take(&mut self.batches);
        let ends_group = |at: usize| {
            let next = before.get(at + 1).map_or(i64::MAX, |next| next.base);
            bases.iter().any(|base| *base > before[at].base && *base <= next)
        };
        let mut met: BTreeSet<i64> = BTreeSet::new();
        let now_ms = self.now_ms;
        for (at, batch) in before.iter().enumerate() {
            let mut after = batch.clone();
            if batch.base >= touched {
                self.batches.push(after);
                continue;
            }
            let expired = batch.horizon.is_some_and(|horizon| horizon <= now_ms);
            let is_last_data = last_of_producer.get(&batch.producer) == Some(&batch.last);
            if batch.is_control {
                let idle = !met.remove(&batch.producer) || batch.records.is_empty();
                if !batch.records.is_empty() && !last_of_producer.contains_key(&batch.producer) {
                    self.batches.push(after);
                    continue;
                }
                if idle && expired {
                    after.records.clear();
                } else if idle && !batch.records.is_empty() && batch.horizon.is_none() {
                    after.horizon = Some(now_ms + RETENTION_MS);
                }
            } else {
                if transactional.contains(&batch.base) {
                    met.insert(batch.producer);
                }
                let is_aborted = aborted.contains(&batch.base);
                after.records.retain(|record| {
                    let is_newest =
                        newest.get(&record.key.clone().unwrap().to_vec()).is_none_or(|n| record.offset >= *n);
                    let stays = is_newest && (record.value.is_some() || !expired);
                    !is_aborted && (record.offset >= clean_end || stays)
                });
                if after.horizon.is_none() && after.records.iter().any(|record| record.value.is_none()) {
                    after.horizon = Some(now_ms + RETENTION_MS);
                }
            }
            if after.records.is_empty() {
                after.horizon = None;
            }
            let must_stay = ends_group(at) || (is_last_data && batch.producer > 0 && !batch.is_control);
            if !after.records.is_empty() || must_stay {
                self.batches.push(after);
            }
        }
    }

    fn crash(&mut self, memory: usize, changes: u32, seed: Option<u64>) {
        // As after a checkpoint: what was written before the round is not what this is about.
        self.log.flush().unwrap();
        self.rig.disk.die_after(changes);
        if let Ok(Some(clean_end)) = self.round(memory) {
            // It came to its end in time; the checkpoint with its end is lost.
            assert!(clean_end.0 > 0);
        }
        self.reopen(false, seed.map_or(Some(None), |seed| Some(Some(seed))));
        let found: Vec<Batch> = read_all(&self.log).iter().map(Batch::of).collect();
        // What is there is what was there, or less of it.
        for batch in &found {
            let before = self.batches.iter().find(|before| before.base == batch.base).expect("no new batch");
            assert_eq!((before.last, before.last_sequence), (batch.last, batch.last_sequence));
            assert!(batch.records.iter().all(|record| before.records.contains(record)), "{batch:?}");
        }
        self.batches = found;
    }

    /// `crash`: the disk is dead already; with a seed its power goes too.
    fn reopen(&mut self, clean: bool, crash: Option<Option<u64>>) {
        match crash {
            Some(Some(seed)) => self.rig.disk.power_cut(seed),
            _ => self.rig.disk.kill(),
        }
        self.rig.options.clean_shutdown = clean;
        self.rig.options.now_ms = self.now_ms;
        let end = self.log.end_offset();
        let (log, report) = self.rig.try_open().unwrap();
        assert_eq!((log.end_offset(), report.truncated_bytes), (end, 0), "{report:?}");
        self.log = log;
        let names = self.rig.disk.list(Path::new("data/t-0")).unwrap();
        let left = names.iter().filter(|entry| entry.name.ends_with("ed") || entry.name.ends_with("swap"));
        assert_eq!(left.count(), 0, "{names:?}");
    }

    fn check(&self) {
        let found = read_all(&self.log);
        let seen: Vec<Batch> = found.iter().map(Batch::of).collect();
        assert_eq!(seen, self.batches);
        // Every offset leads to the batch that has it, or to the next one.
        for offset in 0..self.log.end_offset().0 {
            let read = self.log.read(Offset(offset), 1, self.log.end_offset(), true).unwrap();
            let batch = split(read.parts.concat().into()).next().unwrap().unwrap();
            let expected = found.iter().find(|batch| batch.last_offset().0 >= offset).unwrap();
            assert_eq!(batch.header.base_offset, expected.header.base_offset);
        }
        self.check_committed(&found);
        let producers = self.log.active_producers();
        for (producer, next) in self.next_sequence.iter().filter(|(producer, _)| **producer > 0) {
            let known = producers.iter().find(|known| known.producer_id.0 == *producer).unwrap();
            assert_eq!(known.last_sequence, next - 1, "the sequence of producer {producer} survives");
        }
    }

    /// A consumer of committed records comes to the same table of keys as one who saw all.
    fn check_committed(&self, found: &[RawBatch]) {
        let stable = self.log.last_stable_offset(self.log.end_offset());
        let mut expected: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        for (batch, transaction) in &self.history {
            if batch.last < stable.0 && transaction.is_none_or(|number| !self.aborted.contains(&number)) {
                for record in &batch.records {
                    let value = record.value.as_ref().map(|value| value.to_vec());
                    expected.insert(record.key.clone().unwrap().to_vec(), value);
                }
            }
        }
        let aborted = self.log.aborted_transactions(Offset(0), stable).unwrap();
        let mut table: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        for raw in found.iter().filter(|raw| raw.last_offset() < stable) {
            let header = &raw.header;
            let is_aborted = aborted.iter().any(|txn| {
                let within = (txn.first_offset..=txn.last_offset).contains(&header.base_offset);
                txn.producer_id == header.producer_id && within && header.attributes.is_transactional()
            });
            if header.attributes.is_control() || is_aborted {
                continue;
            }
            for record in record::decode(raw, 1 << 20).unwrap() {
                let record = record.unwrap();
                table.insert(record.key.unwrap().to_vec(), record.value.map(|value| value.to_vec()));
            }
        }
        // A tombstone and nothing are the same.
        let alive = |table: BTreeMap<Vec<u8>, Option<Vec<u8>>>| -> BTreeMap<_, _> {
            table.into_iter().filter(|(_, value)| value.is_some()).collect()
        };
        assert_eq!(alive(table), alive(expected));
    }
}

proptest! {
    // More with the environment variable PROPTEST_CASES.
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(200),
        max_shrink_iters: 5_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn compaction_keeps_what_a_naive_one_keeps(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in steps {
            world.run(step);
            world.check();
        }
    }
}
