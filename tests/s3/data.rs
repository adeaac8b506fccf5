//! What the tests write to a bucket, and what is read back.

use std::collections::BTreeMap;

use millrace_tests::readback::read_with;
pub(crate) use millrace_tests::readback::{Object, by_number};
use millrace_tests::s3::{ACCESS_KEY, BUCKET, S3, SECRET_KEY};

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
    read_with(&[&server.endpoint(), BUCKET, ACCESS_KEY, SECRET_KEY])
}
