//! Typed files: what was written is read, and a reader goes on anywhere.

use bytes::Bytes;
use millrace_connector_encode::Codec;
use millrace_connector_encode::avro::AvroFile;
use millrace_connector_encode::datum::{Form, row};
use millrace_connector_encode::json::Json;
use millrace_connector_encode::parquet::ParquetFile;
use millrace_connector_encode::types::infer::Shape;
use millrace_connector_encode::types::{Schema, avro};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::read_all;

pub(super) const SCHEMA: &str = r#"{"type":"record","name":"shop.R","fields":[
    {"name":"id","type":"long"},
    {"name":"small","type":["null","int"]},
    {"name":"ok","type":["null","boolean"]},
    {"name":"ratio","type":["null","double"]},
    {"name":"short","type":["null","float"]},
    {"name":"name","type":["null","string"]},
    {"name":"raw","type":["null","bytes"]},
    {"name":"price","type":["null",{"type":"bytes","logicalType":"decimal","precision":10,"scale":2}]},
    {"name":"huge","type":["null",{"type":"bytes","logicalType":"decimal","precision":38,"scale":0}]},
    {"name":"day","type":["null",{"type":"int","logicalType":"date"}]},
    {"name":"noon","type":["null",{"type":"int","logicalType":"time-millis"}]},
    {"name":"at","type":["null",{"type":"long","logicalType":"timestamp-micros"}]},
    {"name":"ns","type":["null",{"type":"long","logicalType":"timestamp-nanos"}]},
    {"name":"wall","type":["null",{"type":"long","logicalType":"local-timestamp-millis"}]},
    {"name":"tags","type":["null",{"type":"array","items":["null","string"]}]},
    {"name":"grid","type":["null",{"type":"array","items":{"type":"array","items":"long"}}]},
    {"name":"by","type":["null",{"type":"map","values":["null","long"]}]},
    {"name":"to","type":["null",{"type":"record","name":"To","fields":[
        {"name":"city","type":["null","string"]},{"name":"codes","type":{"type":"array","items":"int"}}]}]}]}"#;

/// As they come out.
pub(super) fn rows() -> Vec<Value> {
    let empty = json!({
        "id": 0, "small": null, "ok": null, "ratio": null, "short": null, "name": null, "raw": null, "price": null, "huge": null,
        "day": null, "noon": null, "at": null, "ns": null, "wall": null, "tags": null, "grid": null, "by": null, "to": null,
    });
    let with = |changes: Value| {
        let mut row = empty.clone();
        for (name, value) in changes.as_object().expect("an object") {
            row[name] = value.clone();
        }
        row
    };
    vec![
        with(json!({
            "id": 1, "small": -7, "ok": true, "ratio": 0.5, "short": 0.1, "name": "é\"\n", "raw": "AAEC", "price": "12.50",
            "huge": "99999999999999999999999999999999999999", "day": "2026-11-27", "noon": "12:00:00.001",
            "at": "2026-11-27T08:00:00.000001Z", "ns": "2026-11-27T08:00:00.000000001Z", "wall": "2026-11-27T08:00:00.500",
            "tags": ["a", null, ""], "grid": [[1, 2], [], [3]], "by": { "x": 1, "y": null },
            "to": { "city": "Oslo", "codes": [1, 2] },
        })),
        with(json!({ "id": 2 })),
        with(json!({
            "id": 3, "tags": [], "grid": [], "by": {}, "to": { "city": null, "codes": [] }, "price": "-0.01", "huge": "-1",
            "ratio": "NaN", "short": "-Infinity",
        })),
        with(
            json!({ "id": i64::MAX, "grid": [[]], "to": { "city": null, "codes": [5] }, "ok": false, "day": "1969-12-31" }),
        ),
    ]
}

pub(super) fn parquet_file(schema: &Schema, rows: &[Value], form: Form, codec: Codec, group: usize) -> Bytes {
    let mut out = Vec::new();
    let mut file = ParquetFile::begin(schema, codec, &mut out).expect("begun");
    for (at, value) in rows.iter().enumerate() {
        let text = value.to_string();
        let json = Json::read(&text).expect("JSON");
        file.push(&row(&json, &schema.fields, form).expect("a row"), &mut out).expect("pushed");
        if at % group == group - 1 {
            file.end_group(&mut out).expect("a group");
        }
    }
    file.finish(&mut out).expect("finished");
    out.into()
}

pub(super) fn avro_file(schema: &Schema, rows: &[Value], form: Form, codec: Codec, block: usize) -> Bytes {
    let mut out = Vec::new();
    let mut file = AvroFile::begin(schema, codec, &mut out).expect("begun");
    for (at, value) in rows.iter().enumerate() {
        let text = value.to_string();
        let json = Json::read(&text).expect("JSON");
        file.push(&row(&json, &schema.fields, form).expect("a row"), &mut out).expect("pushed");
        if at % block == block - 1 {
            file.end_block(&mut out).expect("a block");
        }
    }
    file.end_block(&mut out).expect("ended");
    out.into()
}

/// Both formats in each compression, in large pieces and small ones.
fn files(schema: &Schema, rows: &[Value], form: Form) -> Vec<(&'static str, Bytes)> {
    let mut all = Vec::new();
    for (codec, group) in [(Codec::None, 1), (Codec::Snappy, 3), (Codec::Gzip, 100)] {
        all.push(("a.parquet", parquet_file(schema, rows, form, codec, group)));
        all.push(("a.avro", avro_file(schema, rows, form, codec, group)));
    }
    all.push(("a.avro", avro_file(schema, rows, form, Codec::Zstd, 2)));
    all
}

#[test]
fn what_was_written_is_read() {
    let schema = avro::read(SCHEMA).expect("a schema");
    for (name, file) in files(&schema, &rows(), Form::Plain) {
        for (batch, reopen) in [(1000, false), (1, false), (1, true), (3, true)] {
            let read = read_all(&file, name, json!({}), false, batch, reopen);
            assert_eq!(read.trouble, None, "{name}");
            assert_eq!(read.json(), rows(), "{name}, {batch} at a time");
        }
    }
}

#[test]
fn keys_come_out_of_columns() {
    let schema = avro::read(SCHEMA).expect("a schema");
    let file = parquet_file(&schema, &rows(), Form::Plain, Codec::Snappy, 2);
    let options = super::options(json!({ "key": "to.city" }));
    let how = crate::reader::How {
        name: "a.parquet",
        format: crate::options::Format::Parquet,
        compression: crate::options::Compression::None,
        options: &options,
        typed: false,
    };
    let mut reader =
        crate::reader::Reader::open(Box::new(file.clone()), how, crate::reader::Place::default())
            .expect("opens");
    let mut out = millrace_sdk::Poll::default();
    reader.read(super::limits(10), &mut out).expect("read");
    let keys: Vec<_> = millrace_sdk::testing::records(&out.batch.finish())
        .expect("a batch")
        .into_iter()
        .map(|r| r.key)
        .collect();
    assert_eq!(keys, [Some(b"Oslo".to_vec()), None, None, None]);
    let options = super::options(json!({ "key": "town" }));
    let how = crate::reader::How { options: &options, ..how };
    let refused = crate::reader::Reader::open(Box::new(file), how, crate::reader::Place::default());
    assert!(
        matches!(refused, Err(crate::Trouble::Outside(error)) if error.message.contains("no column \"town\""))
    );
}

#[test]
fn types_go_along() {
    let schema = avro::read(SCHEMA).expect("a schema");
    for (name, file) in files(&schema, &rows(), Form::Plain) {
        let read = read_all(&file, name, json!({}), true, 1000, false);
        let first = &read.json()[0];
        let of = |field: &str| {
            let fields = first["schema"]["fields"].as_array().expect("fields");
            fields.iter().find(|of| of["field"] == field).expect("the field").clone()
        };
        assert_eq!(of("id"), json!({ "field": "id", "type": "int64", "optional": false }), "{name}");
        assert_eq!(of("price")["parameters"], json!({ "scale": "2", "connect.decimal.precision": "10" }));
        assert_eq!(of("at")["name"], "io.debezium.time.ZonedTimestamp");
        assert_eq!(of("wall")["name"], "io.debezium.time.Timestamp");
        assert_eq!(of("tags")["items"], json!({ "type": "string", "optional": true }));
        let payload = &first["payload"];
        assert_eq!((&payload["price"], &payload["day"]), (&json!("BOI="), &json!(20784)));
        assert_eq!(
            (&payload["at"], &payload["wall"]),
            (&json!("2026-11-27T08:00:00.000001Z"), &json!(1795766400500_i64))
        );
    }
}

/// Objects of any shape that keeps its kinds.
fn documents() -> impl Strategy<Value = Vec<Value>> {
    let number = prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::from)];
    let text = prop_oneof![Just(Value::Null), "[a-zé\"\\\\\n]{0,6}".prop_map(Value::from)];
    let deep = proptest::collection::vec(proptest::collection::vec(number.clone(), 0..3), 0..3);
    let inner = (text.clone(), proptest::option::of(deep)).prop_map(|(t, d)| json!({ "t": t, "d": d }));
    let object = (number, text, proptest::option::of(proptest::collection::vec(inner, 0..4)))
        .prop_map(|(n, t, l)| json!({ "n": n, "t": t, "l": l, "always": 1 }));
    proptest::collection::vec(object, 1..20)
}

/// Without what is null: a document need not have it, a file does.
fn without_null(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), without_null(value)))
            .collect(),
        Value::Array(values) => values.iter().map(without_null).collect(),
        other => other.clone(),
    }
}

pub(super) fn inferred(values: &[Value]) -> Schema {
    let mut shape = Shape::default();
    for value in values {
        shape.widen(&Json::read(&value.to_string()).expect("JSON")).expect("it keeps its kinds");
    }
    Schema::of("R", shape.resolve().expect("columns")).expect("a schema")
}

proptest! {
    /// Whatever nests, and wherever reading is broken off.
    #[test]
    fn every_shape_is_read(values in documents(), batch in 1_u32..5, reopen in any::<bool>()) {
        let schema = inferred(&values);
        for (name, file) in files(&schema, &values, Form::Inferred) {
            let read = read_all(&file, name, json!({}), false, batch, reopen);
            prop_assert_eq!(&read.trouble, &None, "{}", name);
            let ours: Vec<Value> = values.iter().map(without_null).collect();
            let theirs: Vec<Value> = read.json().iter().map(without_null).collect();
            prop_assert_eq!(ours, theirs, "{}", name);
        }
    }
}

#[test]
fn schemas_of_others_are_read_or_refused() {
    // Namespaces, named types used again, enums, fixed.
    let text = r#"{"type":"record","name":"Order","namespace":"shop","fields":[
        {"name":"kind","type":{"type":"enum","name":"Kind","symbols":["A","B"]}},
        {"name":"again","type":"Kind"}, {"name":"full","type":["shop.Kind","null"]},
        {"name":"id","type":{"type":"fixed","name":"Id","size":16,"logicalType":"uuid"}},
        {"name":"wait","type":{"type":"fixed","name":"Wait","size":12,"logicalType":"duration"}},
        {"name":"only","type":["string"]}]}"#;
    let mut file = b"Obj\x01\x02".to_vec();
    let put = |bytes: &[u8], file: &mut Vec<u8>| {
        let mut rest = (bytes.len() as u64) << 1;
        while rest >= 0x80 {
            file.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        file.push(rest as u8);
        file.extend_from_slice(bytes);
    };
    put(b"avro.schema", &mut file);
    put(text.as_bytes(), &mut file);
    file.push(0);
    file.extend_from_slice(&[7; 16]);
    let mut row = vec![2, 0, 0, 2];
    row.extend(0..16_u8);
    row.extend([1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0]);
    row.extend([0, 2, b'x']);
    file.push(2);
    put(&row, &mut file);
    file.extend_from_slice(&[7; 16]);
    let read = super::read(file.clone(), "a.avro");
    assert_eq!(read.trouble, None);
    assert_eq!(
        read.json(),
        [json!({
            "kind": "B", "again": "A", "full": "B", "id": "00010203-0405-0607-0809-0a0b0c0d0e0f",
            "wait": { "months": 1, "days": 2, "millis": 3 }, "only": "x",
        })]
    );
    for (schema, wanted) in [
        (r#""string""#, "rows are made of objects"),
        (
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":["int","string"]}]}"#,
            "a: a union of more",
        ),
        (
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":["null","R"]}]}"#,
            "a: record R holds itself",
        ),
        (r#"{"type":"record","name":"R","fields":[]}"#, "without fields"),
        (r#"{"type":"record"#, "not a JSON document"),
    ] {
        let mut file = b"Obj\x01\x02".to_vec();
        put(b"avro.schema", &mut file);
        put(schema.as_bytes(), &mut file);
        file.push(0);
        file.extend_from_slice(&[7; 16]);
        let trouble = super::read(file, "a.avro").trouble.expect("refused");
        assert!(trouble.contains(wanted), "{schema}: {trouble}");
    }
    // Each type uses the one before twice: 2^19 columns in a few lines.
    let mut wide = String::from(r#"{"type":"record","name":"R0","fields":[{"name":"a","type":"int"}]}"#);
    for at in 1..20 {
        wide = format!(
            r#"{{"type":"record","name":"R{at}","fields":[{{"name":"a","type":{wide}}},{{"name":"b","type":"R{}"}}]}}"#,
            at - 1
        );
    }
    let json = Json::read(&wide).expect("JSON");
    assert!(crate::avro::columns_of(&json).expect_err("refused").contains("more than 10000 types"));
}
