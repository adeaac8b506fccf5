//! A component's file is replaced under a running pipeline, by `millrace apply` and over the REST API, and the worker is killed in the middle:
//! good ones stay, bad ones are left again by themselves, and each record arrives once.

use std::fs;
use std::path::Path;
use std::time::Duration;

use millrace_test_components::hostile_source_build;
use millrace_tests::process::wait_until;
use millrace_tests::{Broker, Worker};
use serde_json::Value;

use crate::cli::{millrace, printed, text};

/// Longest wait for what a worker does, on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
/// Shorter than what people want, long enough for a busy machine to see three calls fail.
const PROBATION: &str = "upgrade.probation.ms=3000";

const FILE: &str = "\
version: 1
pipelines:
  count:
    source: { connector: ./counter.wasm, do: count, records: 1000000000 }
    topic: { name: numbers, partitions: 1 }
    sinks:
      files:
        connector: file-sink
        path: out/out.txt
        format: lines
        rotate: { every: 100ms }
        flush_interval: 100ms
";

fn ok(worker: &Worker, args: &[&str]) -> String {
    printed(&millrace(worker.address(), args), args, &worker.log())
}

/// What a command that has to fail says.
fn fails(worker: &Worker, args: &[&str], code: i32) -> String {
    let output = millrace(worker.address(), args);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}\n{}", worker.log());
    said
}

fn install(folder: &Path, wasm: &[u8]) {
    let new = folder.join("counter.new");
    fs::write(&new, wasm).expect("the component's file");
    fs::rename(new, folder.join("counter.wasm")).expect("the component's file");
}

fn get(worker: &Worker, path: &str) -> Value {
    worker.ask("GET", path, None).map(|(_, body)| body).unwrap_or_default()
}

fn version(told: &Value) -> &str {
    told["components"][0]["version"].as_str().unwrap_or_default()
}

fn lines(folder: &Path) -> Vec<u64> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(folder.join("out")).expect("the folder") {
        let path = entry.expect("an entry").path();
        if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
            let text = fs::read_to_string(path).expect("a file");
            lines.extend(text.lines().map(|line| line.parse::<u64>().expect("a number")));
        }
    }
    lines.sort_unstable();
    lines
}

#[test]
fn a_component_is_exchanged_under_a_running_pipeline() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let file = folder.join("count.yaml");
    fs::write(&file, FILE).expect("the pipeline file");
    fs::create_dir(folder.join("out")).expect("a folder");
    install(folder, &hostile_source_build("1.0.0", "well"));
    let path = file.display().to_string();
    let broker = Broker::start(folder, &[]);
    let mut worker = Worker::start(folder, "worker", &broker.bootstrap(), &[PROBATION]);
    worker.wait_until_ready();
    ok(&worker, &["apply", &path]);
    let components = "/connectors/count.source/components";
    assert_eq!(version(&get(&worker, components)), "1.0.0");
    wait_until("the first lines", LIMIT, || !lines(folder).is_empty());

    // A good one.
    install(folder, &hostile_source_build("2.0.0", "well"));
    let plan = ok(&worker, &["plan", &path]);
    assert!(plan.contains("~ count.source") && plan.contains("counter.wasm = 1.0.0 (sha256:"), "{plan}");
    assert!(plan.contains("counter.wasm = 2.0.0 (sha256:") && plan.contains("1 to change"), "{plan}");
    let applied = ok(&worker, &["apply", &path]);
    assert!(
        applied.contains("changed count.source") && applied.contains("unchanged count.files"),
        "{applied}"
    );
    let told = get(&worker, components);
    assert_eq!((version(&told), &told["upgrade"]), ("2.0.0", &Value::Null), "{told}");
    assert!(ok(&worker, &["plan", &path, "--exit-code"]).contains("2 as they should be"));

    // One that traps: `apply` says that it was left again, each time.
    install(folder, &hostile_source_build("3.0.0", "third"));
    for _ in 0..2 {
        let said = fails(&worker, &["apply", &path], 1);
        assert!(said.contains("count.source failed: the upgrade was rolled back from"), "{said}");
        assert!(said.contains("this build ends in its third poll"), "{said}");
        assert_eq!(version(&get(&worker, components)), "2.0.0");
    }
    let described = ok(&worker, &["describe", "count.source"]);
    assert!(
        described.contains("upgrade rolled back from") && described.contains("2.0.0 (sha256:"),
        "{described}"
    );
    assert!(worker.log().contains("the upgrade is rolled back"), "{}", worker.log());

    // The same over REST.
    install(folder, &hostile_source_build("4.0.0", "closed"));
    let config = get(&worker, "/connectors/count.source/config");
    let put = worker.ask("PUT", "/connectors/count.source/config", Some(&config));
    assert!(matches!(put, Some((200, _))), "{put:?}");
    wait_until("the way back", LIMIT, || {
        let told = get(&worker, components);
        told["upgrade"]["reason"].as_str().is_some_and(|why| why.contains("this build opens nothing"))
    });

    // What is no component changes nothing.
    install(folder, b"no component");
    let said = fails(&worker, &["apply", &path], 2);
    assert!(said.contains("count.yaml:4") && said.contains("can't load connector"), "{said}");

    // A kill between what was asked for and what is done.
    install(folder, &hostile_source_build("5.0.0", "well"));
    let put = worker.ask("PUT", "/connectors/count.source/config", Some(&config));
    assert!(matches!(put, Some((200, _))), "{put:?}");
    worker.kill();
    worker.restart();
    worker.wait_until_ready();
    wait_until("the new component after a kill", LIMIT, || {
        let told = get(&worker, components);
        version(&told) == "5.0.0" && told["upgrade"].is_null()
    });

    let before = lines(folder).len();
    wait_until("more lines", LIMIT, || lines(folder).len() > before);
    ok(&worker, &["stop", "count.source"]);
    wait_until("the stop", LIMIT, || {
        get(&worker, "/connectors/count.source/status")["connector"]["state"] == "STOPPED"
    });
    // Its tasks may still be ending.
    let position = || -> u64 {
        let offsets = get(&worker, "/connectors/count.source/offsets");
        let position = offsets["offsets"][0]["offset"]["position"].as_str();
        position.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{offsets}"))
    };
    wait_until("each number to be there once", LIMIT, || {
        let (count, found) = (position(), lines(folder));
        let odd = found.iter().zip(0..).find(|(number, wanted)| *number != wanted);
        assert_eq!(odd, None, "{} lines, {count} numbers", found.len());
        found.len() as u64 == count
    });
    worker.stop();
}
