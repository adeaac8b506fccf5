//! Runs of batches that stay in their file, beside the same runs read.

use super::*;
use crate::disk::RealDisk;
use crate::{CacheBudget, FileSlice, Piece};

fn bytes_of(pieces: Vec<Piece>) -> Vec<u8> {
    let all = |mut slice: FileSlice| {
        let mut bytes = Vec::new();
        while !slice.is_empty() {
            bytes.extend_from_slice(&slice.read(10_000).unwrap());
        }
        bytes
    };
    let bytes = pieces.into_iter().map(|piece| match piece {
        Piece::Memory(bytes) => bytes.to_vec(),
        Piece::File(slice) => all(slice),
    });
    bytes.flatten().collect()
}

/// A log on the real disk, nothing of it in memory: small batches, and every fiftieth larger than a fetch.
fn log(folder: &Path) -> Log {
    let config = LogConfig { segment_bytes: 1_000_000, index_interval_bytes: 4096, ..LogConfig::default() };
    let mut options = OpenOptions::new(config, NOW_MS);
    options.cache = Arc::new(CacheBudget::new(0, 0));
    let dir = folder.join("t-0");
    let (log, _) = Log::open(Arc::new(RealDisk), &dir, TopicPartition::new("t", 0), options).unwrap();
    for nth in 0..600 {
        let value_bytes = if nth % 50 == 49 { 200_000 } else { 100 + nth * 7 % 3000 };
        append(&log, batch_at(1 + nth % 3, value_bytes, NOW_MS, None)).unwrap();
    }
    log
}

#[test]
fn what_stays_in_the_file_is_whole_batches_within_every_bound() {
    let folder = tempfile::tempdir().unwrap();
    let log = log(folder.path());
    assert!(log.segment_count() > 3);
    let whole = {
        let read = |from| log.read(from, usize::MAX >> 1, log.end_offset(), true).unwrap();
        let (mut all, mut from) = (Vec::new(), Offset(0));
        while from < log.end_offset() {
            let next = read(from);
            all.extend_from_slice(&next.parts.concat());
            from = next.next_offset;
        }
        split(all.into()).collect::<Result<Vec<_>, _>>().unwrap()
    };
    let end = log.end_offset().0;
    let mut in_files = 0;
    for (nth, from) in (0..end).step_by(37).enumerate() {
        let (from, upper) = (Offset(from), Offset((from + 1 + (nth as i64 * 311) % 700).min(end)));
        for bytes_max in [1, 70_000, 150_000, 5_000_000] {
            let found = log.read_pieces(from, bytes_max, upper, true).unwrap();
            in_files += usize::from(matches!(found.parts[..], [Piece::File(_)]));
            let bytes = bytes_of(found.parts);
            assert_eq!(bytes.len(), found.bytes);
            let mut expected = whole.iter().skip_while(|batch| batch.last_offset() < from);
            let mut next = from;
            for batch in split(bytes.into()).map(Result::unwrap) {
                assert_eq!(batch.bytes, expected.next().unwrap().bytes);
                next = batch.next_offset();
            }
            assert_eq!(found.next_offset, next);
            assert!(next <= upper, "{from} to {upper}: up to {next}");
            let read = log.read(from, bytes_max, upper, true).unwrap();
            assert!(found.bytes <= read.bytes && (found.bytes > 0) == (read.bytes > 0));
        }
    }
    assert!(in_files > 20, "{in_files}");
}

#[test]
fn a_slice_outlives_the_removal_of_its_segment() {
    let folder = tempfile::tempdir().unwrap();
    let log = log(folder.path());
    let found = log.read_pieces(Offset(0), 900_000, log.end_offset(), true).unwrap();
    let before = log.read(Offset(0), found.bytes, log.end_offset(), true).unwrap().parts.concat();
    assert!(matches!(found.parts[..], [Piece::File(_)]), "{} bytes", found.bytes);
    std::fs::remove_file(folder.path().join("t-0/00000000000000000000.log")).unwrap();
    assert_eq!(bytes_of(found.parts), before);
}
