//! Tables that a REST catalog has: one that is made of pyiceberg's models checks and makes every commit, pyiceberg's client reads it back.
//! Some commits are made and answered 500, and workers are killed.

use std::path::Path;
use std::thread;
use std::time::Duration;

use millrace_tests::broker::free_address;
use millrace_tests::process::{Process, wait_until};
use millrace_tests::random::{Random, seed};
use millrace_tests::s3::{Kind, run, server, write};
use millrace_tests::strikes::write_rows;
use millrace_tests::tools;

use crate::data::{by_number, pipeline_with, read_from, schema, typed};

/// Longest run to the end, on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
const ROWS: u64 = 10_000;
/// Of so many commits one is not answered.
const LOSE: u32 = 5;

/// The catalog, and where it is. Of `lose` commits one is not answered; 0: all are.
pub(crate) fn catalog(folder: &Path, lose: u32) -> (Process, String) {
    let address = free_address().to_string();
    let (host, port) = address.split_once(':').expect("host and port");
    let mut start = tools::python();
    start.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("iceberg/catalog.py")).args([
        host,
        port,
        &lose.to_string(),
    ]);
    let mut process = Process::spawn(&mut start, folder.join("catalog.log"));
    wait_until("the catalog to listen", LIMIT, || {
        let ended = process.ended();
        assert!(ended.is_none(), "the catalog ended: {ended:?}\n{}", process.output());
        std::net::TcpStream::connect(&address).is_ok()
    });
    (process, format!("http://{address}"))
}

#[test]
fn a_catalogs_table_has_every_row_once_whatever_is_killed_and_lost() {
    let (folder, server) = server(Kind::VersityGw);
    let folder = folder.path();
    let (_catalog, url) = catalog(folder, LOSE);
    let seed = seed();
    println!("MILLRACE_SEED={seed}");
    let mut random = Random::new(seed);
    write_rows(folder, "in.jsonl", 0..ROWS);
    let sink = format!(
        "catalog_connection: catalog\ncatalog_warehouse: birds\nauto_create: true\n{}partition_by: [kind, \"day(at)\"]\n\
         commit_interval: 100ms\nflush_interval: 50ms\ntarget_file_size: 20KB\ntasks: 2\nerrors: {{ retry_timeout: 60s }}",
        schema()
    );
    let connection = format!("  catalog: {{ http: {{ url: \"{url}\" }} }}\n");
    write(folder, "pipeline.yaml", pipeline_with(&server, &connection, &sink));
    for _ in 0..5 {
        let mut process = Process::spawn(&mut run(folder), folder.join("run.log"));
        thread::sleep(Duration::from_millis(400 + random.below(1400)));
        process.kill();
    }
    Process::spawn(&mut run(folder), folder.join("last.log")).succeed(LIMIT);
    let table = read_from(&server, &url, &["kind = 'gull'"]);
    let rows = by_number(&table);
    assert_eq!(rows.len() as u64, ROWS);
    assert!(rows.into_iter().all(|(n, found)| found == typed(n)));
    assert_eq!(table["filters"][0][0], (0..ROWS).filter(|n| n % 3 == 1).count());
    assert!(table["spec"].as_str().is_some_and(|spec| spec.contains("at_day: day(")), "{}", table["spec"]);
}
