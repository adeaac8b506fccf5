//! The broker is killed under librdkafka and franz-go, which write idempotently with `acks=all` and log each acknowledgement.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use millrace_tests::binary::repository;
use millrace_tests::process::Process;
use millrace_tests::random::{Random, between, seed};
use millrace_tests::{Broker, tools, topic};

use crate::KILLS;

const PARTITIONS: u32 = 3;

/// Records of one run of a writer; it starts again with the next ones until there were enough kills.
const RECORDS_PER_RUN: u64 = 2000;
const RECORDS_PER_SECOND: u64 = 400;

/// The broker lives this long between two kills, milliseconds.
const LIFE_MS: (u64, u64) = (20, 400);

/// Longest time for the rest of a writer's records when nobody kills any more.
const FINISH_LIMIT: Duration = Duration::from_secs(180);

/// One client that writes to a topic of its own.
struct Writer {
    topic: &'static str,
    program: fn() -> Command,
    process: Option<Process>,
    next: u64,
}

impl Writer {
    fn new(topic: &'static str, program: fn() -> Command) -> Writer {
        Writer { topic, program, process: None, next: 0 }
    }

    fn start(&mut self, bootstrap: &str, folder: &Path) {
        let (from, count) = (self.next.to_string(), RECORDS_PER_RUN.to_string());
        let (partitions, rate) = (PARTITIONS.to_string(), RECORDS_PER_SECOND.to_string());
        let mut program = (self.program)();
        program.args([
            "produce",
            "--bootstrap",
            bootstrap,
            "--topic",
            self.topic,
            "--from",
            &from,
            "--count",
            &count,
        ]);
        program.args(["--partitions", &partitions, "--rate", &rate]);
        self.process = Some(Process::spawn(&mut program, folder.join(format!("{}.txt", self.topic))));
        self.next += RECORDS_PER_RUN;
    }

    /// Starts the next run if the last one has ended; a run that ended badly fails the test.
    fn keep_going(&mut self, bootstrap: &str, folder: &Path) {
        let ended = self.process.as_mut().is_none_or(|process| process.ended().is_some());
        if ended {
            self.finish();
            self.start(bootstrap, folder);
        }
    }

    fn finish(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.succeed(FINISH_LIMIT);
        }
    }

    /// Acknowledged records: value to partition and offset.
    fn acknowledged(&self, folder: &Path) -> BTreeMap<u64, (u32, u64)> {
        let said =
            fs::read_to_string(folder.join(format!("{}.txt", self.topic))).expect("the writer has written");
        let mut acknowledged = BTreeMap::new();
        for line in said.lines().filter_map(|line| line.strip_prefix("acked ")) {
            let numbers: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
            let [value, partition, offset] = numbers[..] else { panic!("not an acknowledgement: {line}") };
            let before = acknowledged.insert(value, (partition as u32, offset));
            assert!(before.is_none(), "{value} was acknowledged twice");
        }
        acknowledged
    }
}

fn librdkafka() -> Command {
    let mut python = tools::python();
    python.arg(repository().join("tests/clients/python/client.py"));
    python
}

#[test]
fn acknowledged_records_survive_the_broker_once_and_in_order() {
    let seed = seed();
    println!("seed {seed}: MILLRACE_SEED={seed} tries the same moments");
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let mut broker = Broker::start(folder, &[]);
    let mut writers =
        [Writer::new("killed-librdkafka", librdkafka), Writer::new("killed-franz-go", tools::franz_go)];
    for writer in &writers {
        let mut create = tools::franz_go();
        create.args(["create", "--bootstrap", &broker.bootstrap(), "--topic", writer.topic]);
        create.args(["--partitions", &PARTITIONS.to_string()]);
        Process::spawn(&mut create, folder.join("create.txt")).succeed(FINISH_LIMIT);
    }

    for _ in 0..KILLS {
        writers.iter_mut().for_each(|writer| writer.keep_going(&broker.bootstrap(), folder));
        thread::sleep(Duration::from_millis(between(&mut random, LIFE_MS)));
        broker.kill();
        broker.restart();
    }
    writers.iter_mut().for_each(Writer::finish);
    // What is on disk counts, not what a cache of the last life still holds.
    broker.kill();
    broker.restart();

    for writer in &writers {
        let acknowledged = writer.acknowledged(folder);
        assert_eq!(acknowledged.len() as u64, writer.next, "{}: all values were acknowledged", writer.topic);
        let records = topic::read(&broker.bootstrap(), writer.topic, folder);
        let mut found = BTreeMap::new();
        for (partition, records) in &records {
            let values: Vec<u64> =
                records.iter().map(|(_, value)| value.parse().expect("a number")).collect();
            let disorder = values.windows(2).find(|pair| pair[0] >= pair[1]);
            assert!(
                disorder.is_none(),
                "{} partition {partition}: out of order or twice: {disorder:?}",
                writer.topic
            );
            found.extend(
                values.iter().zip(records).map(|(value, (offset, _))| (*value, (*partition, *offset))),
            );
        }
        let lost: Vec<_> =
            acknowledged.iter().filter(|(value, place)| found.get(value) != Some(place)).take(10).collect();
        assert!(lost.is_empty(), "{}: acknowledged, but not there: {lost:?}", writer.topic);
        assert_eq!(found.len(), acknowledged.len(), "{}: records in the topic", writer.topic);
    }
    println!("{KILLS} kills, {} records acknowledged", writers.iter().map(|writer| writer.next).sum::<u64>());
}
