//! Programs of other languages that `cargo xtask test` installed into the cache folder.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::binary::repository;
use crate::process::command;

/// The cache folder, found as `xtask` finds it.
fn cache() -> PathBuf {
    if let Some(own) = env::var_os("MILLRACE_CACHE") {
        return PathBuf::from(own);
    }
    let base = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    base.or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))
        .unwrap_or_default()
        .join("millrace")
}

fn installed(path: &str) -> PathBuf {
    let path = cache().join(path);
    assert!(path.exists(), "{} is missing; run `cargo xtask test --only setup`", path.display());
    path
}

/// The Python that has confluent-kafka.
pub fn python() -> Command {
    command(installed("python/bin/python"))
}

/// Node.js, with KafkaJS on its path.
pub fn node() -> Command {
    let mut node = command("node");
    node.env("NODE_PATH", installed("node/node_modules")).env("KAFKAJS_NO_PARTITIONER_WARNING", "1");
    node
}

/// The franz-go program of `tests/clients/go`.
pub fn franz_go() -> Command {
    command(installed("bin/franz-go-client"))
}

/// The folder of Debezium's connector for PostgreSQL, a plugin of Kafka Connect.
pub fn debezium() -> PathBuf {
    let versions = std::fs::read_dir(installed("peers")).into_iter().flatten().flatten();
    let plugins = versions.map(|version| version.path().join("plugins/debezium-postgres"));
    let found = plugins.filter(|plugin| plugin.join(".complete").exists()).max();
    found.expect("Debezium is missing; run `cargo xtask test --only setup`")
}

/// Versity's S3 gateway.
pub fn versitygw() -> PathBuf {
    installed("bin/versitygw")
}

/// The S3 server `s3s-fs`.
pub fn s3s_fs() -> PathBuf {
    installed("tools/bin/s3s-fs")
}

/// A tool of Apache Kafka by its short name: `topics`, `console-producer`, `dump-log`, ...
pub fn kafka(tool: &str) -> Command {
    let mut script = kafka_script();
    script.args(["tool", tool]);
    script
}

/// A program of `tests/clients/java` by its class.
pub fn java(class: &str) -> Command {
    let mut script = kafka_script();
    script.arg("run").arg(installed("java")).arg(class);
    script
}

/// The program of `tests/clients/java` that has Confluent's client of a schema registry.
pub fn java_registry() -> Command {
    let mut program = java("Registry");
    program.env("PEERS_CLASSPATH", installed("java-registry").join("*"));
    program
}

/// The script that runs Apache Kafka, its tools and Kafka Connect.
pub fn kafka_script() -> Command {
    let mut script = command(repository().join("bench/peers/kafka.sh"));
    // Small and quickly up: most runs of a tool last a second.
    script.env("KAFKA_JVM_PERFORMANCE_OPTS", "-XX:+UseSerialGC -XX:TieredStopAtLevel=1");
    script.env("PEERS_CACHE", installed("peers"));
    script
}
