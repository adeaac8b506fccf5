//! Worker and broker are killed while files are written; the disk is full. In the end every row is there once, and whatever a reader saw
//! meanwhile was whole.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use millrace_tests::process::{Process, command, wait_until};
use millrace_tests::random::{Random, seed};
use millrace_tests::readback::{by_number, read_folder};
use millrace_tests::s3::run;
use millrace_tests::strikes::{row, typed};
use millrace_tests::{Broker, binary, small_disk};

use crate::{out, pipeline};

/// Longest run to the end, on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);
const ROWS: u64 = 20_000;
const KILLS: u64 = 9;

/// Files that end by records, by age and by size.
fn sinks() -> [(&'static str, String); 3] {
    let further = "flush_interval: 50ms\nerrors: { retry_timeout: 60s }";
    let schema = millrace_tests::strikes::schema();
    [
        (
            "parquet",
            format!("path: ./parquet/strikes.parquet\n{schema}\nrotate: {{ records: 900 }}\n{further}"),
        ),
        ("avro", format!("path: ./avro/strikes.avro\n{schema}\nrotate: {{ every: 300ms }}\n{further}")),
        ("lines", format!("path: ./lines/strikes.jsonl.zst\nrotate: {{ bytes: 100KB }}\n{further}")),
    ]
}

/// What is there is whole, right, and there once; gives back how many rows the sink with fewest has.
fn look(folder: &Path) -> u64 {
    let counts = sinks().map(|(name, _)| {
        let rows = by_number(&read_folder(&folder.join(name)));
        for (n, found) in &rows {
            let wanted = if name == "lines" { row(*n) } else { typed(*n, name == "parquet") };
            assert_eq!(*found, wanted, "{name}");
        }
        rows.len() as u64
    });
    counts.into_iter().min().unwrap_or_default()
}

#[test]
fn kills_of_worker_and_broker_lose_and_double_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let seed = seed();
    println!("MILLRACE_SEED={seed}");
    let mut random = Random::new(seed);
    for (name, _) in sinks() {
        out(folder, name);
    }
    let sinks = sinks();
    pipeline(folder, ROWS, &sinks.each_ref().map(|(name, settings)| (*name, settings.as_str())));
    let mut broker = Broker::start(folder, &[]);
    let bootstrap = broker.bootstrap();
    let worker = |log: &str, further: &[&str]| {
        let mut worker = command(binary());
        worker.args(["connect", "--bootstrap", &bootstrap, "pipeline.yaml"]).args(further);
        Process::spawn(worker.current_dir(folder).env("MILLRACE_LOG", "warn"), folder.join(log))
    };
    for kill in 0..KILLS {
        let mut process = worker("worker.log", &[]);
        thread::sleep(Duration::from_millis(400 + random.below(1600)));
        if kill % 3 == 1 {
            broker.kill();
            thread::sleep(Duration::from_millis(random.below(400)));
            broker.restart();
            thread::sleep(Duration::from_millis(random.below(600)));
        }
        process.kill();
        if kill % 3 == 2 {
            println!("after {} kills a reader sees {} rows", kill + 1, look(folder));
        }
    }
    worker("last.log", &["--exit-when-done"]).succeed(LIMIT);
    assert_eq!(look(folder), ROWS);
}

/// The sinks' folder is a small file system of the process's own, most of which a file takes that nobody needs. When the sinks have
/// complained, it is removed.
#[test]
fn a_full_disk_loses_and_doubles_nothing_once_there_is_room() {
    if !small_disk::can_be_mounted() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let small = out(folder, "small");
    let sinks = sinks().map(|(name, settings)| (name, settings.replace("path: ./", "path: ./small/")));
    pipeline(folder, ROWS, &sinks.each_ref().map(|(name, settings)| (*name, settings.as_str())));
    let mut start = command("unshare");
    let folders = "mkdir small/parquet small/avro small/lines && head -c 30M /dev/zero > small/filler";
    // The file system ends with the process: what is in it is taken out first.
    start.args(["-m", "sh", "-c"]).arg(format!(
        "mount -t tmpfs -o size=31m none small && {folders} && \"$0\" \"$@\" && cp -r small/parquet small/avro small/lines ."
    ));
    let run = run(folder);
    start.arg(run.get_program()).args(run.get_args()).current_dir(folder).env("MILLRACE_LOG", "warn");
    let mut process = Process::spawn(&mut start, folder.join("run.log"));
    wait_until("each sink to say that the disk is full", LIMIT, || {
        let ended = process.ended();
        assert!(ended.is_none(), "it ended: {ended:?}\n{}", process.output());
        let said = process.output();
        ["parquet", "avro", "lines"].iter().all(|name| {
            said.lines().any(|line| {
                (line.contains("make room") || line.contains("is the disk full?"))
                    && line.contains(&format!("strikes.{name}"))
            })
        })
    });
    fs::remove_file(format!("/proc/{}/root{}/filler", process.id(), small.display()))
        .expect("the file is there");
    process.succeed(LIMIT);
    assert_eq!(look(folder), ROWS);
}
