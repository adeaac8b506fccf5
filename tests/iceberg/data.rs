//! What the tests write to a table, and what is read back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use millrace_tests::s3::{ACCESS_KEY, BUCKET, S3, SECRET_KEY};
use millrace_tests::strikes::{self, row};
use millrace_tests::tools;
use serde_json::{Value, json};

/// Where the table lies in the bucket.
const TABLE: &str = "wh/birds/strikes";

/// The setting `schema`, as a line.
pub(crate) fn schema() -> String {
    strikes::schema() + "\n"
}

/// A row as engines have it.
pub(crate) fn typed(n: u64) -> Value {
    let mut wanted = row(n);
    let fraction = if n == 0 { String::new() } else { format!(".{n:06}") };
    wanted["at"] = format!("2026-11-27T{:02}:00:00{fraction}+00:00", n % 24).into();
    wanted["by"] = json!([["x", n]]);
    wanted
}

/// A pipeline from a file to the table; `sink` is the sink's settings, a line each.
pub(crate) fn pipeline(server: &S3, sink: &str) -> String {
    pipeline_with(server, "", sink)
}

/// The same with further connections.
pub(crate) fn pipeline_with(server: &S3, connections: &str, sink: &str) -> String {
    let connection = server.connection("lake", ", prefix: \"wh/\"");
    let sink: String = sink.lines().map(|line| format!("        {line}\n")).collect();
    format!(
        "version: 1\nconnections:\n{connection}{connections}pipelines:\n  strikes:\n    source: {{ connector: file-source, path: in.jsonl, format: jsonl, key: n }}\n    \
         topic: {{ name: strikes, partitions: 3 }}\n    sinks:\n      lake:\n        connector: iceberg-sink\n        connection: lake\n        \
         warehouse: s3://{BUCKET}/wh\n        table: birds.strikes\n{sink}"
    )
}

/// The table as other engines read it, with the rows and files that each filter leaves.
pub(crate) fn read(server: &S3, filters: &[&str]) -> Value {
    read_from(server, &format!("s3://{BUCKET}/{TABLE}"), filters)
}

/// The same from a table's URI, or from a catalog's URL: then only pyiceberg reads it.
pub(crate) fn read_from(server: &S3, place: &str, filters: &[&str]) -> Value {
    let folder = server.folder().join(TABLE).display().to_string();
    let said = script("read.py", server, &[&[place, folder.as_str()], filters].concat());
    serde_json::from_slice(&said).expect("JSON")
}

/// What a script says that is told where the server is, and how to get in, before all else.
pub(crate) fn script(name: &str, server: &S3, further: &[&str]) -> Vec<u8> {
    let mut python = tools::python();
    python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("iceberg").join(name));
    python.args([server.endpoint().as_str(), ACCESS_KEY, SECRET_KEY]).args(further);
    let output = python.output().expect("Python runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} failed:\n{said}");
    output.stdout
}

/// The table's objects whose names end so, as the server keeps them.
pub(crate) fn objects(server: &S3, ending: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![server.folder().join(TABLE)]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the table's folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.to_string_lossy().ends_with(ending) => found.push(path),
                false => {}
            }
        }
    }
    found
}

/// All rows by their number; each number must be there once, and all engines that read it must see the same.
pub(crate) fn by_number(table: &Value) -> BTreeMap<u64, Value> {
    let mut rows = BTreeMap::new();
    for row in table["rows"].as_array().expect("rows") {
        let n = row["n"].as_u64().expect("a number");
        assert!(rows.insert(n, row.clone()).is_none(), "row {n} is there twice");
    }
    let other = &table["duckdb"];
    if !other.is_null() {
        let told = (other["count"].as_u64(), other["distinct"].as_u64(), other["sum"].as_u64());
        let count = Some(rows.len() as u64);
        assert_eq!(told, (count, count, Some(rows.keys().sum())), "DuckDB sees something else");
    }
    rows
}
