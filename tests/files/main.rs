//! file-sink in each format, as users run pipelines to it: read back by other engines, killed at any moment, on a disk that is full.

mod faults;
mod sink;

use std::path::{Path, PathBuf};

use millrace_tests::s3::write;
use millrace_tests::strikes::write_rows;

/// A pipeline from `in.jsonl` of a folder, with `rows` in it, to sinks: names with their settings, a line each.
fn pipeline(folder: &Path, rows: u64, sinks: &[(&str, &str)]) {
    write_rows(folder, "in.jsonl", 0..rows);
    let sink = |(name, settings): &(&str, &str)| {
        let settings: String = settings.lines().map(|line| format!("        {line}\n")).collect();
        format!("      {name}:\n        connector: file-sink\n{settings}")
    };
    let sinks: String = sinks.iter().map(sink).collect();
    let head = "version: 1\npipelines:\n  strikes:\n    source: { connector: file-source, path: in.jsonl, format: jsonl, key: n }\n    \
                topic: { name: strikes, partitions: 3 }\n    sinks:\n";
    write(folder, "pipeline.yaml", format!("{head}{sinks}"));
}

/// The folder of a sink, which is there.
fn out(folder: &Path, name: &str) -> PathBuf {
    let out = folder.join(name);
    std::fs::create_dir_all(&out).expect("the temporary folder can be written");
    out
}
