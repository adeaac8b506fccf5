//! The real Apache Kafka, fetched and started by `bench/peers/kafka.sh`.

use std::process::Command;

use anyhow::{Context, Result};

use crate::cache;
use crate::process::{Log, require};

/// The environment variable by which the scripts know where peers live.
pub(crate) const CACHE_VARIABLE: &str = "PEERS_CACHE";

/// A call of a script in `bench/`, with the peers' cache set.
pub(crate) fn script(path: &str) -> Result<Command> {
    let mut command = Command::new(cache::repository().join("bench").join(path));
    command.env(CACHE_VARIABLE, cache::folder("peers")?).current_dir(cache::repository());
    Ok(command)
}

/// Apache Kafka with its tools and Connect, by Maven.
pub(crate) fn install_kafka(log: &Log) -> Result<()> {
    require("java", "install Java 17 or newer, e.g. apt-get install openjdk-17-jre-headless")?;
    require("mvn", "install Maven, e.g. apt-get install maven")?;
    log.run(script("peers/kafka.sh")?.arg("install"))
        .context("Apache Kafka cannot be installed from the Maven repository")
}
