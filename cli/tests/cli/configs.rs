//! Every file in `configs/` can be used, and the quickstart does what it says.

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::support::{Broker, code, millrace, repository, run, stderr, stdout};

#[test]
fn every_pipeline_file_is_valid() {
    let mut seen = 0;
    for entry in fs::read_dir(repository().join("configs")).expect("configs/") {
        let path = entry.expect("an entry").path();
        let is_pipeline = path.extension().is_some_and(|e| e == "yaml") && !path.ends_with("broker.yaml");
        if is_pipeline {
            let output = run(&["validate", &path.display().to_string()]);
            assert_eq!(code(&output), Some(0), "{}: {}", path.display(), stderr(&output));
            seen += 1;
        }
    }
    assert!(seen >= 3, "only {seen} files");
}

#[test]
fn test_cases_hold() {
    let file = repository().join("configs/transforms.yaml").display().to_string();
    let output = run(&["test", &file]);
    assert_eq!(code(&output), Some(0), "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).ends_with("ok: 3 cases\n"), "{}", stdout(&output));
    let one = run(&["test", &file, "--only", "deleted"]);
    assert!(stdout(&one).ends_with("ok: 1 case\n"), "{}", stdout(&one));
    assert_eq!(code(&run(&["test", &file, "--only", "no such"])), Some(2));
    let without = repository().join("configs/quickstart.yaml").display().to_string();
    assert_eq!(code(&run(&["test", &without])), Some(2));
}

#[test]
fn the_broker_file_starts_a_broker() {
    let file = repository().join("configs/broker.yaml").display().to_string();
    // The address and folder of the file give way to the test's own.
    let broker = Broker::start(&["--config", &file]);
    let output = run(&["topic", "list", "--bootstrap", &broker.address]);
    assert_eq!(code(&output), Some(0), "{}", stderr(&output));
}

#[test]
fn the_quickstart_moves_everything_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    copy(&repository().join("configs"), &folder.path().join("configs"));
    let quickstart = || -> Output {
        let args = ["run", "configs/quickstart.yaml", "--listen", "127.0.0.1:0", "--exit-when-done"];
        millrace().args(args).current_dir(folder.path()).output().expect("the binary starts")
    };
    let first = quickstart();
    assert_eq!(code(&first), Some(0), "{}{}", stdout(&first), stderr(&first));
    assert!(stdout(&first).contains("10,000"), "{}", stdout(&first));
    assert!(stdout(&first).contains("out/strikes.jsonl"), "{}", stdout(&first));
    let lines = fs::read_to_string(folder.path().join("out/strikes.jsonl")).expect("the output");
    assert_eq!(lines.lines().count(), damaged(), "strikes with damage");
    for line in lines.lines() {
        let strike: serde_json::Value = serde_json::from_str(line).expect("a JSON object per line");
        assert_ne!(strike["Effect Amount of damage"], "None", "{line}");
        assert_eq!(strike["Aircraft Airline Operator"], "****", "{line}");
    }
    let second = quickstart();
    assert_eq!(code(&second), Some(0), "{}{}", stdout(&second), stderr(&second));
    let again = fs::read_to_string(folder.path().join("out/strikes.jsonl")).expect("the output");
    assert_eq!(again, lines, "the second run changed the output");
}

/// Strikes with damage, counted from the file itself; no field of it holds a comma or a quote before that column.
fn damaged() -> usize {
    let text = fs::read_to_string(repository().join("configs/data/birdstrikes.csv")).expect("the data");
    text.lines().skip(1).filter(|line| line.split(',').nth(2) != Some("None")).count()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).expect("a copy");
        }
    }
}
