//! The schema registry and the formats that use it, with Confluent's serializers of Python and client of Java on the other side.

mod doctor;
mod schemas;
mod typed;

use std::fs;
use std::path::Path;
use std::time::Duration;

use millrace_tests::broker::free_address;
use millrace_tests::process::{Process, command};
use millrace_tests::{Broker, binary, tools};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(180);

/// A broker with a registry beside it.
struct Site {
    broker: Broker,
    url: String,
    folder: TempDir,
}

impl Site {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let address = free_address();
        let broker = Broker::start(folder.path(), &[&format!("registry.listener={address}")]);
        Self { broker, url: format!("http://{address}"), folder }
    }

    /// Runs the Python program to its good end; what it printed.
    fn python(&self, verb: &str, more: &[&str]) -> String {
        let mut program = tools::python();
        program.arg(binary::repository().join("tests/clients/python/registry.py"));
        program.args([verb, &self.broker.bootstrap(), &self.url]).args(more);
        Process::spawn(&mut program, self.folder.path().join(format!("{verb}.txt"))).succeed(LIMIT)
    }

    /// Runs a pipeline to its end, with `URL` in it replaced.
    fn pipeline(&self, text: &str) {
        let file = self.folder.path().join("pipeline.yaml");
        fs::write(&file, text.replace("URL", &self.url)).expect("a file");
        let mut connect = command(binary());
        connect.current_dir(self.folder.path());
        connect.args([
            "connect",
            "--bootstrap",
            &self.broker.bootstrap(),
            "pipeline.yaml",
            "--exit-when-done",
        ]);
        Process::spawn(&mut connect, self.folder.path().join("connect.txt")).succeed(LIMIT);
    }

    fn read(&self, name: &str) -> String {
        let path: &Path = self.folder.path();
        fs::read_to_string(path.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

#[test]
fn confluents_java_client_works_as_with_their_own_registry() {
    let site = Site::start();
    let mut program = tools::java_registry();
    program.arg(&site.url);
    let said = Process::spawn(&mut program, site.folder.path().join("java.txt")).succeed(LIMIT);
    assert!(said.ends_with("ok registry\n"), "{said}");
}

#[test]
fn confluents_python_serializers_work_as_with_their_own_registry() {
    let mut site = Site::start();
    assert!(site.python("round-trip", &[]).ends_with("ok\n"));
    // What was registered is on disk.
    site.broker.kill();
    site.broker.restart();
    site.python("write", &["again"]);
}

#[test]
fn a_sink_reads_avro_that_python_wrote() {
    let site = Site::start();
    site.python("write", &["orders"]);
    site.pipeline(
        r#"
version: 1
connections:
  schemas: { schema_registry: { url: "URL" } }
pipelines:
  orders:
    topic: orders
    sinks:
      all:
        connector: file-sink
        path: orders.jsonl
        value_format: { type: avro, registry: schemas }
        transforms:
          - { connector: mask, fields: [note] }
        errors: { tolerance: all, dead_letter_topic: orders.dlq }
      dead:
        connector: file-sink
        path: same.jsonl
        value_format: { type: avro, registry: schemas, decimals: numbers }
        errors: { tolerance: all }
  dead:
    topic: orders.dlq
    sinks:
      all: { connector: file-sink, path: dead.txt, format: lines }
"#,
    );
    let rest =
        r#""at":"2026-01-31T12:34:56.789Z","day":"2024-02-29","ref":"0f0e0d0c-0b0a-0908-0706-050403020100""#;
    let line = |id: u64, price: &str, note: &str| {
        format!("{{\"id\":{id},\"price\":{price},{rest},\"note\":{note},\"raw\":\"AP8=\"}}\n")
    };
    let first = 9_007_199_254_740_993;
    let price = "\"123456789012345678.90\"";
    // What is null has nothing to hide.
    let note = |number| if number == 0 { "null" } else { "\"****\"" };
    let masked: Vec<String> = (0..3).map(|number| line(first + number, price, note(number))).collect();
    assert_eq!(site.read("orders.jsonl"), masked.concat());
    assert!(site.read("same.jsonl").starts_with(&line(first, "123456789012345678.90", "null")));
    assert_eq!(site.read("dead.txt"), "{}\n", "the record as it was in the topic");
}

#[test]
fn python_reads_avro_that_a_source_wrote() {
    let site = Site::start();
    let schema = r#"{"type":"record","name":"Trip","fields":[
        {"name":"city","type":"string"},
        {"name":"fare","type":{"type":"bytes","logicalType":"decimal","precision":30,"scale":2}},
        {"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},
        {"name":"seats","type":"int","default":4}]}"#;
    fs::write(site.folder.path().join("trip.avsc"), schema).expect("a file");
    let trips = r#"{"city":"Oslo","fare":"1234567890123456789012345678.90","at":"2026-01-31T12:34:56.789012Z"}
{"city":"Kyiv","fare":12.5,"at":0,"seats":2}
{"city":"Rome","fare":"no number","at":0}
"#;
    fs::write(site.folder.path().join("trips.jsonl"), trips).expect("a file");
    site.pipeline(
        r#"
version: 1
connections:
  schemas: { schema_registry: { url: "URL" } }
pipelines:
  trips:
    source:
      connector: file-source
      path: trips.jsonl
      format: jsonl
      key: city
      key_format: string
      value_format: { type: avro, registry: schemas, schema: trip.avsc }
      errors: { tolerance: all }
    topic: { name: trips, partitions: 1 }
"#,
    );
    assert_eq!(
        site.python("read", &["trips", "2"]),
        "{\"at\": \"2026-01-31T12:34:56.789012+00:00\", \"city\": \"Oslo\", \"fare\": \"1234567890123456789012345678.90\", \"seats\": 4}\n\
         {\"at\": \"1970-01-01T00:00:00+00:00\", \"city\": \"Kyiv\", \"fare\": \"12.50\", \"seats\": 2}\n"
    );
}
