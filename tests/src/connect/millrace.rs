//! `millrace connect` without files, as a process of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::rest;
use crate::binary;
use crate::broker::free_address;
use crate::process::{Process, command, wait_until};

/// Longest time until a worker answers, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Longest time of a clean stop.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// One worker; it is killed when the value is dropped.
#[derive(Debug)]
pub struct Worker {
    process: Process,
    bootstrap: String,
    log: PathBuf,
    address: String,
}

impl Worker {
    /// Starts a worker that writes its log (`worker.log`) below `folder`.
    pub fn start(bootstrap: &str, folder: &Path) -> Worker {
        let address = free_address().to_string();
        let log = folder.join("worker.log");
        let process = spawn(bootstrap, &address, &log);
        let mut worker = Worker { process, bootstrap: bootstrap.to_owned(), log, address };
        worker.wait_until_ready();
        worker
    }

    fn wait_until_ready(&mut self) {
        wait_until("the worker to answer", START_LIMIT, || {
            let ended = self.process.ended();
            assert!(ended.is_none(), "the worker ended: {ended:?}\n{}", self.process.output());
            matches!(rest::ask(&self.address, "GET", "/health", None), Some((200, _)))
        });
    }

    /// `HOST:PORT` of the REST API.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it has printed so far, over all its starts.
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// Asks; the worker has to answer.
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        rest::ask(&self.address, method, path, body)
            .unwrap_or_else(|| panic!("{method} {path}: no answer\n{}", self.log()))
    }

    /// The states of a connector and of its tasks.
    pub fn state(&self, connector: &str) -> Vec<String> {
        let (_, status) = self.ask("GET", &format!("/connectors/{connector}/status"), None);
        let tasks = status["tasks"].as_array().cloned().unwrap_or_default();
        let state = |of: &Value| of["state"].as_str().unwrap_or_default().to_owned();
        std::iter::once(state(&status["connector"])).chain(tasks.iter().map(state)).collect()
    }

    /// SIGKILL, and a new start with the same settings.
    pub fn kill_and_restart(&mut self) {
        self.process.kill();
        self.process = spawn(&self.bootstrap, &self.address, &self.log);
        self.wait_until_ready();
    }

    /// SIGTERM, and waits for the clean end.
    pub fn stop(mut self) {
        self.process.terminate();
        self.process.succeed(STOP_LIMIT);
    }
}

fn spawn(bootstrap: &str, address: &str, log: &Path) -> Process {
    let mut start = command(binary());
    start.args(["connect", "--bootstrap", bootstrap, "--rest", address]);
    Process::spawn(&mut start, log.to_path_buf())
}
