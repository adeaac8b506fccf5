//! Apache Kafka's Java clients and Kafka Streams against `millrace broker`; the programs are in `tests/clients/java`.

mod streams;

use std::time::Duration;

use millrace_tests::process::Process;
use millrace_tests::{Broker, tools};

/// Longest run of all scenarios, on a busy machine.
const SCENARIOS_LIMIT: Duration = Duration::from_secs(300);

/// Members needn't wait for each other, nor long for their next heartbeat.
const SETTINGS: [&str; 3] = [
    "group.initial.rebalance.delay.ms=0",
    "group.consumer.min.heartbeat.interval.ms=500",
    "group.consumer.heartbeat.interval.ms=500",
];

/// What `Scenarios.java` must have said.
const SCENARIOS: [&str; 13] = [
    "codecs, keys and headers",
    "read, process, write",
    "read, process, write by the consumer protocol",
    "a second producer fences the first",
    "an open transaction times out",
    "a fenced consumer cannot commit through a transaction",
    "cooperative members share",
    "a static member comes back",
    "topics by pattern",
    "a static member of the consumer protocol comes back",
    "offsets of the consumer protocol are kept",
    "transactions are told to tools",
    "administration",
];

#[test]
fn producers_consumers_transactions_and_administration() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let broker = Broker::start(folder.path(), &SETTINGS);
    let mut program = tools::java("Scenarios");
    program.arg(broker.bootstrap());
    let said = Process::spawn(&mut program, folder.path().join("scenarios.txt")).succeed(SCENARIOS_LIMIT);
    for scenario in SCENARIOS {
        assert!(said.lines().any(|line| line == format!("ok {scenario}")), "no `ok {scenario}` in:\n{said}");
    }
}
