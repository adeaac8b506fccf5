//! A log that has failed and is opened again by the process that has it.

use super::*;

fn fail_sync(rig: &Rig, op: FaultOp) {
    rig.disk.fail_next(Fault { op, path: ".log".into(), after: 0 });
}

/// A log with two synced records and two whose sync failed.
fn failed(rig: &Rig, op: FaultOp) -> Log {
    let log = rig.open();
    append(&log, batch_at(2, 100, NOW_MS, stamp(1, 0, 0))).unwrap();
    log.sync().unwrap();
    append(&log, batch_at(2, 100, NOW_MS, stamp(1, 0, 2))).unwrap();
    fail_sync(rig, op);
    log.sync().unwrap_err();
    assert!(log.has_failed() && append(&log, batch(1)).is_err());
    log
}

#[test]
fn what_can_still_be_read_is_kept_and_becomes_durable() {
    let rig = Rig::new(config());
    let log = failed(&rig, FaultOp::Sync);
    log.reopen(NOW_MS).unwrap();
    assert!(!log.has_failed() && log.offline_reason().is_none());
    assert_eq!((log.end_offset(), log.durable_end()), (Offset(4), Offset(4)));
    let again = append(&log, batch_at(2, 100, NOW_MS, stamp(1, 0, 2))).unwrap();
    assert!(again.duplicate, "the producer's retry is recognised");
    assert_eq!(append(&log, batch_at(2, 100, NOW_MS, stamp(1, 0, 4))).unwrap().first_offset, Offset(4));
    drop(log);
    for seed in 0..20 {
        let rig = Rig::new(config());
        let log = failed(&rig, FaultOp::Sync);
        log.reopen(NOW_MS).unwrap();
        let before = read_all(&log);
        drop(log);
        rig.disk.power_cut(seed);
        assert_eq!(read_all(&rig.open()), before, "seed {seed}");
    }
}

#[test]
fn what_the_system_has_dropped_is_gone_and_comes_again() {
    let rig = Rig::new(config());
    let log = failed(&rig, FaultOp::SyncAndDrop);
    log.reopen(NOW_MS).unwrap();
    assert_eq!((log.end_offset(), log.durable_end()), (Offset(2), Offset(2)));
    let again = append(&log, batch_at(2, 100, NOW_MS, stamp(1, 0, 2))).unwrap();
    assert!(!again.duplicate && again.first_offset == Offset(2), "nobody saw what had these offsets");
}

#[test]
fn offsets_that_were_shown_are_not_given_to_other_records() {
    let mut rig = Rig::new(config());
    let log = failed(&rig, FaultOp::SyncAndDrop);
    // As with `flush.messages` above 1: readers saw what was not synced.
    log.set_high_watermark(Offset(4));
    log.reopen(NOW_MS).unwrap();
    assert_eq!((log.end_offset(), log.durable_end()), (Offset(4), Offset(4)));
    assert_eq!(append(&log, batch(1)).unwrap().first_offset, Offset(4));
    log.flush().unwrap();
    let check = |log: &Log| {
        let read = read_all(log);
        assert_eq!(spans(&read), [(0, 1), (2, 3), (4, 4)]);
        assert_eq!(read.iter().map(|batch| batch.header.record_count).collect::<Vec<_>>(), [2, 0, 1]);
    };
    check(&log);
    drop(log);
    for recovery_point in [Offset(5), Offset(0)] {
        rig.options.recovery_point = recovery_point;
        rig.disk.power_cut(3);
        check(&rig.open());
    }
}

#[test]
fn damage_to_what_was_synced_is_left_alone() {
    let rig = Rig::new(config());
    let log = failed(&rig, FaultOp::Sync);
    let path = rig.path("00000000000000000000.log");
    rig.disk.corrupt(&path, |bytes| bytes[70] ^= 1);
    let before = rig.disk.contents(&path);
    let error = log.reopen(NOW_MS).unwrap_err();
    assert!(matches!(error, Error::Corrupt { position: 0, .. }), "{error}");
    assert!(log.has_failed() && rig.disk.contents(&path) == before);
    rig.disk.corrupt(&path, |bytes| bytes[70] ^= 1);
    log.reopen(NOW_MS).unwrap();
    assert_eq!(log.end_offset(), Offset(4), "repaired");
}

#[test]
fn it_is_tried_until_the_disk_takes_it() {
    let rig = Rig::new(config());
    let log = failed(&rig, FaultOp::Sync);
    for _ in 0..3 {
        fail_sync(&rig, FaultOp::Sync);
        assert_eq!(log.reopen(NOW_MS).unwrap_err().code(), 56);
        assert!(log.has_failed() && append(&log, batch(1)).is_err());
    }
    log.reopen(NOW_MS).unwrap();
    assert_eq!(append(&log, batch(1)).unwrap().first_offset, Offset(4));
    log.sync().unwrap();
    log.close_clean().unwrap();
    assert!(log.reopen(NOW_MS).is_err() && append(&log, batch(1)).is_err(), "closed is closed");
}

#[test]
fn the_names_of_a_new_partition_are_made_durable() {
    for (op, path) in [(FaultOp::SyncDir, "data"), (FaultOp::Sync, "partition.metadata")] {
        for seed in 0..20 {
            let rig = Rig::new(config());
            let log = rig.open();
            let id = uuid::Uuid::from_u128(5);
            crate::partition_metadata::write(&rig.disk, Path::new("data/t-0"), id).unwrap();
            append(&log, batch(2)).unwrap();
            rig.disk.fail_next(Fault { op, path: path.into(), after: 0 });
            log.sync().unwrap_err();
            log.reopen(NOW_MS).unwrap();
            drop(log);
            rig.disk.power_cut(seed);
            assert_eq!(rig.open().end_offset(), Offset(2), "seed {seed}");
            let found = crate::partition_metadata::read(&rig.disk, Path::new("data/t-0")).unwrap();
            assert_eq!(found, Some(id), "seed {seed}");
        }
    }
}
