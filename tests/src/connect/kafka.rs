//! Kafka Connect: a distributed worker as a process.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::rest;
use crate::broker::free_address;
use crate::process::{Process, wait_until};
use crate::tools;

/// Longest time until a worker has joined its group and answers, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(180);

/// Longest time of a clean stop.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// One worker; it is killed when the value is dropped.
#[derive(Debug)]
pub struct Worker {
    process: Process,
    config: PathBuf,
    log: PathBuf,
    address: String,
}

impl Worker {
    /// Starts a worker with its settings and its log below `folder`.
    pub fn start(bootstrap: &str, folder: &Path) -> Worker {
        Worker::start_with(bootstrap, folder, "")
    }

    /// The same with a plugin, which is a folder of jars.
    pub fn start_with_plugin(bootstrap: &str, folder: &Path, plugin: &Path) -> Worker {
        // A folder of plugins that holds this one only: all of them would be loaded.
        let plugins = folder.join("plugins");
        fs::create_dir(&plugins).expect("the temporary folder can be written");
        std::os::unix::fs::symlink(plugin, plugins.join("plugin"))
            .expect("the temporary folder can be written");
        let more = format!("plugin.path={}\nplugin.discovery=service_load\n", plugins.display());
        Worker::start_with(bootstrap, folder, &more)
    }

    fn start_with(bootstrap: &str, folder: &Path, more: &str) -> Worker {
        let address = free_address().to_string();
        let config = folder.join("worker.properties");
        let properties = properties(bootstrap, &address) + more;
        fs::write(&config, properties).expect("the temporary folder can be written");
        let log = folder.join("worker.log");
        let process = spawn(&config, &log);
        let mut worker = Worker { process, config, log, address };
        worker.wait_until_ready();
        worker
    }

    fn wait_until_ready(&mut self) {
        wait_until("the worker to answer", START_LIMIT, || {
            let ended = self.process.ended();
            assert!(ended.is_none(), "the worker ended: {ended:?}\n{}", self.process.output());
            matches!(rest::ask(&self.address, "GET", "/connectors", None), Some((200, _)))
        });
    }

    /// Creates a connector, or changes it.
    pub fn put(&self, connector: &str, config: &Value) {
        // 409 while the workers rebalance.
        wait_until("the connector to be taken", START_LIMIT, || {
            let path = format!("/connectors/{connector}/config");
            match rest::ask(&self.address, "PUT", &path, Some(config)) {
                Some((200 | 201, _)) => true,
                Some((409, _)) | None => false,
                Some((status, body)) => panic!("{connector}: {status} {body}"),
            }
        });
    }

    /// `HOST:PORT` of the REST API.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Removes a connector.
    pub fn delete(&self, connector: &str) {
        wait_until("the connector to be deleted", START_LIMIT, || {
            let path = format!("/connectors/{connector}");
            matches!(rest::ask(&self.address, "DELETE", &path, None), Some((204, _)))
        });
    }

    /// The states of a connector and of its tasks.
    pub fn state(&self, connector: &str) -> Vec<String> {
        let path = format!("/connectors/{connector}/status");
        let (_, status) = rest::ask(&self.address, "GET", &path, None).expect("the worker answers");
        let tasks = status["tasks"].as_array().cloned().unwrap_or_default();
        let state = |of: &Value| of["state"].as_str().unwrap_or_default().to_owned();
        std::iter::once(state(&status["connector"])).chain(tasks.iter().map(state)).collect()
    }

    /// SIGKILL, and a new start with the same settings.
    pub fn kill_and_restart(&mut self) {
        self.process.kill();
        self.process = spawn(&self.config, &self.log);
        self.wait_until_ready();
    }

    /// SIGTERM, and waits for the clean end.
    pub fn stop(mut self) {
        self.process.terminate();
        self.process.wait(STOP_LIMIT);
    }
}

fn spawn(config: &Path, log: &Path) -> Process {
    let mut script = tools::kafka_script();
    script.env("KAFKA_CONNECT_HEAP", "-Xms64M -Xmx512M").env("PEERS_LOGLEVEL", "WARN");
    script.arg("connect-distributed").arg(config);
    Process::spawn(&mut script, log.to_path_buf())
}

fn properties(bootstrap: &str, address: &str) -> String {
    let lines = [
        format!("bootstrap.servers={bootstrap}"),
        format!("listeners=http://{address}"),
        "group.id=workers".to_owned(),
        "exactly.once.source.support=enabled".to_owned(),
        "config.storage.topic=connect-configs".to_owned(),
        "offset.storage.topic=connect-offsets".to_owned(),
        "status.storage.topic=connect-status".to_owned(),
        "config.storage.replication.factor=1".to_owned(),
        "offset.storage.replication.factor=1".to_owned(),
        "status.storage.replication.factor=1".to_owned(),
        "offset.storage.partitions=3".to_owned(),
        "status.storage.partitions=1".to_owned(),
        "offset.flush.interval.ms=500".to_owned(),
        "key.converter=org.apache.kafka.connect.storage.StringConverter".to_owned(),
        "value.converter=org.apache.kafka.connect.storage.StringConverter".to_owned(),
        "connector.client.config.override.policy=All".to_owned(),
        // Whoever is killed is missed soon.
        "session.timeout.ms=6000".to_owned(),
        "heartbeat.interval.ms=1000".to_owned(),
        "scheduled.rebalance.max.delay.ms=1000".to_owned(),
        "consumer.session.timeout.ms=6000".to_owned(),
        "consumer.heartbeat.interval.ms=1000".to_owned(),
    ];
    lines.join("\n") + "\n"
}
