//! Appending, reading, rolling, searching, shortening.

use super::*;

#[test]
fn offsets_follow_one_another_over_segments_and_reopenings() {
    let rig = Rig::new(config());
    let log = rig.open();
    let mut expected = Vec::new();
    for n in 0..60 {
        let count = 1 + n % 7;
        let info = append(&log, batch(count)).unwrap();
        assert_eq!(info.first_offset.0, expected.last().map_or(0, |(_, last)| last + 1));
        expected.push((info.first_offset.0, info.last_offset.0));
    }
    assert!(log.segment_count() > 2);
    assert_eq!(spans(&read_all(&log)), expected);
    assert!(read_all(&log).iter().all(|batch| batch.header.partition_leader_epoch == EPOCH));
    assert_eq!(log.epoch_end_offset(EPOCH), Some((EPOCH, log.end_offset())));
    log.close_clean().unwrap();
    assert!(append(&log, batch(1)).is_err(), "closed");
    rig.disk.kill();

    for clean_shutdown in [true, false] {
        let rig = Rig { options: OpenOptions { clean_shutdown, ..rig.options.clone() }, ..rig.clone() };
        let (log, report) = rig.try_open().unwrap();
        assert_eq!(report.scanned_segments > 0, !clean_shutdown);
        assert_eq!(report.truncated_bytes, 0);
        assert_eq!(spans(&read_all(&log)), expected);
        assert_eq!(log.leader_epochs(), [(EPOCH, Offset(0))]);
        rig.disk.kill();
    }
}

#[test]
fn every_offset_is_found_cold_and_in_the_cache() {
    for cache in [CacheBudgetKind::Off, CacheBudgetKind::On] {
        let mut rig = Rig::new(config());
        rig.options.cache = cache.budget();
        let log = rig.open();
        for n in 0..80 {
            // Small ones are copied, large ones kept as they came.
            let large = if n % 9 == 0 { 5_000 } else { 50 };
            append(&log, batch_at(1 + n % 3, large, NOW_MS, None)).unwrap();
        }
        let all = read_all(&log);
        for offset in 0..log.end_offset().0 {
            let read = log.read(Offset(offset), 1, log.end_offset(), true).unwrap();
            let bytes = read.parts.concat();
            let batch = all.iter().find(|batch| batch.last_offset().0 >= offset).unwrap();
            assert_eq!(bytes, batch.bytes, "offset {offset}");
            assert_eq!(read.next_offset, batch.next_offset());
            assert_eq!(log.read(Offset(offset), 1, log.end_offset(), false).unwrap().bytes, 0);
            let below = log.read(Offset(offset), 9_999, batch.last_offset(), true).unwrap();
            assert_eq!(below.bytes, 0, "the batch is not below the upper bound");
        }
        assert_eq!(log.read(log.end_offset(), 100, log.end_offset(), true).unwrap().bytes, 0);
        assert_eq!(log.read(log.end_offset().next(), 100, Offset(i64::MAX), true).unwrap_err().code(), 1);
        assert!(log.is_cached(log.end_offset()));
        assert_eq!(log.is_cached(Offset(log.end_offset().0 - 1)), cache == CacheBudgetKind::On);
    }
}

#[derive(Clone, Copy, PartialEq)]
enum CacheBudgetKind {
    Off,
    On,
}

impl CacheBudgetKind {
    fn budget(self) -> Arc<crate::CacheBudget> {
        match self {
            CacheBudgetKind::Off => Arc::new(crate::CacheBudget::new(0, 0)),
            CacheBudgetKind::On => Arc::default(),
        }
    }
}

#[test]
fn requests_gathered_in_one_call_stand_alone() {
    let rig = Rig::new(config());
    let log = rig.open();
    let mut broken = batch(2);
    broken.header.crc ^= 1;
    let large = batch_at(1, 9_000, NOW_MS, None);
    let batches = [[batch(2)], [broken], [batch(3)], [large.clone()], [batch(1)], [large]];
    let requests: Vec<_> = batches
        .iter()
        .map(|batches| AppendRequest { batches, leader_epoch: EPOCH, origin: AppendOrigin::Client })
        .collect();
    let results = log.append_many(&requests, NOW_MS);
    let firsts: Vec<_> =
        results.iter().map(|r| r.as_ref().map(|i| i.first_offset.0).map_err(|e| e.code())).collect();
    assert_eq!(firsts, [Ok(0), Err(2), Ok(2), Ok(5), Ok(6), Ok(7)]);
    assert_eq!(log.segment_count(), 2);
    assert_eq!(log.end_offset(), Offset(8));
}

#[test]
fn batches_that_no_client_may_write_are_refused() {
    let log = Rig::new(LogConfig { max_message_bytes: 5_000, compact: true, ..config() }).open();
    let code = |batch| append(&log, batch).unwrap_err().code();
    assert_eq!(code(batch_at(1, 6_000, NOW_MS, None)), 10);
    assert_eq!(code(batch_at(1, 10, NOW_MS + 3_700_000, None)), 32);
    assert_eq!(code(batch_at(1, 10, NOW_MS, stamp(1, 0, -1))), 87);
    let mut miscounted = batch(2);
    miscounted.header.record_count = 3;
    assert_eq!(code(miscounted), 87);
    let marker =
        millrace_wire::record::control_batch(ControlKind::Commit, 0, ProducerId(1), ProducerEpoch(0), NOW_MS);
    assert_eq!(code(RawBatch::parse(&marker).unwrap()), 87);
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(NOW_MS, None, Some(b"v"), []).unwrap();
    assert_eq!(code(RawBatch::parse(&builder.build(Offset(0)).unwrap()).unwrap()), 87);
    assert_eq!(log.end_offset(), Offset(0));
}

#[test]
fn log_append_time_replaces_the_producers_time() {
    let log = Rig::new(LogConfig { log_append_time: true, ..config() }).open();
    let info = append(&log, batch_at(3, 10, 5, None)).unwrap();
    assert_eq!(info.log_append_time, NOW_MS);
    let stored = &read_all(&log)[0];
    assert_eq!(stored.header.max_timestamp, NOW_MS);
    let found = log.offset_for_timestamp(NOW_MS).unwrap().unwrap();
    assert_eq!((found.offset, found.timestamp), (Offset(0), NOW_MS));
    assert_eq!(log.offset_for_timestamp(NOW_MS + 1).unwrap(), None);
}

#[test]
fn times_find_the_first_record_that_is_as_new() {
    let rig = Rig::new(config());
    let log = rig.open();
    // Times 0, 10, 20 ... with every batch out of order within its neighbours.
    let mut records = Vec::new();
    for n in 0..200i64 {
        let time = NOW_MS + (n ^ 3) * 10;
        let info = append(&log, batch_at(2, 60, time, None)).unwrap();
        records.push((info.first_offset.0, time));
        records.push((info.last_offset.0, time + 1));
    }
    assert!(log.segment_count() > 2);
    let check = |log: &Log, start: i64| {
        for target in (NOW_MS - 5..NOW_MS + 2_020).step_by(3) {
            let expected = records.iter().find(|(offset, time)| *time >= target && *offset >= start);
            let found = log.offset_for_timestamp(target).unwrap().map(|f| (f.offset.0, f.timestamp));
            assert_eq!(found, expected.copied(), "target {}", target - NOW_MS);
        }
        let newest = log.max_timestamp_offset().unwrap().unwrap();
        let expected = records.iter().rev().max_by_key(|(_, time)| *time).unwrap();
        assert_eq!((newest.offset.0, newest.timestamp), *expected);
        assert_eq!(newest.leader_epoch, EPOCH);
    };
    check(&log, 0);
    log.delete_records_to(Offset(77)).unwrap();
    check(&log, 77);
    log.close_clean().unwrap();
    let options = OpenOptions { clean_shutdown: true, start_offset: Offset(77), ..rig.options.clone() };
    check(&Rig { options, ..rig }.open(), 77);
}

#[test]
fn segments_roll_by_size_time_and_reach() {
    let log = Rig::new(LogConfig { segment_ms: 1000, timestamp_after_max_ms: i64::MAX, ..config() }).open();
    append(&log, batch_at(1, 10, NOW_MS, None)).unwrap();
    append(&log, batch_at(1, 10, NOW_MS + 1000, None)).unwrap();
    assert_eq!(log.segment_count(), 1);
    append(&log, batch_at(1, 10, NOW_MS + 1001, None)).unwrap();
    assert_eq!(log.segment_count(), 2, "too old");
    append(&log, batch_at(1, 9_950, NOW_MS + 1001, None)).unwrap_err();
    append(&log, batch_at(1, 9_900, NOW_MS + 1001, None)).unwrap();
    assert_eq!(log.segment_count(), 3, "too large");
    let mut far = batch(1);
    far.header.base_offset = Offset(1 << 40);
    let far = RawBatch { bytes: [&far.header.to_bytes()[..], &far.bytes[61..]].concat().into(), ..far };
    let request = [far];
    let request = AppendRequest { batches: &request, leader_epoch: EPOCH, origin: AppendOrigin::Replication };
    log.append(request, NOW_MS).unwrap();
    assert_eq!(log.segment_count(), 4, "out of the index's reach");
    assert_eq!(log.end_offset(), Offset((1 << 40) + 1));
    assert_eq!(read_all(&log).last().unwrap().header.base_offset, Offset(1 << 40));
    log.roll(NOW_MS).unwrap();
    log.roll(NOW_MS).unwrap();
    assert_eq!(log.segment_count(), 5, "an empty segment does not roll");
}

#[test]
fn retention_takes_whole_segments_below_the_high_watermark() {
    let rig = Rig::new(LogConfig { retention_ms: 1000, ..config() });
    let log = rig.open();
    for n in 0..100 {
        append(&log, batch_at(1, 500, NOW_MS + n * 10, None)).unwrap();
    }
    log.sync().unwrap();
    let segments = log.segment_count();
    assert_eq!(log.retention(NOW_MS + 1000, log.end_offset()).unwrap(), 0);
    assert_eq!(log.retention(NOW_MS + 1700, Offset(0)).unwrap(), 0, "nothing is committed");
    let deleted = log.retention(NOW_MS + 1700, log.end_offset()).unwrap();
    assert!(deleted > 1 && deleted < segments);
    let start = log.start_offset();
    assert_eq!(read_all(&log)[0].header.base_offset, start);
    assert!(start > Offset(0) && start <= Offset(70));
    assert_eq!(log.read(Offset(0), 100, log.end_offset(), true).unwrap_err().code(), 1);

    log.set_config(LogConfig { retention_ms: -1, retention_bytes: 8_000, ..config() });
    log.retention(NOW_MS, log.end_offset()).unwrap();
    assert!((8_000..18_000).contains(&log.size_bytes()), "{}", log.size_bytes());

    log.set_config(LogConfig { retention_ms: 0, ..config() });
    log.retention(NOW_MS + 10_000, log.end_offset()).unwrap();
    assert_eq!((log.start_offset(), log.size_bytes()), (Offset(100), 0), "the active segment too");
    assert_eq!(append(&log, batch(1)).unwrap().first_offset, Offset(100));
    log.sync().unwrap();
    log.flush().unwrap();
    drop(log);
    rig.disk.kill();
    assert_eq!(rig.open().start_offset(), Offset(100));
}

#[test]
fn truncation_ends_the_log_before_the_batch_and_forgets_what_it_knew() {
    for target in 0..60 {
        let rig = Rig::new(config());
        let log = rig.open();
        for n in 0..30 {
            append(&log, batch_at(2, 200, NOW_MS + n, stamp(1, 0, n as i32 * 2))).unwrap();
        }
        log.sync().unwrap();
        log.truncate_to(Offset(target), NOW_MS).unwrap();
        let end = target / 2 * 2;
        assert_eq!(log.end_offset(), Offset(end));
        assert_eq!(spans(&read_all(&log)), (0..end / 2).map(|n| (n * 2, n * 2 + 1)).collect::<Vec<_>>());
        let info = append(&log, batch_at(1, 200, NOW_MS, stamp(1, 0, end as i32))).unwrap();
        assert_eq!(info.first_offset, Offset(end), "the producer goes on where the log ends");
        log.sync().unwrap();
        let before = format!("{:?}", log.active_producers());
        drop(log);
        rig.disk.power_cut(target as u64);
        let (log, report) = rig.try_open().unwrap();
        assert_eq!(log.end_offset(), Offset(end + 1), "target {target}: {report:?}");
        assert_eq!(format!("{:?}", log.active_producers()), before);
    }
}

#[test]
fn a_follower_keeps_the_leaders_offsets_and_epochs() {
    let log = Rig::new(config()).open();
    let copy = |offset: i64, epoch: i32| {
        let batch = batch(2);
        let prefix = batch.header.prefix(Offset(offset), LeaderEpoch(epoch));
        RawBatch::parse(&[&prefix[..], &batch.bytes[16..]].concat().into()).unwrap()
    };
    for (offset, epoch) in [(4, 1), (6, 1), (9, 5)] {
        let batches = [copy(offset, epoch)];
        let origin = AppendOrigin::Replication;
        log.append(AppendRequest { batches: &batches, leader_epoch: EPOCH, origin }, NOW_MS).unwrap();
    }
    assert_eq!(spans(&read_all(&log)), [(4, 5), (6, 7), (9, 10)]);
    assert_eq!(log.leader_epochs(), [(LeaderEpoch(1), Offset(4)), (LeaderEpoch(5), Offset(9))]);
    let batches = [copy(7, 5)];
    let origin = AppendOrigin::Replication;
    assert!(log.append(AppendRequest { batches: &batches, leader_epoch: EPOCH, origin }, NOW_MS).is_err());
}

#[test]
fn the_retry_of_what_happened_long_ago_is_recognised() {
    // Records of 1970, as a source of old data writes them.
    let old = |sequence| batch_at(1, 10, 5_000, stamp(7, 0, sequence));
    let mut rig = Rig::new(config());
    let log = rig.open();
    append(&log, old(0)).unwrap();
    log.retention(NOW_MS, Offset(0)).unwrap();
    assert!(append(&log, old(0)).unwrap().duplicate, "after retention looked for idle producers");
    log.close_clean().unwrap();
    rig.disk.kill();
    rig.options.clean_shutdown = true;
    let log = rig.open();
    assert!(append(&log, old(0)).unwrap().duplicate, "after a restart");
    assert!(!append(&log, old(1)).unwrap().duplicate);
}
