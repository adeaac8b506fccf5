//! webhook-source as senders see it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use millrace_tests::broker::free_address;
use millrace_tests::http::send;
use millrace_tests::process::{Process, command, wait_until};
use millrace_tests::{Broker, binary, topic};

use crate::write;

/// Longest wait for what is on its way.
const LIMIT: Duration = Duration::from_secs(60);

fn start(folder: &Path, hooks: SocketAddr) -> Process {
    write(
        folder,
        "pipeline.yaml",
        &format!(
            "version: 1
connections:
  hooks: {{ http_listener: {{ listen: \"{hooks}\", auth: {{ bearer: \"${{env:TOKEN}}\" }} }} }}
pipelines:
  orders:
    source: {{ connector: webhook-source, connection: hooks, path: /orders, key: id, split: true }}
    topic: {{ name: orders, partitions: 1 }}
"
        ),
    );
    let mut run = command(binary());
    run.args(["run", "pipeline.yaml", "--data-dir", "data", "--listen", "127.0.0.1:0"]);
    run.current_dir(folder).env("TOKEN", "hunter2");
    Process::spawn(&mut run, folder.join("run.txt"))
}

#[test]
fn requests_arrive_in_order_and_senders_hear_what_became_of_them() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let hooks = free_address();
    let mut running = start(folder, hooks);
    let token = [("Authorization", "Bearer hunter2")];
    let post = |path: &str, headers: &[(&str, &str)], body: &str| send(hooks, "POST", path, headers, body);
    wait_until("the source listens", LIMIT, || {
        post("/orders", &token, "{\"id\":\"a\"}").is_some_and(|(status, _)| status == 200)
    });
    for (body, status) in
        [("[{\"id\":\"b\"},{\"id\":\"c\"}]", 200), ("[]", 200), ("{\"id\":", 400), ("{\"id\":\"d\"}", 200)]
    {
        let (answer, text) = post("/orders", &token, body).expect("an answer");
        assert_eq!(answer, status, "{body}: {text}");
    }
    assert_eq!(post("/orders", &[], "{}").expect("an answer").0, 401);
    assert_eq!(post("/other", &token, "{}").expect("an answer").0, 404);
    assert_eq!(send(hooks, "PUT", "/orders", &token, "{}").expect("an answer").0, 405);
    let told = running.output();
    assert!(!told.contains("hunter2"), "{told}");
    running.kill();
    let broker = Broker::start(folder, &[]);
    let records = topic::read(&broker.bootstrap(), "orders", folder);
    let records: Vec<&str> = records.values().flatten().map(|(_, value)| value.as_str()).collect();
    assert_eq!(records, ["a", "b", "c", "d"].map(|id| format!("{{\"id\":\"{id}\"}}")));
}
