//! A component that asks the registry itself, over a connection that it was granted.

use std::fs;

use millrace_test_components::schema_script;
use serde_json::{Value, json};

use crate::Site;

const BIRD: &str = r#"{"type":"record","name":"Bird","fields":[{"name":"name","type":"string"}]}"#;

/// What comes of the steps, with `address` as the registry's.
fn run(site: &Site, address: &str, steps: &Value) -> Vec<Value> {
    fs::write(site.folder.path().join("schema-script.wasm"), schema_script()).expect("a file");
    let topic = format!("steps-{}", steps.to_string().len());
    site.pipeline(&format!(
        r#"
version: 1
connections:
  schemas: {{ schema_registry: {{ url: "{address}", username: ada, password: s3cret-word }} }}
  elsewhere: {{ schema_registry: {{ url: "URL" }} }}
pipelines:
  steps:
    source: {{ connector: ./schema-script.wasm, registry: schemas, steps: {steps} }}
    topic: {topic}
    sinks:
      out: {{ connector: file-sink, path: {topic}.jsonl, format: lines }}
"#
    ));
    let said = site.read("connect.txt");
    assert!(!said.contains("s3cret-word"), "{said}");
    site.read(&format!("{topic}.jsonl"))
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[test]
fn a_component_reads_and_registers_schemas_over_a_granted_connection() {
    let site = Site::start();
    let steps = json!([
        ["register", "birds-value", "avro", BIRD],
        ["register", "birds-value", "avro", BIRD],
        ["find", "birds-value", "avro", BIRD],
        ["latest", "birds-value"],
        ["get", 1],
        ["register", "birds-key", "protobuf", "syntax = \"proto3\"; message Key { int64 id = 1; }"],
        [
            "register",
            "birds-value",
            "avro",
            "{\"type\":\"record\",\"name\":\"Bird\",\"fields\":[{\"name\":\"mass\",\"type\":\"int\"}]}"
        ],
        ["get", 77],
        ["find", "nobody", "avro", BIRD],
        ["get", 1, "elsewhere"],
    ]);
    let came = run(&site, "URL", &steps);
    let bird = json!({ "format": "Format::Avro", "definition": BIRD, "dependencies": [] });
    assert_eq!(came[..3], [json!(1), json!(1), json!(1)]);
    assert_eq!(came[3], json!({ "id": 1, "schema": bird }));
    assert_eq!(came[4], bird);
    assert_eq!(came[5], json!(2));
    let error = |at: usize| came[at]["error"].as_str().unwrap_or_default();
    assert!(error(6).starts_with("Fatal schemas.refused: ") && error(6).contains("incompatible"), "{came:?}");
    assert!(error(7).starts_with("Fatal schemas.unknown: "), "{came:?}");
    assert!(error(8).starts_with("Fatal schemas.unknown: "), "{came:?}");
    let denied = "connection \"elsewhere\" is not granted to this connector; granted: [schemas]";
    assert_eq!(error(9), format!("Fatal schemas.denied: {denied}"));
}

#[test]
fn a_registry_that_is_out_of_reach_is_an_error_to_try_again() {
    let site = Site::start();
    let nobody = millrace_tests::broker::free_address();
    let came = run(&site, &format!("http://{nobody}"), &json!([["get", 1]]));
    let error = came[0]["error"].as_str().unwrap_or_default();
    assert!(
        error.starts_with("Retriable schemas.outage: ") && error.contains(&nobody.to_string()),
        "{came:?}"
    );
}
