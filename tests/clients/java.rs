//! Apache Kafka's own tools: console clients, administration, and `kafka-dump-log` over the broker's data directory.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use millrace_tests::process::Process;
use millrace_tests::tools;

use crate::language::Language;
use crate::target::Target;

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
const PER_CODEC: usize = 100;

/// Header, key and value of a record as the console tools write and read them.
fn lines(codec: &str) -> Vec<String> {
    (0..PER_CODEC).map(|n| format!("codec:{codec}\tkey-{n}\tvalue {codec} {n}")).collect()
}

fn console_produce(target: &Target, topic: &str, codec: &str) {
    let input = lines(codec).join("\n") + "\n";
    let arguments = [
        "--bootstrap-server",
        target.bootstrap(),
        "--topic",
        topic,
        "--compression-codec",
        codec,
        "--reader-property",
        "parse.key=true",
        "--reader-property",
        "parse.headers=true",
    ];
    target.kafka_reading("console-producer", &arguments, &input);
}

#[test]
fn the_console_tools_work_as_they_are() {
    let target = Target::start();
    let server = ["--bootstrap-server", target.bootstrap()];
    let kafka = |tool: &str, arguments: &[&str]| target.kafka(tool, &[&server, arguments].concat());
    let topic = "console";

    kafka(
        "topics",
        &["--create", "--topic", topic, "--partitions", "3", "--config", "retention.ms=86400000"],
    );
    let described = kafka("topics", &["--describe", "--topic", topic]);
    assert!(
        described.contains("PartitionCount: 3") && described.contains("retention.ms=86400000"),
        "{described}"
    );
    let configured = kafka("configs", &["--describe", "--entity-type", "topics", "--entity-name", topic]);
    assert!(configured.contains("retention.ms=86400000"), "{configured}");

    CODECS.iter().for_each(|codec| console_produce(&target, topic, codec));
    let total = (CODECS.len() * PER_CODEC).to_string();
    let read = kafka(
        "console-consumer",
        &[
            "--topic",
            topic,
            "--from-beginning",
            "--max-messages",
            &total,
            "--timeout-ms",
            "60000",
            "--group",
            "console-group",
            "--formatter-property",
            "print.headers=true",
            "--formatter-property",
            "print.key=true",
            "--formatter-property",
            "print.value=true",
        ],
    );
    let read: Vec<&str> = read.lines().filter(|line| line.starts_with("codec:")).collect();
    let seen: BTreeSet<String> = read.iter().map(|&line| line.to_owned()).collect();
    let expected: BTreeSet<String> = CODECS.iter().flat_map(|codec| lines(codec)).collect();
    let missing: Vec<_> = expected.difference(&seen).take(5).collect();
    assert!(missing.is_empty() && read.len() == expected.len(), "{} lines, missing: {missing:?}", read.len());

    let offsets = kafka("get-offsets", &["--topic", topic]);
    let sum: usize = offsets.lines().filter_map(|line| line.rsplit(':').next()?.parse::<usize>().ok()).sum();
    assert_eq!(sum.to_string(), total, "sum of the end offsets in:\n{offsets}");
    let group = kafka("consumer-groups", &["--describe", "--group", "console-group"]);
    assert_eq!(
        group.lines().filter(|line| line.contains(topic) && line.starts_with("console-group")).count(),
        3,
        "{group}"
    );
    assert!(kafka("consumer-groups", &["--list"]).contains("console-group"));
    assert!(kafka("topics", &["--list"]).lines().any(|line| line == topic));

    kafka("topics", &["--alter", "--topic", topic, "--partitions", "4"]);
    assert!(kafka("topics", &["--describe", "--topic", topic]).contains("PartitionCount: 4"));
    kafka("topics", &["--delete", "--topic", topic]);
    assert!(!kafka("topics", &["--list"]).lines().any(|line| line == topic));
}

#[test]
fn the_verifiable_producer_gets_every_record_acknowledged() {
    let target = Target::start();
    target.create_topic("verifiable", 3);
    let said = target.kafka(
        "verifiable-producer",
        &[
            "--bootstrap-server",
            target.bootstrap(),
            "--topic",
            "verifiable",
            "--max-messages",
            "5000",
            "--acks",
            "-1",
        ],
    );
    let sent = said.lines().filter(|line| line.contains("producer_send_success")).count();
    assert_eq!(sent, 5000, "{}", said.lines().last().unwrap_or_default());
    assert!(said.contains("\"acked\":5000"), "{}", said.lines().last().unwrap_or_default());
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the data directory can be read").flatten() {
        if entry.path().is_dir() {
            files_below(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}

/// Segments, indexes, producer snapshots and metadata of a data directory with some life in it: many segments, all
/// codecs, transactions and a group, after SIGKILL, a restart and a clean stop.
#[test]
fn dump_log_reads_the_data_directory_without_complaint() {
    let mut target = Target::start();
    let settings = ["log.segment.bytes=1048576", "log.index.interval.bytes=512"];
    let Some(broker) = target.broker() else { return };
    broker.stop();
    broker.set(&settings);
    broker.restart();
    target.create_topic("dumped", 3);
    CODECS.iter().for_each(|codec| console_produce(&target, "dumped", codec));
    // Enough for several segments in each partition.
    let records = ["--num-records", "12000", "--record-size", "1000", "--throughput", "-1"];
    let server = ["--bootstrap-server", target.bootstrap(), "--topic", "dumped"];
    target.kafka("producer-perf-test", &[&server[..], &records[..]].concat());
    target.run(Language::Python, &["check", "--topic", "checked"]).succeed(super::CHECK_LIMIT);
    let broker = target.broker().expect("one of ours");
    broker.kill();
    broker.restart();
    broker.stop();
    let mut files = Vec::new();
    files_below(broker.data_dir(), &mut files);
    let with = |extension: &str| -> Vec<PathBuf> {
        files.iter().filter(|file| file.extension().is_some_and(|it| it == extension)).cloned().collect()
    };
    let (logs, indexes) =
        (with("log"), [with("index"), with("timeindex"), with("snapshot"), with("txnindex")].concat());
    let dumped = logs.iter().filter(|log| log.to_string_lossy().contains("dumped-")).count();
    assert!(dumped > 6, "segments were rolled: {logs:?}");
    dump(&target, &logs, &["--deep-iteration"]);
    dump(&target, &indexes, &[]);
    let about = |name: &str| {
        logs.iter().filter(|log| log.to_string_lossy().contains(name)).cloned().collect::<Vec<_>>()
    };
    for (topic, decoder) in [
        ("__cluster_metadata", "--cluster-metadata-decoder"),
        ("__consumer_offsets", "--offsets-decoder"),
        ("__transaction_state", "--transaction-log-decoder"),
    ] {
        let said = dump(&target, &about(topic), &[decoder]);
        assert!(
            said.contains("payload:") || topic == "__consumer_offsets",
            "{topic} holds no records:\n{said}"
        );
    }
}

/// Runs the tool over the files; it prints complaints and still ends well, so its words are looked at.
fn dump(target: &Target, files: &[PathBuf], options: &[&str]) -> String {
    if files.is_empty() {
        return String::new();
    }
    let list = files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(",");
    let mut tool = tools::kafka("dump-log");
    tool.args(["--files", &list, "--print-data-log"]).args(options);
    let said = Process::spawn(&mut tool, target.output()).succeed(super::CHECK_LIMIT);
    let complaints = [
        "isvalid: false",
        "Mismatches in",
        "not found in log",
        "Found timestamp mismatch",
        "out of order",
        "non-consecutive",
        "Exception",
        "Could not",
        "invalid",
    ];
    let complained: Vec<&str> = said
        .lines()
        .filter(|line| complaints.iter().any(|complaint| line.contains(complaint)))
        .take(10)
        .collect();
    assert!(complained.is_empty(), "kafka-dump-log complains:\n{}", complained.join("\n"));
    said
}
