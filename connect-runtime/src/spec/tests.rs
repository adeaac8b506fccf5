//! The format as a whole, through [`super::parse`]; the many bad files are folders in `tests/pipelines/`.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use millrace_schema::Kind;

use super::{Deployment, Environment, RegistrySpec, SourceFile, parse};
use crate::plan::{ComponentRef, Decimals, Format};

/// An environment that is a table.
#[derive(Default)]
struct Table {
    variables: BTreeMap<&'static str, &'static str>,
    files: BTreeMap<&'static str, &'static str>,
}

impl Environment for Table {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(|value| (*value).to_owned())
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        let found = path.to_str().and_then(|path| self.files.get(path));
        found.map(|text| (*text).to_owned()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn is_file(&self, _: &Path) -> bool {
        true
    }
}

fn table() -> Table {
    Table {
        variables: BTreeMap::from([("SECRET", "hunter2"), ("PORT", "9092")]),
        files: BTreeMap::from([("dir/app.properties", "# comment\nuser = alice\npassword=s3cr=et\n")]),
    }
}

fn read(text: &str) -> Result<Deployment, String> {
    let file = SourceFile::new("dir/p.yaml", text);
    parse(&file, &table()).map_err(|all| all.iter().map(|d| d.to_string()).collect::<Vec<_>>().join("\n\n"))
}

const GOOD: &str = r#"
version: 1
broker: { data: ./data, listen: "127.0.0.1:${env:PORT}", config: { num.partitions: 3 } }
pipelines:
  orders:
    source:
      connector: ./mine.wasm
      tasks: 2
      password: "${env:SECRET}"
      user: ${file:app.properties:user}
      pattern: "${topic}-$${env:SECRET}"
      depth: { n: 5, f: 1.5, yes: yes, on: true, none: ~, list: [a, "1"] }
      limits: { memory: 64MiB, call_timeout: 1m30s }
      files: { read: [./in], write: [/srv/out] }
    transforms:
      - { connector: mask, fields: [card] }
    topic: { name: orders, partitions: 3, config: { retention.ms: 1000 } }
    sinks:
      archive:
        connector: file-sink
        path: ../out/x.jsonl
        errors: { tolerance: all, dead_letter_topic: orders.dlq, retry_timeout: 30s }
        flush_interval: 1s
"#;

#[test]
fn a_file_means_what_it_says() {
    let deployment = read(GOOD).unwrap();
    let pipeline = &deployment.pipelines[0];
    let source = pipeline.source.as_ref().unwrap();
    assert_eq!(source.name, "orders.source");
    assert_eq!(source.tasks_max, 2);
    assert_eq!(source.limits.memory_bytes_max, 64 << 20);
    assert_eq!(source.transforms[0].component, Some(ComponentRef::Bundled("mask".into())));
    assert!(source.files[0].host.ends_with("dir/in"), "{:?}", source.files);
    assert_eq!(source.files[0].guest, "./in");
    let json = serde_json::Value::Object(source.settings.as_json().clone());
    assert_eq!(
        json,
        serde_json::json!({
            "password": "hunter2", "user": "alice", "pattern": "${topic}-${env:SECRET}",
            "depth": { "n": 5, "f": 1.5, "yes": "yes", "on": true, "none": null, "list": ["a", "1"] },
        })
    );
    assert_eq!(source.settings.place("/depth/list/1").unwrap().value.line, 12);
    assert!(source.settings.is_referenced("/password"));
    assert_eq!(pipeline.sinks[0].name, "orders.archive");
    assert_eq!(pipeline.sinks[0].errors.dead_letter_topic.as_deref(), Some("orders.dlq"));
    let super::ClusterSpec::Embedded(broker) = &deployment.cluster else {
        panic!("{:?}", deployment.cluster)
    };
    assert_eq!(broker.listen.as_deref(), Some("127.0.0.1:9092"));
}

#[test]
fn a_secret_is_in_no_message() {
    let bad = r#"
version: 1
connections:
  c: { http: { url: "${env:SECRET}" } }
  d: { http: { url: "https://d.example", timeout: "${env:SECRET}" } }
pipelines:
  p:
    source: { connector: file-source, tasks: "${env:SECRET}", limits: { memory: "${env:SECRET}" } }
    topic: { name: "a ${env:SECRET}", partitions: "${env:SECRET}" }
    sinks:
      s: { connector: "x/${env:SECRET}", connection: "${env:SECRET}", errors: { tolerance: "${env:SECRET}" } }
"#;
    let shown = read(bad).unwrap_err();
    assert!(!shown.contains("hunter2"), "{shown}");
    assert_eq!(shown.matches("error: ").count(), 8, "{shown}");
    let debug = format!("{:?}", read(GOOD).unwrap());
    assert!(!debug.contains("hunter2"), "{debug}");
}

#[test]
fn all_errors_come_at_once() {
    let shown = read("version: 2\npipelines: { p: { sinks: { a: { conector: x } } }, q: 5 }\nextra: 1\n")
        .unwrap_err();
    for part in [
        "expected: `1`",
        "names no connector",
        "did you mean `connector`",
        "no topic",
        "`q` can't be a number",
        "`extra`",
    ] {
        assert!(shown.contains(part), "{part} is not in:\n{shown}");
    }
}

#[test]
fn laughs_and_depths_end() {
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let list = vec![format!("*a{}", level - 1); 10].join(", ");
        laughs.push_str(&format!("a{level}: &a{level} [{list}]\n"));
    }
    let shown = read(&laughs).unwrap_err();
    assert!(shown.contains("more than 100000 nodes"), "{shown}");
    let shown = read(&"[".repeat(100)).unwrap_err();
    assert!(shown.contains("nested deeper than 32"), "{shown}");
    let shown = read(&"[".repeat(100_000)).unwrap_err();
    assert!(shown.contains("recursion limit exceeded"), "{shown}");
    let deep = format!("a: {}", "- ".repeat(5_000));
    assert!(read(&deep).is_err());
}

#[test]
fn the_merge_of_aliases_is_plain_yaml() {
    let text = "version: 1\npipelines:\n  p:\n    topic: t\n    sinks:\n      a: &s { connector: file-sink, path: x }\n      b: *s\n";
    let deployment = read(text).unwrap();
    assert_eq!(deployment.pipelines[0].sinks[1].name, "p.b");
}

#[test]
fn odd_texts_are_refused_without_a_panic() {
    for text in [
        "",
        "\u{feff}",
        "- a",
        "a: [",
        "a: b: c",
        "\t",
        "? [a]\n: b",
        "&a *a",
        "--- a\n--- b",
        "!x {}",
        "\u{0}",
        "%YAML 9",
    ] {
        assert!(read(text).is_err(), "{text:?}");
    }
}

#[test]
fn formats_name_their_registry_and_show_no_password() {
    let deployment = read(
        r#"
version: 1
connections:
  schemas: { schema_registry: { url: "http://r:8081/base/", username: u, password: "${env:SECRET}" } }
pipelines:
  p:
    source:
      connector: file-source
      key_format: string
      value_format: { type: avro, registry: schemas, subject: trips, auto_register_schemas: false, decimals: numbers }
    topic: t
    sinks:
      s: { connector: file-sink, value_format: { type: json, schemas_enable: true } }
      plain: { connector: file-sink, value_format: json }
"#,
    )
    .unwrap();
    let source = deployment.pipelines[0].source.as_ref().unwrap();
    assert!(matches!(source.formats.key, Format::String));
    let Format::Registered(value) = &source.formats.value else { panic!("{:?}", source.formats.value) };
    assert_eq!((value.kind, value.subject.as_deref(), value.register), (Kind::Avro, Some("trips"), false));
    assert_eq!(value.decimals, Decimals::Numbers);
    assert!(
        matches!(&value.registry, RegistrySpec::Named { name, referenced: false, .. } if name == "schemas")
    );
    let connection = deployment.connections["schemas"].connection.as_ref().unwrap();
    assert_eq!((connection.name(), connection.kind()), ("schemas", "schema_registry"));
    assert!(!format!("{deployment:?}").contains("hunter2"));
    let [s, plain] = deployment.pipelines[0].sinks.as_slice() else { panic!("two sinks") };
    assert!(matches!(s.formats.value, Format::Envelope { decimals: Decimals::Text }));
    assert!(matches!((&plain.formats.value, &plain.formats.key), (Format::Json, Format::AsIs)));
}
