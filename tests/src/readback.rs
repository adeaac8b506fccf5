//! What sinks have written, read back by engines that are not ours (`tests/s3/read.py`).

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::tools;

/// Rows of one file or object, and what it says of its columns.
#[derive(Debug)]
pub struct Object {
    /// In their order.
    pub rows: Vec<Value>,
    /// Nothing for text.
    pub schema: String,
}

/// The files of a folder that are not hidden, by their names.
pub fn read_folder(folder: &Path) -> BTreeMap<String, Object> {
    read_with(&[&folder.display().to_string()])
}

/// What the script finds.
pub fn read_with(arguments: &[&str]) -> BTreeMap<String, Object> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("s3/read.py");
    let mut read = tools::python();
    let output = read.arg(script).args(arguments).output().expect("Python runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?} can't be read:\n{said}");
    let found: BTreeMap<String, Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    let object = |value: Value| Object {
        rows: value["rows"].as_array().cloned().unwrap_or_default(),
        schema: value["schema"].as_str().unwrap_or_default().to_owned(),
    };
    found.into_iter().map(|(key, value)| (key, object(value))).collect()
}

/// All rows by their number; each number must be there once.
pub fn by_number(objects: &BTreeMap<String, Object>) -> BTreeMap<u64, Value> {
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
