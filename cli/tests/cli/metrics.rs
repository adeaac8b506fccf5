//! `--metrics` of the commands that run pipelines.

use std::io::Read;
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Broker, free_address, get, millrace, signal};

/// How long a process may take to do what is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks until the answer has all of it.
fn wait_for(address: &str, path: &str, wanted: &[&str]) -> String {
    let start = Instant::now();
    loop {
        let text = if TcpStream::connect(address).is_ok() { get(address, path) } else { String::new() };
        if wanted.iter().all(|line| text.contains(line)) {
            return text;
        }
        assert!(start.elapsed() < PATIENCE, "{path} does not come to say {wanted:?}:\n{text}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn run_tells_of_broker_and_pipelines_at_one_address() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("orders.yaml");
    let pipeline = "version: 1\nbroker: { data: ./data, listen: \"127.0.0.1:0\" }\npipelines:\n  orders:\n    \
        source: { connector: file-source, path: ./in.csv, format: csv, follow: true }\n    topic: orders\n    sinks:\n      \
        archive: { connector: file-sink, path: ./out.jsonl }\n";
    std::fs::write(&file, pipeline).expect("a file");
    std::fs::write(folder.path().join("in.csv"), "id,name\n1,a\n2,b\n3,c\n").expect("a file");
    let watch = free_address();
    let mut command = millrace();
    command.arg("run").arg(&file).args(["--metrics", &watch]).stderr(Stdio::null()).stdout(Stdio::null());
    let _running = Running(command.spawn().expect("the binary starts"));
    let wanted = [
        r#"kafka_connect_source_task_metrics_source_record_write_total{connector="orders.source",task="0"} 3.0"#,
        r#"kafka_connect_sink_task_metrics_sink_record_send_total{connector="orders.archive",task="0"} 3.0"#,
        r#"millrace_connect_component_memory_bytes{connector="orders.source",task="0",component="file-source",instance="0"}"#,
        "millrace_broker_ready_state 1",
    ];
    let text = wait_for(&watch, "/metrics", &wanted);
    assert_eq!(text.matches("# EOF").count(), 1, "{text}");
    assert!(text.trim_end().ends_with("# EOF"), "{text}");
}

#[test]
fn a_worker_without_a_broker_has_an_address_of_its_own() {
    let broker = Broker::start(&[]);
    let watch = free_address();
    let mut command = millrace();
    let command = command.args(["connect", "--bootstrap", &broker.address, "--rest", "127.0.0.1:0"]);
    let command = command.args(["--metrics", &watch]).stderr(Stdio::piped());
    let mut running = Running(command.spawn().expect("the binary starts"));
    wait_for(&watch, "/readyz", &["HTTP/1.1 200", "ready\n"]);
    wait_for(&watch, "/healthz", &["HTTP/1.1 200", "healthy\n"]);
    wait_for(&watch, "/metrics", &["kafka_connect_connect_worker_metrics_task_count 0.0\n", "# EOF\n"]);
    wait_for(&watch, "/else", &["HTTP/1.1 404"]);
    signal(running.0.id(), "TERM");
    let mut told = String::new();
    let stderr = running.0.stderr.as_mut().expect("stderr is piped");
    stderr.read_to_string(&mut told).expect("text");
    assert!(told.contains(&format!("metrics and health at http://{watch}/metrics")), "{told}");
}
