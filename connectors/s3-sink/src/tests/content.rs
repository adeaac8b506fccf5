//! Formats and schemas, as objects have them.

use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::json;

use super::{Case, keys, objects, texts};

#[test]
fn json_lines() {
    let mut case = Case::new(json!({}));
    let rejected =
        case.run(&["{\"a\":\n 1.0}", "no", " [2] ", "{}{}", "", "{\"schema\":null,\"payload\":{\"b\":2}}"]);
    assert_eq!(texts()[0].1, "{\"a\":  1.0}\n[2]\n{\"b\":2}\n");
    assert_eq!(rejected.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1, 3, 4]);
}

#[test]
fn text_is_compressed_as_a_whole() {
    for (compression, extension) in [("gzip", "csv.gz"), ("zstd", "csv.zst")] {
        let mut case = Case::new(json!({ "compression": compression, "format": "csv" }));
        case.run(&["{\"a\":1,\"b\":\"x,y\"}", "{\"b\":2}"]);
        let (key, body) = objects().pop_first().expect("an object");
        assert_eq!(key, format!("topics/t/partition=0/t+0+0000000000.{extension}"));
        let mut text = String::new();
        let read = match compression {
            "gzip" => GzDecoder::new(&body[..]).read_to_string(&mut text),
            _ => zstd::Decoder::new(&body[..]).and_then(|mut decoder| decoder.read_to_string(&mut text)),
        };
        read.expect("whole");
        assert_eq!(text, "a,b\n1,\"x,y\"\n,2\n");
    }
}

#[test]
fn columns_are_inferred_and_widen_from_object_to_object() {
    for format in ["avro", "parquet"] {
        let mut case = Case::new(json!({ "format": format }));
        let rejected =
            case.run(&["{\"a\":1}", "{\"a\":null,\"b\":\"x\"}", "{\"a\":\"x\"}", "7", "{\"a\":1.5}", "{}"]);
        assert_eq!(rejected, [(2, "schema.misfit".to_owned()), (3, "schema.misfit".to_owned())], "{format}");
        assert_eq!(keys().len(), 1, "{format}");
        let mut sink = case.assigned();
        let record = |at: i64, text: &str| millrace_sdk::testing::Record::value(text).at("t", 0, at);
        // The columns are settled with the thousandth record.
        let many: Vec<_> = (6..1006).map(|at| record(at, "{\"a\":1}")).collect();
        sink.put(&many).expect("taken");
        sink.put(&[record(1006, "{\"a\":2}"), record(1007, "{\"a\":2,\"c\":true}")]).expect("taken");
        sink.close().expect("closes");
        let suffix = if format == "avro" { "avro" } else { "snappy.parquet" };
        assert_eq!(keys()[1..], [6, 1007].map(|at| format!("topics/t/partition=0/t+0+{at:010}.{suffix}")));
    }
}

#[test]
fn a_name_that_avro_has_not_is_the_records_fault() {
    let mut case = Case::new(json!({ "format": "avro" }));
    let rejected = case.run(&["{\"a b\":1}", "{\"ab\":1}"]);
    assert_eq!(rejected, [(0, "schema.name".to_owned())]);
    assert_eq!(keys().len(), 1);
}

#[test]
fn envelopes_bring_their_schema_and_another_one_begins_another_object() {
    let schema = |fields: &str| format!("{{\"type\":\"struct\",\"name\":\"s\",\"fields\":[{fields}]}}");
    let id = "{\"field\":\"id\",\"type\":\"int32\",\"optional\":false}";
    let name = "{\"field\":\"name\",\"type\":\"string\",\"optional\":true}";
    let record = |schema: &str, payload: &str| format!("{{\"schema\":{schema},\"payload\":{payload}}}");
    let (one, two) = (schema(id), schema(&format!("{id},{name}")));
    let values = [
        record(&one, "{\"id\":1}"),
        record(&one, "{\"id\":2}"),
        record(&one, "{}"),
        record(&two, "{\"id\":3,\"name\":\"x\"}"),
        record("{\"type\":\"strange\"}", "{}"),
    ];
    let mut case = Case::new(json!({ "format": "parquet", "compression": "none" }));
    let rejected = case.run(&values.each_ref().map(String::as_str));
    assert_eq!(rejected, [(2, "schema.misfit".to_owned()), (4, "schema".to_owned())]);
    assert_eq!(keys(), [0, 3].map(|at| format!("topics/t/partition=0/t+0+{at:010}.parquet")));
}

#[test]
fn a_schema_of_the_settings_is_kept_to() {
    let schema = r#"{"type":"record","name":"R","fields":[{"name":"id","type":"long"},{"name":"at","type":["null",{"type":"long","logicalType":"timestamp-millis"}]}]}"#;
    let mut case = Case::new(json!({ "format": "avro", "compression": "gzip", "schema": schema }));
    let rejected = case.run(&[
        "{\"id\":1,\"at\":\"2026-11-27T08:00:00Z\"}",
        "{\"id\":\"1\"}",
        "{\"id\":2,\"other\":1}",
        "{\"at\":1}",
        "{\"id\":2}",
    ]);
    assert_eq!(rejected.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1, 2, 3]);
    let (_, body) = objects().pop_first().expect("an object");
    assert!(body.starts_with(b"Obj\x01") && body.windows(7).any(|seven| seven == b"deflate"));
}

#[test]
fn records_without_a_value() {
    for (behavior, wanted) in [("fail", vec![(0, "s3.null".to_owned())]), ("ignore", vec![])] {
        let mut case = Case::new(json!({ "behavior_on_null_values": behavior }));
        let mut sink = case.assigned();
        let nothing =
            millrace_sdk::testing::Record { value: None, ..millrace_sdk::testing::Record::value("") };
        let (_, rejected) = sink.put(&[nothing.at("t", 0, 0)]).expect("taken");
        assert_eq!(rejected.into_iter().map(|(at, why)| (at, why.code)).collect::<Vec<_>>(), wanted);
        // Its place is behind it all the same.
        assert_eq!(super::position(&sink.flush().expect("flushed")), Some(1));
        sink.close().expect("closes");
        assert_eq!(keys(), [""; 0]);
    }
}
