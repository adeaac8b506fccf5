//! Thousands of partitions must not need thousands of open files. Alone in its process, as it counts the process's files.

#![cfg(target_os = "linux")]

use std::sync::Arc;

use millrace_log::disk::RealDisk;
use millrace_log::{AppendOrigin, AppendRequest, LogConfig, LogManager, ManagerOptions, TopicPartition};
use millrace_wire::batch::RawBatch;
use millrace_wire::ids::{LeaderEpoch, Offset};
use millrace_wire::record::{BatchBuilder, BatchOptions};

const NOW_MS: i64 = 1_700_000_000_000;
const PARTITIONS: i32 = 200;

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("the system shows a process its files").count()
}

#[test]
fn idle_partitions_have_no_open_files() {
    let data = tempfile::tempdir().unwrap();
    let open = || {
        let options = ManagerOptions::new(1, LogConfig::default(), NOW_MS);
        LogManager::open(Arc::new(RealDisk), data.path(), options).unwrap().0
    };
    let before = open_files();
    let manager = open();
    for partition in 0..PARTITIONS {
        let name = TopicPartition::new("t", partition);
        let log = manager.create(&name, uuid::Uuid::from_u128(5), LogConfig::default(), NOW_MS).unwrap();
        if partition % 2 == 0 {
            let mut builder = BatchBuilder::new(BatchOptions::default());
            builder.push(NOW_MS, None, Some(b"value"), []).unwrap();
            let batches = [RawBatch::parse(&builder.build(Offset(0)).unwrap()).unwrap()];
            let (leader_epoch, origin) = (LeaderEpoch(0), AppendOrigin::Client);
            log.append(AppendRequest { batches: &batches, leader_epoch, origin }, NOW_MS).unwrap();
        }
    }
    assert!(open_files() >= before + 100, "what is not synced stays open");
    manager.checkpoint().unwrap();
    manager.release_idle();
    assert!(open_files() < before + 20, "{} files are open", open_files());
    drop(manager);
    // As after a kill: every log is read again.
    let manager = open();
    assert!(open_files() < before + 20, "{} files are open after recovery", open_files());
    manager.close().unwrap();
    drop(manager);
    let manager = open();
    assert!(open_files() < before + 20, "{} files are open after a clean start", open_files());
    drop(manager);
}
