//! Random lives of a log against a simple model, over a disk that fails, is cut off and loses what was not synced.
//!
//! After every step the log must hold exactly the model's batches. After a crash it may have lost batches that were
//! not synced, from the end on; never one that was, and never a part of one.

use proptest::prelude::*;

use super::*;
use crate::log::recover::replay;
use crate::producer::Producers;
use crate::{CorruptionPolicy, FileBudget};

#[derive(Clone, Debug)]
enum Step {
    /// Count of records, bytes of a value.
    Append(usize, usize),
    /// Which producer, whether in a transaction, how many batches in one call.
    Produce(i64, bool, usize),
    /// Which producer's transaction ends, and whether it is aborted.
    End(i64, bool),
    Retry(i64),
    Sync,
    Flush,
    Roll,
    /// Permille of the log that stays.
    Truncate(i64),
    /// Permille of the log that goes.
    DeleteTo(i64),
    FailWrite,
    FailSync,
    FailSyncAndDrop,
    /// A log that has failed is opened again by the process that has it.
    Reopen,
    Full(u64),
    CloseAndOpen,
    Kill,
    PowerCut(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..4usize, 1..1500usize).prop_map(|(count, bytes)| Step::Append(count, bytes)),
        8 => (0..3i64, any::<bool>(), 1..4usize).prop_map(|(id, txn, n)| Step::Produce(id, txn, n)),
        3 => (0..3i64, any::<bool>()).prop_map(|(id, aborts)| Step::End(id, aborts)),
        2 => (0..3i64).prop_map(Step::Retry),
        5 => Just(Step::Sync),
        2 => Just(Step::Flush),
        1 => Just(Step::Roll),
        1 => (0..1000i64).prop_map(Step::Truncate),
        1 => (0..1000i64).prop_map(Step::DeleteTo),
        1 => Just(Step::FailWrite),
        1 => Just(Step::FailSync),
        1 => Just(Step::FailSyncAndDrop),
        3 => Just(Step::Reopen),
        1 => (0..2000u64).prop_map(Step::Full),
        1 => Just(Step::CloseAndOpen),
        1 => Just(Step::Kill),
        2 => any::<u64>().prop_map(Step::PowerCut),
    ]
}

/// What should be in the log.
struct Model {
    rig: Rig,
    log: Log,
    batches: Vec<RawBatch>,
    /// Everything below was synced.
    durable: i64,
    /// A log that fails now may not be readable until it was opened again.
    unreadable: bool,
    next_sequence: [i32; 3],
    in_transaction: [bool; 3],
}

impl Model {
    /// `files_max`: how many files may be open at a time.
    fn new(files_max: usize) -> Self {
        let mut rig = Rig::new(LogConfig { segment_bytes: 4_000, index_interval_bytes: 300, ..config() });
        rig.options.config.corruption_policy = CorruptionPolicy::Refuse;
        rig.options.files = Arc::new(FileBudget::new(files_max));
        let log = rig.open();
        let (next_sequence, in_transaction) = Default::default();
        Self { rig, log, batches: Vec::new(), durable: 0, unreadable: false, next_sequence, in_transaction }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Append(count, bytes) => self.append(vec![batch_at(count, bytes, NOW_MS, None)]),
            Step::Produce(id, transactional, count) => self.produce(id, transactional, count),
            Step::End(id, aborts) => self.end_transaction(id, aborts),
            Step::Retry(id) => self.retry(id),
            Step::Sync => self.note_sync(|log| log.sync()),
            Step::Flush => {
                self.note_sync(|log| log.flush());
                // The checkpoint file of the data directory.
                self.rig.options.recovery_point = self.log.recovery_point();
                self.rig.options.start_offset = self.log.start_offset();
            }
            Step::Roll => drop(self.log.roll(NOW_MS)),
            Step::Truncate(permille) => self.truncate(permille),
            Step::DeleteTo(permille) => self.delete_to(permille),
            Step::FailWrite => {
                self.rig.disk.fail_next(Fault { op: FaultOp::Write, path: ".log".into(), after: 0 });
            }
            Step::FailSync => {
                self.rig.disk.fail_next(Fault { op: FaultOp::Sync, path: ".log".into(), after: 0 });
            }
            Step::FailSyncAndDrop => {
                let op = FaultOp::SyncAndDrop;
                self.rig.disk.fail_next(Fault { op, path: ".log".into(), after: 0 });
                self.unreadable = true;
            }
            Step::Reopen => self.reopen_in_process(),
            Step::Full(room) => {
                let used =
                    self.rig.disk.list(Path::new("data/t-0")).unwrap().iter().map(|e| e.len).sum::<u64>();
                self.rig.disk.set_capacity(Some(used + room));
            }
            Step::CloseAndOpen => self.reopen(Crash::None),
            Step::Kill => self.reopen(Crash::Kill),
            Step::PowerCut(seed) => self.reopen(Crash::Power(seed)),
        }
    }

    fn append(&mut self, batches: Vec<RawBatch>) {
        let origin = AppendOrigin::Client;
        let mut results = Vec::new();
        let requests: Vec<_> = batches
            .iter()
            .map(|batch| AppendRequest { batches: std::slice::from_ref(batch), leader_epoch: EPOCH, origin })
            .collect();
        results.extend(self.log.append_many(&requests, NOW_MS));
        for (batch, result) in batches.into_iter().zip(results) {
            if let Ok(info) = result {
                assert!(!info.duplicate);
                self.note(&batch, info.first_offset);
            }
        }
    }

    fn note(&mut self, batch: &RawBatch, first: Offset) {
        assert_eq!(first.0, self.end(), "offsets follow one another");
        let prefix = batch.header.prefix(first, EPOCH);
        let placed = RawBatch::parse(&[&prefix[..], &batch.bytes[16..]].concat().into()).unwrap();
        self.batches.push(placed);
    }

    fn produce(&mut self, id: i64, transactional: bool, count: usize) {
        let at = id as usize;
        // A producer stays within its transaction until it ends.
        let transactional = transactional || self.in_transaction[at];
        let batches = (0..count as i32).map(|nth| {
            let producer = stamp(id, 0, self.next_sequence[at] + nth * 2);
            let mut builder =
                BatchBuilder::new(BatchOptions { producer, transactional, ..Default::default() });
            for _ in 0..2 {
                builder.push(NOW_MS, None, Some(&[7; 90]), []).unwrap();
            }
            RawBatch::parse(&builder.build(Offset(0)).unwrap()).unwrap()
        });
        self.append(batches.collect());
        self.learn_producers();
    }

    /// The sequences that producers go on with: what the log has is what they were told.
    fn learn_producers(&mut self) {
        let state = self.replayed();
        for id in 0..3 {
            let entry = state.entry(ProducerId(id));
            let next = entry.and_then(|entry| entry.last()).map_or(0, |last| last.last_sequence + 1);
            self.next_sequence[id as usize] = next;
            self.in_transaction[id as usize] = entry.is_some_and(|entry| entry.txn_first_offset.is_some());
        }
    }

    fn end_transaction(&mut self, id: i64, aborts: bool) {
        let kind = if aborts { ControlKind::Abort } else { ControlKind::Commit };
        let producer = (ProducerId(id), ProducerEpoch(0));
        if let Ok(info) = self.log.append_marker(kind, producer, 0, EPOCH, NOW_MS) {
            let bytes = millrace_wire::record::control_batch(kind, 0, producer.0, producer.1, NOW_MS);
            self.note(&RawBatch::parse(&bytes).unwrap(), info.first_offset);
        }
        self.learn_producers();
    }

    /// The last batch of a producer comes again: it is there already, or the log is offline.
    fn retry(&mut self, id: i64) {
        let of =
            |batch: &&RawBatch| batch.header.producer_id.0 == id && !batch.header.attributes.is_control();
        let Some(last) = self.batches.iter().rev().find(of).cloned() else { return };
        match append(&self.log, last.clone()) {
            Ok(info) => {
                assert!(info.duplicate, "written twice");
                assert_eq!(
                    (info.first_offset, info.last_offset),
                    (last.header.base_offset, last.last_offset())
                );
            }
            Err(error) => assert_eq!(error.code(), 56, "{error}"),
        }
    }

    fn note_sync(&mut self, sync: impl Fn(&Log) -> Result<Offset, Error>) {
        if let Ok(durable) = sync(&self.log) {
            assert_eq!(durable.0, self.end());
        }
        // A flush may fail after its sync went well.
        self.durable = self.durable.max(self.log.durable_end().0);
    }

    fn end_of(batches: &[RawBatch]) -> Option<i64> {
        batches.last().map(|batch| batch.next_offset().0)
    }

    fn truncate(&mut self, permille: i64) {
        let start = self.log.start_offset().0;
        let target = start + (self.end() - start) * permille / 1000;
        if self.log.offline_reason().is_some() {
            assert!(self.log.truncate_to(Offset(target), NOW_MS).is_err());
            return;
        }
        // As the manager does: a crash in the middle must not look like damage.
        let point = match self.log.truncation_point(Offset(target)) {
            Err(_) if self.unreadable && self.has_failed() => return,
            point => point.unwrap(),
        };
        self.rig.options.recovery_point = self.rig.options.recovery_point.min(point);
        self.rig.options.start_offset = self.rig.options.start_offset.min(point);
        let result = self.log.truncate_to(Offset(target), NOW_MS);
        let whole = self.batches.iter().filter(|batch| batch.next_offset().0 <= target);
        self.durable = self.durable.min(whole.map(|batch| batch.next_offset().0).max().unwrap_or(0));
        if result.is_ok() {
            self.batches.retain(|batch| batch.next_offset().0 <= target);
            self.cut_to(self.log.end_offset().0);
        } else {
            // Anything between what was wanted and nothing at all may have been done; recovery finds out.
            self.reopen(Crash::Kill);
        }
    }

    fn cut_to(&mut self, end: i64) {
        self.durable = self.durable.min(end);
        self.rig.options.recovery_point = self.rig.options.recovery_point.min(Offset(end));
        self.learn_producers();
    }

    fn delete_to(&mut self, permille: i64) {
        let start = self.log.start_offset().0;
        let target = start + (self.end() - start) * permille / 1000;
        // What is deleted was committed, so it was durable.
        if target <= self.durable && self.log.delete_records_to(Offset(target)).is_ok() {
            self.durable = self.durable.max(self.log.durable_end().0);
        }
    }

    fn end(&self) -> i64 {
        Self::end_of(&self.batches).unwrap_or(0)
    }

    fn reopen(&mut self, crash: Crash) {
        self.rig.disk.set_capacity(None);
        let offline = self.log.offline_reason().is_some();
        let closed = matches!(crash, Crash::None) && self.log.close_clean().is_ok();
        if closed {
            self.rig.options.recovery_point = self.log.recovery_point();
            self.rig.options.start_offset = self.log.start_offset();
        }
        // What was being synced just now may be gone from the page cache, too.
        let dropped = self.unreadable && self.has_failed();
        match crash {
            Crash::Power(seed) => self.rig.disk.power_cut(seed),
            _ => self.rig.disk.kill(),
        }
        self.rig.options.clean_shutdown = closed;
        let start = self.log.start_offset();
        let (log, report) = self.rig.try_open().unwrap();
        if closed {
            assert!(!report.did_something(), "{report:?}");
        }
        let end = log.end_offset().0;
        assert!(end >= self.durable, "synced up to {}, left {end}: {report:?}", self.durable);
        assert!(log.start_offset() <= start);
        if !matches!(crash, Crash::Power(_)) && !offline && !dropped {
            assert_eq!(end, self.end(), "without a power cut nothing is lost");
        }
        self.batches.retain(|batch| batch.next_offset().0 <= end);
        assert_eq!(self.end().max(log.start_offset().0), end, "the log ends with a batch");
        (self.durable, self.unreadable) = (end, false);
        self.log = log;
        self.cut_to(end);
    }

    fn reopen_in_process(&mut self) {
        if !self.log.has_failed() {
            self.log.reopen(NOW_MS).unwrap();
            return;
        }
        if self.log.reopen(NOW_MS).is_err() {
            // A fault that waited, or a full disk: half of it may be done.
            self.unreadable = true;
            assert!(self.log.has_failed());
            return;
        }
        self.unreadable = false;
        let end = self.log.end_offset();
        assert!(end.0 >= self.durable && self.log.durable_end() == end);
        let known = |batch: &RawBatch| self.batches.iter().any(|known| known.bytes == batch.bytes);
        let gap = read_all(&self.log).pop().filter(|last| last.header.record_count == 0 && !known(last));
        let kept = gap.as_ref().map_or(end, |gap| gap.header.base_offset);
        assert!(kept.0 >= self.durable, "synced up to {}, kept {kept}", self.durable);
        self.batches.retain(|batch| batch.next_offset() <= kept);
        // Where something is missing, nothing else gets its offsets: they were all shown ([`Log::last_stable_offset`]).
        assert!(end >= self.log.high_watermark());
        self.batches.extend(gap);
        assert_eq!(self.end().max(self.log.start_offset().0), end.0, "the log ends with a batch");
        self.durable = end.0;
        self.cut_to(end.0);
    }

    /// Whether a sync has failed: one that the log asked for, or that of a file that gave way to another, of which it is told at
    /// its next sync.
    fn has_failed(&self) -> bool {
        self.log.has_failed() || self.log.segments.read().values().any(|segment| segment.is_lost())
    }

    /// The producers' state that the batches lead to.
    fn replayed(&self) -> Producers {
        let mut producers = Producers::default();
        for batch in &self.batches {
            replay(&mut producers, batch);
        }
        producers
    }

    /// The aborted transactions that a reader from `start` on has to know.
    fn aborted(&self, start: Offset) -> Vec<crate::AbortedTxn> {
        let mut producers = Producers::default();
        let all = self.batches.iter().filter_map(|batch| replay(&mut producers, batch));
        all.filter(|txn| txn.last_offset >= start).collect()
    }

    fn check(&self) {
        if self.unreadable && self.has_failed() {
            return;
        }
        let read = read_all(&self.log);
        let start = self.log.start_offset();
        let expected: Vec<_> = self.batches.iter().filter(|batch| batch.next_offset() > start).collect();
        assert_eq!(
            spans(&read),
            expected.iter().map(|b| (b.header.base_offset.0, b.last_offset().0)).collect::<Vec<_>>()
        );
        assert!(read.iter().zip(expected).all(|(read, expected)| read.bytes == expected.bytes));

        let (live, replayed) = (&self.log.writer.lock().producers, self.replayed());
        let (live_entries, entries): (Vec<_>, Vec<_>) =
            (live.entries().collect(), replayed.entries().collect());
        assert_eq!(live_entries.len(), entries.len());
        for (live, replayed) in live_entries.into_iter().zip(entries) {
            assert_eq!((live.epoch, live.coordinator_epoch), (replayed.epoch, replayed.coordinator_epoch));
            assert_eq!(live.txn_first_offset, replayed.txn_first_offset);
            assert!(live.last().is_some() == replayed.last().is_some());
            assert!(live.last().is_none() || live.same_last_batch(replayed), "{live:?} {replayed:?}");
            assert_eq!(live.last_timestamp, replayed.last_timestamp);
        }
        assert_eq!(live.first_open(), replayed.first_open());
        let aborted = self.log.aborted_transactions(start, self.log.end_offset()).unwrap();
        assert_eq!(aborted, self.aborted(start));
        let end = self.log.end_offset();
        let stable = replayed.first_open().unwrap_or(end);
        assert_eq!(self.log.last_stable_offset(end), stable);
    }
}

#[derive(Clone, Copy)]
enum Crash {
    None,
    Kill,
    Power(u64),
}

proptest! {
    // More with the environment variable PROPTEST_CASES.
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(1_500),
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_log_is_what_was_written_to_it(files_max in 1..8usize, steps in prop::collection::vec(step(), 1..40)) {
        let mut model = Model::new(files_max);
        for step in steps {
            model.run(step);
            model.check();
        }
        model.reopen(Crash::None);
        model.check();
    }
}
