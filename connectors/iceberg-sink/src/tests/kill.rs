//! Kills before and behind every request, answers that are lost, stores that say "slow down", tasks that commit between each other's steps:
//! whatever happens, each record is in the table once in the end, and nothing else lies beside it.

use std::collections::BTreeMap;

use millrace_sdk::testing::clock::advance;
use millrace_sdk::testing::object_store::bucket;
use millrace_sdk::testing::{Record, SinkTest, again};
use millrace_sdk::{Error, ErrorKind};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::Case;
use super::read::{rows, unreachable};
use crate::IcebergSink;

/// Records of two partitions that take turns, each of them one or two pieces; from the tenth on with a column more.
fn records(until: i64) -> Vec<Record> {
    let record = |n: i64| {
        let mut value = json!({ "n": n, "k": (["a", "b", "c"][(n * 7 % 3) as usize]) });
        if n >= 10 {
            value["late"] = json!(n * 2);
        }
        Record::value(value.to_string()).at("t", (n % 2) as i32, n / 2)
    };
    (0..until).flat_map(|n| vec![record(n); if n % 5 == 0 { 2 } else { 1 }]).collect()
}

/// How often each number is there.
fn counts() -> BTreeMap<i64, usize> {
    let mut counts = BTreeMap::new();
    let in_bucket = super::read::objects().keys().any(|key| key.ends_with(".metadata.json"));
    let is_table = in_bucket || super::catalog::table().is_some();
    for row in is_table.then(rows).into_iter().flatten() {
        let n = row["n"].as_i64().expect("a number");
        assert_eq!(row["late"].as_i64(), (n >= 10).then_some(n * 2), "{row}");
        *counts.entry(n).or_insert(0) += 1;
    }
    counts
}

fn wanted(until: i64) -> BTreeMap<i64, usize> {
    (0..until).map(|n| (n, if n % 5 == 0 { 2 } else { 1 })).collect()
}

/// From the positions that the sink holds to the end of the topic.
fn drive(case: &mut Case, until: i64, batch: usize) -> Result<(), Error> {
    case.open().deliver(&[0, 1], records(until), batch, 7_000)
}

fn all_settings() -> Vec<Value> {
    let catalog = json!({ "catalog_connection": "catalog", "catalog_warehouse": "birds" });
    let mut by_catalog = json!({ "auto_evolve": true, "commit_interval": "10s" });
    by_catalog.as_object_mut().expect("an object").extend(catalog.as_object().expect("an object").clone());
    let mut merging = by_catalog.clone();
    merging["commit_interval"] = json!("5s");
    merging["merge_files"] = json!(true);
    vec![
        by_catalog,
        json!({ "auto_evolve": true, "commit_interval": "10s" }),
        // All but the newest two snapshots, and metadata but the newest two, are removed.
        json!({ "auto_evolve": true, "commit_interval": "5s", "expire_snapshots": true, "table_properties": {
            "commit.manifest.min-count-to-merge": 3, "history.expire.max-snapshot-age-ms": 1, "history.expire.min-snapshots-to-keep": 2,
            "write.metadata.delete-after-commit.enabled": true, "write.metadata.previous-versions-max": 1 } }),
        json!({ "auto_evolve": true, "commit_interval": "5s", "partition_by": ["k"],
            "table_properties": { "commit.manifest.min-count-to-merge": 2 } }),
        json!({ "auto_evolve": true, "commit_interval": "1h", "partition_by": ["truncate(n, 5)"], "target_file_size": "40B" }),
        json!({ "auto_evolve": true, "commit_interval": "5s", "merge_files": true, "expire_snapshots": true, "table_properties": {
            "commit.manifest.min-count-to-merge": 3, "history.expire.max-snapshot-age-ms": 1, "history.expire.min-snapshots-to-keep": 2 } }),
        merging,
        json!({ "folder": "", "auto_evolve": true, "commit_interval": "10s" }),
        json!({ "folder": "", "auto_evolve": true, "commit_interval": "5s", "merge_files": true, "expire_snapshots": true, "table_properties": {
            "commit.manifest.min-count-to-merge": 3, "history.expire.max-snapshot-age-ms": 1, "history.expire.min-snapshots-to-keep": 2,
            "write.metadata.delete-after-commit.enabled": true, "write.metadata.previous-versions-max": 1 } }),
    ]
}

const UNTIL: i64 = 22;

#[test]
fn a_kill_at_any_request_loses_and_doubles_nothing() {
    let mut points = 0;
    for settings in all_settings() {
        // Of a folder each step is one: that it was done is the kill before the next one.
        let both = settings.get("folder").is_none();
        for done in [false, true].into_iter().filter(|done| both || !done) {
            let mut number = 0;
            loop {
                let mut case = Case::new(settings.clone());
                bucket().kill_at(number, done);
                let result = drive(&mut case, UNTIL, 5);
                bucket().interfere(None);
                let seen = counts();
                for (n, times) in &seen {
                    assert!(
                        *times <= wanted(UNTIL)[n],
                        "{settings} killed at {number}: {n} is there {times} times"
                    );
                }
                drive(&mut case, UNTIL, 4).expect("runs after the kill");
                assert_eq!(counts(), wanted(UNTIL), "{settings} killed at {number} (done: {done})");
                // The list of a claim that a catalog didn't make: of an instance that nobody ever heard of.
                let left: Vec<_> =
                    unreachable().into_iter().filter(|key| !key.contains("/00-claim-")).collect();
                assert_eq!(left, [""; 0], "{settings} killed at {number} (done: {done})");
                points += 1;
                match result {
                    Ok(()) => break,
                    Err(error) => assert_eq!(error.code, "killed"),
                }
                number += 1;
            }
        }
    }
    assert!(points > 150, "{points} points were tried");
}

/// A task, and the records of its partition that it wasn't given yet.
pub(super) type Turns = (SinkTest<IcebergSink>, Vec<Record>);

/// Two tasks of a connector, each with a partition of its own.
pub(super) fn two_tasks(case: &mut Case, records: Vec<Record>) -> Vec<Turns> {
    let mut task = |number: u32| {
        case.task.number = number;
        let mut sink = case.open();
        sink.assign("t", &[number as i32]).expect("assigned");
        (sink, records.iter().filter(|record| record.partition == number as i32).cloned().collect())
    };
    vec![task(0), task(1)]
}

/// Gives a task all that is left, and ends it.
pub(super) fn finish((mut sink, left): Turns) {
    let mut left = &left[..];
    while !left.is_empty() {
        let (taken, _) = again(|| sink.put(left)).expect("taken");
        left = &left[taken..];
    }
    sink.end().expect("ends");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// Many kills in a row, with answers lost and requests refused between them.
    #[test]
    fn kills_lost_answers_and_throttling_lose_and_double_nothing(
        which in 0_usize..9,
        kills in proptest::collection::vec((0_u32..60, any::<bool>()), 0..5),
        trouble in proptest::collection::vec(0_u8..12, 1..200),
        batch in 1_usize..9,
    ) {
        // Now and then the store is quiet for long enough to get on.
        let trouble: Vec<u8> = trouble.into_iter().chain([11; 12]).collect();
        let settings = all_settings().swap_remove(which);
        let mut case = Case::new(settings.clone());
        let mut until = 4;
        for (number, done) in kills {
            bucket().kill_in_trouble(number, done, trouble.clone());
            if let Err(error) = drive(&mut case, until, batch) {
                prop_assert_eq!(error.code, "killed");
            }
            advance(13_000);
            until += 5;
        }
        // The last run has trouble, too, but is not killed.
        bucket().trouble(trouble, 5_000);
        let ended = drive(&mut case, until, batch);
        bucket().interfere(None);
        ended.expect("the last run ends well");
        prop_assert_eq!(counts(), wanted(until), "{}", settings);
    }

    /// Two tasks, each with a partition of its own, take turns in any order, with commits of one between the steps of the other.
    #[test]
    fn tasks_that_commit_to_one_table_lose_and_double_nothing(
        turns in proptest::collection::vec((0_usize..2, any::<bool>()), 1..60),
        trouble in proptest::collection::vec(0_u8..8, 1..50),
        which in proptest::sample::select(&[0_usize, 1, 2, 5, 6, 7, 8][..]),
    ) {
        // Now and then the store is quiet for long enough to get on.
        let trouble: Vec<u8> = trouble.into_iter().chain([7; 12]).collect();
        let mut settings = all_settings().swap_remove(which);
        settings["commit_interval"] = json!("5s");
        let mut case = Case::new(settings);
        let mut tasks = two_tasks(&mut case, records(UNTIL));
        bucket().trouble(trouble, 2_000);
        for (which, flush) in turns {
            let (sink, left) = &mut tasks[which];
            // A record's pieces stay together.
            let take = left.iter().position(|record| record.offset != left[0].offset).unwrap_or(left.len());
            if take > 0
                && let Ok((taken, _)) = sink.put(&left[..take])
            {
                left.drain(..taken);
            }
            advance(3_000);
            if flush {
                // It is repeated with the next turn.
                if let Err(error) = sink.flush() {
                    prop_assert_eq!(error.kind, ErrorKind::Retriable, "{}", error);
                }
            }
        }
        tasks.into_iter().for_each(finish);
        bucket().interfere(None);
        prop_assert_eq!(counts(), wanted(UNTIL));
    }
}
