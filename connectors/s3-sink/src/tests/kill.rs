//! Kills before and behind every request, answers that are lost, stores that say "slow down": whatever happens, each record is in one
//! object once in the end, and no upload is left.

use std::collections::BTreeMap;

use millrace_sdk::Error;
use millrace_sdk::testing::Record;
use millrace_sdk::testing::clock::advance;
use millrace_sdk::testing::object_store::bucket;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Case, texts};

/// Records of two partitions that take turns, each of them one or two pieces.
fn records(until: i64) -> Vec<Record> {
    let record = |n: i64| {
        let value =
            json!({ "n": n, "k": (["a", "b", "c"][(n * 7 % 3) as usize]), "at": n * 60_000 }).to_string();
        Record { timestamp: n * 60_000, ..Record::value(value).at("t", (n % 2) as i32, n / 2) }
    };
    (0..until).flat_map(|n| vec![record(n); if n % 5 == 0 { 2 } else { 1 }]).collect()
}

/// How often each number is there.
fn counts() -> BTreeMap<i64, usize> {
    let mut counts = BTreeMap::new();
    for (key, text) in texts() {
        for line in text.lines() {
            let value: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{key}: {line}"));
            *counts.entry(value["n"].as_i64().expect("a number")).or_insert(0) += 1;
        }
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
    let partitioners = [
        json!({}),
        json!({ "partitioner": "field", "partition_field_name": ["k"] }),
        json!({ "partitioner": "time", "path_format": "HH'-'mm", "timestamp_extractor": "record" }),
        json!({ "partitioner": "time", "path_format": "HH'-'mm", "timestamp_extractor": "wallclock" }),
        json!({ "partitioner": "time", "path_format": "HH", "timestamp_extractor": "field", "timestamp_field": "at" }),
    ];
    let rotations = [
        json!({ "flush_size": 3 }),
        json!({ "rotate_bytes": "60B" }),
        json!({ "rotate_interval": "3m" }),
        json!({ "rotate_schedule_interval": "20s" }),
        json!({ "rotate_idle": "10s", "flush_size": 7 }),
    ];
    let mut all = Vec::new();
    for partitioner in &partitioners {
        for rotation in &rotations {
            let mut both = partitioner.clone();
            both.as_object_mut().expect("an object").extend(rotation.as_object().expect("an object").clone());
            all.push(both);
        }
    }
    all
}

const UNTIL: i64 = 22;

#[test]
fn a_kill_at_any_request_loses_and_doubles_nothing() {
    let mut points = 0;
    for settings in all_settings() {
        for done in [false, true] {
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
                assert_eq!(bucket().unfinished(), [], "{settings} killed at {number} (done: {done})");
                points += 1;
                match result {
                    Ok(()) => break,
                    Err(error) => assert_eq!(error.code, "killed"),
                }
                number += 1;
            }
        }
    }
    assert!(points > 1000, "{points} points were tried");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Many kills in a row, with answers lost and requests refused between them.
    #[test]
    fn kills_lost_answers_and_throttling_lose_and_double_nothing(
        which in 0_usize..25,
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
        // An upload whose id was never told is swept by the next start.
        case.open().assign("t", &[0, 1]).expect("assigned");
        prop_assert_eq!(bucket().unfinished(), []);
    }
}
