//! Small data files that become one: engines read it as they read those before, and these go with the snapshots that had them.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use millrace_tests::process::{Process, wait_until};
use millrace_tests::s3::{Kind, run, server, write};
use millrace_tests::strikes::write_rows;
use serde_json::Value;

use crate::data::{by_number, objects, pipeline, read, schema, typed};
use crate::expire::EXPIRE;

/// Longest that a commit takes, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
/// Rows that are added at a time; a commit may have some of them only.
const ROWS: u64 = 100;
/// Times by which there are enough files of one size, whatever commits there were.
const TIMES_MAX: u64 = 100;

/// The newest metadata; none: there is no table yet.
fn newest(folder: &Path) -> Option<Value> {
    let metadata = folder.join("s3/lake/wh/birds/strikes/metadata");
    let hint = fs::read_to_string(metadata.join("version-hint.text")).ok()?;
    let text = fs::read(metadata.join(format!("v{hint}.metadata.json"))).ok()?;
    serde_json::from_slice(&text).ok()
}

/// The rows and data files of the newest snapshot.
fn told(folder: &Path) -> (u64, u64) {
    let metadata = newest(folder).unwrap_or_default();
    let summary =
        metadata["snapshots"].as_array().and_then(|all| all.last()).map(|one| one["summary"].clone());
    let number = |name: &str| summary.as_ref()?[name].as_str()?.parse().ok();
    (number("total-records").unwrap_or(0), number("total-data-files").unwrap_or(0))
}

#[test]
fn small_files_become_one_and_engines_read_it() {
    let (folder, server) = server(Kind::S3sFs);
    let folder = folder.path();
    let sink = format!(
        "{EXPIRE}auto_create: true\n{}merge_files: true\ncommit_interval: 10ms\nflush_interval: 10ms",
        schema()
    );
    let followed = pipeline(&server, &sink).replace("format: jsonl,", "format: jsonl, follow: true,");
    write(folder, "pipeline.yaml", followed);
    fs::write(folder.join("in.jsonl"), "").expect("an empty file");
    let mut process = Process::spawn(&mut run(folder), folder.join("run.log"));
    let (mut total, mut most) = (0, 0);
    // Only a merge makes files fewer.
    while told(folder).1 >= most {
        assert!(total < TIMES_MAX * ROWS, "{most} files, and none are merged");
        most = told(folder).1;
        write_rows(folder, "more.jsonl", total..total + ROWS);
        total += ROWS;
        let more = fs::read(folder.join("more.jsonl")).expect("rows");
        let mut file = OpenOptions::new().append(true).open(folder.join("in.jsonl")).expect("the file");
        file.write_all(&more).expect("appended");
        wait_until("the rows to be in the table", LIMIT, || {
            let ended = process.ended();
            assert!(ended.is_none(), "the worker ended: {ended:?}\n{}", process.output());
            told(folder).0 == total
        });
    }
    process.kill();
    let table = read(&server, &["n < 150"]);
    let rows = by_number(&table);
    assert_eq!(rows.len() as u64, total);
    assert!(rows.into_iter().all(|(n, found)| found == typed(n)));
    assert_eq!(table["filters"][0][0], 150);
    // One more start cleans up after the one that was killed.
    write(folder, "pipeline.yaml", pipeline(&server, &sink));
    write_rows(folder, "in.jsonl", 0..total + 1);
    Process::spawn(&mut run(folder), folder.join("last.log")).succeed(LIMIT);
    let table = read(&server, &[]);
    assert_eq!(by_number(&table).len() as u64, total + 1);
    assert_eq!(
        table["files"].as_u64(),
        Some(objects(&server, ".parquet").len() as u64),
        "files that no snapshot has"
    );
}
