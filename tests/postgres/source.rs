//! postgres-source against a real server: what is in the topic is compared with the tables.
//!
//! The rules of snapshots beside the stream are tested natively, against a model, in thousands of orders of events. Here is what
//! only a real server can show: that it sends what the model sends, its types, its errors.

mod changes;
mod kill;
mod parallel;
mod query;
mod setup;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use millrace_tests::broker::free_address;
use millrace_tests::process::{Process, command, wait_until};
use millrace_tests::{Postgres, binary, tools};
use serde_json::Value;
use tempfile::TempDir;

/// Longest time until a change is in the topic, on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// A pipeline from a database into its topic.
struct Pipeline {
    folder: TempDir,
    address: SocketAddr,
    process: Option<Process>,
}

impl Pipeline {
    /// `settings`: lines of the source besides connection, slot and times.
    fn new(url: &str, slot: &str, settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let yaml = format!(
            "version: 1
connections:
  db: {{ postgres: {{ url: \"{url}\", sessions: 8 }} }}
pipelines:
  changes:
    source:
      connector: postgres-source
      connection: db
      slot: {slot}
      publication: {slot}
      refresh: 100ms
      heartbeat: 500ms
      errors: {{ retry_delay_max: 200ms, retry_timeout: 2m }}
{}
    topic: {{ name: changes, partitions: 1 }}
",
            settings.lines().map(|line| format!("      {}", line.trim())).collect::<Vec<_>>().join("\n")
        );
        fs::write(folder.path().join("pipeline.yaml"), yaml).expect("written");
        Self { folder, address: free_address(), process: None }
    }

    fn start(&mut self) {
        let mut run = command(binary());
        run.args(["run", "pipeline.yaml", "--data-dir", "data", "--exit-when-done"]);
        run.args(["--listen", &self.address.to_string()]);
        run.current_dir(self.folder.path()).env("MILLRACE_LOG", "info");
        self.process = Some(Process::spawn(&mut run, self.folder.path().join("run.txt")));
    }

    fn kill(&mut self) {
        drop(self.process.take());
    }

    /// Waits for its end, and gives what it said.
    fn fails(&mut self) -> String {
        let mut process = self.process.take().expect("it was started");
        let ended = process.wait(LIMIT);
        assert!(!ended.success(), "it ended well:\n{}", process.output());
        process.output()
    }

    /// Values in order; an empty one is none. Nothing while the broker is on its way.
    fn values(&mut self) -> Vec<String> {
        let process = self.process.as_mut().expect("it was started");
        let ended = process.ended();
        assert!(ended.is_none(), "it ended: {ended:?}\n{}", process.output());
        let mut read = tools::franz_go();
        read.args(["read", "--bootstrap", &self.address.to_string(), "--topic", "changes"]);
        let output = read.output().expect("the client can be run");
        let said = String::from_utf8_lossy(&output.stdout);
        // record PARTITION OFFSET VALUE
        let records = said.lines().filter_map(|line| line.strip_prefix("record "));
        let values = records.map(|line| line.splitn(3, ' ').nth(2).unwrap_or_default().to_owned()).collect();
        if output.status.success() { values } else { Vec::new() }
    }

    /// The same as JSON, once one of them holds `text`; tombstones are null.
    fn values_with(&mut self, text: &str) -> Vec<Value> {
        let mut values = Vec::new();
        wait_until(&format!("{text} in the topic"), LIMIT, || {
            values = self.values();
            values.iter().any(|value| value.contains(text))
        });
        let parse = |value: &String| match value.as_str() {
            "" => Value::Null,
            value => serde_json::from_str(value).unwrap_or_else(|error| panic!("{value}: {error}")),
        };
        values.iter().map(parse).collect()
    }
}

/// The rows that changes come to, by table and key; each has to fit the one before it.
fn replay(values: &[Value]) -> BTreeMap<String, BTreeMap<String, Value>> {
    let mut tables: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
    let mut seen = std::collections::BTreeSet::new();
    for value in values.iter().filter(|value| !value.is_null()) {
        let source = &value["source"];
        let table = format!("{}.{}", text(&source["schema"]), text(&source["table"]));
        let rows = tables.entry(table).or_default();
        let transaction = &value["transaction"];
        let op = text(&value["op"]);
        assert_eq!(transaction.is_null(), op == "r", "{value}");
        assert!(op == "r" || seen.insert((transaction.to_string(), op.clone())), "told twice: {value}");
        let row = if op == "d" { &value["before"] } else { &value["after"] };
        let key = row["id"].to_string();
        match op.as_str() {
            "t" => rows.clear(),
            "d" => assert!(rows.remove(&key).is_some(), "deleted and not there: {value}"),
            op => {
                let known = rows.get(&key);
                assert_eq!(known.is_some(), op == "u", "a row comes once, then its changes: {value}");
                let mut row = row.clone();
                if let (Some(known), Value::Object(fields)) = (known, &mut row) {
                    for (name, cell) in fields {
                        if cell == "__debezium_unavailable_value" {
                            *cell = known[name].clone();
                        }
                    }
                }
                rows.insert(key, row);
            }
        }
    }
    tables
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// Rows of a table as JSON, by `id`.
fn rows(server: &Postgres, database: &str, table: &str) -> BTreeMap<String, Value> {
    let lines = server.sql(database, &format!("SELECT to_jsonb(t) FROM {table} t"));
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        (row["id"].to_string(), row)
    };
    lines.lines().map(row).collect()
}
