//! Kafka Streams counts words exactly once while it and the broker are killed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use millrace_tests::binary::repository;
use millrace_tests::process::{Process, wait_until};
use millrace_tests::random::{Random, between, seed};
use millrace_tests::{Broker, tools, topic};

/// Numbers that are written while things are killed, and how many a second.
const NUMBERS: u64 = 4000;
const NUMBERS_PER_SECOND: u64 = 150;
/// Words that `WordCount.java` makes of the numbers, besides `all`, which every number is, too.
const WORDS: u64 = 23;

/// Kills, in turn of the application and of the broker.
const KILLS: u64 = 6;
/// Time between two kills, milliseconds.
const LIFE_MS: (u64, u64) = (2500, 5000);

/// Longest start of the application, and longest wait for the last count.
const LIMIT: Duration = Duration::from_secs(180);

/// The application, whose state on disk outlives it.
struct Application {
    process: Process,
    state: PathBuf,
    starts: u32,
}

impl Application {
    fn start(bootstrap: &str, folder: &Path) -> Application {
        let state = folder.join("state");
        let mut application = Application { process: run(bootstrap, &state, folder, 0), state, starts: 1 };
        application.wait_until_running();
        application
    }

    /// SIGKILL, and a new start.
    fn kill(&mut self, bootstrap: &str, folder: &Path) {
        self.process.kill();
        self.process = run(bootstrap, &self.state, folder, self.starts);
        self.starts += 1;
    }

    fn wait_until_running(&mut self) {
        wait_until("the application to run", LIMIT, || {
            let ended = self.process.ended();
            assert!(ended.is_none(), "the application ended: {ended:?}\n{}", self.process.output());
            self.process.output().lines().any(|line| line == "state RUNNING")
        });
    }
}

fn run(bootstrap: &str, state: &Path, folder: &Path, start: u32) -> Process {
    let mut program = tools::java("WordCount");
    program.arg(bootstrap).arg(state);
    Process::spawn(&mut program, folder.join(format!("word-count-{start}.txt")))
}

fn write_numbers(bootstrap: &str, folder: &Path) -> Process {
    let mut program = tools::python();
    program.arg(repository().join("tests/clients/python/client.py"));
    program.args(["produce", "--bootstrap", bootstrap, "--topic", "words", "--partitions", "3"]);
    program.args(["--count", &NUMBERS.to_string(), "--rate", &NUMBERS_PER_SECOND.to_string()]);
    Process::spawn(&mut program, folder.join("numbers.txt"))
}

fn create(bootstrap: &str, folder: &Path, name: &str, partitions: &str) {
    let mut program = tools::franz_go();
    program.args(["create", "--bootstrap", bootstrap, "--topic", name, "--partitions", partitions]);
    Process::spawn(&mut program, folder.join(format!("create-{name}.txt"))).succeed(LIMIT);
}

/// The counts of each word, in the order in which they were written.
fn counts(bootstrap: &str, folder: &Path) -> BTreeMap<String, Vec<u64>> {
    let mut counts: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (_, value) in topic::read(bootstrap, "counts", folder).into_values().flatten() {
        let (word, count) = value.split_once(' ').unwrap_or_else(|| panic!("{value:?} is no word and count"));
        counts.entry(word.to_owned()).or_default().push(count.parse().expect("a count"));
    }
    counts
}

#[test]
fn an_exactly_once_word_count_survives_kills() {
    let seed = seed();
    println!("seed {seed}: MILLRACE_SEED={seed} repeats the moments of the kills");
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let mut broker = Broker::start(folder, &["group.initial.rebalance.delay.ms=0"]);
    let bootstrap = broker.bootstrap();
    create(&bootstrap, folder, "words", "3");
    create(&bootstrap, folder, "counts", "2");
    let mut application = Application::start(&bootstrap, folder);
    let mut writer = write_numbers(&bootstrap, folder);
    for kill in 0..KILLS {
        thread::sleep(Duration::from_millis(between(&mut random, LIFE_MS)));
        if kill % 2 == 0 {
            application.kill(&bootstrap, folder);
        } else {
            broker.kill();
            broker.restart();
        }
    }
    writer.succeed(LIMIT);
    application.wait_until_running();
    let mut expected: BTreeMap<String, u64> = BTreeMap::from([("all".to_owned(), NUMBERS)]);
    for number in 0..NUMBERS {
        *expected.entry(format!("w{}", number % WORDS)).or_default() += 1;
    }
    let total: u64 = expected.values().sum();
    let mut seen = BTreeMap::new();
    wait_until("every number to be counted", LIMIT, || {
        thread::sleep(Duration::from_secs(1));
        seen = counts(&bootstrap, folder);
        seen.values().map(|counts| counts.len() as u64).sum::<u64>() >= total
    });
    for (word, count) in expected {
        let counts = seen.remove(&word).unwrap_or_default();
        let wrong = counts.iter().zip(1..).position(|(seen, due)| *seen != due);
        assert!(
            wrong.is_none(),
            "seed {seed}: {word}: a count is doubled or missing at {wrong:?} of {counts:?}"
        );
        assert_eq!(counts.len() as u64, count, "seed {seed}: the last count of {word}");
    }
    assert!(seen.is_empty(), "words that nobody wrote: {seen:?}");
}
