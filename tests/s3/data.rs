//! What the tests write to a bucket, and what is read back.

use std::collections::BTreeMap;
use std::path::Path;

use millrace_tests::s3::{ACCESS_KEY, BUCKET, S3, SECRET_KEY};
use millrace_tests::tools;
use serde_json::Value;

/// Rows of one object, and what it says of its columns.
pub(crate) struct Object {
    pub(crate) rows: Vec<Value>,
    pub(crate) schema: String,
}

/// A pipeline from `in.jsonl` to the bucket; `sink` is the sink's settings, a line each.
pub(crate) fn pipeline(server: &S3, endpoint: &str, sink: &str) -> String {
    let connection = server.connection("lake", "").replace(&server.endpoint(), endpoint);
    let sink: String = sink.lines().map(|line| format!("        {line}\n")).collect();
    format!(
        "version: 1\nconnections:\n{connection}pipelines:\n  strikes:\n    source: {{ connector: file-source, path: in.jsonl, format: jsonl, key: n }}\n    \
         topic: {{ name: strikes, partitions: 3 }}\n    sinks:\n      lake:\n        connector: s3-sink\n        connection: lake\n{sink}"
    )
}

/// Everything in the bucket, as another engine reads it.
pub(crate) fn read(server: &S3) -> BTreeMap<String, Object> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("s3/read.py");
    let mut read = tools::python();
    read.arg(script).args([server.endpoint().as_str(), BUCKET, ACCESS_KEY, SECRET_KEY]);
    let output = read.output().expect("Python runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the bucket can't be read:\n{said}");
    let found: BTreeMap<String, Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    let object = |value: Value| Object {
        rows: value["rows"].as_array().cloned().unwrap_or_default(),
        schema: value["schema"].as_str().unwrap_or_default().to_owned(),
    };
    found.into_iter().map(|(key, value)| (key, object(value))).collect()
}

/// All rows by their number; each number must be there once.
pub(crate) fn by_number(objects: &BTreeMap<String, Object>) -> BTreeMap<u64, Value> {
    let mut rows = BTreeMap::new();
    for (key, object) in objects {
        for row in &object.rows {
            let n = match &row["n"] {
                Value::String(text) => text.parse().expect("a number"),
                number => number.as_u64().expect("a number"),
            };
            assert!(rows.insert(n, row.clone()).is_none(), "row {n} is there twice, once in {key}");
        }
    }
    rows
}
