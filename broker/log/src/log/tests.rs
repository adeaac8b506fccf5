//! Tests of the log on simulated disks.

use millrace_wire::batch::{RawBatch, split};
use millrace_wire::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
use millrace_wire::record::{BatchBuilder, BatchOptions, ControlKind, ProducerStamp};

use super::*;
use crate::disk::{Disk, Fault, FaultOp, SimDisk};
use crate::{AppendError, AppendOrigin};

mod basics;
mod compaction;
mod crashes;
mod damage;
mod model;
mod pieces;
mod reopen;
mod threads;
mod transactions;

/// The time of all tests, milliseconds since 1970.
const NOW_MS: i64 = 1_700_000_000_000;
const EPOCH: LeaderEpoch = LeaderEpoch(3);

/// A batch of `count` records of about `value_bytes` each.
fn batch_at(count: usize, value_bytes: usize, timestamp: i64, producer: Option<ProducerStamp>) -> RawBatch {
    let mut builder = BatchBuilder::new(BatchOptions { producer, ..Default::default() });
    for nth in 0..count {
        let value = vec![nth as u8; value_bytes];
        builder.push(timestamp + nth as i64, Some(b"key"), Some(&value), []).unwrap();
    }
    RawBatch::parse(&builder.build(Offset(0)).unwrap()).unwrap()
}

fn batch(count: usize) -> RawBatch {
    batch_at(count, 100, NOW_MS, None)
}

fn stamp(id: i64, epoch: i16, base_sequence: i32) -> Option<ProducerStamp> {
    Some(ProducerStamp { id: ProducerId(id), epoch: ProducerEpoch(epoch), base_sequence })
}

fn config() -> LogConfig {
    LogConfig { segment_bytes: 10_000, index_interval_bytes: 500, ..LogConfig::default() }
}

/// A partition on a simulated disk that can be opened again and again.
#[derive(Clone)]
struct Rig {
    disk: SimDisk,
    options: OpenOptions,
}

impl Rig {
    fn new(config: LogConfig) -> Self {
        let disk = SimDisk::new();
        // The data directory's own name is its maker's to sync.
        disk.create_dir_all(Path::new("data")).unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        Self { disk, options: OpenOptions::new(config, NOW_MS) }
    }

    fn try_open(&self) -> Result<(Log, RecoveryReport), Error> {
        // As the manager does: folders of an earlier process are relied on from now on.
        self.disk.sync_dir(Path::new("data")).unwrap();
        let disk = Arc::new(self.disk.clone());
        Log::open(disk, Path::new("data/t-0"), TopicPartition::new("t", 0), self.options.clone())
    }

    fn open(&self) -> Log {
        self.try_open().unwrap().0
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new("data/t-0").join(name)
    }
}

fn append(log: &Log, batch: RawBatch) -> Result<AppendInfo, AppendError> {
    let batches = [batch];
    log.append(AppendRequest { batches: &batches, leader_epoch: EPOCH, origin: AppendOrigin::Client }, NOW_MS)
}

/// Everything in the log, batch by batch.
fn read_all(log: &Log) -> Vec<RawBatch> {
    let mut batches = Vec::new();
    let mut from = log.start_offset();
    loop {
        let read = log.read(from, 3_000, log.end_offset(), true).unwrap();
        if read.bytes == 0 {
            return batches;
        }
        assert_eq!(read.bytes, read.parts.iter().map(|part| part.len()).sum::<usize>());
        let bytes = read.parts.concat();
        for batch in split(bytes.into()) {
            let batch = batch.unwrap();
            batch.verify_crc().unwrap();
            batches.push(batch);
        }
        from = read.next_offset;
    }
}

fn spans(batches: &[RawBatch]) -> Vec<(i64, i64)> {
    batches.iter().map(|batch| (batch.header.base_offset.0, batch.last_offset().0)).collect()
}
