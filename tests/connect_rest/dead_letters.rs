//! `millrace dlq` beside a running worker: what a pipeline refused goes back once it is mended, and what nobody wants is put aside.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use millrace_tests::connect::millrace::Worker;
use millrace_tests::process::{command, wait_until};
use millrace_tests::{Broker, binary};
use serde_json::Value;

use crate::cli::{printed, text};

/// Longest wait for what a worker does, on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// Lines that are no JSON can't go through the transform.
const FILE: &str = "\
version: 1
pipelines:
  orders:
    source: { connector: file-source, path: in.txt, format: lines, follow: true, poll_every: 50ms }
    topic: { name: orders, partitions: 2 }
    sinks:
      archive:
        connector: file-sink
        path: out/out.txt
        format: lines
        rotate: { every: 100ms }
        flush_interval: 100ms
        transforms: [{ connector: filter, field: amount, exists: true }]
        errors: { tolerance: all, dead_letter_topic: orders.dlq }
";

fn dlq(broker: &Broker, args: &[&str]) -> Output {
    let mut run = command(binary());
    run.arg("dlq").args(args).env("MILLRACE_BOOTSTRAP", broker.bootstrap());
    run.output().expect("the binary can be run")
}

fn ok(broker: &Broker, args: &[&str]) -> String {
    printed(&dlq(broker, args), args, "")
}

/// What a command that has to be refused says.
fn refused(broker: &Broker, args: &[&str]) -> String {
    let output = dlq(broker, args);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {}", text(&output.stderr));
    text(&output.stderr)
}

fn apply(worker: &Worker, file: &Path) {
    let mut apply = command(binary());
    apply.arg("apply").arg(file).args(["--url", &format!("http://{}", worker.address()), "--timeout", "150"]);
    let output = apply.output().expect("the binary can be run");
    assert!(output.status.success(), "{}\n{}", text(&output.stderr), worker.log());
}

fn shown(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
            lines.extend(fs::read_to_string(path).expect("a file").lines().map(str::to_owned));
        }
    }
    lines.sort();
    lines
}

#[test]
fn what_a_running_pipeline_refused_goes_back_once_it_is_mended() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let (file, out) = (folder.join("orders.yaml"), folder.join("out"));
    fs::write(&file, FILE).expect("the pipeline file");
    fs::create_dir(&out).expect("a folder");
    fs::write(folder.join("in.txt"), "{\"amount\":1}\nbroken 1\n{\"amount\":2}\nbroken 2\nbroken 3\n")
        .expect("the source");
    let broker = Broker::start(folder, &[]);
    let said = refused(&broker, &["list"]);
    assert!(said.contains("--file PIPELINE.yaml or --topic"), "{said}");
    let worker = Worker::start(&broker.bootstrap(), folder);
    apply(&worker, &file);
    let waiting = |count: usize| {
        let all = ok(&broker, &["show", "orders.archive", "--output", "json"]);
        all.lines().count() == count
    };
    wait_until("three dead letters", LIMIT, || waiting(3));

    let list = ok(&broker, &["list", "orders"]);
    assert!(list.contains("orders.archive  orders.dlq  TRANSFORMATION") && list.contains("  3  "), "{list}");
    let path = file.display().to_string();
    assert_eq!(ok(&broker, &["list", "--file", &path]), list);
    assert_eq!(ok(&broker, &["list", "--topic", "orders.dlq"]), list);
    assert_eq!(ok(&broker, &["list", "others"]).lines().count(), 1);
    let all = ok(&broker, &["show", "orders.archive", "--output", "json"]);
    let letters: Vec<Value> = all.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let place = |of: &str| {
        let letter = letters.iter().find(|letter| letter["value"] == of).expect("the letter");
        let origin = &letter["origin"];
        format!("orders-{}-{}", origin["partition"], origin["offset"])
    };
    let one = ok(&broker, &["show", "orders.archive", &place("broken 1")]);
    assert!(one.contains("value  broken 1") && one.contains("orders.archive.transforms[0]"), "{one}");
    assert_eq!(one.matches("value  ").count(), 1, "{one}");

    assert!(refused(&broker, &["retry", "orders.archive"]).contains("which records?"));
    assert!(refused(&broker, &["retry", "orders.archive", "--all", "--error", "x"]).contains("--all"));
    assert!(refused(&broker, &["retry", "orders.other", "--all"]).contains("these have: orders.archive"));
    assert!(refused(&broker, &["discard", "orders.archive", "--all"]).contains("--yes"));
    let discarded = ok(&broker, &["discard", "orders.archive", &place("broken 3"), "--yes"]);
    assert!(discarded.contains("1 record of orders.archive put aside"), "{discarded}");
    assert!(waiting(2));

    // Not mended: it comes back.
    ok(&broker, &["retry", "orders.archive", &place("broken 1")]);
    wait_until("the letter that came back", LIMIT, || {
        ok(&broker, &["show", "orders.archive", &place("broken 1")]).contains("retried 1x")
    });

    fs::write(
        &file,
        FILE.replace("        transforms: [{ connector: filter, field: amount, exists: true }]\n", ""),
    )
    .expect("the pipeline file");
    apply(&worker, &file);
    let retried = ok(&broker, &["retry", "orders.archive", "--all"]);
    assert!(retried.contains("2 records on the way back to orders.archive"), "{retried}");
    wait_until("the retried lines", LIMIT, || shown(&out).len() >= 4);
    assert!(waiting(0));
    assert!(ok(&broker, &["retry", "orders.archive", "--all"]).starts_with("0 records"));
    assert_eq!(shown(&out), ["broken 1", "broken 2", "{\"amount\":1}", "{\"amount\":2}"]);
    worker.stop();
}
