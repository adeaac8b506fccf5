//! Rows that the suites write to stores: each tells its number, and there is one of each kind of value in them.

use std::ops::Range;
use std::path::Path;

use serde_json::{Value, json};

use crate::s3::write;

/// The types of all of them, as an Avro schema.
const SCHEMA: &str = r#"{"type":"record","name":"Strike","fields":[
  {"name":"n","type":"long"}, {"name":"kind","type":"string"},
  {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},
  {"name":"day","type":{"type":"int","logicalType":"date"}},
  {"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},
  {"name":"ratio","type":"double"}, {"name":"tags","type":{"type":"array","items":"string"}},
  {"name":"by","type":{"type":"map","values":"long"}},
  {"name":"to","type":{"type":"record","name":"To","fields":[{"name":"city","type":"string"},{"name":"zip","type":["null","long"]}]}}]}"#;

/// The setting `schema` of sinks that write typed rows.
pub fn schema() -> String {
    format!("schema: '{}'", SCHEMA.replace('\n', " "))
}

/// Row `n` of the tests.
pub fn row(n: u64) -> Value {
    let cents = n * 1237 % 100_000;
    json!({
        "n": n,
        "kind": (["goose", "gull", "owl/eagle"][(n % 3) as usize]),
        "price": format!("{}.{:02}", cents / 100, cents % 100),
        "day": format!("2026-11-{:02}", 1 + n % 28),
        "at": format!("2026-11-27T{:02}:00:00.{:06}Z", n % 24, n),
        "ratio": n as f64 / 8.0,
        "tags": (0..n % 3).map(|tag| format!("t{tag}")).collect::<Vec<_>>(),
        "by": { "x": n },
        "to": { "city": format!("city, {}", n % 7), "zip": if n.is_multiple_of(2) { Value::Null } else { json!(n) } },
    })
}

/// As the typed formats have it.
pub fn typed(n: u64, is_parquet: bool) -> Value {
    let mut wanted = row(n);
    wanted["at"] = format!(
        "2026-11-27T{:02}:00:00{}+00:00",
        n % 24,
        if n == 0 { String::new() } else { format!(".{n:06}") }
    )
    .into();
    if is_parquet {
        wanted["by"] = json!([["x", n]]);
    }
    wanted
}

/// Writes rows as the lines of a file.
pub fn write_rows(folder: &Path, name: &str, numbers: Range<u64>) {
    let lines: Vec<String> = numbers.map(|n| format!("{}\n", row(n))).collect();
    write(folder, name, lines.concat());
}
