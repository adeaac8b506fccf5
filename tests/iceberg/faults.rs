//! Workers and stores that are killed, tasks that commit to one table at once: in the end every row is there once.

use std::thread;
use std::time::Duration;

use millrace_tests::process::Process;
use millrace_tests::random::{Random, seed};
use millrace_tests::s3::{KINDS, Kind, run, server, write};
use millrace_tests::strikes::write_rows;

use crate::data::{by_number, objects, pipeline, read, schema, typed};
use crate::expire::EXPIRE;

/// Longest run to the end, on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
const ROWS: u64 = 20_000;
/// Manifests are merged from four on, but not while another task does it; and so are small data files.
const MERGE: &str = "merge_files: true\ntable_properties: { commit.manifest.min-count-to-merge: 4 }\n";
const MANIFESTS_MAX: u64 = 8;

#[test]
fn kills_of_worker_and_store_lose_and_double_nothing() {
    for kind in KINDS {
        let (folder, mut server) = server(kind);
        let folder = folder.path();
        let seed = seed();
        println!("MILLRACE_SEED={seed}");
        let mut random = Random::new(seed);
        write_rows(folder, "in.jsonl", 0..ROWS);
        // With one of the two, what is old goes while all that happens; manifests are merged with both.
        let upkeep = if kind == Kind::VersityGw { EXPIRE } else { MERGE };
        let sink = format!(
            "{upkeep}auto_create: true\n{}partition_by: [kind]\ncommit_interval: 100ms\nflush_interval: 50ms\ntarget_file_size: 20KB\ntasks: 2\n\
             errors: {{ retry_timeout: 60s }}",
            schema()
        );
        write(folder, "pipeline.yaml", pipeline(&server, &sink));
        for kill in 0..8 {
            let mut process = Process::spawn(&mut run(folder), folder.join("run.log"));
            thread::sleep(Duration::from_millis(400 + random.below(1400)));
            // This one forgets what it was writing.
            if kill % 3 == 1 && kind == Kind::VersityGw {
                server.kill();
                thread::sleep(Duration::from_millis(random.below(400)));
                server.restart();
                thread::sleep(Duration::from_millis(random.below(600)));
            }
            process.kill();
        }
        Process::spawn(&mut run(folder), folder.join("last.log")).succeed(LIMIT);
        let table = read(&server, &[]);
        let rows = by_number(&table);
        assert_eq!(rows.len() as u64, ROWS, "{kind:?}");
        assert!(rows.into_iter().all(|(n, found)| found == typed(n)));
        let manifests = table["manifests"].as_u64().expect("manifests");
        assert!(manifests <= MANIFESTS_MAX, "{manifests} manifests");
        let snapshots = table["snapshots"].as_u64().expect("snapshots");
        if kind == Kind::VersityGw {
            assert!(snapshots <= 3, "{snapshots}");
            let files = objects(&server, ".parquet").len() as u64;
            assert_eq!(Some(files), table["files"].as_u64(), "files that no snapshot has");
        } else {
            assert!(snapshots > 2, "{snapshots}");
        }
    }
}
