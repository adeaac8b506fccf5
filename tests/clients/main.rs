//! Unmodified Kafka clients against `millrace broker`: librdkafka, aiokafka, franz-go, KafkaJS and Apache Kafka's own tools.
//!
//! The programs are described in `README.md` beside this file. With `MILLRACE_CLIENTS_BOOTSTRAP=HOST:PORT` they
//! run against that cluster instead, so that a test can be held against Apache Kafka itself.

mod group;
mod java;
mod language;
mod target;

use std::time::Duration;

use language::Language;
use millrace_tests::binary::repository;
use millrace_tests::process::Process;
use millrace_tests::tools;
use target::Target;

/// Longest run of one program's `check`.
const CHECK_LIMIT: Duration = Duration::from_secs(180);

/// What every `check` must have said, besides a line per codec.
const PARTS: [&str; 7] = [
    "create",
    "create again is refused",
    "describe",
    "read all once",
    "list offsets",
    "transactions",
    "delete",
];

fn check(language: Language, codecs: &[&str]) {
    let target = Target::start();
    let program = target.run(language, &["check", "--topic", &format!("check-{}", language.name())]);
    has_checked(program, codecs);
}

fn has_checked(mut program: Process, codecs: &[&str]) {
    let said = program.succeed(CHECK_LIMIT);
    let codecs = codecs.iter().map(|codec| format!("produce {codec}"));
    for part in PARTS.iter().map(|&part| part.to_owned()).chain(codecs) {
        assert!(said.lines().any(|line| line == format!("ok {part}")), "no line `ok {part}` in:\n{said}");
    }
}

#[test]
fn librdkafka_produces_reads_and_administers() {
    check(Language::Python, &["none", "gzip", "snappy", "lz4", "zstd"]);
}

#[test]
fn franz_go_produces_reads_and_administers() {
    check(Language::Go, &["none", "gzip", "snappy", "lz4", "zstd"]);
}

#[test]
fn aiokafka_produces_reads_and_administers() {
    let target = Target::start();
    let mut program = tools::python();
    program.arg(repository().join("tests/clients/python/aio.py"));
    program.args(["check", "--topic", "check-aiokafka", "--bootstrap", target.bootstrap()]);
    has_checked(Process::spawn(&mut program, target.output()), &["none", "gzip", "snappy", "lz4", "zstd"]);
}

#[test]
fn kafkajs_produces_reads_and_administers() {
    check(Language::JavaScript, &["none", "gzip", "snappy", "lz4"]);
}
