//! What is acknowledged when a log fails and is opened again between an append and its sync.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millrace_log::disk::{Disk, Fault, FaultOp, SimDisk};
use millrace_log::{AppendOrigin, Log, LogConfig, OpenOptions, TopicPartition};
use millrace_wire::batch::RawBatch;
use millrace_wire::ids::{LeaderEpoch, Offset};
use millrace_wire::record::{BatchBuilder, BatchOptions};
use tokio::time::sleep;

use super::{Appended, Error, Partition, Write};
use crate::config::{Config, TopicConfig};
use crate::env::Clock;
use crate::metrics::Metrics;

const NOW_MS: i64 = 1_700_000_000_000;
/// Longer than a simulated sync takes.
const A_SYNC: Duration = Duration::from_millis(20);

/// A partition with one record that is committed.
async fn partition(disk: &SimDisk) -> Arc<Partition> {
    disk.create_dir_all(Path::new("data")).unwrap();
    let name = TopicPartition::new("t", 0);
    let options = OpenOptions::new(LogConfig::default(), NOW_MS);
    let (log, _) = Log::open(Arc::new(disk.clone()), Path::new("data/t-0"), name, options).unwrap();
    let config = TopicConfig::resolve(&BTreeMap::new(), &Config::new());
    let clock = Clock::Tokio { start_ms: NOW_MS, start: tokio::time::Instant::now() };
    let metrics = Arc::new(Metrics::new([].into_iter()));
    let (log, config) = (Arc::new(log), Arc::new(config));
    let partition = Partition::new(("t".into(), 0), log, LeaderEpoch(0), config, clock, true, metrics);
    let partition = Arc::new(partition);
    let first = append(&partition, "first").await;
    partition.committed(&first).await.unwrap();
    partition
}

async fn append(partition: &Arc<Partition>, value: &str) -> Appended {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(NOW_MS, None, Some(value.as_bytes()), []).unwrap();
    let batch = RawBatch::parse(&builder.build(Offset(0)).unwrap()).unwrap();
    partition.append(Write { batch, origin: AppendOrigin::Client }).appended().await.unwrap()
}

/// The next sync of the log fails, and what it should have saved is gone.
fn lose_next_sync(disk: &SimDisk) {
    disk.fail_next(Fault { op: FaultOp::SyncAndDrop, path: ".log".into(), after: 0 });
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_is_not_acknowledged_for_what_got_its_offsets() {
    let disk = SimDisk::new();
    let partition = partition(&disk).await;
    lose_next_sync(&disk);
    let lost = append(&partition, "lost").await;
    // Its producer waits, and isn't looked at again before everything is over: a task of a busy machine.
    let mut waiting = Box::pin(partition.committed(&lost));
    tokio::select! {
        biased;
        answer = &mut waiting => panic!("nothing is synced yet: {answer:?}"),
        () = std::future::ready(()) => {}
    }
    sleep(A_SYNC).await;
    assert!(partition.is_offline());
    partition.reopen().unwrap();
    assert_eq!(partition.log().end_offset(), Offset(1), "it is gone");
    let other = append(&partition, "other").await;
    assert_eq!(other.first_offset, lost.first_offset);
    partition.committed(&other).await.unwrap();
    assert!(partition.high_watermark() >= lost.next_offset, "its offset is committed, but not what it wrote");
    let answer = waiting.await;
    assert!(matches!(answer, Err(Error::Reopened { .. })), "{answer:?}");
    // Nor for one who asks only now.
    assert!(matches!(partition.committed(&lost).await, Err(Error::Reopened { .. })));
}

#[tokio::test(start_paused = true)]
async fn one_who_waits_when_the_log_fails_is_told_at_once() {
    let disk = SimDisk::new();
    let partition = partition(&disk).await;
    lose_next_sync(&disk);
    let lost = append(&partition, "lost").await;
    let answer = partition.committed(&lost).await;
    assert!(matches!(answer, Err(Error::Log(_))), "{answer:?}");
    assert_eq!(partition.high_watermark(), Offset(1));
}
