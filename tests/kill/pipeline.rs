//! `millrace run` is killed while a file grows, goes through a source, a topic and a sink, and comes out again.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use millrace_tests::broker::free_address;
use millrace_tests::process::{Process, command};
use millrace_tests::random::{Random, between, seed};
use millrace_tests::{Broker, binary, topic};
use serde_json::Value;

use crate::KILLS;

/// The process lives this long between two kills, milliseconds: from before it is up to well at work.
const LIFE_MS: (u64, u64) = (30, 700);

/// Lines that the source file grows by in each life.
const LINES_PER_LIFE: (u64, u64) = (20, 400);

/// Longest time of the last run, which nobody kills.
const FINISH_LIMIT: Duration = Duration::from_secs(180);

/// A pipeline file; while processes are killed the source follows its file, at the end it stops where the file ends.
fn pipeline(follow: bool) -> String {
    format!(
        "version: 1
pipelines:
  numbers:
    source:
      connector: file-source
      path: ./numbers.jsonl
      format: jsonl
      follow: {follow}
      key: key
    topic: {{ name: numbers, partitions: 3 }}
    sinks:
      out:
        connector: file-sink
        path: ./out/numbers.jsonl
        format: jsonl
"
    )
}

fn run(folder: &Path, address: SocketAddr, options: &[&str]) -> Process {
    let mut run = command(binary());
    run.args(["run", "numbers.yaml", "--data-dir", "data", "--listen", &address.to_string()]).args(options);
    Process::spawn(run.current_dir(folder), folder.join("run.txt"))
}

/// The numbers of a file of JSON lines, each line whole.
fn numbers(text: &str) -> Vec<(u64, String)> {
    let line = |line: &str| {
        let value: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("torn line {line:?}: {error}"));
        let number = value["n"].as_u64().unwrap_or_else(|| panic!("no number in {line}"));
        (number, value["key"].as_str().unwrap_or_default().to_owned())
    };
    text.lines().map(line).collect()
}

#[test]
fn a_killed_pipeline_moves_every_line_once_and_in_order() {
    let seed = seed();
    println!("seed {seed}: MILLRACE_SEED={seed} tries the same moments");
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let address = free_address();
    fs::write(folder.join("numbers.yaml"), pipeline(true)).expect("the temporary folder can be written");
    let mut total = 0;
    let source = OpenOptions::new().create(true).append(true).open(folder.join("numbers.jsonl"));
    let mut source = source.expect("the temporary folder can be written");
    for _ in 0..KILLS {
        let mut running = run(folder, address, &[]);
        for _ in 0..between(&mut random, LINES_PER_LIFE) {
            writeln!(source, "{{\"n\":{total},\"key\":\"k{}\"}}", total % 7)
                .expect("the source file can be written");
            total += 1;
        }
        thread::sleep(Duration::from_millis(between(&mut random, LIFE_MS)));
        let ended = running.ended();
        assert!(ended.is_none(), "the pipeline ended by itself: {ended:?}\n{}", running.output());
        running.kill();
    }
    fs::write(folder.join("numbers.yaml"), pipeline(false)).expect("the temporary folder can be written");
    run(folder, address, &["--exit-when-done"]).succeed(FINISH_LIMIT);

    let expected: Vec<u64> = (0..total).collect();
    let broker = Broker::start(folder, &[]);
    let records = topic::read(&broker.bootstrap(), "numbers", folder);
    let mut in_topic = Vec::new();
    for (partition, records) in &records {
        let lines: Vec<&str> = records.iter().map(|(_, value)| value.as_str()).collect();
        let values: Vec<u64> = numbers(&lines.join("\n")).into_iter().map(|(number, _)| number).collect();
        let disorder = values.windows(2).find(|pair| pair[0] >= pair[1]);
        assert!(disorder.is_none(), "partition {partition}: out of order or twice: {disorder:?}");
        in_topic.extend(values);
    }
    in_topic.sort_unstable();
    assert!(in_topic == expected, "{} lines in the topic, {total} in the source file", in_topic.len());

    let out = fs::read_to_string(folder.join("out/numbers.jsonl")).expect("the sink has written its file");
    let lines = numbers(&out);
    for key in (0..7).map(|n| format!("k{n}")) {
        let values: Vec<u64> = lines.iter().filter(|(_, k)| *k == key).map(|(number, _)| *number).collect();
        let disorder = values.windows(2).find(|pair| pair[0] >= pair[1]);
        assert!(disorder.is_none(), "lines of {key}: out of order or twice: {disorder:?}");
    }
    let mut written: Vec<u64> = lines.into_iter().map(|(number, _)| number).collect();
    written.sort_unstable();
    assert!(written == expected, "{} lines came out, {total} went in", written.len());
    println!("{KILLS} kills, {total} lines");
}
