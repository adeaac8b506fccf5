//! The cluster under test, and programs running against it.

use std::env;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use millrace_tests::Broker;
use millrace_tests::process::Process;
use millrace_tests::tools;
use tempfile::TempDir;

use crate::language::Language;

/// Longest run of a small administrative command.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// A broker of its own for one test, or the cluster that the environment names.
pub(crate) struct Target {
    broker: Option<Broker>,
    bootstrap: String,
    folder: TempDir,
    runs: AtomicU32,
}

impl Target {
    pub(crate) fn start() -> Target {
        Target::start_with(&[])
    }

    /// With settings, which a cluster that the environment names has to have, too.
    pub(crate) fn start_with(settings: &[&str]) -> Target {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let foreign = env::var("MILLRACE_CLIENTS_BOOTSTRAP").ok();
        let broker = foreign.is_none().then(|| Broker::start(folder.path(), settings));
        let bootstrap = foreign.or_else(|| broker.as_ref().map(Broker::bootstrap)).expect("one of both");
        Target { broker, bootstrap, folder, runs: AtomicU32::new(0) }
    }

    pub(crate) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The broker, if it is one of ours.
    pub(crate) fn broker(&mut self) -> Option<&mut Broker> {
        self.broker.as_mut()
    }

    /// A file for the output of the next program.
    pub(crate) fn output(&self) -> PathBuf {
        self.folder.path().join(format!("run-{}.txt", self.runs.fetch_add(1, Ordering::Relaxed)))
    }

    /// Starts a language's program with a command and its options.
    pub(crate) fn run(&self, language: Language, arguments: &[&str]) -> Process {
        let mut program = language.program();
        program.args(&arguments[..1]).args(["--bootstrap", &self.bootstrap]).args(&arguments[1..]);
        Process::spawn(&mut program, self.output())
    }

    pub(crate) fn create_topic(&self, topic: &str, partitions: u32) {
        let partitions = partitions.to_string();
        let mut create = self.run(Language::Go, &["create", "--topic", topic, "--partitions", &partitions]);
        create.succeed(COMMAND_LIMIT);
    }

    /// Runs a tool of Apache Kafka to its good end and gives back what it printed.
    pub(crate) fn kafka(&self, tool: &str, arguments: &[&str]) -> String {
        self.kafka_reading(tool, arguments, "")
    }

    /// The same with a text on its standard input.
    pub(crate) fn kafka_reading(&self, tool: &str, arguments: &[&str], input: &str) -> String {
        let file = self.output();
        std::fs::write(&file, input).expect("the temporary folder can be written");
        let mut program = tools::kafka(tool);
        program.args(arguments).stdin(std::fs::File::open(&file).expect("just written"));
        Process::spawn(&mut program, self.output()).succeed(2 * COMMAND_LIMIT)
    }
}
