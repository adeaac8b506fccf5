//! The sink as the host drives it, over a bucket that loses requests and answers.

mod content;
mod kill;

use std::collections::BTreeMap;

use millrace_sdk::testing::clock::advance;
use millrace_sdk::testing::object_store::bucket;
use millrace_sdk::testing::{Record, SinkTest, check_description, task};
use millrace_sdk::{Durable, Error, Sink, Task};
use serde_json::{Value, json};

use crate::S3Sink;

/// A connector and its bucket.
struct Case {
    settings: Value,
    task: Task,
}

impl Case {
    fn new(further: Value) -> Self {
        bucket().clear();
        let mut settings = json!({ "connection": "lake", "format": "json" });
        settings.as_object_mut().expect("an object").extend(further.as_object().expect("an object").clone());
        Self { settings, task: task() }
    }

    /// The next start of the task.
    fn open(&mut self) -> SinkTest<S3Sink> {
        self.task.generation += 1;
        SinkTest::open_as(&self.task, &self.settings.to_string()).expect("opens")
    }

    /// The same with partition 0 assigned.
    fn assigned(&mut self) -> SinkTest<S3Sink> {
        let mut sink = self.open();
        sink.assign("t", &[0]).expect("assigned");
        sink
    }

    /// Opens, puts these values as records of partition 0 from offset 0 on, and closes.
    fn run(&mut self, values: &[&str]) -> Vec<(u32, String)> {
        let mut sink = self.assigned();
        let records: Vec<Record> =
            values.iter().zip(0..).map(|(value, at)| Record::value(*value).at("t", 0, at)).collect();
        let (taken, rejected) = sink.put(&records).expect("taken");
        assert_eq!(taken, records.len());
        sink.close().expect("closes");
        rejected.into_iter().map(|(index, why)| (index, why.code)).collect()
    }
}

/// Objects that are data.
fn objects() -> BTreeMap<String, Vec<u8>> {
    bucket().objects().into_iter().filter(|(key, _)| !key.contains("/_millrace/")).collect()
}

fn texts() -> Vec<(String, String)> {
    objects().into_iter().map(|(key, body)| (key, String::from_utf8(body).expect("text"))).collect()
}

fn keys() -> Vec<String> {
    objects().into_keys().collect()
}

fn numbers(from: i64, until: i64) -> Vec<Record> {
    (from..until)
        .map(|n| Record { timestamp: n * 1000, ..Record::value(n.to_string()).at("t", 0, n) })
        .collect()
}

fn position(durable: &Durable) -> Option<i64> {
    let Durable::UpTo(offsets) = durable else { panic!("positions are in the bucket") };
    offsets.first().map(|at| at.offset)
}

#[test]
fn the_description_is_complete() {
    check_description(&S3Sink::describe()).expect("a complete description");
}

#[test]
fn objects_have_confluents_names_and_appear_when_they_are_whole() {
    let mut case = Case::new(json!({ "flush_size": 3 }));
    let mut sink = case.assigned();
    sink.put(&numbers(0, 5)).expect("taken");
    assert_eq!(keys(), [""; 0]);
    assert_eq!(position(&sink.flush().expect("flushed")), Some(3));
    assert_eq!(texts(), [("topics/t/partition=0/t+0+0000000000.json".into(), "0\n1\n2\n".into())]);
    sink.close().expect("closes");
    assert_eq!(texts()[1], ("topics/t/partition=0/t+0+0000000003.json".into(), "3\n4\n".into()));
    assert_eq!(bucket().unfinished(), []);
}

#[test]
fn time_ends_objects() {
    let rotate = |further: Value| {
        let mut case = Case::new(further);
        let mut sink = case.assigned();
        sink.put(&numbers(0, 5)).expect("taken");
        advance(30_000);
        sink.flush().expect("flushed");
        let early = keys().len();
        sink.put(&numbers(5, 6)).expect("taken");
        advance(40_000);
        sink.flush().expect("flushed");
        (early, texts().into_iter().map(|(_, text)| text.lines().count()).collect::<Vec<_>>())
    };
    // The clock of these tests stands at a full hour when a thread begins.
    assert_eq!(rotate(json!({ "rotate_schedule_interval": "1m" })), (0, vec![6]));
    assert_eq!(rotate(json!({ "rotate_idle": "35s" })), (0, vec![6]));
    assert_eq!(rotate(json!({ "rotate_idle": "25s" })), (1, vec![5, 1]));
    assert_eq!(rotate(json!({ "rotate_interval": "2s" })).1, [2, 2]);
    let wall = json!({ "rotate_interval": "20s", "timestamp_extractor": "wallclock" });
    assert_eq!(rotate(wall), (1, vec![5, 1]));
}

#[test]
fn folders_have_files_of_their_own_and_the_position_waits_for_the_oldest() {
    let mut case = Case::new(json!({
        "partitioner": "field", "partition_field_name": ["k"], "flush_size": 2, "rotate_schedule_interval": "0s",
    }));
    let mut sink = case.assigned();
    let record = |n: i64, k: &str| Record::value(format!("{{\"k\":\"{k}\",\"n\":{n}}}")).at("t", 0, n);
    let records: Vec<_> = ["a", "b", "b", "b", "b", "a"].iter().zip(0..).map(|(k, n)| record(n, k)).collect();
    sink.put(&records[..5]).expect("taken");
    // b's files are there; a's first record is not.
    assert_eq!(position(&sink.flush().expect("flushed")), Some(0));
    assert_eq!(keys(), ["topics/t/k=b/t+0+0000000001.json", "topics/t/k=b/t+0+0000000003.json"]);
    drop(sink);
    // All of it is read again, and none of b's is written again.
    let mut sink = case.open();
    let held: Vec<_> = sink.assign("t", &[0]).expect("assigned").iter().map(|at| at.offset).collect();
    assert_eq!(held, [0]);
    sink.put(&records).expect("taken");
    assert_eq!(position(&sink.flush().expect("flushed")), Some(6));
    let all: Vec<String> = texts().into_iter().map(|(_, text)| text).collect();
    assert_eq!(all.concat().lines().count(), 6, "{all:?}");
    // With folders that other settings make, what is passed over could not be told.
    sink.put(&[record(6, "a"), record(7, "b"), record(8, "b")]).expect("taken");
    sink.flush().expect("flushed");
    case.settings["partition_field_name"] = json!(["n"]);
    let error = case.open().assign("t", &[0]).expect_err("refused");
    assert_eq!(error.code, "state.partitioner");
}

#[test]
fn what_the_state_says_of_folders_is_bounded() {
    let mut case = Case::new(json!({
        "partitioner": "field", "partition_field_name": ["k"], "flush_size": 2, "rotate_schedule_interval": "0s",
    }));
    let mut sink = case.assigned();
    let record = |n: i64, k: i64| Record::value(format!("{{\"k\":{k}}}")).at("t", 0, n);
    let mut records = vec![record(0, -1)];
    records.extend((1..61).map(|n| record(n, (n - 1) / 2)));
    sink.put(&records).expect("taken");
    // Thirty folders are behind the position, which the first record's open file holds back.
    assert_eq!(position(&sink.flush().expect("flushed")), Some(0));
    assert_eq!(position(&sink.flush().expect("flushed")), Some(61));
    assert_eq!(objects().len(), 31);
}

#[test]
fn pieces_of_a_record_stay_together() {
    let mut case = Case::new(json!({ "flush_size": 2 }));
    let pieces: Vec<Record> = numbers(0, 4).into_iter().flat_map(|r| [r.clone(), r.clone(), r]).collect();
    let mut sink = case.assigned();
    let mut left = &pieces[..];
    while !left.is_empty() {
        let (taken, _) = sink.put(left).expect("taken");
        assert!(taken.is_multiple_of(3) && taken > 0, "{taken}");
        left = &left[taken..];
    }
    sink.close().expect("closes");
    assert_eq!(
        texts().iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(),
        ["0\n0\n0\n", "1\n1\n1\n", "2\n2\n2\n", "3\n3\n3\n"]
    );
}

#[test]
fn a_large_object_goes_in_parts_and_memory_stays_within_the_budget() {
    let mut case = Case::new(json!({ "s3_part_size": "5MiB", "buffer": "6MiB", "rotate_bytes": "1GiB" }));
    let mut sink = case.assigned();
    let body = "x".repeat(1 << 20);
    let records: Vec<Record> =
        (0..20).map(|n| Record::value(format!("\"{n}{body}\"")).at("t", 0, n)).collect();
    let mut left = &records[..];
    while !left.is_empty() {
        let (taken, _) = sink.put(left).expect("taken");
        let held: usize = sink.sink.lanes.iter().map(crate::Lane::held_bytes).sum();
        assert!(held <= 8 << 20, "{held}");
        left = &left[taken..];
        if taken == 0 {
            sink.flush().expect("flushed");
        }
    }
    assert_eq!((objects().len(), bucket().unfinished().len()), (0, 1));
    sink.close().expect("closes");
    let all = texts();
    assert_eq!((all.len(), all[0].1.lines().count()), (1, 20));
    // Many small files are no parts: the largest are finished.
    let mut case = Case::new(json!({
        "s3_part_size": "5MiB", "buffer": "6MiB", "partitioner": "field", "partition_field_name": ["k"],
    }));
    let mut sink = case.assigned();
    let small = "x".repeat(200 << 10);
    let records: Vec<Record> = (0..60)
        .map(|n| Record::value(format!("{{\"k\":{},\"v\":\"{small}\"}}", n % 20)).at("t", 0, n))
        .collect();
    let mut left = &records[..];
    while !left.is_empty() {
        let (taken, _) = sink.put(left).expect("taken");
        left = &left[taken..];
        if taken == 0 {
            sink.flush().expect("flushed");
        }
    }
    assert!(!objects().is_empty(), "nothing was finished early");
    sink.close().expect("closes");
    assert_eq!(texts().iter().map(|(_, text)| text.lines().count()).sum::<usize>(), 60);
}

#[test]
fn objects_are_others_business_once_the_sink_has_ended_or_flushed_again() {
    let mut case = Case::new(json!({ "flush_size": 3 }));
    let mut sink = case.assigned();
    let remove_all = || {
        let store = millrace_sdk::object_store::Store::new("lake");
        keys().iter().for_each(|key| store.delete(key).expect("deleted"));
    };
    sink.put(&numbers(0, 4)).expect("taken");
    sink.close().expect("closes");
    assert_eq!(keys().len(), 2);
    remove_all();
    let mut sink = case.assigned();
    sink.put(&numbers(4, 7)).expect("taken");
    for _ in 0..2 {
        assert_eq!(position(&sink.flush().expect("flushed")), Some(7));
    }
    // It is said once: nothing that moves costs a request.
    let before = bucket().objects();
    sink.flush().expect("flushed");
    assert_eq!(bucket().objects(), before);
    remove_all();
    // Without an end, as after a kill.
    drop(sink);
    let mut sink = case.assigned();
    sink.put(&numbers(7, 10)).expect("taken");
    sink.close().expect("closes");
    assert_eq!(texts().into_iter().map(|(_, text)| text).collect::<String>(), "7\n8\n9\n");
}

/// A folder that fits by itself may not fit behind a long topic's name, which is in the key twice.
#[test]
fn a_key_that_no_store_takes_is_the_records_fault() {
    let mut case = Case::new(json!({ "partitioner": "field", "partition_field_name": ["k"] }));
    let topic = "t".repeat(200);
    let mut sink = case.open();
    sink.assign(&topic, &[0]).expect("assigned");
    let record = |length: usize, offset| {
        let value = json!({ "k": "x".repeat(length) }).to_string();
        Record::value(value).at(&topic, 0, offset)
    };
    let (taken, rejected) = sink.put(&[record(500, 0), record(590, 1), record(500, 2)]).expect("taken");
    let told: Vec<_> = rejected.iter().map(|(index, why)| (*index, why.code.as_str())).collect();
    assert_eq!((taken, told), (3, vec![(1, "s3.path")]));
    sink.close().expect("closes");
    assert_eq!(texts().into_iter().map(|(_, text)| text.lines().count()).collect::<Vec<_>>(), [2]);
}

/// Room is made by many files at once: each by itself would cost a commit of its own.
#[test]
fn many_small_files_make_room_with_few_commits() {
    let mut case = Case::new(json!({
        "s3_part_size": "5MiB", "buffer": "6MiB", "partitioner": "field", "partition_field_name": ["k"],
    }));
    let mut sink = case.assigned();
    let records: Vec<Record> =
        (0..900).map(|n| Record::value(format!("{{\"k\":{n}}}")).at("t", 0, n)).collect();
    let commits = std::rc::Rc::new(std::cell::Cell::new(0));
    let counted = std::rc::Rc::clone(&commits);
    bucket().interfere(Some(Box::new(move |name| {
        counted.set(counted.get() + u32::from(name == "put"));
        millrace_sdk::testing::object_store::Fate::Done
    })));
    let mut left = &records[..];
    while !left.is_empty() {
        let (taken, _) = sink.put(left).expect("taken");
        left = &left[taken..];
    }
    bucket().interfere(None);
    assert!(objects().len() > 100, "{} objects", objects().len());
    // Of three objects each, in a test.
    assert!(commits.get() < 200, "{} commits", commits.get());
    sink.close().expect("closes");
    assert_eq!(objects().len(), 900);
    assert_eq!(bucket().unfinished(), []);
}

#[test]
fn a_zombie_commits_nothing_and_leaves_nothing() {
    let mut case = Case::new(json!({ "flush_size": 3 }));
    let mut zombie = case.assigned();
    zombie.put(&numbers(0, 2)).expect("taken");
    let mut next = case.assigned();
    next.put(&numbers(0, 4)).expect("taken");
    zombie.put(&numbers(2, 4)).expect("not committed yet");
    assert_eq!(zombie.flush().expect_err("fenced").code, "fenced");
    next.close().expect("closes");
    assert_eq!(texts().into_iter().map(|(_, text)| text).collect::<String>(), "0\n1\n2\n3\n");
    assert_eq!(bucket().unfinished(), []);
    // One that starts late is told at once.
    case.task.generation -= 2;
    assert_eq!(case.open().assign("t", &[0]).expect_err("fenced").code, "fenced");
}

#[test]
fn a_topic_in_a_folder_belongs_to_one_sink() {
    let mut case = Case::new(json!({}));
    case.run(&["1"]);
    case.task.connector = "other".into();
    let error = case.open().assign("t", &[0]).expect_err("another's");
    assert_eq!(error.code, "state.foreign");
    assert!(error.message.ends_with("belongs to test; give other another topics_dir"), "{error}");
}

#[test]
fn partitions_come_and_go_with_what_they_hold() {
    let mut case = Case::new(json!({}));
    let mut first = case.assigned();
    first.put(&numbers(0, 3)).expect("taken");
    let gone = [millrace_sdk::TopicPartition { topic: "t".into(), partition: 0 }];
    first.sink.revoked(&gone).expect("revoked");
    assert_eq!(texts().len(), 1, "what it held is there before another one has it");
    case.task.number = 1;
    let mut second = case.open();
    assert_eq!(second.assign("t", &[0]).expect("assigned")[0].offset, 3);
    assert_eq!(first.put(&numbers(3, 4)).expect_err("not its own").code, "s3.partition");
}

fn run_error(settings: Value) -> Error {
    let mut all = json!({ "connection": "lake", "format": "json" });
    all.as_object_mut().expect("an object").extend(settings.as_object().expect("an object").clone());
    SinkTest::<S3Sink>::open(&all.to_string()).map(drop).expect_err("refused")
}

#[test]
fn settings_that_make_no_sense_are_told() {
    for (settings, pointer) in [
        (json!({ "compression": "snappy" }), "/compression"),
        (json!({ "schema": "{}" }), "/schema"),
        (json!({ "format": "avro", "schema": "{}" }), "/schema"),
        (json!({ "columns": ["a"] }), "/columns"),
        (json!({ "topics_dir": "/a" }), "/topics_dir"),
        (json!({ "partitioner": "field" }), "/partition_field_name"),
        (json!({ "partition_field_name": ["a"] }), "/partition_field_name"),
        (json!({ "partitioner": "time", "path_format": "ww" }), "/path_format"),
        (json!({ "timezone": "Mars" }), "/timezone"),
        (json!({ "timestamp_field": "a[" }), "/timestamp_field"),
        (json!({ "s3_part_size": "1MiB" }), "/s3_part_size"),
        (json!({ "s3_part_size": "16MiB" }), "/s3_part_size"),
        (json!({ "buffer": "5MiB" }), "/buffer"),
        (json!({ "rotate_bytes": "0B" }), "/rotate_bytes"),
        (json!({ "rotate_idle": "0s" }), "/rotate_idle"),
    ] {
        let error = run_error(settings.clone());
        assert!(error.message.starts_with(&format!("{pointer}: ")), "{settings}: {error}");
    }
}
