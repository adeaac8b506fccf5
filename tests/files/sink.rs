//! Each format, read back: counts, values, types.

use std::path::Path;
use std::time::Duration;

use millrace_tests::process::Process;
use millrace_tests::readback::{by_number, read_folder};
use millrace_tests::s3::{check_lag, run};
use millrace_tests::strikes::{row, schema, typed};
use serde_json::json;

use crate::{out, pipeline};

/// Longest run, on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
const ROWS: u64 = 2_000;

#[test]
fn what_is_written_in_each_format_is_read_by_other_engines() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let schema = schema();
    let sinks = [
        ("parquet", format!("path: ./parquet/strikes.parquet\n{schema}\nrotate: {{ records: 700 }}")),
        (
            "avro",
            format!("path: ./avro/strikes.avro\ncompression: zstd\n{schema}\nrotate: {{ bytes: 20KB }}"),
        ),
        ("inferred", "path: ./inferred/strikes.parquet\ncompression: gzip\ntasks: 2".to_owned()),
        ("lines", "path: ./lines/strikes.jsonl.zst\nflush_interval: 50ms".to_owned()),
    ];
    for (name, _) in &sinks {
        out(folder, name);
    }
    let sinks: Vec<_> = sinks.iter().map(|(name, settings)| (*name, settings.as_str())).collect();
    pipeline(folder, ROWS, &sinks);
    check_lag(&Process::spawn(&mut run(folder), folder.join("run.log")).succeed(LIMIT));
    // A second run without news leaves everything alone.
    let before = names(folder);
    check_lag(&Process::spawn(&mut run(folder), folder.join("again.log")).succeed(LIMIT));
    assert_eq!(names(folder), before);

    let parquet = read_folder(&folder.join("parquet"));
    assert_eq!(
        parquet.keys().collect::<Vec<_>>(),
        [1, 2, 3].map(|n| format!("strikes-{n:06}.parquet")).each_ref()
    );
    assert!(by_number(&parquet).into_iter().all(|(n, found)| found == typed(n, true)));
    let columns = &parquet.values().next().expect("a file").schema;
    for column in
        ["n: int64 not null", "price: decimal128(9, 2) not null", "at: timestamp[us, tz=UTC] not null"]
    {
        assert!(columns.contains(column), "{column} is not in\n{columns}");
    }
    let avro = read_folder(&folder.join("avro"));
    assert!(avro.len() > 3, "{}", avro.len());
    assert!(by_number(&avro).into_iter().all(|(n, found)| found == typed(n, false)));
    let inferred = read_folder(&folder.join("inferred"));
    assert_eq!(inferred.len(), 2, "{:?}", inferred.keys());
    for (n, found) in by_number(&inferred) {
        let mut wanted = row(n);
        wanted["by"] = json!({ "x": n });
        assert_eq!(found, wanted);
    }
    let lines = read_folder(&folder.join("lines"));
    assert_eq!(lines.keys().collect::<Vec<_>>(), ["strikes.jsonl.zst"]);
    assert!(by_number(&lines).into_iter().all(|(n, found)| found == row(n)));
    for files in [&parquet, &avro, &inferred, &lines] {
        assert_eq!(by_number(files).len() as u64, ROWS);
    }
}

/// All files of all sinks.
fn names(folder: &Path) -> Vec<String> {
    let folders = ["parquet", "avro", "inferred", "lines"].map(|name| folder.join(name));
    let entries = folders.iter().flat_map(|folder| std::fs::read_dir(folder).expect("a folder"));
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("an entry").path().display().to_string())
        .filter(|path| !path.ends_with(".state"))
        .collect();
    names.sort();
    names
}
