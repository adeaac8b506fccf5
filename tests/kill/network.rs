//! The network between the worker and everything else is cut, and goes down and comes back, while a growing file goes over a topic into a
//! database and a bucket, and the changes of the database's table into another topic and a file: each row is there once, in all of them.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::Duration;

use millrace_tests::process::{Process, command, wait_until};
use millrace_tests::random::{Random, between, seed};
use millrace_tests::s3::{Kind, S3, SECRET_KEY};
use millrace_tests::{Broker, Cutter, Postgres, binary};
use serde_json::Value;

/// Things that happen.
const EVENTS: u32 = 40;
/// Between two of them, and how long the network may be down, in milliseconds.
const PAUSE_MS: (u64, u64) = (50, 500);
const DOWN_MS: (u64, u64) = (50, 1_500);
/// Lines that the file grows by meanwhile.
const LINES: (u64, u64) = (50, 300);
/// Longest wait for the end, on a busy machine.
const LIMIT: Duration = Duration::from_secs(240);

/// `forever`: the file may grow, and the table is read.
fn pipelines(forever: bool, database: &str, store: &str, server: &S3) -> String {
    let lake = server.connection("lake", ", timeout: 5s").replace(&server.endpoint(), store);
    let errors = "errors: { retry_timeout: 4m, retry_delay_max: 200ms }";
    let changes = format!(
        "
  changes:
    source:
      connector: postgres-source
      connection: db
      slot: changes
      publication: changes
      tables: [public.numbers]
      topic_prefix: changes
      format: flat
      {errors}
    topic: {{ name: changes, partitions: 1 }}
  told:
    topic: {{ name: changes.public.numbers, partitions: 1 }}
    sinks:
      file: {{ connector: file-sink, path: out/told.jsonl, format: jsonl, rotate: {{ every: 200ms }}, flush_interval: 100ms, {errors} }}
"
    );
    format!(
        "version: 1
connections:
  db: {{ postgres: {{ url: \"{database}\", statement_timeout: 10s }} }}
{lake}
pipelines:
  numbers:
    source: {{ connector: file-source, path: numbers.jsonl, format: jsonl, follow: {forever}, poll_every: 50ms }}
    topic: {{ name: numbers, partitions: 2 }}
    sinks:
      table: {{ connector: postgres-sink, connection: db, table_name_format: numbers, flush_interval: 100ms, {errors} }}
      lake: {{ connector: s3-sink, connection: lake, format: json, flush_size: 200, flush_interval: 100ms, {errors} }}
{}",
        if forever { &changes } else { "" }
    )
}

fn connect(folder: &Path, bootstrap: &str, options: &[&str]) -> Process {
    let mut run = command(binary());
    run.args(["connect", "--bootstrap", bootstrap, "pipelines.yaml"]).args(options).current_dir(folder);
    run.env("MILLRACE_LOG", "warn").env("S3_SECRET", SECRET_KEY);
    Process::spawn(&mut run, folder.join("connect.txt"))
}

/// How often each number stands in the files below a folder, hidden ones and a connector's own aside.
fn numbers(folder: &Path) -> BTreeMap<u64, u32> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with(['.', '_']) {
            continue;
        }
        if path.is_dir() {
            for (number, count) in numbers(&path) {
                *found.entry(number).or_default() += count;
            }
            continue;
        }
        for line in fs::read_to_string(&path).unwrap_or_default().lines() {
            let row: Value =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{path:?}: {line}: {error}"));
            *found.entry(row["n"].as_u64().unwrap_or_else(|| panic!("{path:?}: {line}"))).or_default() += 1;
        }
    }
    found
}

#[test]
fn every_row_is_there_once_however_the_network_is_cut() {
    let seed = seed();
    println!("seed {seed}: MILLRACE_SEED={seed} tries the same moments");
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let database = Postgres::start(&[]);
    database.create("numbers");
    // No key that would hide what is written twice.
    database
        .sql("numbers", "CREATE TABLE numbers (n bigint, v text); ALTER TABLE numbers REPLICA IDENTITY FULL");
    let store = S3::start(Kind::VersityGw, folder);
    let to_database = Cutter::start(&format!("{}:{}", database.host(), database.port()));
    let to_store = Cutter::start(store.address());
    let to_broker = Cutter::start("127.0.0.1:1");
    let broker =
        Broker::start(folder, &[&format!("advertised.listeners=PLAINTEXT://{}", to_broker.address())]);
    to_broker.pass_on_to(&broker.bootstrap());

    let url = format!("postgres://postgres@{}/numbers", to_database.address());
    let endpoint = format!("http://{}", to_store.address());
    fs::create_dir(folder.join("out")).expect("a folder");
    fs::write(folder.join("pipelines.yaml"), pipelines(true, &url, &endpoint, &store)).expect("written");
    let file = OpenOptions::new().create(true).append(true).open(folder.join("numbers.jsonl"));
    let mut file = file.expect("the temporary folder can be written");
    let mut running = connect(folder, &to_broker.address(), &[]);
    let mut total = 0;
    let networks = [&to_database, &to_store, &to_broker];
    for _ in 0..EVENTS {
        for _ in 0..between(&mut random, LINES) {
            writeln!(file, "{{\"n\":{total},\"v\":\"v{total}\"}}").expect("written");
            total += 1;
        }
        thread::sleep(Duration::from_millis(between(&mut random, PAUSE_MS)));
        let ended = running.ended();
        assert!(ended.is_none(), "it ended by itself: {ended:?}\n{}", running.output());
        let network = networks[between(&mut random, (0, 3)) as usize];
        if between(&mut random, (0, 3)) == 0 {
            network.down();
            thread::sleep(Duration::from_millis(between(&mut random, DOWN_MS)));
            network.up();
        } else {
            network.cut();
        }
    }
    let rows = || database.sql("numbers", "SELECT count(*) FROM numbers").parse::<u64>().expect("a number");
    wait_until("every row in the table, and every change in the file", LIMIT, || {
        let ended = running.ended();
        assert!(ended.is_none(), "it ended by itself: {ended:?}\n{}", running.output());
        rows() >= total && numbers(&folder.join("out")).len() as u64 >= total
    });
    running.terminate();
    running.succeed(LIMIT);
    fs::write(folder.join("pipelines.yaml"), pipelines(false, &url, &endpoint, &store)).expect("written");
    connect(folder, &to_broker.address(), &["--exit-when-done"]).succeed(LIMIT);

    let cuts = networks.map(Cutter::cuts);
    assert!(cuts.iter().all(|&cuts| cuts > 3), "hardly anything was cut: {cuts:?}");
    let once: BTreeMap<u64, u32> = (0..total).map(|number| (number, 1)).collect();
    let table = database.sql("numbers", "SELECT n FROM numbers ORDER BY n");
    let table: Vec<u64> = table.lines().map(|line| line.parse().expect("a number")).collect();
    assert!(table.iter().copied().eq(0..total), "the table has {} rows of {total}", table.len());
    for (what, found) in
        [("told", numbers(&folder.join("out"))), ("lake", numbers(&store.folder().join("topics")))]
    {
        let wrong = (0..total).find(|number| found.get(number) != once.get(number));
        assert!(
            found == once,
            "{what}: {} numbers of {total}; {wrong:?} is there {:?} times",
            found.len(),
            wrong.and_then(|n| found.get(&n))
        );
    }
    println!("{EVENTS} events, {cuts:?} connections cut, {total} rows");
}
