//! Sources that know types and sinks that want them, with a topic between that keeps both.

use std::fs;

use millrace_test_components::{typed_sink, typed_source};
use serde_json::{Value, json};

use crate::Site;

const DECIMAL: &str = "org.apache.kafka.connect.data.Decimal";

impl Site {
    /// With the components beside the pipelines.
    fn with_types() -> Self {
        let site = Self::start();
        fs::write(site.folder.path().join("typed-source.wasm"), typed_source()).expect("a file");
        fs::write(site.folder.path().join("typed-sink.wasm"), typed_sink()).expect("a file");
        site
    }

    fn values(&self, name: &str) -> Vec<Value> {
        self.read(name).lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }
}

/// Rows of a table that is given another column after the first one.
fn rows() -> Vec<Value> {
    let plain = |field: &str, kind: &str, optional: bool| json!({ "field": field, "type": kind, "optional": optional });
    let named = |field: &str, kind: &str, name: &str| json!({ "field": field, "type": kind, "optional": false, "name": name, "version": 1 });
    let mut price = named("price", "bytes", DECIMAL);
    price["parameters"] = json!({ "scale": "2" });
    let mut fields = vec![
        plain("id", "int64", false),
        plain("small", "int16", true),
        price,
        named("day", "int32", "org.apache.kafka.connect.data.Date"),
        named("at", "int64", "io.debezium.time.MicroTimestamp"),
        plain("raw", "bytes", false),
        json!({ "field": "tags", "type": "array", "optional": false, "items": { "type": "string", "optional": false } }),
    ];
    let schema = |fields: &[Value]| json!({ "type": "struct", "optional": false, "name": "shop.orders.Value", "fields": fields });
    let payload = |id: i64| {
        // 12.34; the last day of a February; a microsecond before 1970.
        json!({ "id": id, "small": null, "price": "BNI=", "day": 19_782, "at": -1, "raw": "AP8=", "tags": ["a"] })
    };
    let first = json!({ "schema": schema(&fields), "payload": payload(9_007_199_254_740_993) });
    fields.push(json!({ "field": "note", "type": "string", "optional": true, "doc": "Came later." }));
    let mut second = json!({ "schema": schema(&fields), "payload": payload(2) });
    second["payload"]["note"] = "x".into();
    vec![first, second]
}

const PLAIN: [&str; 2] = [
    r#"{"id":9007199254740993,"small":null,"price":"12.34","day":"2024-02-29","at":"1969-12-31T23:59:59.999999","raw":"AP8=","tags":["a"]}"#,
    r#"{"id":2,"small":null,"price":"12.34","day":"2024-02-29","at":"1969-12-31T23:59:59.999999","raw":"AP8=","tags":["a"],"note":"x"}"#,
];

#[test]
fn types_go_into_avro_and_come_back() {
    let site = Site::with_types();
    let values = serde_json::to_string(&rows()).expect("JSON");
    site.pipeline(&format!(
        r#"
version: 1
connections:
  schemas: {{ schema_registry: {{ url: "URL" }} }}
pipelines:
  rows:
    source:
      connector: ./typed-source.wasm
      values: {values}
      value_format: {{ type: avro, registry: schemas }}
    topic: {{ name: rows, partitions: 1 }}
    sinks:
      typed: {{ connector: ./typed-sink.wasm, path: typed.jsonl, value_format: {{ type: avro, registry: schemas }} }}
      plain: {{ connector: file-sink, path: plain.jsonl, value_format: {{ type: avro, registry: schemas }} }}
      # What looks into values sees no types.
      seen:
        connector: ./typed-sink.wasm
        path: seen.jsonl
        value_format: {{ type: avro, registry: schemas }}
        transforms: [{{ connector: mask, fields: [raw] }}]
"#
    ));
    assert_eq!(site.values("typed.jsonl"), rows());
    assert_eq!(site.read("plain.jsonl").lines().collect::<Vec<_>>(), PLAIN);
    assert_eq!(site.read("seen.jsonl").replace("****", "AP8=").lines().collect::<Vec<_>>(), PLAIN);
    let told = site.python("read", &["rows", "2"]);
    let first = r#"{"at": "1969-12-31T23:59:59.999999", "day": "2024-02-29", "id": 9007199254740993, "price": "12.34", "raw": "00ff", "small": null, "tags": ["a"]}"#;
    assert_eq!(told.lines().next(), Some(first));
    assert!(told.lines().nth(1).is_some_and(|line| line.contains(r#""note": "x""#)), "{told}");
}

#[test]
fn types_go_into_json_and_json_schema() {
    let site = Site::with_types();
    let values = serde_json::to_string(&rows()).expect("JSON");
    // Another property of an open object is incompatible, as in Confluent's registry.
    let first = serde_json::to_string(&rows()[..1]).expect("JSON");
    site.pipeline(&format!(
        r#"
version: 1
connections:
  schemas: {{ schema_registry: {{ url: "URL" }} }}
pipelines:
  envelopes:
    source: {{ connector: ./typed-source.wasm, values: {values}, value_format: {{ type: json, schemas_enable: true }} }}
    topic: {{ name: envelopes, partitions: 1 }}
    sinks:
      typed: {{ connector: ./typed-sink.wasm, path: typed.jsonl, value_format: {{ type: json, schemas_enable: true }} }}
      plain: {{ connector: file-sink, path: plain.jsonl, value_format: {{ type: json, schemas_enable: true }} }}
      raw: {{ connector: file-sink, path: raw.jsonl, format: lines }}
  payloads:
    source: {{ connector: ./typed-source.wasm, values: {values}, value_format: json }}
    topic: {{ name: payloads, partitions: 1 }}
    sinks:
      raw: {{ connector: ./typed-sink.wasm, path: payloads.jsonl, value_format: json }}
  documents:
    source: {{ connector: ./typed-source.wasm, values: {first}, value_format: {{ type: json-schema, registry: schemas }} }}
    topic: {{ name: documents, partitions: 1 }}
"#
    ));
    assert_eq!(site.values("typed.jsonl"), rows());
    assert_eq!(site.values("raw.jsonl"), rows());
    assert_eq!(site.read("plain.jsonl").lines().collect::<Vec<_>>(), PLAIN);
    let payloads: Vec<Value> = rows().iter().map(|row| row["payload"].clone()).collect();
    assert_eq!(site.values("payloads.jsonl"), payloads);
    let told = site.python("read-json", &["documents", "1"]);
    let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(told, payloads[..1]);
}

#[test]
fn a_sink_is_told_the_types_of_what_python_wrote() {
    let site = Site::with_types();
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
      typed:
        connector: ./typed-sink.wasm
        path: typed.jsonl
        value_format: { type: avro, registry: schemas }
        errors: { tolerance: all }
"#,
    );
    let values = site.values("typed.jsonl");
    assert_eq!(values.len(), 3);
    let types: Vec<String> = values[1]["schema"]["fields"]
        .as_array()
        .expect("fields")
        .iter()
        .map(|field| format!("{} {} {}", field["field"], field["type"], field["name"]).replace('"', ""))
        .collect();
    assert_eq!(
        types,
        [
            "id int64 null",
            "price bytes org.apache.kafka.connect.data.Decimal",
            "at int64 org.apache.kafka.connect.data.Timestamp",
            "day int32 org.apache.kafka.connect.data.Date",
            "ref string io.debezium.data.Uuid",
            "note string null",
            "raw bytes null",
        ]
    );
    let payload = json!({
        "id": 9_007_199_254_740_994_i64, "price": "AKtUqYzrHwrS", "at": 1_769_862_896_789_i64, "day": 19_782,
        "ref": "0f0e0d0c-0b0a-0908-0706-050403020100", "note": "note 1", "raw": "AP8=",
    });
    assert_eq!(values[1]["payload"], payload);
}
