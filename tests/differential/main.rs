//! The same requests to Apache Kafka and to `millrace broker`: their answers must be the same, field by field.
//!
//! Only what a cluster makes up itself may differ (`mask.rs`). Versions at both ends of every range are asked. Where
//! Millrace answers otherwise on purpose, the case is not here and `docs/NOT_SUPPORTED.md` says so.
//! With `MILLRACE_PEER_BOOTSTRAP=HOST:PORT` that Apache Kafka is asked instead of a new one; its topics must be gone.

mod both;
mod cases;
mod mask;

use std::env;
use std::path::Path;

use millrace_tests::Broker;
use millrace_tests::peer::Kafka;

use both::Both;

/// What both are started with: the settings that `kafka.sh` gives to Apache Kafka, and those in whose defaults they
/// differ on purpose.
const SETTINGS: [&str; 9] = [
    "group.consumer.assignment.interval.ms=0",
    "group.consumer.heartbeat.interval.ms=6000",
    "group.initial.rebalance.delay.ms=0",
    "log.flush.interval.messages=1",
    "log.retention.hours=168",
    "log.segment.bytes=1073741824",
    "num.partitions=1",
    "offsets.topic.num.partitions=8",
    "transaction.state.log.num.partitions=8",
];

fn millrace(folder: &Path) -> Broker {
    Broker::start(folder, &[&SETTINGS[..], &["node.id=1"]].concat())
}

#[test]
fn answers_are_the_same() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let started = env::var("MILLRACE_PEER_BOOTSTRAP")
        .is_err()
        .then(|| Kafka::start(&folder.path().join("kafka"), &SETTINGS));
    let kafka = started.as_ref().map_or_else(
        || env::var("MILLRACE_PEER_BOOTSTRAP").unwrap_or_default(),
        |kafka| kafka.bootstrap().to_owned(),
    );
    let millrace = millrace(folder.path());
    let mut both = Both::new(&kafka, &millrace.bootstrap());
    cases::all(&mut both);
    both.finish();
}
