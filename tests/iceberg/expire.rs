//! Snapshots that are expired, and what goes with them: engines read what is left, and nothing lies beside it.

use std::path::Path;

use millrace_tests::s3::{Kind, run, server, write};
use millrace_tests::strikes::write_rows;

use crate::catalog::catalog;
use crate::data::{by_number, objects, pipeline_with, read_from, schema, script, typed};

const ROWS: u64 = 1_000;

/// Every snapshot but the newest is old at once.
pub(crate) const EXPIRE: &str = "expire_snapshots: true\ntable_properties:\n  history.expire.max-snapshot-age-ms: 1\n  \
    write.metadata.delete-after-commit.enabled: true\n  write.metadata.previous-versions-max: 3\n  commit.manifest.min-count-to-merge: 4\n";

fn succeed(folder: &Path) {
    let output = run(folder).output().expect("the binary can be run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}", output.status);
}

#[test]
fn what_an_engine_deleted_goes_with_the_snapshots_that_had_it() {
    // Versity's gateway, with connections kept, refuses one in thirty of pyarrow's writes with a 400.
    let (folder, server) = server(Kind::S3sFs);
    let folder = folder.path();
    let (_catalog, url) = catalog(folder, 0);
    let sink = format!(
        "catalog_connection: catalog\ncatalog_warehouse: birds\nauto_create: true\n{}partition_by: [kind]\ncommit_interval: 200ms\n{EXPIRE}",
        schema()
    );
    let connection = format!("  catalog: {{ http: {{ url: \"{url}\" }} }}\n");
    write(folder, "pipeline.yaml", pipeline_with(&server, &connection, &sink));
    write_rows(folder, "in.jsonl", 0..ROWS);
    succeed(folder);
    let before = objects(&server, ".parquet");
    script("change.py", &server, &[&url, "kind = 'gull' or n < 100"]);
    assert!(before.iter().all(|file| file.exists()), "snapshots have them still");
    write_rows(folder, "in.jsonl", 0..2 * ROWS);
    succeed(folder);
    let table = read_from(&server, &url, &[]);
    let rows = by_number(&table);
    let wanted: Vec<u64> = (0..2 * ROWS).filter(|n| *n >= ROWS || (*n >= 100 && n % 3 != 1)).collect();
    assert_eq!(rows.keys().copied().collect::<Vec<_>>(), wanted);
    assert!(rows.into_iter().all(|(n, found)| found == typed(n)));
    let snapshots = table["snapshots"].as_u64().expect("snapshots");
    assert!(snapshots <= 2, "{snapshots} snapshots");
    let files = objects(&server, ".parquet");
    assert_eq!(Some(files.len() as u64), table["files"].as_u64(), "{files:?}");
    assert!(before.iter().any(|file| !file.exists()));
}
