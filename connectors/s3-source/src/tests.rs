//! The source as the host drives it, over a bucket that loses requests and answers.

use std::collections::BTreeMap;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use millrace_connector_encode::Codec;
use millrace_connector_encode::datum::{Form, row};
use millrace_connector_encode::json::Json;
use millrace_connector_encode::parquet::ParquetFile;
use millrace_connector_encode::types::avro;
use millrace_sdk::object_store::{Condition, Refusal, Store};
use millrace_sdk::testing::object_store::{Fate, bucket};
use millrace_sdk::testing::{Polled, SourceTest, check_description, task};
use millrace_sdk::{Checkpoint, Error, Flow, Poll, PollLimits, Source, Task, settings};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::S3Source;

/// A connector, its bucket, and what is committed.
struct Case {
    settings: Value,
    tasks: u32,
    committed: Vec<Checkpoint>,
    /// Values that are durable, in order.
    records: Vec<String>,
    rejected: Vec<String>,
}

impl Case {
    fn new(further: Value) -> Self {
        bucket().clear();
        let mut settings = json!({ "connection": "lake", "prefix": "in/", "poll_every": "100ms" });
        settings.as_object_mut().expect("an object").extend(further.as_object().expect("an object").clone());
        Self { settings, tasks: 1, committed: Vec::new(), records: Vec::new(), rejected: Vec::new() }
    }

    fn put(&self, key: &str, body: impl Into<Vec<u8>>) {
        Store::new("lake").put(key, body, Condition::Always).expect("put");
    }

    fn open(&self, number: u32) -> Result<S3Source, Error> {
        let task = Task { number, count: self.tasks, ..task() };
        S3Source::open(&task, settings::parse(&self.settings.to_string())?, self.committed.clone())
    }

    /// What a poll gave is durable from now on.
    fn commit(&mut self, polled: Polled) -> Vec<Checkpoint> {
        let bad: Vec<u32> = polled.rejected.iter().map(|(index, _)| *index).collect();
        for (at, record) in (0..).zip(&polled.records) {
            if !bad.contains(&at) {
                self.records.push(record.text());
            }
        }
        self.rejected.extend(polled.rejected.into_iter().map(|(_, why)| why.message));
        for new in &polled.checkpoints {
            self.committed.retain(|known| known.partition != new.partition);
            if !new.position.is_empty() {
                self.committed.push(new.clone());
            }
        }
        polled.checkpoints
    }

    /// Polls a task until it has nothing more to do.
    fn drain(&mut self, source: &mut SourceTest<S3Source>, records: u32) -> Flow {
        loop {
            let polled =
                source.poll_within(PollLimits { records, bytes: 1 << 20, wait_ms: 0 }).expect("polled");
            let flow = polled.flow;
            let checkpoints = self.commit(polled);
            source.source.commit(&checkpoints).expect("told");
            if flow != Flow::More {
                return flow;
            }
        }
    }

    /// Runs each task from what is committed until it has nothing more to do.
    fn run(&mut self, records: u32) {
        for number in 0..self.tasks {
            let mut source = SourceTest { source: self.open(number).expect("opens") };
            self.drain(&mut source, records);
            source.source.close().expect("closes");
        }
    }

    fn sorted(&self) -> Vec<String> {
        let mut records = self.records.clone();
        records.sort();
        records
    }
}

fn lines(name: &str, count: u32) -> String {
    (0..count).map(|n| format!("{{\"o\":\"{name}\",\"n\":{n}}}\n")).collect()
}

fn values(name: &str, count: u32) -> Vec<String> {
    lines(name, count).lines().map(str::to_owned).collect()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).expect("written");
    encoder.finish().expect("finished")
}

fn parquet(rows: u32) -> Vec<u8> {
    let schema = avro::read(r#"{"type":"record","name":"R","fields":[{"name":"n","type":"long"}]}"#)
        .expect("a schema");
    let mut out = Vec::new();
    let mut file = ParquetFile::begin(&schema, Codec::Snappy, &mut out).expect("begun");
    for n in 0..rows {
        let text = format!("{{\"n\":{n}}}");
        let json = Json::read(&text).expect("JSON");
        file.push(&row(&json, &schema.fields, Form::Plain).expect("a row"), &mut out).expect("pushed");
        if n % 10 == 9 {
            file.end_group(&mut out).expect("a group");
        }
    }
    file.finish(&mut out).expect("finished");
    out
}

#[test]
fn it_describes_itself() {
    check_description(&S3Source::describe()).expect("a good description");
}

#[test]
fn objects_are_read_once_in_the_order_of_their_keys() {
    let mut case = Case::new(json!({}));
    case.put("in/b.json", lines("b", 3));
    case.put("in/a.jsonl.gz", gzip(&lines("a", 3)));
    case.put("out/c.json", lines("c", 3));
    case.put("in/_millrace/d.json", lines("d", 3));
    case.put("in/.e.json", lines("e", 3));
    case.put("in/folder/", "");
    case.put("in/z.log", "plain\n");
    case.run(2);
    let wanted = [values("a", 3), values("b", 3), vec!["plain".to_owned()]].concat();
    assert_eq!(case.records, wanted);
    case.run(2);
    assert_eq!(case.records, wanted, "another run reads nothing again");
    case.put("in/0.json", lines("0", 1));
    case.run(2);
    assert_eq!(case.records.last(), Some(&"{\"o\":\"0\",\"n\":0}".to_owned()), "before all others, but new");
}

#[test]
fn what_is_added_is_followed() {
    for order in ["any", "ascending"] {
        let mut case = Case::new(json!({ "follow": true, "order": order }));
        case.put("in/1.json", lines("1", 2));
        let mut source = SourceTest { source: case.open(0).expect("opens") };
        assert_eq!(case.drain(&mut source, 100), Flow::Idle(100));
        case.put("in/2.json", lines("2", 2));
        case.drain(&mut source, 100);
        case.drain(&mut source, 100);
        assert_eq!(case.records, [values("1", 2), values("2", 2)].concat(), "{order}");
    }
}

#[test]
fn a_kill_goes_on_within_the_object() {
    for (key, body, count) in [
        ("in/a.json", lines("a", 25).into_bytes(), 25),
        ("in/a.json.gz", gzip(&lines("a", 25)), 25),
        ("in/a.parquet", parquet(25), 25),
    ] {
        let mut case = Case::new(json!({}));
        case.put(key, body);
        for _ in 0..count {
            // Each process gives one batch, and is killed before the next one is committed.
            let mut source = SourceTest { source: case.open(0).expect("opens") };
            let limits = PollLimits { records: 1, bytes: 1 << 20, wait_ms: 0 };
            let polled = source.poll_within(limits).expect("polled");
            case.commit(polled);
            let _lost = source.poll_within(limits).expect("polled");
        }
        case.run(100);
        assert_eq!(case.records.len(), count, "{key}");
        let mut distinct = case.sorted();
        distinct.dedup();
        assert_eq!(distinct.len(), count, "{key}");
    }
}

#[test]
fn objects_are_divided_among_tasks_and_taken_over() {
    let mut case = Case::new(json!({}));
    let mut wanted = Vec::new();
    for n in 0..40 {
        case.put(&format!("in/{n}.json"), lines(&n.to_string(), 2));
        wanted.extend(values(&n.to_string(), 2));
    }
    wanted.sort();
    case.tasks = 3;
    // The first task stops in the middle of an object.
    let mut source = SourceTest { source: case.open(0).expect("opens") };
    let polled = source.poll_within(PollLimits { records: 3, bytes: 1 << 20, wait_ms: 0 }).expect("polled");
    case.commit(polled);
    case.tasks = 2;
    case.run(5);
    assert_eq!(case.sorted(), wanted);
}

#[test]
fn an_object_that_is_replaced_is_read_anew_and_one_that_is_removed_is_left() {
    let mut case = Case::new(json!({}));
    case.put("in/a.json", lines("old", 4));
    case.put("in/b.json", lines("b", 4));
    let mut source = SourceTest { source: case.open(0).expect("opens") };
    let polled = source.poll_within(PollLimits { records: 2, bytes: 1 << 20, wait_ms: 0 }).expect("polled");
    case.commit(polled);
    // The process that had it in memory is gone.
    case.put("in/a.json", lines("new", 4));
    let mut source = SourceTest { source: case.open(0).expect("opens") };
    let polled = source.poll_within(PollLimits { records: 6, bytes: 1 << 20, wait_ms: 0 }).expect("polled");
    case.commit(polled);
    Store::new("lake").delete("in/b.json").expect("deleted");
    case.run(100);
    let wanted = [&values("old", 4)[..2], &values("new", 4), &values("b", 4)[..2]].concat();
    assert_eq!(case.records, wanted);
    case.run(100);
    assert_eq!(case.records, wanted);
}

#[test]
fn a_damaged_object_is_rejected_and_the_next_one_read() {
    let mut case = Case::new(json!({}));
    let mut cut = gzip(&lines("a", 3));
    cut.truncate(cut.len() - 4);
    case.put("in/a.json.gz", cut);
    case.put("in/b.parquet", "not at all");
    case.put("in/c.json", lines("c", 1));
    case.run(100);
    assert_eq!(case.records, [values("a", 3), values("c", 1)].concat());
    assert_eq!(case.rejected.len(), 2);
    assert!(case.rejected[0].starts_with("in/a.json.gz: byte "), "{:?}", case.rejected);
    assert!(
        case.rejected[0].contains(", behind line 3: the gzip stream is cut off; "),
        "{:?}",
        case.rejected
    );
    case.run(100);
    assert_eq!(case.rejected.len(), 2, "once");
}

#[test]
fn an_object_that_is_replaced_by_a_shorter_one_is_read_anew() {
    let mut case = Case::new(json!({}));
    case.put("in/a.json", lines("old", 60));
    let mut source = SourceTest { source: case.open(0).expect("opens") };
    let polled = source.poll_within(PollLimits { records: 50, bytes: 1 << 20, wait_ms: 0 }).expect("polled");
    case.commit(polled);
    case.put("in/a.json", lines("new", 1));
    case.run(100);
    assert_eq!(case.records, [&values("old", 60)[..50], &values("new", 1)].concat());
}

#[test]
fn what_could_not_be_read_is_not_deleted() {
    let mut case = Case::new(json!({ "when_done": "delete" }));
    case.put("in/a.parquet", "not at all");
    case.put("in/b.json", lines("b", 1));
    for _ in 0..3 {
        case.run(100);
    }
    assert_eq!((case.rejected.len(), case.records.len()), (1, 1));
    assert_eq!(bucket().objects().len(), 1);
    assert!(Store::new("lake").head("in/a.parquet").is_ok());
}

#[test]
fn there_is_room_again_for_as_many_objects_as_are_removed() {
    let mut case = Case::new(json!({}));
    // A bucket remembers eight in tests.
    let keys = (0..).map(|n| format!("in/{n}.json")).filter(|key| crate::state::bucket_of(key) == 0);
    let keys: Vec<String> = keys.take(12).collect();
    keys[..8].iter().for_each(|key| case.put(key, "{}\n"));
    case.run(100);
    for key in &keys[..4] {
        Store::new("lake").delete(key).expect("deleted");
    }
    keys[8..].iter().for_each(|key| case.put(key, "{}\n"));
    case.run(100);
    case.run(100);
    assert_eq!(case.records.len(), 12);
}

/// The greatest key is all that is remembered then, of damaged objects, too: no number of them fills anything up.
#[test]
fn damaged_objects_in_ascending_order_keep_no_others_from_being_read() {
    let mut case = Case::new(json!({ "order": "ascending" }));
    let keys = (1000..).map(|n| format!("in/{n}.json.gz")).filter(|key| crate::state::bucket_of(key) == 0);
    let keys: Vec<String> = keys.take(12).collect();
    for (at, key) in keys.iter().enumerate() {
        if at < 10 {
            case.put(key, "no gzip");
        } else {
            case.put(key, gzip(&lines("good", 1)));
        }
    }
    case.run(100);
    assert_eq!((case.rejected.len(), case.records.len()), (10, 2));
}

#[test]
fn what_is_gone_from_the_bucket_is_forgotten() {
    let mut case = Case::new(json!({}));
    for n in 0..2000 {
        // More than a bucket remembers in tests, if it remembered all.
        let key = format!("in/{n}.json");
        case.put(&key, "{}\n");
        if n % 200 == 199 {
            case.run(1000);
            case.run(1000);
            for n in n - 199..=n {
                Store::new("lake").delete(&format!("in/{n}.json")).expect("deleted");
            }
        }
    }
    assert_eq!(case.records.len(), 2000);
    case.run(1000);
    assert!(case.committed.is_empty(), "{}", case.committed.len());
}

#[test]
fn too_many_objects_are_told() {
    let case = Case::new(json!({}));
    for n in 0..3000 {
        case.put(&format!("in/{n}.json"), "{}\n");
    }
    let mut source = case.open(0).expect("opens");
    let error = loop {
        match source.poll(PollLimits { records: 500, bytes: 1 << 20, wait_ms: 0 }, &mut Poll::default()) {
            Ok(Flow::More) => {}
            other => break other.expect_err("it has a limit"),
        }
    };
    assert!(error.message.contains("set order: ascending"), "{error}");
    let mut case =
        Case { settings: json!({ "connection": "lake", "prefix": "in/", "order": "ascending" }), ..case };
    case.run(500);
    let requests = bucket().requests();
    case.run(500);
    assert_eq!(case.records.len(), 3000);
    assert_eq!(bucket().requests() - requests, 1, "the listing begins behind the greatest key");
}

#[test]
fn objects_are_deleted_when_their_records_are_durable_and_not_before() {
    let mut case = Case::new(json!({ "when_done": "delete" }));
    case.put("in/a.json", lines("a", 2));
    case.put("in/b.json", lines("b", 2));
    let mut source = SourceTest { source: case.open(0).expect("opens") };
    let polled = source.poll().expect("polled");
    assert_eq!(bucket().objects().len(), 2);
    // Committed, but the process is killed before it is told.
    case.commit(polled);
    assert_eq!(bucket().objects().len(), 2);
    case.put("in/b.json", lines("new", 2));
    case.run(100);
    assert_eq!(case.records, [values("a", 2), values("b", 2), values("new", 2)].concat());
    assert!(bucket().objects().is_empty());
    case.run(100);
    assert!(case.committed.is_empty());
}

#[test]
fn settings_that_contradict_are_found() {
    let problems = |settings: Value| {
        let settings = settings::parse(&settings.to_string()).expect("settings");
        let found = S3Source::validate(&settings).expect("validates");
        found.into_iter().map(|problem| problem.path).collect::<Vec<_>>()
    };
    let with = |further: Value| {
        let mut settings = json!({ "connection": "lake" });
        settings.as_object_mut().expect("an object").extend(further.as_object().expect("an object").clone());
        settings
    };
    assert_eq!(problems(with(json!({}))), [""; 0]);
    assert_eq!(
        problems(with(json!({ "poll_every": "1ms", "read_size": "1KiB" }))),
        ["/poll_every", "/read_size"]
    );
    assert_eq!(problems(with(json!({ "when_done": "delete", "order": "ascending" }))), ["/when_done"]);
    assert_eq!(problems(with(json!({ "format": "parquet", "compression": "gzip" }))), ["/compression"]);
    assert_eq!(problems(with(json!({ "format": "lines", "key": "a" }))), ["/key"]);
}

#[test]
fn types_are_refused_where_there_are_none() {
    let case = Case::new(json!({}));
    case.put("in/a.json", lines("a", 1));
    let task = Task { value_format: "connect-json".to_owned(), ..task() };
    let settings = settings::parse(&case.settings.to_string()).expect("settings");
    let mut source = S3Source::open(&task, settings, Vec::new()).expect("opens");
    let limits = PollLimits { records: 1, bytes: 1, wait_ms: 0 };
    let error = source.poll(limits, &mut Poll::default()).expect_err("refused");
    assert!(error.message.contains("use_latest_version"), "{error}");
    bucket().clear();
    case.put("in/a.parquet", parquet(1));
    let settings = settings::parse(&case.settings.to_string()).expect("settings");
    let source = S3Source::open(&task, settings, Vec::new()).expect("opens");
    let polled = SourceTest { source }.poll().expect("polled");
    assert!(polled.records[0].text().starts_with("{\"schema\":{"), "{}", polled.records[0].text());
}

proptest! {
    /// Requests that are lost, and processes that are killed, anywhere: in the end every record is there once.
    #[test]
    fn lost_requests_and_kills_lose_and_double_nothing(
        counts in proptest::collection::vec(0_u32..12, 1..8),
        fates in proptest::collection::vec(0_u8..10, 1..60),
        batch in 1_u32..9,
        tasks in 1_u32..4,
        order in prop::sample::select(vec!["any", "ascending"]),
    ) {
        let mut case = Case::new(json!({ "order": order, "read_size": "64KiB" }));
        let mut wanted = BTreeMap::new();
        for (at, count) in counts.iter().enumerate() {
            let name = at.to_string();
            if at % 3 == 2 {
                case.put(&format!("in/{name}.json.gz"), gzip(&lines(&name, *count)));
            } else {
                case.put(&format!("in/{name}.json"), lines(&name, *count));
            }
            for value in values(&name, *count) {
                wanted.insert(value, 1);
            }
        }
        case.tasks = tasks;
        let mut fate = fates.into_iter();
        let mut left = fate.clone();
        bucket().interfere(Some(Box::new(move |_| match left.next() {
            Some(0 | 1) => Fate::Lost(Refusal::Failed(Error::retriable("s3.SlowDown", "slow down"))),
            _ => Fate::Done,
        })));
        for number in 0..tasks {
            let mut source = case.open(number).expect("opens");
            loop {
                let mut test = SourceTest { source };
                let polled = test.poll_within(PollLimits { records: batch, bytes: 1 << 20, wait_ms: 0 });
                source = test.source;
                if fate.next() == Some(2) {
                    source = case.open(number).expect("opens");
                    continue;
                }
                // What failed comes again.
                let Ok(polled) = polled else { continue };
                let flow = polled.flow;
                let checkpoints = case.commit(polled);
                source.commit(&checkpoints).expect("told");
                if flow == Flow::End {
                    break;
                }
            }
        }
        let mut found = BTreeMap::new();
        for record in &case.records {
            *found.entry(record.clone()).or_insert(0) += 1;
        }
        prop_assert_eq!(found, wanted);
    }
}
