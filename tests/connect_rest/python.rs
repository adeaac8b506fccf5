//! kafka-connect-py from the Python package index against our worker.

use std::time::Duration;

use millrace_tests::Broker;
use millrace_tests::binary::repository;
use millrace_tests::connect::millrace::Worker;
use millrace_tests::process::Process;
use millrace_tests::tools;

/// Longest run of the program on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);

#[test]
fn an_existing_client_works_unchanged() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let broker = Broker::start(folder, &[]);
    let worker = Worker::start(&broker.bootstrap(), folder);
    let mut python = tools::python();
    python.arg(repository().join("tests/clients/python/connect.py"));
    python.arg(format!("http://{}", worker.address())).arg(folder);
    let said = Process::spawn(&mut python, folder.join("python.txt")).succeed(LIMIT);
    assert!(said.contains("ok: all of it"), "{said}\n{}", worker.log());
    worker.stop();
}
