//! Apache Kafka Connect in distributed mode with `millrace broker` as its cluster.
//!
//! Its settings, positions and states are in the broker's compacted topics, its workers are members of a group of
//! protocol type `connect`, and with `exactly.once.source.support` its sources write in transactions.

mod debezium;

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::time::Duration;

use millrace_tests::connect::kafka::Worker;
use millrace_tests::process::wait_until;
use millrace_tests::{Broker, topic};
use serde_json::json;

/// Lines in the source file: some at first, some after each kill.
const LINES_PER_STEP: u64 = 500;
const STEPS: u64 = 3;

/// Longest wait for lines to arrive, on a busy machine and after kills.
const LIMIT: Duration = Duration::from_secs(180);

#[test]
fn file_to_topic_exactly_once_and_topic_to_file_through_kills() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let mut broker = Broker::start(folder, &["group.initial.rebalance.delay.ms=0"]);
    let (source, target) = (folder.join("source.txt"), folder.join("target.txt"));
    let mut lines = OpenOptions::new().create(true).append(true).open(&source).expect("the source file");
    let mut write = |step: u64| {
        for n in step * LINES_PER_STEP..(step + 1) * LINES_PER_STEP {
            writeln!(lines, "line {n}").expect("the source file can be written");
        }
    };
    write(0);
    let mut worker = Worker::start(&broker.bootstrap(), folder);
    worker.put(
        "source",
        &json!({
            "connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector",
            "tasks.max": "1", "topic": "lines", "file": source, "transaction.boundary": "poll",
            "exactly.once.support": "required",
        }),
    );
    worker.put(
        "sink",
        &json!({
            "connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector",
            "tasks.max": "1", "topics": "lines", "file": target,
            "consumer.override.isolation.level": "read_committed",
        }),
    );
    // The sink writes at least once: a line may be there again after a kill.
    let arrived = || {
        let text = fs::read_to_string(&target).unwrap_or_default();
        text.lines().collect::<BTreeSet<&str>>().len() as u64
    };
    for step in 0..STEPS {
        if step > 0 {
            write(step);
        }
        wait_until("the lines in the target file", LIMIT, || arrived() == (step + 1) * LINES_PER_STEP);
        match step {
            0 => {
                broker.kill();
                broker.restart();
            }
            1 => worker.kill_and_restart(),
            _ => {}
        }
    }
    for connector in ["source", "sink"] {
        assert_eq!(worker.state(connector), ["RUNNING", "RUNNING"], "{connector} and its task");
    }
    let records = topic::read(&broker.bootstrap(), "lines", folder);
    let seen: Vec<&str> = records.values().flatten().map(|(_, value)| value.as_str()).collect();
    let expected: Vec<String> = (0..STEPS * LINES_PER_STEP).map(|n| format!("line {n}")).collect();
    assert_eq!(seen, expected, "each line is in the topic once and in order");
    worker.delete("sink");
    worker.stop();
}
