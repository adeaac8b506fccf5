//! `millrace connect` as a process of its own, with its REST interface.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::binary;
use crate::broker::free_address;
use crate::connect::rest;
use crate::process::{Process, command, wait_until};

/// Longest time until a worker has read its topics and answers, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(120);

/// Longest time of a clean stop.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// Longest time until what was applied runs.
const APPLY_LIMIT: Duration = Duration::from_secs(180);

/// A worker; it is killed when the value is dropped.
#[derive(Debug)]
pub struct Worker {
    process: Option<Process>,
    address: String,
    bootstrap: String,
    log: PathBuf,
    arguments: Vec<String>,
}

impl Worker {
    /// Starts a worker that logs to `<name>.log` below `folder`. Does not wait for it.
    pub fn start(folder: &Path, name: &str, bootstrap: &str, settings: &[&str]) -> Worker {
        let settings: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
        Worker::start_with(folder, name, bootstrap, &settings)
    }

    /// The same with further words of the command line.
    pub fn start_with(folder: &Path, name: &str, bootstrap: &str, arguments: &[&str]) -> Worker {
        let mut worker = Worker {
            process: None,
            address: free_address().to_string(),
            bootstrap: bootstrap.to_owned(),
            log: folder.join(format!("{name}.log")),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
        };
        worker.restart();
        worker
    }

    /// Starts it again under the same address; it must have ended. Does not wait for it.
    pub fn restart(&mut self) {
        let mut start = command(binary());
        start.args(["connect", "--bootstrap", &self.bootstrap, "--rest", &self.address]);
        start.args(&self.arguments);
        self.process = Some(Process::spawn(&mut start, self.log.clone()));
    }

    /// Waits until it answers.
    pub fn wait_until_ready(&mut self) {
        let mut process = self.process.take().expect("the worker was started");
        wait_until("the worker to answer", START_LIMIT, || {
            let ended = process.ended();
            assert!(ended.is_none(), "the worker ended: {ended:?}\n{}", process.output());
            matches!(self.ask("GET", "/health", None), Some((200, _)))
        });
        self.process = Some(process);
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        drop(self.process.take());
    }

    /// SIGTERM, and waits for the clean end.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.terminate();
            process.succeed(STOP_LIMIT);
        }
    }

    /// Sends a signal, by its name: `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        let id = self.process.as_ref().expect("the worker runs").id();
        let sent = Command::new("kill").args([&format!("-{name}"), &id.to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{name} {id}");
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.ended().is_some())
    }

    /// `HOST:PORT` of its REST interface, which is its name in states, too.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it has printed so far, over all its starts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Status and body, or nothing if nobody answers.
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Option<(u16, Value)> {
        rest::ask(&self.address, method, path, body)
    }

    /// `millrace apply`, from the folder of the file.
    pub fn apply(&self, file: &Path) {
        let mut apply = command(binary());
        apply.arg("apply").arg(file).args(["--url", &format!("http://{}", self.address), "--timeout", "150"]);
        Process::spawn(&mut apply, file.with_extension("apply.txt")).succeed(APPLY_LIMIT);
    }

    /// Which worker runs what, as this one knows: tasks as `connector-0`, connectors by their name; only what runs.
    pub fn placement(&self) -> BTreeMap<String, String> {
        let Some((200, all)) = self.ask("GET", "/connectors?expand=status", None) else {
            return BTreeMap::new();
        };
        let mut placement = BTreeMap::new();
        for (name, connector) in all.as_object().into_iter().flatten() {
            let status = &connector["status"];
            let mut note = |what: String, of: &Value| {
                if of["state"] == "RUNNING" {
                    placement.insert(what, of["worker_id"].as_str().unwrap_or_default().to_owned());
                }
            };
            note(name.clone(), &status["connector"]);
            for task in status["tasks"].as_array().into_iter().flatten() {
                note(format!("{name}-{}", task["id"]), task);
            }
        }
        placement
    }
}
