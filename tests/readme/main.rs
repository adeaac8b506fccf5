//! Every command of the README is run as it stands there, in a fresh clone, in the README's order.
//!
//! A fenced block of the README that no part of this test knows fails it. Only addresses are changed, so that the test finds
//! a free port; the quickstart's own command runs unchanged.

mod blocks;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use blocks::Block;
use millrace_tests::Broker;
use millrace_tests::binary::{profile_dir, repository};
use millrace_tests::broker::free_address;
use millrace_tests::process::{Process, command, wait_until};
use millrace_tests::tools;
use serde_json::Value;

const QUICKSTART: &str = "cargo run --release -- run configs/quickstart.yaml --exit-when-done";
const TEST: &str = "cargo xtask test";

/// The address that the README's commands use.
const ADDRESS: &str = "127.0.0.1:9092";

/// Longest build of the release binary on a slow machine.
const BUILD_LIMIT: Duration = Duration::from_secs(40 * 60);

/// Longest time of any other command.
const COMMAND_LIMIT: Duration = Duration::from_secs(120);

/// Longest time of the quickstart when everything is built. It takes less than two seconds on a quiet machine; a busy
/// one must not fail the test.
const QUICKSTART_LIMIT: Duration = Duration::from_secs(30);

#[test]
fn the_first_blocks_are_the_two_commands() {
    let blocks = blocks::of(&repository().join("README.md"));
    let first =
        |section: &str| blocks.iter().find(|block| block.section == section).map(|block| block.text.as_str());
    assert_eq!(first("Quickstart"), Some(QUICKSTART));
    assert_eq!(first("Test"), Some(TEST));
    let ci = fs::read_to_string(repository().join(".ci/run")).expect(".ci/run");
    assert!(ci.lines().any(|line| line == TEST), ".ci/run does not call `{TEST}`");
}

/// A clone of the last commit, with the programs it builds.
struct Clone {
    folder: PathBuf,
    target: PathBuf,
    installed: PathBuf,
}

impl Clone {
    fn make(below: &Path) -> Clone {
        let folder = below.join("millrace");
        let mut clone = command("git");
        clone.args(["clone", "--quiet", "--no-hardlinks"]).arg(repository()).arg(&folder);
        Process::spawn(&mut clone, below.join("clone.txt")).succeed(COMMAND_LIMIT);
        let target = profile_dir().parent().expect("<target>/<profile>").to_path_buf();
        Clone { folder, target, installed: below.join("installed") }
    }

    /// A line or a script of the README in bash, in the clone, with what it has installed on the path.
    fn bash(&self, script: &str) -> Command {
        let path = env::var("PATH").unwrap_or_default();
        let mut bash = command("bash");
        bash.args(["-euo", "pipefail", "-c", script]).current_dir(&self.folder);
        bash.env("PATH", format!("{}:{path}", self.installed.join("bin").display()));
        bash.env("CARGO_TARGET_DIR", &self.target).env_remove("MILLRACE_BOOTSTRAP");
        bash
    }

    fn run(&self, script: &str, limit: Duration) -> String {
        let output = self.folder.with_file_name(format!("run-{}.txt", script.len()));
        let _ = fs::remove_file(&output);
        Process::spawn(&mut self.bash(script), output).succeed(limit)
    }
}

#[test]
fn every_command_works_in_a_fresh_clone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clone = Clone::make(folder.path());
    let mut known = 0;
    // Fixed addresses are replaced: another program may have the README's port.
    let address = free_address().to_string();
    let mut broker: Option<Process> = None;
    for Block { section, language, text } in blocks::of(&repository().join("README.md")) {
        let here = text.replace(ADDRESS, &address);
        match (section.as_str(), language.as_str(), text.as_str()) {
            ("Quickstart", "sh", QUICKSTART) => quickstart_twice(&clone),
            ("Test", "sh", TEST) => {
                // This very test runs inside it: look at the steps instead. In a build folder of its own, or the
                // xtask that runs this test would be replaced under its feet.
                let list =
                    format!("CARGO_TARGET_DIR={} {text} --list", clone.target.join("readme").display());
                let steps = clone.run(&list, BUILD_LIMIT);
                assert!(steps.lines().any(|step| step == "readme"), "{steps}");
            }
            ("Test", "sh", "cargo install --locked --path cli") => {
                let install = format!("{text} --root {}", clone.installed.display());
                clone.run(&install, BUILD_LIMIT);
            }
            ("Write a pipeline", "yaml", _) => {
                fs::write(clone.folder.join("configs/from-the-readme.yaml"), &text)
                    .expect("the clone can be written");
                clone.run("millrace validate configs/from-the-readme.yaml", COMMAND_LIMIT);
            }
            ("Use your Kafka client", "sh", _) if text.starts_with("millrace broker") => {
                let mut process = Process::spawn(
                    &mut clone.bash(&format!("exec {here}")),
                    folder.path().join("broker.txt"),
                );
                wait_until("the broker's port", COMMAND_LIMIT, || {
                    assert!(process.ended().is_none(), "the broker ended:\n{}", process.output());
                    std::net::TcpStream::connect(&address).is_ok()
                });
                broker = Some(process);
            }
            ("Use your Kafka client", "sh", _) => {
                let said = clone.run(&format!("export MILLRACE_BOOTSTRAP={address}\n{here}"), COMMAND_LIMIT);
                assert!(said.lines().any(|line| line.contains("hello")), "{said}");
            }
            ("Run it on your own Kafka", "sh", _) => {
                // The pipeline of this block goes on until it is stopped; here it may end when all is done.
                clone.run(&format!("{here} --exit-when-done"), COMMAND_LIMIT);
            }
            (_, "sh", "millrace validate configs/quickstart.yaml") => {
                clone.run(&text, COMMAND_LIMIT);
            }
            (_, "sh", "millrace test configs/transforms.yaml") => {
                assert!(clone.run(&text, COMMAND_LIMIT).contains("ok: 3 cases"), "the cases hold");
            }
            (_, "sh", "millrace connector inspect file-source") => {
                assert!(clone.run(&text, COMMAND_LIMIT).contains("follow"), "settings are shown");
            }
            (_, "", _) if !text.contains('$') => continue,
            _ => panic!("no part of this test runs the block of section {section:?}:\n{text}"),
        }
        known += 1;
    }
    assert!(known >= 10, "only {known} blocks were found");
    let broker = broker.expect("the README starts a broker");
    broker.terminate();
}

/// The quickstart, and what must then be there: every row in the topic, the rows with damage in the file, once.
fn quickstart_twice(clone: &Clone) {
    clone.run("cargo build --release", BUILD_LIMIT);
    let csv =
        fs::read_to_string(clone.folder.join("configs/data/birdstrikes.csv")).expect("the quickstart's data");
    let mut rows = csv.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    let header = rows.next().expect("a header");
    let damage =
        header.iter().position(|name| name == "Effect Amount of damage").expect("the column of the filter");
    let rows: Vec<_> = rows.collect();
    let expected = rows.iter().filter(|row| row[damage] != "None").count();
    assert_eq!(rows.len(), 10_000, "rows of the file");

    for run in ["first", "second"] {
        let begun = Instant::now();
        let said = clone.run(QUICKSTART, COMMAND_LIMIT);
        println!("{run} quickstart: {:?}", begun.elapsed());
        assert!(begun.elapsed() < QUICKSTART_LIMIT, "{run} quickstart took {:?}", begun.elapsed());
        assert!(said.contains("birdstrikes"), "{said}");

        let out = fs::read_to_string(clone.folder.join("out/strikes.jsonl")).expect("the sink's file");
        let lines: Vec<Value> =
            out.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
        assert_eq!(lines.len(), expected, "{run} run: lines in the sink's file");
        let mut fields: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (name, value) in lines.iter().flat_map(|line| line.as_object().expect("an object")) {
            fields.entry(name).or_default().insert(value.as_str().unwrap_or_default());
        }
        assert_eq!(fields.len(), header.len(), "{run} run: fields of a line");
        assert!(!fields["Effect Amount of damage"].contains("None"), "{run} run: the filter let a row pass");
        assert_eq!(fields["Aircraft Airline Operator"].len(), 1, "{run} run: the masked field has one value");
        assert_eq!(topic_length(clone), rows.len(), "{run} run: records in the topic");
    }
}

/// Committed records of the quickstart's topic, read from its data directory by franz-go.
fn topic_length(clone: &Clone) -> usize {
    let mut broker = Broker::on(&clone.folder.join("data"), &[]);
    let mut read = tools::franz_go();
    read.args(["read", "--bootstrap", &broker.bootstrap(), "--topic", "birdstrikes"]);
    let output = clone.folder.with_file_name("read.txt");
    let _ = fs::remove_file(&output);
    let said = Process::spawn(&mut read, output).succeed(COMMAND_LIMIT);
    broker.stop();
    said.lines().filter(|line| line.starts_with("record ")).count()
}
