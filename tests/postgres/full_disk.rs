//! The database's disk is full while a sink writes to it: each row is there once, when somebody has made room.
//!
//! A file system that really fills up: a small tmpfs in a mount namespace of the server's own, with a tablespace on it.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use millrace_tests::broker::free_address;
use millrace_tests::process::{Process, command, wait_until};
use millrace_tests::{Postgres, binary, small_disk};

const DISK: &str = "48m";
/// Lines before the disk is full, and while it is. The latter have no room on it.
const BEFORE: u64 = 3_000;
const AFTER: u64 = 9_000;
/// Longest time until something is seen.
const LIMIT: Duration = Duration::from_secs(180);

fn run(folder: &Path, address: SocketAddr) -> Process {
    let mut run = command(binary());
    run.args(["run", "numbers.yaml", "--data-dir", "data", "--listen", &address.to_string()]);
    Process::spawn(run.current_dir(folder).env("MILLRACE_LOG", "warn"), folder.join("run.txt"))
}

/// Adds lines of about a kilobyte to the file that is followed.
fn write(folder: &Path, numbers: std::ops::Range<u64>) {
    let file = OpenOptions::new().create(true).append(true).open(folder.join("numbers.jsonl"));
    let mut file = file.expect("the temporary folder can be written");
    for n in numbers {
        let filler = format!("{n} ").repeat(1_000 / (n.to_string().len() + 1));
        writeln!(file, "{{\"n\":{n},\"v\":\"{filler}\"}}").expect("the temporary folder can be written");
    }
}

/// How often the server has had no room for what the sink writes.
fn refusals(server: &Postgres) -> usize {
    let is_sink = |line: &&str| line.contains(" millrace ERROR:") && line.contains("No space left on device");
    server.log().lines().filter(is_sink).count()
}

#[test]
fn a_full_disk_of_the_database_loses_and_doubles_no_row() {
    if !small_disk::can_be_mounted() {
        return;
    }
    let server = Postgres::start_with_small_disk(DISK);
    server.create("full");
    let sql = |sql: &str| server.sql("full", sql);
    // A tablespace can't be made in a transaction with anything else.
    sql(&format!("CREATE TABLESPACE small LOCATION '{}'", server.small_folder().display()));
    sql(
        "CREATE TABLE numbers (n bigint, v text) TABLESPACE small; CREATE TABLE filler (v text) TABLESPACE small",
    );
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (folder, address) = (folder.path(), free_address());
    let pipeline = format!(
        "version: 1
connections:
  db: {{ postgres: {{ url: \"{}\" }} }}
pipelines:
  numbers:
    source: {{ connector: file-source, path: ./numbers.jsonl, format: jsonl, follow: true }}
    topic: {{ name: numbers, partitions: 3 }}
    sinks:
      table:
        connector: postgres-sink
        connection: db
        tasks: 2
        table_name_format: numbers
        flush_interval: 100ms
        errors: {{ retry_timeout: 5m, retry_delay_max: 200ms }}
",
        server.url("full")
    );
    std::fs::write(folder.join("numbers.yaml"), pipeline).expect("the temporary folder can be written");
    let count = || sql("SELECT count(*) FROM numbers").parse::<u64>().expect("a number");
    write(folder, 0..BEFORE);
    let mut running = run(folder, address);
    wait_until("the first rows", LIMIT, || count() == BEFORE);
    let fill = "INSERT INTO filler SELECT repeat('x', 1000) FROM generate_series(1, 1000)";
    wait_until("a full disk", LIMIT, || !server.try_sql("full", fill).status.success());

    write(folder, BEFORE..BEFORE + AFTER);
    wait_until("a refusal", LIMIT, || refusals(&server) > 0);
    // Whoever comes then has no room, either.
    running.kill();
    running = run(folder, address);
    let before = refusals(&server);
    wait_until("another refusal", LIMIT, || refusals(&server) > before + 2);
    let ended = running.ended();
    assert!(ended.is_none(), "the pipeline ended by itself: {ended:?}\n{}", running.output());
    assert!(count() < BEFORE + AFTER);

    sql("DROP TABLE filler");
    wait_until("all rows", LIMIT, || count() >= BEFORE + AFTER);
    let once =
        sql("SELECT count(*) = count(DISTINCT n) AND min(n) = 0 AND max(n) + 1 = count(*) FROM numbers");
    assert_eq!((count(), once.as_str()), (BEFORE + AFTER, "t"), "{}", running.output());
}
