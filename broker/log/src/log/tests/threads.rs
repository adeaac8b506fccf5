//! Writers, readers, syncs, retention and flushes side by side, on the real disk.

use std::sync::atomic::{AtomicI64, AtomicUsize};
use std::thread;

use super::*;
use crate::disk::RealDisk;

const BATCHES_PER_WRITER: i32 = 400;
const WRITERS: i64 = 3;

#[test]
fn readers_see_whole_batches_in_order_whatever_runs_beside_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t-0");
    let config = LogConfig { segment_bytes: 60_000, retention_bytes: 200_000, retention_ms: -1, ..config() };
    let cache = Arc::new(crate::CacheBudget::new(100_000, 30_000));
    let options = OpenOptions { cache: cache.clone(), ..OpenOptions::new(config, NOW_MS) };
    let open =
        || Log::open(Arc::new(RealDisk), &path, TopicPartition::new("t", 0), options.clone()).unwrap().0;
    let log = open();
    let acknowledged = AtomicI64::new(0);
    let writing = AtomicUsize::new(WRITERS as usize);

    thread::scope(|scope| {
        let (log, acknowledged, writing) = (&log, &acknowledged, &writing);
        for id in 0..WRITERS {
            scope.spawn(move || {
                for n in 0..BATCHES_PER_WRITER {
                    let bytes = if n % 10 == 0 { 6_000 } else { 100 };
                    let info = append(log, batch_at(2, bytes, NOW_MS, stamp(id, 0, n * 2))).unwrap();
                    assert!(!info.duplicate);
                    if n % 5 == 0 {
                        let durable = log.sync().unwrap();
                        assert!(durable > info.last_offset && log.durable_end() >= durable);
                        acknowledged.fetch_max(info.last_offset.0, Ordering::AcqRel);
                    }
                }
                writing.fetch_sub(1, Ordering::AcqRel);
            });
        }
        scope.spawn(move || {
            while writing.load(Ordering::Acquire) > 0 {
                log.flush().unwrap();
                log.retention(NOW_MS, log.durable_end()).unwrap();
                log.release_idle();
            }
        });
        for _ in 0..2 {
            scope.spawn(move || {
                let mut next = Offset(0);
                loop {
                    let done = writing.load(Ordering::Acquire) == 0;
                    let read = match log.read(next, 20_000, log.end_offset(), true) {
                        Ok(read) => read,
                        Err(Error::OffsetOutOfRange { start, .. }) => {
                            assert!(start > next, "retention passed the reader");
                            next = start;
                            continue;
                        }
                        Err(error) => panic!("{error}"),
                    };
                    for batch in split(read.parts.concat().into()) {
                        let batch = batch.unwrap();
                        batch.verify_crc().unwrap();
                        assert_eq!(batch.header.base_offset, next);
                        next = batch.next_offset();
                    }
                    assert_eq!(next, read.next_offset);
                    if done && read.bytes == 0 {
                        assert_eq!(next, log.end_offset());
                        return;
                    }
                }
            });
        }
    });
    let end = WRITERS * i64::from(BATCHES_PER_WRITER) * 2;
    assert_eq!(log.end_offset(), Offset(end));
    assert!(acknowledged.load(Ordering::Acquire) < end);
    assert!(cache.used_bytes() <= 100_000);
    log.sync().unwrap();
    log.retention(NOW_MS, log.durable_end()).unwrap();
    assert!(log.start_offset() > Offset(0) && log.size_bytes() < 300_000);
    let producers = log.active_producers();
    assert!(producers.iter().all(|p| p.last_sequence == BATCHES_PER_WRITER * 2 - 1), "{producers:?}");
    drop(log);
    assert_eq!(cache.used_bytes(), 0);
    let log = open();
    assert_eq!((log.end_offset(), log.active_producers()), (Offset(end), producers));
}

#[test]
fn recovery_never_begins_behind_a_segment_whose_indexes_are_not_durable() {
    let rig = Rig::new(LogConfig { segment_bytes: 300, ..config() });
    let log = rig.open();
    let writing = AtomicUsize::new(1);
    thread::scope(|scope| {
        let (log, writing) = (&log, &writing);
        scope.spawn(move || {
            for _ in 0..2_000 {
                append(log, batch(1)).unwrap();
            }
            writing.store(0, Ordering::Release);
        });
        while writing.load(Ordering::Acquire) > 0 {
            log.flush().unwrap();
            let (point, unflushed) = (log.recovery_point(), log.unflushed.lock());
            for left in &unflushed.segments {
                let next = log.segment_after(left.base()).map(|next| next.base());
                assert!(next.is_none_or(|next| point < next), "{point} is behind segment {}", left.base());
            }
        }
    });
}

#[test]
fn a_look_for_the_newest_time_and_a_deletion_do_not_wait_for_each_other() {
    let rig = Rig::new(config());
    let log = rig.open();
    append(&log, batch(1)).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..20_000 {
                drop(log.truncation.write());
            }
        });
        for _ in 0..20_000 {
            assert!(log.max_timestamp_offset().unwrap().is_some());
        }
    });
}
