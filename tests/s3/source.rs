//! s3-source: what s3-sink and other engines wrote is read, in each format, and once, whatever is killed meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use millrace_tests::process::{Process, wait_until};
use millrace_tests::random::{Random, seed};
use millrace_tests::s3::{ACCESS_KEY, BUCKET, KINDS, S3, SECRET_KEY, run, server, write};
use millrace_tests::strikes::{row, schema, write_rows};
use millrace_tests::tools;
use serde_json::{Value, json};

use crate::data::pipeline;

/// Longest run to the end, on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// A pipeline from the bucket to `out.jsonl`; `source` is what the source's map has besides, with a comma in front.
fn back(server: &S3, source: &str) -> String {
    let connection = server.connection("lake", "");
    format!(
        "version: 1\nconnections:\n{connection}pipelines:\n  back:\n    source: {{ connector: s3-source, connection: lake, tasks: 2{source} }}\n    \
         topic: {{ name: back, partitions: 2 }}\n    sinks:\n      out: {{ connector: file-sink, path: out/rows.jsonl, format: jsonl, flush_interval: 50ms }}\n"
    )
}

/// What the sink wrote, by number; each number must be there once.
fn rows(folder: &Path) -> BTreeMap<u64, Value> {
    let mut rows = BTreeMap::new();
    for entry in fs::read_dir(folder.join("out")).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        for line in fs::read_to_string(entry.path()).expect("text").lines() {
            let row: Value = serde_json::from_str(line).expect("JSON");
            let n = match &row["n"] {
                Value::String(text) => text.parse().expect("a number"),
                number => number.as_u64().expect("a number"),
            };
            assert!(rows.insert(n, row).is_none(), "row {n} is there twice");
        }
    }
    rows
}

/// Runs a pipeline to its end.
fn to_the_end(folder: &Path, pipeline: String, log: &str) {
    write(folder, "pipeline.yaml", pipeline);
    fs::create_dir_all(folder.join("out")).expect("a folder");
    Process::spawn(&mut run(folder), folder.join(log)).succeed(LIMIT);
}

#[test]
fn what_the_sink_wrote_is_read() {
    const ROWS: u64 = 1_000;
    let schema = schema();
    let sinks = [
        "format: json\ncompression: gzip".to_owned(),
        format!("format: avro\ncompression: snappy\n{schema}\nflush_size: 170"),
        format!("format: avro\ncompression: gzip\n{schema}"),
        format!("format: parquet\n{schema}\npartitioner: field\npartition_field_name: [kind]"),
        format!("format: parquet\ncompression: gzip\n{schema}\nflush_size: 90"),
    ];
    for (at, sink) in sinks.iter().enumerate() {
        let (folder, server) = server(KINDS[at % 2]);
        let folder = folder.path();
        write_rows(folder, "in.jsonl", 0..ROWS);
        to_the_end(folder, pipeline(&server, &server.endpoint(), sink), "there.log");
        to_the_end(folder, back(&server, ", prefix: topics/"), "back.log");
        let found = rows(folder);
        assert_eq!(found.len() as u64, ROWS, "{sink}");
        for (n, found) in found {
            assert_eq!(found, row(n), "{sink}");
        }
        // Another run reads nothing again.
        to_the_end(folder, back(&server, ", prefix: topics/"), "again.log");
        assert_eq!(rows(folder).len() as u64, ROWS, "{sink}");
    }
}

fn write_theirs(server: &S3, folder: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("s3/write.py");
    let mut write = tools::python();
    write
        .arg(script)
        .args([server.endpoint().as_str(), BUCKET, ACCESS_KEY, SECRET_KEY])
        .arg(folder.join("in.jsonl"));
    let output = write.output().expect("Python runs");
    assert!(
        output.status.success(),
        "the bucket can't be written:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn what_others_wrote_is_read() {
    const FILES: u64 = 11;
    const ROWS: u64 = FILES * 200;
    for kind in KINDS {
        let (folder, server) = server(kind);
        let folder = folder.path();
        write_rows(folder, "in.jsonl", 0..ROWS);
        write_theirs(&server, folder);
        to_the_end(folder, back(&server, ", prefix: theirs/, types: { n: number }"), "run.log");
        let found = rows(folder);
        assert_eq!(found.len() as u64, ROWS, "{kind:?}");
        for (n, found) in found {
            let mut wanted = row(n);
            match n / 200 {
                // Spark's old moments count nanoseconds.
                4 => wanted["at"] = wanted["at"].as_str().expect("text").replace('Z', "000Z").into(),
                // Symbols have no slashes.
                5 | 6 => wanted["kind"] = wanted["kind"].as_str().expect("text").replace('/', "_").into(),
                10 => wanted = json!({ "n": n, "kind": wanted["kind"], "city": wanted["to"]["city"] }),
                _ => {}
            }
            assert_eq!(found, wanted, "{kind:?}");
        }
    }
}

/// Bytes of all that the sink has written so far, what is not committed, too.
fn written(folder: &Path) -> u64 {
    let files = fs::read_dir(folder.join("out")).into_iter().flatten().flatten();
    files.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
}

/// Both the process and the store are killed over and over while objects of all formats are read; each is larger than what one poll gives, so
/// that most kills hit within one.
#[test]
fn kills_of_worker_and_store_lose_and_double_nothing() {
    const ROWS: u64 = 33_000;
    let seed = seed();
    println!("MILLRACE_SEED={seed}");
    let mut random = Random::new(seed);
    for kind in KINDS {
        let (folder, mut server) = server(kind);
        let folder = folder.path();
        write_rows(folder, "in.jsonl", 0..ROWS);
        write_theirs(&server, folder);
        fs::create_dir_all(folder.join("out")).expect("a folder");
        let source =
            ", prefix: theirs/, read_size: 64KiB, types: { n: number }, errors: { retry_timeout: 60s }";
        write(folder, "pipeline.yaml", back(&server, source));
        let mut hits = 0;
        for kill in 0..4 {
            let before = written(folder);
            let mut process = Process::spawn(&mut run(folder), folder.join("run.log"));
            let mut has_ended = false;
            wait_until("records to arrive", LIMIT, || {
                has_ended = process.ended().is_some();
                has_ended || written(folder) > before
            });
            thread::sleep(Duration::from_millis(random.below(120)));
            if kill % 3 == 1 {
                server.kill();
                thread::sleep(Duration::from_millis(random.below(400)));
                server.restart();
                thread::sleep(Duration::from_millis(random.below(100)));
            }
            hits += u32::from(!has_ended && process.ended().is_none());
            process.kill();
        }
        assert!(hits >= 2, "{kind:?}: only {hits} kills hit a process that was reading");
        Process::spawn(&mut run(folder), folder.join("last.log")).succeed(LIMIT);
        let found = rows(folder);
        assert_eq!(found.len() as u64, ROWS, "{kind:?}");
        assert!(found.keys().copied().eq(0..ROWS), "{kind:?}");
    }
}
