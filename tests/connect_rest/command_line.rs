//! `millrace plan`, `apply` and the other commands to a worker, which is killed in between.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use millrace_tests::Broker;
use millrace_tests::connect::millrace::Worker;
use millrace_tests::process::wait_until;

use crate::cli::{millrace, printed, text};

/// Longest wait for what a worker does, on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
const LINES: usize = 2_000;

const FILE: &str = "\
version: 1
pipelines:
  lines:
    source: { connector: file-source, path: in.txt, format: lines, follow: true, poll_every: 50ms }
    topic: { name: lines, partitions: 2 }
    sinks:
      files:
        connector: file-sink
        path: out/out.txt
        rotate: { every: 100ms }
        flush_interval: 100ms
";

fn ok(worker: &Worker, args: &[&str]) -> String {
    printed(&millrace(worker.address(), args), args, &worker.log())
}

fn shown(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden {
            lines.extend(fs::read_to_string(path).expect("a file").lines().map(str::to_owned));
        }
    }
    lines.sort();
    lines
}

fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("{number:05}")).collect()
}

fn append(path: &Path, range: std::ops::Range<usize>) {
    let mut file = File::options().create(true).append(true).open(path).expect("the source file");
    let text: String = numbered(range).iter().map(|line| format!("{line}\n")).collect();
    file.write_all(text.as_bytes()).expect("the source file");
}

#[test]
fn a_file_is_applied_changed_and_survives_kills() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let (file, source, out) = (folder.join("lines.yaml"), folder.join("in.txt"), folder.join("out"));
    fs::write(&file, FILE).expect("the pipeline file");
    fs::create_dir(&out).expect("a folder");
    append(&source, 0..LINES);
    let path = file.display().to_string();
    let broker = Broker::start(folder, &[]);
    let mut worker = Worker::start(&broker.bootstrap(), folder);

    let plan = ok(&worker, &["plan", &path]);
    assert!(plan.contains("+ lines.source") && plan.contains("2 to make, 0 to change"), "{plan}");
    assert_eq!(millrace(worker.address(), &["plan", &path, "--exit-code"]).status.code(), Some(1));
    let applied = ok(&worker, &["apply", &path]);
    assert!(applied.contains("made lines.source") && applied.contains("2 connectors run"), "{applied}");
    let again = ok(&worker, &["apply", &path]);
    assert!(again.contains("unchanged lines.source") && !again.contains("made"), "{again}");
    assert!(ok(&worker, &["plan", &path, "--exit-code"]).contains("2 as they should be"));
    wait_until("the first lines", LIMIT, || shown(&out).len() >= LINES);

    worker.kill_and_restart();
    append(&source, LINES..2 * LINES);
    wait_until("the lines after a kill", LIMIT, || shown(&out).len() >= 2 * LINES);
    let table = ok(&worker, &["get", "lines"]);
    assert!(table.contains("lines.files") && table.contains("sink") && table.contains("1/1"), "{table}");
    let described = ok(&worker, &["describe", "lines.source"]);
    assert!(described.contains("path = in.txt") && described.contains("positions:"), "{described}");

    ok(&worker, &["pause", "lines"]);
    wait_until("the pause", LIMIT, || worker.state("lines.source") == ["PAUSED", "PAUSED"]);
    append(&source, 2 * LINES..3 * LINES);
    ok(&worker, &["resume", "lines"]);
    ok(&worker, &["restart", "lines"]);
    wait_until("the lines after a pause", LIMIT, || shown(&out).len() >= 3 * LINES);

    let refused = millrace(worker.address(), &["offsets", "reset", "lines.source"]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
    ok(&worker, &["stop", "lines"]);
    wait_until("the stop", LIMIT, || worker.state("lines.files") == ["STOPPED"]);
    let positions = ok(&worker, &["offsets", "get", "lines.files"]);
    assert!(positions.contains("lines-0") && positions.contains("lines-1"), "{positions}");
    ok(&worker, &["resume", "lines"]);

    fs::write(&file, FILE.replace("poll_every: 50ms", "poll_every: 60ms")).expect("the pipeline file");
    let plan = ok(&worker, &["plan", &path]);
    assert!(plan.contains("- poll_every = 50ms") && plan.contains("+ poll_every = 60ms"), "{plan}");
    let applied = ok(&worker, &["apply", &path]);
    assert!(
        applied.contains("changed lines.source") && applied.contains("unchanged lines.files"),
        "{applied}"
    );
    append(&source, 3 * LINES..4 * LINES);
    wait_until("the lines after a change", LIMIT, || shown(&out).len() >= 4 * LINES);
    assert_eq!(shown(&out), numbered(0..4 * LINES), "each line once");

    fs::write(&file, FILE.replace("poll_every", "pol_every")).expect("the pipeline file");
    let wrong = millrace(worker.address(), &["apply", &path]);
    let said = text(&wrong.stderr);
    assert_eq!(wrong.status.code(), Some(2), "{said}");
    assert!(said.contains("lines.yaml:4") && said.contains("pol_every"), "{said}");

    ok(&worker, &["delete", "lines"]);
    assert_eq!(ok(&worker, &["get"]).lines().count(), 1);
    let nobody = millrace(worker.address(), &["describe", "lines"]);
    assert_eq!(nobody.status.code(), Some(1), "{}", text(&nobody.stderr));
    worker.stop();
}

#[test]
fn secrets_are_stored_and_shown_as_references() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    fs::write(folder.join("db.properties"), "name=hunter2\n").expect("a properties file");
    fs::write(folder.join("hunter2.txt"), "a\n").expect("the source file");
    let file = folder.join("p.yaml");
    let path = "\"${file:db.properties:name}.txt\"";
    let text_of_file = format!(
        "version: 1\npipelines:\n  p:\n    source: {{ connector: file-source, path: {path} }}\n    topic: secret\n"
    );
    fs::write(&file, text_of_file).expect("the pipeline file");
    let broker = Broker::start(folder, &[]);
    let worker = Worker::start(&broker.bootstrap(), folder);
    ok(&worker, &["apply", &file.display().to_string()]);
    for ask in [
        "/connectors/p.source",
        "/connectors/p.source/config",
        "/connectors/p.source/tasks",
        "/connectors?expand=info",
    ] {
        let (status, body) = worker.ask("GET", ask, None);
        let shown = body.to_string();
        assert!(status == 200 && shown.contains("${file:db.properties:name}"), "{ask}: {shown}");
        assert!(!shown.contains("hunter2"), "{ask}: {shown}");
    }
    assert!(!ok(&worker, &["describe", "p.source"]).contains("path = hunter2"));
    worker.stop();
}
