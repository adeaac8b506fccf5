//! The same requests to both workers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use millrace_tests::Broker;
use millrace_tests::connect::{kafka, millrace, rest};
use serde_json::{Value, json};

use crate::differences::DIFFERENCES;

/// Longest wait for a state, on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
/// Longest time that Kafka Connect answers 409 because its workers rebalance.
const REBALANCE_LIMIT: Duration = Duration::from_secs(60);

/// Keys whose values have to be the same, and not only of the same kind.
const EXACT: [&str; 10] =
    ["state", "type", "error_code", "message", "task", "id", "connector", "error_count", "topics", "status"];
/// Keys whose values are each worker's own.
const OWN: [&str; 6] = ["config", "configs", "groups", "trace", "worker_id", "last_modified"];

/// A request: what Kafka Connect is sent, what we are.
struct Both {
    kafka: String,
    millrace: String,
    /// What Kafka Connect calls things and what we do.
    names: Vec<(&'static str, &'static str)>,
    found: BTreeMap<String, String>,
    asked: u32,
}

impl Both {
    /// Asks both and notes where the answers differ. `$source` and `$sink` stand for each worker's classes.
    fn ask(&mut self, method: &str, path: &str, bodies: Option<(Value, Value)>) {
        self.asked += 1;
        let kafka_path =
            self.names.iter().fold(path.to_owned(), |path, (name, theirs)| path.replace(name, theirs));
        let millrace_path = path.replace("$source", "file-source").replace("$sink", "file-sink");
        let kafka = patient(&self.kafka, method, &kafka_path, bodies.as_ref().map(|both| &both.0));
        let millrace = rest::ask(&self.millrace, method, &millrace_path, bodies.as_ref().map(|both| &both.1));
        // A configuration is each worker's own.
        let key = if path.ends_with("/config") && path.starts_with("/connectors") { "config" } else { "" };
        let (kafka, millrace) = (self.shown(kafka, key), self.shown(millrace, key));
        if kafka != millrace {
            let call = format!("{method} {path}");
            self.found.insert(call, format!("  Kafka Connect: {kafka}\n  Millrace:      {millrace}"));
        }
    }

    fn shown(&self, answer: Option<(u16, Value)>, key: &str) -> String {
        let Some((status, body)) = answer else { return "no answer".to_owned() };
        let shape = shape(&body, if body["config"].is_null() && status < 300 { key } else { "" });
        // Each worker calls its classes otherwise.
        let shape = self.names.iter().fold(shape, |shape, (name, theirs)| shape.replace(theirs, name));
        format!("{status} {}", shape.replace("file-source", "$source").replace("file-sink", "$sink"))
    }

    /// Waits until a connector and its tasks are in these states at both.
    fn wait(&self, name: &str, wanted: &[&str]) {
        for address in [&self.kafka, &self.millrace] {
            let started = Instant::now();
            loop {
                let status = rest::ask(address, "GET", &format!("/connectors/{name}/status"), None);
                let states = status.map(|(_, body)| {
                    let tasks = body["tasks"].as_array().cloned().unwrap_or_default();
                    let all = std::iter::once(body["connector"].clone()).chain(tasks);
                    all.map(|of| of["state"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
                });
                if states.as_deref().is_some_and(|states| states == wanted) {
                    break;
                }
                assert!(started.elapsed() < LIMIT, "{address}: {name} is {states:?}, not {wanted:?}");
                thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

/// Kafka Connect refuses what it is asked in the middle of a rebalance.
fn patient(address: &str, method: &str, path: &str, body: Option<&Value>) -> Option<(u16, Value)> {
    let started = Instant::now();
    loop {
        let answer = rest::ask(address, method, path, body);
        let rebalances =
            |body: &Value| body["message"].as_str().is_some_and(|said| said.contains("rebalance"));
        match &answer {
            Some((409, body)) if rebalances(body) && started.elapsed() < REBALANCE_LIMIT => {
                thread::sleep(Duration::from_millis(100));
            }
            _ => return answer,
        }
    }
}

/// What has to be alike: keys, kinds, and the values of [`EXACT`] keys.
fn shape(value: &Value, key: &str) -> String {
    if OWN.contains(&key) {
        return "...".to_owned();
    }
    match value {
        Value::Object(map) => {
            let members = map.iter().map(|(name, value)| format!("{name}: {}", shape(value, name)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
        }
        Value::Array(items) => {
            let each: BTreeSet<String> = items.iter().map(|item| shape(item, key)).collect();
            format!("[{}]", each.into_iter().collect::<Vec<_>>().join(", "))
        }
        scalar if EXACT.contains(&key) => scalar.to_string(),
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Number(_) => "number".to_owned(),
        Value::String(_) => "text".to_owned(),
    }
}

const SOURCE: &str = "org.apache.kafka.connect.file.FileStreamSourceConnector";
const SINK: &str = "org.apache.kafka.connect.file.FileStreamSinkConnector";

#[test]
fn answers_are_alike() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (theirs, ours) = (folder.path().join("kafka"), folder.path().join("millrace"));
    for folder in [&theirs, &ours] {
        fs::create_dir(folder).expect("a folder");
        fs::write(folder.join("in.txt"), "one\ntwo\n").expect("the source file");
    }
    let brokers =
        [&theirs, &ours].map(|folder| Broker::start(folder, &["group.initial.rebalance.delay.ms=0"]));
    let kafka = kafka::Worker::start(&brokers[0].bootstrap(), &theirs);
    let millrace = millrace::Worker::start(&brokers[1].bootstrap(), &ours);
    let mut both = Both {
        kafka: kafka.address().to_owned(),
        millrace: millrace.address().to_owned(),
        names: vec![("$source", SOURCE), ("$sink", SINK)],
        found: BTreeMap::new(),
        asked: 0,
    };
    let source = (
        json!({ "connector.class": SOURCE, "file": theirs.join("in.txt"), "topic": "lines", "tasks.max": "1" }),
        json!({ "connector.class": "file-source", "path": ours.join("in.txt"), "topic": "lines", "tasks.max": "1", "follow": "true" }),
    );
    let sink = (
        json!({ "connector.class": SINK, "file": theirs.join("out.txt"), "topics": "lines", "tasks.max": "1" }),
        json!({ "connector.class": "file-sink", "path": ours.join("out.txt"), "topics": "lines", "tasks.max": "1" }),
    );
    calls(&mut both, &source, &sink);

    let listed: BTreeSet<&str> = DIFFERENCES.iter().map(|(call, _)| *call).collect();
    let mut wrong = String::new();
    for (call, difference) in both.found.iter().filter(|(call, _)| !listed.contains(call.as_str())) {
        writeln!(wrong, "{call} differs:\n{difference}").expect("text");
    }
    for call in listed.iter().filter(|call| !both.found.contains_key(**call)) {
        writeln!(wrong, "{call} is listed as a difference and is none").expect("text");
    }
    assert!(wrong.is_empty(), "of {} calls:\n{wrong}\n{}", both.asked, millrace.log());
    millrace.stop();
    kafka.stop();
}

/// Every path, in an order in which each has something to say.
fn calls(both: &mut Both, source: &(Value, Value), sink: &(Value, Value)) {
    let same = |value: Value| Some((value.clone(), value));
    let named = |name: &str, config: &(Value, Value)| {
        let body = |config: &Value| json!({ "name": name, "config": config });
        Some((body(&config.0), body(&config.1)))
    };
    for path in
        ["/", "/health", "/connectors", "/connector-plugins", "/connector-plugins?connectorsOnly=false"]
    {
        both.ask("GET", path, None);
    }
    both.ask("GET", "/nowhere", None);
    both.ask("DELETE", "/connectors", None);
    both.ask("GET", "/connector-plugins/$source/config", None);
    both.ask("GET", "/connector-plugins/nobody/config", None);
    both.ask("PUT", "/connector-plugins/$sink/config/validate", Some(sink.clone()));
    both.ask(
        "PUT",
        "/connector-plugins/nobody/config/validate",
        same(json!({ "connector.class": "nobody" })),
    );
    both.ask("PUT", "/connector-plugins/$source/config/validate", Some(sink.clone()));

    // Nothing is called so yet.
    for (method, what) in [
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/config"),
        ("GET", "/status"),
        ("PUT", "/pause"),
        ("PUT", "/resume"),
        ("PUT", "/stop"),
        ("POST", "/restart"),
        ("POST", "/restart?includeTasks=true"),
        ("GET", "/tasks"),
        ("GET", "/tasks/0/status"),
        ("POST", "/tasks/0/restart"),
        ("GET", "/topics"),
        ("PUT", "/topics/reset"),
        ("GET", "/offsets"),
        ("DELETE", "/offsets"),
    ] {
        both.ask(method, &format!("/connectors/nobody{what}"), None);
    }
    both.ask("PATCH", "/connectors/nobody/config", same(json!({ "tasks.max": "1" })));

    // Made, again, and wrong.
    both.ask("POST", "/connectors", named("source", source));
    both.ask("POST", "/connectors?nameless", same(json!({ "config": {} })));
    both.ask("POST", "/connectors?list", same(json!([])));
    both.ask("POST", "/connectors?wrong-name", {
        let wrong = |config: &Value| {
            let mut config = config.clone();
            config["name"] = json!("other");
            json!({ "name": "source2", "config": config })
        };
        Some((wrong(&source.0), wrong(&source.1)))
    });
    both.wait("source", &["RUNNING", "RUNNING"]);
    both.ask("POST", "/connectors?again", named("source", source));
    both.ask("PUT", "/connectors/sink/config", Some(sink.clone()));
    both.wait("sink", &["RUNNING", "RUNNING"]);
    both.ask("PUT", "/connectors/sink/config?again", Some(sink.clone()));
    both.ask(
        "PATCH",
        "/connectors/sink/config",
        same(json!({ "tasks.max": "1", "errors.tolerance": "none" })),
    );
    both.wait("sink", &["RUNNING", "RUNNING"]);

    // Seen.
    for path in [
        "/connectors",
        "/connectors?expand=status",
        "/connectors?expand=info",
        "/connectors?expand=status&expand=info",
        "/connectors/source",
        "/connectors/source/config",
        "/connectors/source/status",
        "/connectors/sink/status",
        "/connectors/source/tasks",
        "/connectors/sink/tasks",
        "/connectors/source/tasks/0/status",
        "/connectors/source/tasks/7/status",
        "/connectors/source/tasks/x/status",
    ] {
        both.ask("GET", path, None);
    }
    for address in [both.kafka.clone(), both.millrace.clone()] {
        let started = Instant::now();
        let used = |address: &str| {
            let (_, body) = rest::ask(address, "GET", "/connectors/source/topics", None)?;
            Some(body["source"]["topics"] == json!(["lines"]))
        };
        while used(&address) != Some(true) {
            assert!(started.elapsed() < LIMIT, "{address}: the source uses no topic");
            thread::sleep(Duration::from_millis(50));
        }
    }
    both.ask("GET", "/connectors/source/topics", None);

    // Started and stopped.
    both.ask("POST", "/connectors/sink/restart", None);
    both.wait("sink", &["RUNNING", "RUNNING"]);
    both.ask("POST", "/connectors/sink/restart?includeTasks=true", None);
    both.wait("sink", &["RUNNING", "RUNNING"]);
    both.ask("POST", "/connectors/sink/restart?includeTasks=true&onlyFailed=true", None);
    both.ask("POST", "/connectors/sink/tasks/0/restart", None);
    both.ask("POST", "/connectors/sink/tasks/7/restart", None);
    both.wait("sink", &["RUNNING", "RUNNING"]);
    both.ask("PUT", "/connectors/sink/pause", None);
    both.wait("sink", &["PAUSED", "PAUSED"]);
    both.ask("GET", "/connectors/sink/status?paused", None);
    both.ask("PUT", "/connectors/sink/resume", None);
    both.wait("sink", &["RUNNING", "RUNNING"]);

    // Positions.
    let change = |offset: Value| {
        same(
            json!({ "offsets": [{ "partition": { "kafka_topic": "lines", "kafka_partition": 0 }, "offset": offset }] }),
        )
    };
    both.ask("PATCH", "/connectors/sink/offsets?running", change(json!({ "kafka_offset": 1 })));
    both.ask("DELETE", "/connectors/sink/offsets?running", None);
    both.ask("PUT", "/connectors/sink/stop", None);
    both.wait("sink", &["STOPPED"]);
    both.ask("GET", "/connectors/sink/tasks?stopped", None);
    both.ask("PATCH", "/connectors/sink/offsets", change(json!({ "kafka_offset": 1 })));
    both.ask("GET", "/connectors/sink/offsets", None);
    both.ask("PATCH", "/connectors/sink/offsets?none", same(json!({ "offsets": [] })));
    both.ask("PATCH", "/connectors/sink/offsets?wrong", change(json!({ "offset": 1 })));
    both.ask("DELETE", "/connectors/sink/offsets", None);
    both.ask("PUT", "/connectors/source/stop", None);
    both.wait("source", &["STOPPED"]);
    both.ask("DELETE", "/connectors/source/offsets", None);
    both.ask("GET", "/connectors/source/offsets", None);

    // Log levels.
    both.ask("GET", "/admin/loggers/root", None);
    both.ask("GET", "/admin/loggers/nobody", None);
    both.ask("PUT", "/admin/loggers/root?level", same(json!({})));
    both.ask("PUT", "/admin/loggers/root?unknown", same(json!({ "level": "LOUD" })));
    both.ask("PUT", "/admin/loggers/root?scope=cluster", same(json!({ "level": "WARN" })));

    // Removed.
    both.ask("PUT", "/connectors/source/topics/reset", None);
    both.ask("DELETE", "/connectors/source", None);
    both.ask("DELETE", "/connectors/sink", None);
    both.ask("GET", "/connectors/sink?gone", None);
}
