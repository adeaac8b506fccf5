//! Failing disks, power cuts, corruption.

use super::*;

#[test]
fn a_failed_write_leaves_no_trace() {
    for fault in [FaultKind::Error, FaultKind::Full] {
        let rig = Rig::new(config());
        let log = rig.open();
        append(&log, batch_at(2, 50, NOW_MS, stamp(1, 0, 0))).unwrap();
        let size = log.size_bytes();
        match fault {
            FaultKind::Error => {
                rig.disk.fail_next(Fault { op: FaultOp::Write, path: ".log".into(), after: 0 })
            }
            FaultKind::Full => rig.disk.set_capacity(Some(size + 100)),
        }
        assert_eq!(append(&log, batch_at(2, 50, NOW_MS, stamp(1, 0, 2))).unwrap_err().code(), 56);
        assert_eq!(rig.disk.contents(&rig.path("00000000000000000000.log")).unwrap().len() as u64, size);
        rig.disk.set_capacity(None);
        let info =
            append(&log, batch_at(2, 50, NOW_MS, stamp(1, 0, 2))).expect("the sequence was taken back");
        assert_eq!(info.first_offset, Offset(2));
        assert!(!info.duplicate);
    }
}

#[derive(Clone, Copy)]
enum FaultKind {
    Error,
    Full,
}

#[test]
fn a_write_that_cannot_be_taken_back_puts_the_log_offline() {
    let rig = Rig::new(config());
    let log = rig.open();
    append(&log, batch(2)).unwrap();
    rig.disk.fail_next(Fault { op: FaultOp::Write, path: ".log".into(), after: 0 });
    rig.disk.fail_next(Fault { op: FaultOp::SetLen, path: ".log".into(), after: 0 });
    append(&log, batch(2)).unwrap_err();
    assert_eq!(append(&log, batch(2)).unwrap_err().code(), 56);
    assert!(log.offline_reason().unwrap().contains("take back"));
    assert_eq!(read_all(&log).len(), 1, "reading goes on");
    rig.disk.kill();
    let log = rig.open();
    assert_eq!(log.end_offset(), Offset(2));
    append(&log, batch(2)).unwrap();
}

/// As when a process has all the open files that it may have.
#[test]
fn a_file_that_cannot_be_opened_is_no_reason_to_go_offline() {
    let rig = Rig::new(config());
    let log = rig.open();
    append(&log, batch(2)).unwrap();
    log.sync().unwrap();
    log.close_idle_files();
    for _ in 0..2 {
        rig.disk.fail_next(Fault { op: FaultOp::Open, path: ".log".into(), after: 0 });
    }
    assert_eq!(append(&log, batch(2)).unwrap_err().code(), 56);
    assert!(!log.has_failed(), "{:?}", log.offline_reason());
    rig.disk.clear_faults();
    assert_eq!(append(&log, batch(2)).unwrap().first_offset, Offset(2));
}

#[test]
fn a_failed_sync_is_never_forgotten() {
    let rig = Rig::new(config());
    let log = rig.open();
    append(&log, batch(2)).unwrap();
    assert_eq!(log.sync().unwrap(), Offset(2));
    append(&log, batch(2)).unwrap();
    rig.disk.fail_next(Fault { op: FaultOp::Sync, path: ".log".into(), after: 0 });
    assert_eq!(log.sync().unwrap_err().code(), 56);
    assert_eq!(log.durable_end(), Offset(2));
    assert_eq!(log.sync().unwrap_err().code(), 56, "the disk would say yes now, and lie");
    assert!(append(&log, batch(1)).is_err());
    rig.disk.power_cut(1);
    assert_eq!(rig.open().end_offset(), Offset(2));
}

#[test]
fn a_failed_roll_is_tried_again() {
    let rig = Rig::new(config());
    let log = rig.open();
    append(&log, batch_at(1, 9_000, NOW_MS, None)).unwrap();
    rig.disk.fail_next(Fault { op: FaultOp::Name, path: ".log".into(), after: 0 });
    assert_eq!(append(&log, batch_at(1, 9_000, NOW_MS, None)).unwrap_err().code(), 56);
    assert_eq!(append(&log, batch_at(1, 9_000, NOW_MS, None)).unwrap().first_offset, Offset(1));
    assert_eq!(log.segment_count(), 2);
}

/// What was in the `.log` file after `count` batches, and where each of them ends.
fn written(rig: &Rig, count: usize) -> Vec<usize> {
    let log = rig.open();
    let mut ends = vec![0];
    for n in 0..count {
        append(&log, batch_at(1 + n % 3, 40, NOW_MS + n as i64, None)).unwrap();
        ends.push(log.size_bytes() as usize);
    }
    log.sync().unwrap();
    ends
}

const FIRST: &str = "00000000000000000000.log";

#[test]
fn a_tail_torn_anywhere_is_cut_to_the_last_whole_batch() {
    let rig = Rig::new(config());
    let ends = written(&rig, 5);
    let whole = rig.disk.contents(&rig.path(FIRST)).unwrap();
    for cut in 0..whole.len() {
        rig.disk.kill();
        rig.disk.corrupt(&rig.path(FIRST), |bytes| *bytes = whole[..cut].to_vec());
        let (log, report) = rig.try_open().unwrap();
        let kept = ends.iter().rposition(|end| *end <= cut).unwrap();
        assert_eq!(read_all(&log).len(), kept, "cut at {cut}");
        assert_eq!(report.truncated_bytes as usize, cut - ends[kept]);
        assert!(report.kept.is_empty());
        append(&log, batch(1)).unwrap();
    }
}

#[test]
fn whole_batches_behind_a_bad_one_are_kept_aside() {
    for bad in 0..5 {
        let rig = Rig::new(config());
        let ends = written(&rig, 5);
        rig.disk.corrupt(&rig.path(FIRST), |bytes| bytes[ends[bad] + 70] ^= 1);
        let before = rig.disk.contents(&rig.path(FIRST)).unwrap();
        rig.disk.kill();
        let (log, report) = rig.try_open().unwrap();
        assert_eq!(read_all(&log).len(), bad);
        assert_eq!(report.truncated_bytes as usize, before.len() - ends[bad]);
        let kept: Vec<_> = report.kept.iter().map(|path| rig.disk.contents(path).unwrap()).collect();
        if bad == 4 {
            assert!(kept.is_empty(), "nothing whole follows the last batch");
        } else {
            assert_eq!(kept, [before[ends[bad]..].to_vec()]);
        }
        drop(log);
        rig.disk.kill();
        assert_eq!(rig.try_open().unwrap().1.truncated_bytes, 0, "once is enough");
    }
}

#[test]
fn damage_below_the_recovery_point_is_refused_and_can_be_allowed() {
    let mut rig = Rig::new(config());
    let ends = written(&rig, 5);
    rig.options.recovery_point = Offset(4);
    for clean_shutdown in [false, true] {
        rig.options.clean_shutdown = clean_shutdown;
        rig.disk.kill();
        rig.disk.corrupt(&rig.path(FIRST), |bytes| bytes[ends[1] + 70] ^= 1);
        let before = rig.disk.contents(&rig.path(FIRST)).unwrap();
        let error = rig.try_open().unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&format!("byte {}", ends[1])) && text.contains(FIRST), "{text}");
        assert!(text.contains("log.recovery.corruption.policy"), "{text}");
        assert_eq!(rig.disk.contents(&rig.path(FIRST)).unwrap(), before);
        rig.disk.corrupt(&rig.path(FIRST), |bytes| bytes[ends[1] + 70] ^= 1);
    }
    rig.disk.corrupt(&rig.path(FIRST), |bytes| bytes.truncate(ends[2]));
    rig.disk.kill();
    let text = rig.try_open().unwrap_err().to_string();
    assert!(text.contains("the log ends here"), "whole, but too short: {text}");

    rig.options.config.corruption_policy = crate::CorruptionPolicy::Cut;
    rig.disk.kill();
    assert_eq!(read_all(&rig.open()).len(), 2);
}

#[test]
fn a_bad_segment_in_the_middle_ends_the_log_and_the_later_ones_are_kept() {
    let rig = Rig::new(config());
    let log = rig.open();
    for _ in 0..6 {
        append(&log, batch_at(1, 6_000, NOW_MS, None)).unwrap();
    }
    log.sync().unwrap();
    drop(log);
    let bad = rig.path("00000000000000000002.log");
    rig.disk.corrupt(&bad, |bytes| bytes[100] ^= 1);
    rig.disk.kill();
    let (log, report) = rig.try_open().unwrap();
    assert_eq!(log.end_offset(), Offset(2));
    let names: Vec<_> = report.kept.iter().map(|p| p.file_name().unwrap().to_str().unwrap()).collect();
    let expected: Vec<_> = (2..6).map(|n| format!("{n:020}.log.from-0.corrupt")).collect();
    assert_eq!(names, expected);
    assert_eq!(append(&log, batch(1)).unwrap().first_offset, Offset(2));
    assert_eq!(read_all(&log).len(), 3);
}

#[test]
fn an_index_that_lies_costs_time_and_no_record() {
    let mut rig = Rig::new(config());
    rig.options.cache = Arc::new(crate::CacheBudget::new(0, 0));
    let log = rig.open();
    for n in 0..60 {
        append(&log, batch_at(1, 500, NOW_MS + n, None)).unwrap();
    }
    log.close_clean().unwrap();
    drop(log);
    rig.disk.kill();
    // The positions of the first segment's entries, one too high each.
    rig.disk.corrupt(&rig.path("00000000000000000000.index"), |bytes| {
        bytes.chunks_mut(8).for_each(|entry| entry[7] ^= 1);
    });
    rig.options.clean_shutdown = true;
    assert_eq!(read_all(&rig.open()).len(), 60);
}

#[test]
fn missing_and_broken_indexes_are_built_again() {
    let mut rig = Rig::new(config());
    let log = rig.open();
    for n in 0..60 {
        append(&log, batch_at(1, 500, NOW_MS + n, None)).unwrap();
    }
    let end = log.end_offset();
    let expected = log.offset_for_timestamp(NOW_MS + 33).unwrap();
    log.close_clean().unwrap();
    drop(log);
    rig.options.clean_shutdown = true;
    rig.options.recovery_point = end;
    let names = rig.disk.list(Path::new("data/t-0")).unwrap();
    for name in names.iter().filter(|entry| entry.name.ends_with("index") && entry.len > 0) {
        rig.disk.kill();
        rig.disk.corrupt(&rig.path(&name.name), |bytes| {
            bytes.pop();
        });
        let log = rig.open();
        assert_eq!(read_all(&log).len(), 60);
        assert_eq!(log.offset_for_timestamp(NOW_MS + 33).unwrap(), expected);
        assert!(
            rig.disk.contents(&rig.path(&name.name)).unwrap().len() as u64 >= name.len - 8,
            "{}",
            name.name
        );
        log.close_clean().unwrap();
    }
}

/// A segment that was flushed while it was the active one becomes full by the next append. Recovery begins behind it.
#[test]
fn indexes_of_a_segment_that_ends_at_the_recovery_point_survive() {
    for seed in 0..60 {
        let mut rig = Rig::new(LogConfig { index_interval_bytes: 0, ..config() });
        let log = rig.open();
        for nth in 0..20 {
            append(&log, batch_at(1, 300, NOW_MS + nth, stamp(1, 0, nth as i32))).unwrap();
        }
        let data = RawBatch::parse(&{
            let options =
                BatchOptions { producer: stamp(2, 0, 0), transactional: true, ..Default::default() };
            let mut builder = BatchBuilder::new(options);
            builder.push(NOW_MS + 50, None, Some(b"aborted"), []).unwrap();
            builder.build(Offset(0)).unwrap()
        });
        append(&log, data.unwrap()).unwrap();
        log.append_marker(ControlKind::Abort, (ProducerId(2), ProducerEpoch(0)), 0, EPOCH, NOW_MS + 60)
            .unwrap();
        log.flush().unwrap();
        rig.options.recovery_point = log.recovery_point();
        assert_eq!(log.recovery_point(), log.end_offset());
        append(&log, batch_at(1, 9_000, NOW_MS + 70, None)).unwrap();
        assert_eq!(log.segment_count(), 2);
        log.sync().unwrap();
        let (end, newest) = (log.end_offset(), log.max_timestamp_offset().unwrap());
        let aborted = log.aborted_transactions(Offset(0), end).unwrap();
        assert_eq!(aborted.len(), 1);
        drop(log);
        rig.disk.power_cut(seed);
        let log = rig.open();
        assert_eq!(log.end_offset(), end);
        assert_eq!(log.aborted_transactions(Offset(0), end).unwrap(), aborted, "seed {seed}");
        assert_eq!(log.max_timestamp_offset().unwrap(), newest, "seed {seed}");
        assert_eq!(log.retention(NOW_MS + 1000, end).unwrap(), 0, "seed {seed}: nothing is old");
        assert_eq!(log.start_offset(), Offset(0), "seed {seed}");
    }
}

#[test]
fn an_index_whose_sync_failed_is_not_trusted() {
    let mut rig = Rig::new(config());
    let log = rig.open();
    append(&log, batch_at(1, 9_000, NOW_MS, None)).unwrap();
    append(&log, batch_at(1, 9_000, NOW_MS, None)).unwrap();
    rig.disk.fail_next(Fault { op: FaultOp::Sync, path: "index".into(), after: 0 });
    assert_eq!(log.flush().unwrap_err().code(), 56);
    assert_eq!(log.flush().unwrap_err().code(), 56, "the disk would say yes now, and lie");
    rig.options.recovery_point = log.recovery_point();
    rig.disk.power_cut(1);
    assert_eq!(rig.try_open().unwrap().1.scanned_segments, 2);
}
