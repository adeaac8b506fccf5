//! Duplicates, transactions, and their state after a restart.

use super::*;

fn transactional(id: i64, epoch: i16, sequence: i32) -> RawBatch {
    let options =
        BatchOptions { producer: stamp(id, epoch, sequence), transactional: true, ..Default::default() };
    let mut builder = BatchBuilder::new(options);
    builder.push(NOW_MS, Some(b"k"), Some(b"v"), []).unwrap();
    RawBatch::parse(&builder.build(Offset(0)).unwrap()).unwrap()
}

fn end(log: &Log, kind: ControlKind, id: i64, epoch: i16) -> AppendInfo {
    let producer = (ProducerId(id), ProducerEpoch(epoch));
    log.append_marker(kind, producer, 0, EPOCH, NOW_MS).unwrap()
}

#[test]
fn retries_are_answered_with_the_first_offsets() {
    let rig = Rig::new(config());
    let log = rig.open();
    for n in 0..8 {
        append(&log, batch_at(3, 10, NOW_MS, stamp(7, 0, n * 3))).unwrap();
    }
    let retry = |log: &Log, n: i32| append(log, batch_at(3, 10, NOW_MS, stamp(7, 0, n * 3)));
    let check = |log: &Log| {
        for n in 3..8 {
            let info = retry(log, n).unwrap();
            assert!(info.duplicate);
            assert_eq!((info.first_offset.0, info.last_offset.0), (i64::from(n) * 3, i64::from(n) * 3 + 2));
        }
        assert_eq!(retry(log, 2).unwrap_err().code(), 45);
        assert_eq!(retry(log, 9).unwrap_err().code(), 45);
        assert_eq!(log.end_offset(), Offset(24));
    };
    check(&log);
    log.close_clean().unwrap();
    drop(log);
    rig.disk.kill();
    let clean = OpenOptions { clean_shutdown: true, ..rig.options.clone() };
    check(&Rig { options: clean, ..rig.clone() }.open());
    rig.disk.kill();
    check(&rig.open());
}

#[test]
fn a_retry_in_the_same_call_shares_the_fate_of_the_original() {
    let rig = Rig::new(config());
    let log = rig.open();
    let batches = [batch_at(2, 10, NOW_MS, stamp(1, 0, 0))];
    let request = AppendRequest { batches: &batches, leader_epoch: EPOCH, origin: AppendOrigin::Client };
    rig.disk.fail_next(Fault { op: FaultOp::Write, path: ".log".into(), after: 0 });
    let results = log.append_many(&[request, request], NOW_MS);
    assert!(results.iter().all(|result| result.as_ref().unwrap_err().code() == 56), "{results:?}");
    let results = log.append_many(&[request, request], NOW_MS);
    let duplicates: Vec<_> =
        results.into_iter().map(|r| r.map(|i| (i.first_offset.0, i.duplicate)).unwrap()).collect();
    assert_eq!(duplicates, [(0, false), (0, true)]);
}

#[test]
fn read_committed_sees_what_is_decided() {
    let rig = Rig::new(config());
    let log = rig.open();
    append(&log, transactional(1, 0, 0)).unwrap(); // 0
    append(&log, batch(1)).unwrap(); // 1
    append(&log, transactional(2, 0, 0)).unwrap(); // 2
    append(&log, transactional(1, 0, 1)).unwrap(); // 3
    assert_eq!(log.last_stable_offset(Offset(4)), Offset(0));
    end(&log, ControlKind::Abort, 1, 0); // 4
    assert_eq!(log.last_stable_offset(Offset(4)), Offset(0), "the marker is not committed yet");
    assert_eq!(log.last_stable_offset(Offset(5)), Offset(2));
    append(&log, transactional(3, 0, 0)).unwrap(); // 5
    end(&log, ControlKind::Commit, 2, 0); // 6
    end(&log, ControlKind::Abort, 3, 0); // 7
    let check = |log: &Log| {
        assert_eq!(log.last_stable_offset(Offset(8)), Offset(8));
        let aborted = |from, upper| -> Vec<(i64, i64, i64)> {
            let found = log.aborted_transactions(Offset(from), Offset(upper)).unwrap();
            found.iter().map(|t| (t.producer_id.0, t.first_offset.0, t.last_offset.0)).collect()
        };
        assert_eq!(aborted(0, 8), [(1, 0, 4), (3, 5, 7)]);
        assert_eq!(aborted(0, 5), [(1, 0, 4)]);
        assert_eq!(aborted(5, 8), [(3, 5, 7)]);
        assert_eq!(aborted(8, 8), []);
    };
    check(&log);
    log.close_clean().unwrap();
    drop(log);
    rig.disk.kill();
    let clean = OpenOptions { clean_shutdown: true, ..rig.options.clone() };
    check(&Rig { options: clean, ..rig.clone() }.open());
    rig.disk.kill();
    check(&rig.open());
}

#[test]
fn an_open_transaction_is_still_open_after_any_restart() {
    for clean_shutdown in [false, true] {
        let mut rig = Rig::new(config());
        let log = rig.open();
        append(&log, batch(5)).unwrap();
        append(&log, transactional(1, 4, 0)).unwrap();
        log.roll(NOW_MS).unwrap();
        append(&log, batch(5)).unwrap();
        let live = log.active_producers();
        if clean_shutdown { log.close_clean() } else { log.sync().map(drop) }.unwrap();
        drop(log);
        rig.disk.power_cut(3);
        rig.options.clean_shutdown = clean_shutdown;
        let log = rig.open();
        assert_eq!(log.active_producers(), live);
        assert_eq!(log.last_stable_offset(log.end_offset()), Offset(5));
        assert_eq!(append(&log, batch_at(1, 5, NOW_MS, stamp(1, 4, 1))).unwrap_err().code(), 48);
        assert_eq!(end(&log, ControlKind::Abort, 1, 5).first_offset, Offset(11));
        assert_eq!(append(&log, transactional(1, 4, 1)).unwrap_err().code(), 47);
        assert_eq!(log.aborted_transactions(Offset(0), Offset(12)).unwrap().len(), 1);
    }
}
