//! Sizes of checkpoints. Which changes belong into the topic is tested in [`crate::pull`], against a model.

use super::part::Part;
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
            let names = vec!["k".repeat(63); 32];
            // With the largest end that a part may have.
            let mut table =
                Part { key: names, upto: Some(vec!["x".repeat(KEY_BYTES_MAX - 5)]), ..Part::default() };
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
            // Room comes back as the stream passes chunks, whatever the last key.
            let last = vec!["x".repeat(KEY_BYTES_MAX - 5)];
            table.read(Some(last), 1, &snapshot(10_000_000_000 + number as u64, 0), Lsn(number as u64));
            assert!(table.passed(Lsn(u64::MAX)) && table.wants_chunk());
        }
    }
}

#[test]
fn a_snapshot_that_was_on_its_way_is_not_taken_for_one_that_came_later() {
    let mut tables = Tables { barrier: Barrier::Passed, ..Tables::default() };
    tables.add("public.a", Table::default());
    tables.set_barrier(9);
    tables.stream_goes_on();
    tables.took(12);
    let (before, later) = ("12:14:12", "14:14:");
    let seen = |text: &str| text.parse::<Snapshot>().expect("a snapshot");
    assert!(!tables.may_read_in(&seen(before)), "it does not see 12, which was told already");
    assert!(tables.may_read_in(&seen(later)));
    assert!(!tables.may_read_in(&seen(before)), "of another reader that was slower to tell");
    tables.stream_goes_on();
    assert!(tables.may_read_in(&seen("16:16:")));
}

#[test]
fn changes_are_judged_by_the_part_that_their_key_is_in() {
    let mut table = Table::default();
    let key = |number: i32| vec![number.to_string()];
    let number = |key: &Key| key[0].parse::<i32>().expect("a number");
    table.divide(&["id".into()], vec![key(10), key(20)], Some(30));
    let snapshot: Snapshot = "13:14:".parse().expect("a snapshot");
    let read = |table: &mut Table, part: usize, bound: Option<Key>| {
        table.part_mut(part).expect("a part").read(bound, 1, &snapshot, Lsn(9));
    };
    let judged = |table: &Table, xid: u32| -> String {
        let mut place = |key: &Key, bounds: &[&Key]| {
            Ok(bounds.iter().filter(|bound| number(key) > number(bound)).count())
        };
        let mut letter = |id: i32| match table.row(xid, &key(id), &mut place).expect("a verdict") {
            Verdict::Tell => 't',
            Verdict::Skip => '-',
            Verdict::Restart => 'r',
        };
        [1, 10, 11, 15, 16, 20, 21, 99].map(&mut letter).iter().collect()
    };
    // The middle one up to 15, and the last one whole; a transaction that they saw, and one that they did not.
    read(&mut table, 1, Some(key(15)));
    read(&mut table, 2, None);
    assert_eq!((judged(&table, 12), judged(&table, 14)), ("--------".into(), "--tt--tt".into()));
    assert_eq!((table.truncated(12), table.truncated(14)), (Verdict::Skip, Verdict::Tell));
    assert_eq!(table.passed(Lsn(9)), [1, 2]);
    assert_eq!((judged(&table, 12), table.truncated(12)), ("--tt--tt".into(), Verdict::Tell));
    read(&mut table, 0, None);
    read(&mut table, 1, None);
    assert_eq!((judged(&table, 12), table.truncated(12)), ("--tt--tt".into(), Verdict::Restart));
    assert!(table.is_read() && !table.is_settled());
    assert_eq!((table.passed(Lsn(9)), table.rows()), (vec![0, 1, 2], 4));
    assert_eq!((table.parts().len(), judged(&table, 12)), (1, "tttttttt".into()));
}

#[test]
fn a_snapshot_without_room_in_a_checkpoint_is_waited_out() {
    let mut tables = Tables { barrier: Barrier::Passed, ..Tables::default() };
    assert!(!tables.may_read_in(&snapshot(10_000_000_000, 6_000)));
    assert_eq!(tables.awaited(), "a moment at which fewer transactions write");
    assert!(tables.may_read_in(&snapshot(10_000_000_000, 10)));
}
