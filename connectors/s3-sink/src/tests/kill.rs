//! Kills before and behind every request, answers that are lost, stores that say "slow down": whatever happens, each record is in one
//! object once in the end, and no upload is left.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use millrace_sdk::object_store::Refusal;
use millrace_sdk::testing::clock::advance;
use millrace_sdk::testing::object_store::{Fate, bucket};
use millrace_sdk::testing::{Record, SinkTest};
use millrace_sdk::{Error, ErrorKind};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Case, texts};
use crate::S3Sink;

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

/// What the host does between a start and the end of the topic: from the positions that the sink holds, in batches, with flushes, offering
/// again what was not taken, and again what failed for now.
fn drive(case: &mut Case, until: i64, batch: usize) -> Result<(), Error> {
    let mut sink = case.open();
    let held = again(|| sink.assign("t", &[0, 1]))?;
    let next = |partition: i32| held.iter().find(|at| at.partition == partition).map_or(0, |at| at.offset);
    let starts = [next(0), next(1)];
    let mut left: Vec<Record> = records(until)
        .into_iter()
        .filter(|record| record.offset >= starts[record.partition as usize])
        .collect();
    while !left.is_empty() {
        let mut end = batch.min(left.len());
        // A record's pieces come within one batch.
        while end < left.len()
            && (left[end].partition, left[end].offset) == (left[end - 1].partition, left[end - 1].offset)
        {
            end += 1;
        }
        let (taken, rejected) = again(|| sink.put(&left[..end]))?;
        assert!(rejected.is_empty(), "{rejected:?}");
        left.drain(..taken);
        advance(7_000);
        if left.len().is_multiple_of(3) {
            again(|| sink.flush())?;
        }
    }
    end(sink)
}

fn end(mut sink: SinkTest<S3Sink>) -> Result<(), Error> {
    use millrace_sdk::Sink;
    again(|| sink.flush())?;
    again(|| sink.sink.close())
}

/// Repeats what failed for now.
fn again<T>(mut call: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    for _ in 0..1000 {
        match call() {
            Err(error) if error.kind == ErrorKind::Retriable => {}
            result => return result,
        }
    }
    panic!("it never succeeds");
}

fn killed() -> Refusal {
    Refusal::Failed(Error::fatal("killed", "killed"))
}

fn slow_down() -> Refusal {
    Refusal::Failed(Error::retriable("s3.SlowDown", "slow down"))
}

/// From the request with this number on nothing is done; that one itself is done if `answered` says so.
fn kill_at(number: u32, done: bool) {
    let seen = Rc::new(Cell::new(0));
    bucket().interfere(Some(Box::new(move |_| {
        let now = seen.get();
        seen.set(now + 1);
        match now.cmp(&number) {
            std::cmp::Ordering::Less => Fate::Done,
            std::cmp::Ordering::Equal if done => Fate::Unanswered(killed()),
            _ => Fate::Lost(killed()),
        }
    })));
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
                kill_at(number, done);
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
            let (seen, trouble) = (Cell::new(0), trouble.clone());
            bucket().interfere(Some(Box::new(move |_| {
                let now = seen.get();
                seen.set(now + 1);
                let trouble = trouble[now as usize % trouble.len()];
                match now.cmp(&number) {
                    std::cmp::Ordering::Equal if done => Fate::Unanswered(killed()),
                    std::cmp::Ordering::Greater | std::cmp::Ordering::Equal => Fate::Lost(killed()),
                    std::cmp::Ordering::Less if trouble == 0 => Fate::Lost(slow_down()),
                    std::cmp::Ordering::Less if trouble == 1 => Fate::Unanswered(slow_down()),
                    std::cmp::Ordering::Less => Fate::Done,
                }
            })));
            if let Err(error) = drive(&mut case, until, batch) {
                prop_assert_eq!(error.code, "killed");
            }
            advance(13_000);
            until += 5;
        }
        // The last run has trouble, too, but is not killed.
        let seen = Cell::new(0);
        bucket().interfere(Some(Box::new(move |_| {
            let now = seen.get();
            seen.set(now + 1);
            match trouble[now % trouble.len()] {
                0 if now < 5_000 => Fate::Lost(slow_down()),
                1 if now < 5_000 => Fate::Unanswered(slow_down()),
                _ => Fate::Done,
            }
        })));
        let ended = drive(&mut case, until, batch);
        bucket().interfere(None);
        ended.expect("the last run ends well");
        prop_assert_eq!(counts(), wanted(until), "{}", settings);
        // An upload whose id was never told is swept by the next start.
        case.open().assign("t", &[0, 1]).expect("assigned");
        prop_assert_eq!(bucket().unfinished(), []);
    }
}
