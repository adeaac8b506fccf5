//! Sizes of checkpoints. Which changes belong into the topic is tested in [`crate::pull`], against a model.

use super::*;
use crate::position;

/// What the host takes.
const HOST_BYTES_MAX: usize = 64 << 10;

/// A snapshot with so many transactions that run.
fn snapshot(first: u64, running: u64) -> Snapshot {
    let list: Vec<String> = (0..running).map(|number| (first + number * 2).to_string()).collect();
    format!("{first}:{}:{}", first + running * 2 + 1, list.join(",")).parse().expect("a snapshot")
}

#[test]
fn checkpoints_stay_within_what_the_host_takes() {
    let text = |number: usize, char: char| format!("{number}{}", char.to_string().repeat(1_200));
    for char in ['x', '"', '\u{1}', 'ä'] {
        for running in [0, 100, 900, 1_700] {
            let mut table = Table { key: vec!["k".repeat(63); 32], ..Table::default() };
            let mut number = 0;
            while table.wants_chunk() {
                let key = vec![text(number, char)];
                assert_eq!(key_bytes(&key), serde_json::to_string(&key).expect("JSON").len() + 1);
                assert!(key_bytes(&key) <= KEY_BYTES_MAX);
                let seen = snapshot(10_000_000_000 + number as u64, running);
                let mut tables = Tables { barrier: Barrier::Passed, ..Tables::default() };
                assert!(tables.may_read_in(&seen), "{} bytes", seen.bytes());
                table.read(Some(key), 1, &seen, Lsn(number as u64));
                number += 1;
                let bytes = position::written(&table).len();
                assert!(
                    bytes <= HOST_BYTES_MAX,
                    "{char:?}, {running} running, chunk {number}: {bytes} bytes"
                );
            }
            assert!(number > 0);
            // Room comes back as the stream passes chunks.
            assert!(table.passed(Lsn(u64::MAX)) && table.wants_chunk());
        }
    }
}

#[test]
fn a_snapshot_without_room_in_a_checkpoint_is_waited_out() {
    let mut tables = Tables { barrier: Barrier::Passed, ..Tables::default() };
    assert!(!tables.may_read_in(&snapshot(10_000_000_000, 6_000)));
    assert_eq!(tables.awaited(), "a moment at which fewer transactions write");
    assert!(tables.may_read_in(&snapshot(10_000_000_000, 10)));
}
