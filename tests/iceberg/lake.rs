//! The lake of `configs/lake.yaml`, run as it is: a file and a database go over topics into a table of Iceberg and into Parquet, and the
//! query beside it joins them.

use std::path::Path;
use std::time::Duration;

use millrace_tests::process::{Process, command, wait_until};
use millrace_tests::s3::{ACCESS_KEY, BUCKET, Kind, SECRET_KEY, server};
use millrace_tests::{Postgres, binary, tools};
use serde_json::{Value, json};

/// Longest wait for what takes some ten seconds, on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);

#[test]
fn the_lake_of_the_examples_answers_its_query() {
    let configs = binary::repository().join("configs");
    let database = Postgres::start(&[]);
    database.create("lake");
    database.sql(
        "lake",
        "CREATE TABLE airports (iata text PRIMARY KEY, name text, city text, state text, country text, latitude float8, longitude float8)",
    );
    let airports = configs.join("data/airports.csv");
    database.sql("lake", &format!("\\copy airports FROM '{}' CSV HEADER NULL 'NA'", airports.display()));
    let (folder, store) = server(Kind::VersityGw);
    let mut run = command(binary());
    run.arg("run").arg(configs.join("lake.yaml")).args(["--data-dir", "data", "--listen", "127.0.0.1:0"]);
    run.env("DATABASE", database.url("lake")).env("S3_ENDPOINT", store.endpoint()).env("S3_BUCKET", BUCKET);
    run.env("S3_KEY", ACCESS_KEY).env("S3_SECRET", SECRET_KEY).env("MILLRACE_LOG", "warn");
    let mut running = Process::spawn(run.current_dir(folder.path()), folder.path().join("run.txt"));

    let mut found = Value::Null;
    let wanted = json!([
        ["DFW", "Dallas-Fort Worth", 908, 32.9],
        ["ORD", "Chicago", 430, 42.0],
        ["SMF", "Sacramento", 352, 38.7],
    ]);
    wait_until("the query's answer", LIMIT, || {
        let ended = running.ended();
        assert!(ended.is_none(), "the lake ran dry: {ended:?}\n{}", running.output());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("iceberg/lake.py");
        let mut query = tools::python();
        let output = query.arg(script).arg(configs.join("lake.sql")).arg(store.folder()).output();
        // Until both are there, DuckDB finds nothing to read.
        found = serde_json::from_slice(&output.expect("Python runs").stdout).unwrap_or_default();
        found == wanted
    });
    running.terminate();
    running.succeed(LIMIT);
}
