//! The schema registry, with Confluent's serializers of Python and client of Java on the other side.

use std::time::Duration;

use millrace_tests::broker::free_address;
use millrace_tests::process::Process;
use millrace_tests::{Broker, binary, tools};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(180);

/// A broker with a registry beside it.
struct Site {
    broker: Broker,
    url: String,
    folder: TempDir,
}

impl Site {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let address = free_address();
        let broker = Broker::start(folder.path(), &[&format!("registry.listener={address}")]);
        Self { broker, url: format!("http://{address}"), folder }
    }

    /// Runs the Python program to its good end; what it printed.
    fn python(&self, verb: &str, more: &[&str]) -> String {
        let mut program = tools::python();
        program.arg(binary::repository().join("tests/clients/python/registry.py"));
        program.args([verb, &self.broker.bootstrap(), &self.url]).args(more);
        Process::spawn(&mut program, self.folder.path().join(format!("{verb}.txt"))).succeed(LIMIT)
    }
}

#[test]
fn confluents_java_client_works_as_with_their_own_registry() {
    let site = Site::start();
    let mut program = tools::java_registry();
    program.arg(&site.url);
    let said = Process::spawn(&mut program, site.folder.path().join("java.txt")).succeed(LIMIT);
    assert!(said.ends_with("ok registry\n"), "{said}");
}

#[test]
fn confluents_python_serializers_work_as_with_their_own_registry() {
    let mut site = Site::start();
    assert!(site.python("round-trip", &[]).ends_with("ok\n"));
    // What was registered is on disk.
    site.broker.kill();
    site.broker.restart();
    site.python("write", &["again"]);
}
