//! Secrets of a connection: used by the host, and seen nowhere else.

use std::fs;
use std::path::Path;
use std::time::Duration;

use millrace_tests::http::{Answer, HttpServer};
use millrace_tests::process::{command, wait_until};
use millrace_tests::{Broker, Worker, binary, topic};
use serde_json::json;

use crate::write;

const SECRET: &str = "hunter2-of-the-shop";
const LIMIT: Duration = Duration::from_secs(120);

const PIPELINE: &str = "\
version: 1
pipelines:
  orders:
    source: { connector: file-source, path: in.txt, format: lines, follow: true, poll_every: 50ms }
    topic: { name: orders, partitions: 1 }
    sinks:
      shop: { connector: http-sink, connection: shop, url: /orders, flush_interval: 100ms }
";

fn connections(server: &str) -> String {
    format!(
        "version: 1
connections:
  shop:
    http:
      url: \"{server}/v1\"
      auth: {{ header: {{ name: X-Api-Key, value: \"${{file:secret.properties:key}}\" }} }}
"
    )
}

fn millrace(worker: &Worker, args: &[&str]) -> String {
    let mut run = command(binary());
    run.args(args).env("MILLRACE_URL", format!("http://{}", worker.address()));
    let output = run.output().expect("the binary can be run");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_worker_uses_connections_of_its_own_file_and_shows_nothing_of_them() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let server = HttpServer::start(|_| Answer::status(500));
    write(folder, "in.txt", "1\n2\n3\n");
    write(folder, "orders.yaml", PIPELINE);
    write(folder, "secret.properties", &format!("key={SECRET}\n"));
    write(folder, "connections.yaml", &connections(&server.url()));
    let broker = Broker::start(folder, &["group.initial.rebalance.delay.ms=0"]);
    let file = folder.join("connections.yaml").to_string_lossy().into_owned();
    let mut worker = Worker::start_with(folder, "worker", &broker.bootstrap(), &["--connections", &file]);
    worker.wait_until_ready();
    worker.apply(&folder.join("orders.yaml"));
    wait_until("a request", LIMIT, || !server.requests().is_empty());
    let request = server.requests().remove(0);
    assert_eq!((request.path.as_str(), request.header("x-api-key")), ("/v1/orders", SECRET));

    let mut shown = String::new();
    for path in [
        "/connectors?expand=status&expand=info",
        "/connectors/orders.shop/tasks",
        "/connectors/orders.shop/config",
    ] {
        let (status, body) = worker.ask("GET", path, None).expect("an answer");
        assert_eq!(status, 200, "{path}");
        shown.push_str(&body.to_string());
    }
    assert!(shown.contains("\"connection\":\"shop\""), "{shown}");
    shown.push_str(&millrace(&worker, &["describe", "orders.shop"]));
    for (partition, records) in topic::read(&broker.bootstrap(), "connect-configs", folder) {
        shown.push_str(&format!("{partition}: {records:?}"));
    }
    // The server fails, so that errors are in the log, too.
    wait_until("an error in the log", LIMIT, || worker.log().contains("answers 500"));
    shown.push_str(&worker.log());
    assert!(!shown.contains(SECRET), "{shown}");

    let config = json!({
        "connector.class": "http-sink", "topics": "orders", "name": "x", "connection": "shpo",
    });
    let (_, answer) =
        worker.ask("PUT", "/connector-plugins/http-sink/config/validate", Some(&config)).expect("an answer");
    let answer = answer.to_string();
    assert!(
        answer.contains("connection `shpo` is not declared") && answer.contains("did you mean `shop`?"),
        "{answer}"
    );
    worker.stop();
}

#[test]
fn a_file_of_connections_is_checked_like_any_other() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write(folder.path(), "orders.yaml", PIPELINE);
    write(
        folder.path(),
        "connections.yaml",
        "version: 1\nconnections:\n  shop: { http: { url: x } }\npipelines: {}\n",
    );
    let said = validate(folder.path(), &["--connections", "connections.yaml"]);
    assert!(
        said.contains("`url` can't be used: it has no scheme: https:// stands in front of the host"),
        "{said}"
    );
    assert!(said.contains("unknown key `pipelines`"), "{said}");
    fs::write(folder.path().join("connections.yaml"), connections("https://api.example.com"))
        .expect("written");
    write(folder.path(), "secret.properties", "key=x\n");
    fs::create_dir_all(folder.path().join("x")).expect("a folder");
    write(folder.path(), "in.txt", "");
    let said = validate(folder.path(), &["--connections", "connections.yaml"]);
    assert!(said.starts_with("ok: 1 file, 1 pipeline"), "{said}");
    let said = validate(folder.path(), &[]);
    assert!(said.contains("connection `shop` is not declared") && said.contains("--connections"), "{said}");
}

fn validate(folder: &Path, args: &[&str]) -> String {
    let mut run = command(binary());
    run.args(["validate", "orders.yaml"]).args(args).current_dir(folder);
    let output = run.output().expect("the binary can be run");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
