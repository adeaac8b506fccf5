//! Each folder of `cases` is a topic that goes to a table of its name: `in.jsonl` (a record's `key` and `value` in each line) through a sink with the settings of
//! `sink.yaml`, into a database that `before.sql` has prepared. What `after.sql` gives must be `expected.txt`; what was rejected,
//! with the reason, `letters.txt`.
//!
//! All run in one process, twice: the second run must change nothing. `UPDATE_EXPECT=1` writes what came out.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use millrace_tests::process::{Process, command};
use millrace_tests::{Postgres, binary, diff};

use crate::database;

/// Cases that must at least be found.
const CASES_MIN: usize = 9;
/// Longest time of a run.
const LIMIT: Duration = Duration::from_secs(180);

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("postgres/cases");
    let found = fs::read_dir(folder).expect("the cases are there").flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = found.filter(|path| path.is_dir()).collect();
    found.sort();
    assert!(found.len() >= CASES_MIN, "only {} cases were found", found.len());
    found
}

fn name(case: &Path) -> &str {
    case.file_name().and_then(|name| name.to_str()).expect("names of cases are text")
}

fn read(case: &Path, file: &str) -> String {
    fs::read_to_string(case.join(file)).unwrap_or_default()
}

/// Two pipelines for each case: to its table, and from its dead letters to a file.
fn pipelines(cases: &[PathBuf], url: &str) -> String {
    let mut text =
        format!("version: 1\nconnections:\n  db: {{ postgres: {{ url: \"{url}\" }} }}\npipelines:\n");
    for case in cases {
        let (name, settings) = (name(case), read(case, "sink.yaml").replace('\n', "\n        "));
        let input = case.join("in.jsonl");
        let _ = write!(
            text,
            "  {name}:
    source:
      connector: file-source
      path: \"{}\"
      format: jsonl
    transforms:
      - {{ connector: jq, key: .key }}
      - {{ connector: jq, value: .value }}
    topic: {{ name: {name}, partitions: 1 }}
    sinks:
      db:
        connector: postgres-sink
        connection: db
        errors: {{ tolerance: all, dead_letter_topic: letters.{name}, retry_timeout: 20s }}
        {settings}
  letters-{name}:
    topic: {{ name: letters.{name}, partitions: 1 }}
    sinks:
      file:
        connector: file-sink
        path: out/{name}.jsonl
        transforms:
          - connector: jq
            value: '{{why: $headers[\"__connect.errors.exception.message\"], value: .}}'
",
            input.display()
        );
    }
    text
}

fn run(folder: &Path) {
    let mut run = command(binary());
    run.args(["run", "pipeline.yaml", "--data-dir", "data", "--listen", "127.0.0.1:0", "--exit-when-done"]);
    run.current_dir(folder).env("MILLRACE_LOG", "warn");
    Process::spawn(&mut run, folder.join("run.txt")).succeed(LIMIT);
}

/// What a case came to: its rows, and its dead letters.
fn came_of(server: &Postgres, folder: &Path, case: &Path) -> [(&'static str, String); 2] {
    let rows = server.sql("cases", &read(case, "after.sql"));
    let letters = fs::read_to_string(folder.join("out").join(format!("{}.jsonl", name(case))));
    [("expected.txt", rows + "\n"), ("letters.txt", letters.unwrap_or_default())]
}

#[test]
fn each_mode_writes_what_it_should() {
    let server = database("cases");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let cases = cases();
    for case in &cases {
        server.sql("cases", &read(case, "before.sql"));
    }
    fs::write(folder.join("pipeline.yaml"), pipelines(&cases, &server.url("cases"))).expect("written");
    let mut failed = String::new();
    for round in 1..=2 {
        run(folder);
        for case in &cases {
            for (file, came) in came_of(&server, folder, case) {
                if std::env::var_os("UPDATE_EXPECT").is_some() && round == 1 && !came.is_empty() {
                    fs::write(case.join(file), &came).expect("written");
                }
                let wanted = read(case, file);
                if wanted != came {
                    let _ = writeln!(
                        failed,
                        "run {round}: {} {file}\n{}",
                        name(case),
                        diff::lines(&wanted, &came)
                    );
                }
            }
        }
    }
    assert!(failed.is_empty(), "{failed}");
}

#[test]
fn the_example_runs_as_it_stands() {
    let server = database("example");
    let folder = tempfile::tempdir().expect("a temporary folder");
    for round in 1..=2 {
        let mut run = command(binary());
        run.arg("run").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/postgres.yaml"));
        run.args(["--data-dir", "data", "--listen", "127.0.0.1:0", "--exit-when-done"])
            .current_dir(folder.path());
        run.env("PGURL", server.url("example")).env("PGPASSWORD", "").env("MILLRACE_LOG", "warn");
        Process::spawn(&mut run, folder.path().join("run.txt")).succeed(LIMIT);
        assert_eq!(server.sql("example", "SELECT count(*) FROM wildlife"), "10000", "run {round}");
    }
}
