//! A table in a folder of this machine, without any server: workers are killed, two tasks commit to it at once, and two engines read it where it
//! lies.

use std::path::Path;
use std::thread;
use std::time::Duration;

use millrace_tests::process::{Process, command, wait_until};
use millrace_tests::random::{Random, seed};
use millrace_tests::s3::{run, write};
use millrace_tests::strikes::{row, write_rows};
use millrace_tests::{binary, small_disk, tools};
use serde_json::Value;

use crate::data::{by_number, schema};

/// Longest run to the end, on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
const ROWS: u64 = 20_000;

/// The table as engines read it.
fn read(table: &Path) -> Value {
    let mut python = tools::python();
    python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("iceberg/folder.py")).arg(table);
    let output = python.output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Hidden files that were left anywhere below.
fn hidden(folder: &Path) -> Vec<String> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let entry = entry.expect("an entry");
            let name = entry.file_name().to_string_lossy().into_owned();
            match entry.path().is_dir() {
                true => folders.push(entry.path()),
                false if name.starts_with('.') => found.push(name),
                false => {}
            }
        }
    }
    found
}

/// Rows from a file to a table in the folder `lake`.
fn pipeline(lake: &str) -> String {
    format!(
        "version: 1\npipelines:\n  strikes:\n    source: {{ connector: file-source, path: in.jsonl, format: jsonl, key: n }}\n    \
         topic: {{ name: strikes, partitions: 3 }}\n    sinks:\n      lake:\n        connector: iceberg-sink\n        folder: {lake}\n        \
         table: birds.strikes\n        auto_create: true\n        {}        partition_by: [kind]\n        commit_interval: 100ms\n        \
         flush_interval: 50ms\n        target_file_size: 20KB\n        tasks: 2\n        errors: {{ retry_timeout: 60s }}\n",
        schema()
    )
}

/// Each row is in the table once, and nothing is there that is not finished.
fn check(lake: &Path) {
    let table = read(&lake.join("birds/strikes"));
    assert_eq!(table["location"], format!("file://{}/birds/strikes", lake.display()));
    let rows = by_number(&table);
    assert_eq!(rows.len() as u64, ROWS);
    assert!(rows.into_iter().all(|(n, found)| found["kind"] == row(n)["kind"]));
    assert_eq!(hidden(lake), [""; 0], "what killed tasks left");
}

#[test]
fn kills_of_the_worker_lose_and_double_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().canonicalize().expect("a path");
    let seed = seed();
    println!("MILLRACE_SEED={seed}");
    let mut random = Random::new(seed);
    write_rows(&folder, "in.jsonl", 0..ROWS);
    write(&folder, "pipeline.yaml", pipeline("lake"));
    for _ in 0..8 {
        let mut process = Process::spawn(&mut run(&folder), folder.join("run.log"));
        thread::sleep(Duration::from_millis(400 + random.below(1400)));
        process.kill();
    }
    Process::spawn(&mut run(&folder), folder.join("last.log")).succeed(LIMIT);
    check(&folder.join("lake"));
}

/// The table's folder is a small file system of the process's own, most of which a file takes that nobody needs. When the sink has complained, it is
/// removed.
#[test]
fn a_full_disk_loses_and_doubles_nothing_once_there_is_room() {
    if !small_disk::can_be_mounted() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().canonicalize().expect("a path");
    let small = folder.join("small");
    std::fs::create_dir(&small).expect("a folder");
    write_rows(&folder, "in.jsonl", 0..ROWS);
    write(&folder, "pipeline.yaml", pipeline("small/lake"));
    let mut start = command("unshare");
    // The file system ends with the process: what is in it is taken out first.
    start.args(["-m", "sh", "-c"]).arg(
        "mount -t tmpfs -o size=31m none small && mkdir small/lake && head -c 30900K /dev/zero > small/filler && \"$0\" \"$@\" && cp -r small/lake .",
    );
    let run = run(&folder);
    start.arg(run.get_program()).args(run.get_args()).current_dir(&folder).env("MILLRACE_LOG", "warn");
    let mut process = Process::spawn(&mut start, folder.join("run.log"));
    wait_until("the sink to say that the disk is full", LIMIT, || {
        let ended = process.ended();
        assert!(ended.is_none(), "it ended: {ended:?}\n{}", process.output());
        process.output().lines().any(|line| {
            (line.contains("make room") || line.contains("is the disk full?"))
                && line.contains("strikes.lake")
        })
    });
    std::fs::remove_file(format!("/proc/{}/root{}/filler", process.id(), small.display()))
        .expect("the file is there");
    process.succeed(LIMIT);
    // Its metadata says where it was.
    std::fs::rename(folder.join("lake"), small.join("lake")).expect("renamed");
    check(&small.join("lake"));
}

#[test]
fn the_example_needs_no_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().canonicalize().expect("a path");
    let configs = binary::repository().join("configs");
    for (from, to) in [("iceberg-folder.yaml", "configs"), ("data/birdstrikes.csv", "configs/data")] {
        std::fs::create_dir_all(folder.join(to)).expect("a folder");
        let name = Path::new(from).file_name().expect("a name");
        std::fs::copy(configs.join(from), folder.join(to).join(name)).expect("copied");
    }
    // The second time there is nothing left to do.
    for _ in 0..2 {
        let mut run = command(binary());
        run.args(["run", "configs/iceberg-folder.yaml", "--exit-when-done", "--listen", "127.0.0.1:0"]);
        Process::spawn(run.current_dir(&folder), folder.join("run.log")).succeed(LIMIT);
        let metadata = folder.join("out/lake/birds/strikes/metadata");
        let hint = std::fs::read_to_string(metadata.join("version-hint.text")).expect("a hint");
        let newest = std::fs::read(metadata.join(format!("v{hint}.metadata.json"))).expect("metadata");
        let newest: Value = serde_json::from_slice(&newest).expect("JSON");
        let snapshots = newest["snapshots"].as_array().expect("snapshots");
        let summary = &snapshots.last().expect("a snapshot")["summary"];
        assert_eq!(summary["total-records"], "10000");
    }
}
