//! A data directory through its life, on a simulated disk.

use millrace_wire::batch::RawBatch;
use millrace_wire::ids::LeaderEpoch;
use millrace_wire::record::{BatchBuilder, BatchOptions};

use super::*;
use crate::disk::SimDisk;
use crate::{AppendOrigin, AppendRequest};

const NOW_MS: i64 = 1_700_000_000_000;

fn options() -> ManagerOptions {
    let config = LogConfig { segment_bytes: 2_000, ..LogConfig::default() };
    ManagerOptions {
        new_ids: [Uuid::from_u128(1), Uuid::from_u128(2)],
        ..ManagerOptions::new(1, config, NOW_MS)
    }
}

fn open(disk: &SimDisk) -> (LogManager, OpenReport) {
    LogManager::open(Arc::new(disk.clone()), Path::new("kafka/data"), options()).unwrap()
}

fn append(log: &Log, value: &[u8]) -> Offset {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(NOW_MS, None, Some(value), []).unwrap();
    let batches = [RawBatch::parse(&builder.build(Offset(0)).unwrap()).unwrap()];
    let origin = AppendOrigin::Client;
    log.append(AppendRequest { batches: &batches, leader_epoch: LeaderEpoch(0), origin }, NOW_MS)
        .unwrap()
        .first_offset
}

fn append_ten(log: &Log) {
    for n in 0..10 {
        append(log, &[n]);
    }
}

fn orders(partition: i32) -> TopicPartition {
    TopicPartition::new("orders", partition)
}

fn create(manager: &LogManager, partition: &TopicPartition) -> Arc<Log> {
    manager.create(partition, Uuid::from_u128(9), options().config, NOW_MS).unwrap()
}

#[test]
fn a_directory_closed_cleanly_is_opened_without_reading_it() {
    let disk = SimDisk::new();
    let (manager, report) = open(&disk);
    assert_eq!((report.clean_shutdown, report.logs), (false, 0));
    for partition in 0..3 {
        let log = create(&manager, &orders(partition));
        for n in 0..=partition * 20 {
            append(&log, format!("{n}").as_bytes());
        }
    }
    manager.get(&orders(2)).unwrap().delete_records_to(Offset(7)).unwrap();
    manager.close().unwrap();
    drop(manager);
    disk.power_cut(5);
    let text = String::from_utf8(disk.contents(Path::new("kafka/data/meta.properties")).unwrap()).unwrap();
    assert!(
        text.contains("cluster.id=AAAAAAAAAAAAAAAAAAAAAQ\ndirectory.id=AAAAAAAAAAAAAAAAAAAAAg\nnode.id=1\n")
    );

    let (manager, report) = open(&disk);
    assert!(report.clean_shutdown && report.recovered.is_empty(), "{report:?}");
    let ends: Vec<_> = manager.list().iter().map(|(_, id, log)| (*id, log.end_offset().0)).collect();
    let id = Some(Uuid::from_u128(9));
    assert_eq!(ends, [(id, 1), (id, 21), (id, 41)]);
    assert_eq!(manager.get(&orders(2)).unwrap().start_offset(), Offset(7));
    let syncs = disk.sync_count();
    manager.checkpoint().unwrap();
    assert_eq!(disk.sync_count() - syncs, 1, "one file changed: the high watermarks");
    drop(manager);
    disk.kill();
    assert!(!open(&disk).1.clean_shutdown, "the mark was removed by the second start");
}

#[test]
fn what_a_crash_leaves_is_recovered_from_the_checkpoint_on() {
    let disk = SimDisk::new();
    let (manager, _) = open(&disk);
    let log = create(&manager, &orders(0));
    for n in 0..100 {
        append(&log, format!("{n}").as_bytes());
    }
    manager.checkpoint().unwrap();
    append(&log, b"synced");
    log.sync().unwrap();
    let segments = log.segment_count();
    append(&log, b"not synced");
    drop((manager, log));
    disk.power_cut(1);
    let (manager, report) = open(&disk);
    let log = manager.get(&orders(0)).unwrap();
    assert!(log.end_offset() >= Offset(101));
    assert!(segments > 3);
    assert_eq!(report.recovered[&orders(0)].scanned_segments, 1, "the recovery point is in the last one");
}

#[test]
fn a_partition_made_again_is_not_measured_by_the_old_one() {
    for forgotten in [false, true] {
        let disk = SimDisk::new();
        let (manager, _) = open(&disk);
        let log = create(&manager, &orders(0));
        append_ten(&log);
        manager.checkpoint().unwrap();
        manager.delete(&orders(0)).unwrap();
        if forgotten {
            // As if the process had died between the deletion and the checkpoint.
            let offsets = BTreeMap::from([(orders(0), Offset(10))]);
            checkpoint::write_offsets(
                &disk,
                Path::new("kafka/data/recovery-point-offset-checkpoint"),
                &offsets,
            )
            .unwrap();
            drop(manager);
            disk.kill();
            drop(open(&disk));
        } else {
            drop(manager);
        }
        let (manager, _) = open(&disk);
        append(&create(&manager, &orders(0)), b"x");
        drop(manager);
        disk.kill();
        let (manager, _) = open(&disk);
        assert!(manager.failed().is_empty(), "{:?}", manager.failed());
        assert_eq!(manager.get(&orders(0)).unwrap().end_offset(), Offset(1));
    }
}

#[test]
fn a_truncated_log_is_not_taken_for_a_damaged_one() {
    let disk = SimDisk::new();
    let (manager, _) = open(&disk);
    let log = create(&manager, &orders(0));
    append_ten(&log);
    manager.checkpoint().unwrap();
    manager.truncate_to(&orders(0), Offset(4), NOW_MS).unwrap();
    drop((manager, log));
    disk.power_cut(9);
    let (manager, _) = open(&disk);
    assert_eq!(manager.get(&orders(0)).unwrap().end_offset(), Offset(4));
}

#[test]
fn one_broker_at_a_time_and_only_the_right_one() {
    let disk = SimDisk::new();
    let (manager, _) = open(&disk);
    let again =
        |options| LogManager::open(Arc::new(disk.clone()), Path::new("kafka/data"), options).map(drop);
    assert!(matches!(again(options()), Err(Error::Locked(_))));
    drop(manager);
    let text = again(ManagerOptions { node_id: 2, ..options() }).unwrap_err().to_string();
    assert!(text.contains("node 1's and node.id is 2"), "{text}");
    let text =
        again(ManagerOptions { cluster_id: Some("other".into()), ..options() }).unwrap_err().to_string();
    assert!(text.contains("AAAAAAAAAAAAAAAAAAAAAQ") && text.contains("other"), "{text}");
    again(ManagerOptions { new_ids: [Uuid::nil(), Uuid::nil()], ..options() }).unwrap();
}

#[test]
fn a_deleted_partition_stays_deleted() {
    for seed in 0..50 {
        let disk = SimDisk::new();
        let (manager, _) = open(&disk);
        let log = create(&manager, &orders(0));
        append(&log, b"x");
        log.sync().unwrap();
        assert!(manager.create(&orders(0), Uuid::nil(), options().config, NOW_MS).is_err());
        assert!(manager.delete(&orders(0)).unwrap());
        assert!(!manager.delete(&orders(0)).unwrap());
        assert!(log.sync().is_ok() || log.offline_reason().is_some());
        let again = create(&manager, &orders(0));
        assert_eq!(again.end_offset(), Offset(0));
        drop(manager);
        disk.power_cut(seed);
        let (manager, _) = open(&disk);
        let ends: Vec<_> = manager.list().iter().map(|(_, _, log)| log.end_offset().0).collect();
        assert!(ends.is_empty() || ends == [0], "{ends:?}");
        let names = disk.list(Path::new("kafka/data")).unwrap();
        assert!(names.iter().all(|entry| !entry.name.ends_with("-delete")), "{names:?}");
        create(&manager, &orders(1));
    }
}

#[test]
fn acknowledged_records_of_a_partition_made_by_a_killed_process_survive() {
    for seed in 0..50 {
        let disk = SimDisk::new();
        let (manager, _) = open(&disk);
        create(&manager, &orders(0));
        drop(manager);
        // The folder exists but was never synced; the next process finds it and relies on it.
        disk.kill();
        let (manager, _) = open(&disk);
        let log = manager.get(&orders(0)).unwrap();
        append(&log, b"x");
        log.sync().unwrap();
        drop((manager, log));
        disk.power_cut(seed);
        let (manager, _) = open(&disk);
        let (_, topic_id, log) = manager.list().pop().unwrap();
        assert_eq!((topic_id, log.end_offset()), (Some(Uuid::from_u128(9)), Offset(1)));
    }
}

#[test]
fn a_damaged_log_does_not_keep_the_others_from_serving() {
    let disk = SimDisk::new();
    let (manager, _) = open(&disk);
    for partition in 0..2 {
        append(&create(&manager, &orders(partition)), b"x");
    }
    manager.checkpoint().unwrap();
    drop(manager);
    disk.kill();
    let path = Path::new("kafka/data/orders-1/00000000000000000000.log");
    disk.corrupt(path, |bytes| bytes[65] ^= 1);
    let (manager, _) = open(&disk);
    assert!(manager.get(&orders(0)).is_some() && manager.get(&orders(1)).is_none());
    let failed = manager.failed();
    assert_eq!(failed[0].0, orders(1));
    assert!(matches!(*failed[0].1, Error::Corrupt { position: 0, .. }));
    manager.close().unwrap();
    drop(manager);
    disk.corrupt(path, |bytes| bytes[65] ^= 1);
    let (manager, report) = open(&disk);
    assert!(!report.clean_shutdown, "not everything was closed");
    assert_eq!(manager.get(&orders(1)).unwrap().end_offset(), Offset(1), "repaired");
}
