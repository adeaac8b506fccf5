//! `millrace broker`: start, clean stop, lock.

use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{Broker, code, free_address, get, millrace, run, signal, stderr};

#[test]
fn a_signal_stops_it_cleanly() {
    for name in ["TERM", "INT"] {
        let mut broker = Broker::start(&[]);
        signal(broker.pid(), name);
        assert_eq!(broker.exit_code(), Some(0), "SIG{name}");
        assert!(broker.data.join(".kafka_cleanshutdown").exists(), "SIG{name}: the stop was not clean");
    }
}

#[test]
fn a_limit_on_the_size_of_files_does_not_end_it() {
    let mut broker = Broker::start(&[]);
    signal(broker.pid(), "XFSZ");
    let created = run(&broker.at(&["topic", "create", "t"]));
    assert_eq!(code(&created), Some(0), "{}", stderr(&created));
    signal(broker.pid(), "TERM");
    assert_eq!(broker.exit_code(), Some(0));
}

#[test]
fn a_data_folder_has_one_broker() {
    let broker = Broker::start(&[]);
    let data = broker.data.display().to_string();
    let output = run(&["broker", "--data-dir", &data, "--listen", "127.0.0.1:0"]);
    assert_eq!(code(&output), Some(3));
    assert!(stderr(&output).contains("in use by another broker"), "{}", stderr(&output));
}

#[test]
fn settings_come_from_file_and_command_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("broker.properties");
    std::fs::write(&file, "num.partitions=2\nlog.retention.hours=1\n").expect("a file");
    let config = file.display().to_string();
    let broker = Broker::start(&["--config", &config, "--set", "num.partitions=5"]);
    let created = run(&["topic", "create", "t", "--bootstrap", &broker.address]);
    assert_eq!(code(&created), Some(0), "{}", stderr(&created));
    let shown = run(&["topic", "describe", "t", "-b", &broker.address]);
    assert!(crate::support::stdout(&shown).contains("5 partitions"), "{shown:?}");
}

#[test]
fn metrics_and_health_are_answered_over_http() {
    let watch = free_address();
    let broker = Broker::start(&["--metrics", &watch]);
    let start = Instant::now();
    while !get(&watch, "/readyz").starts_with("HTTP/1.1 200") {
        assert!(start.elapsed() < Duration::from_secs(30), "the broker does not become ready");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(code(&run(&["topic", "create", "orders", "--bootstrap", &broker.address])), Some(0));
    assert_ne!(code(&run(&["topic", "create", "orders", "--bootstrap", &broker.address])), Some(0));
    assert!(get(&watch, "/healthz").ends_with("healthy\n"));
    assert!(get(&watch, "/nothing").starts_with("HTTP/1.1 404"));
    let metrics = get(&watch, "/metrics");
    for line in [
        "content-type: application/openmetrics-text",
        "millrace_broker_ready_state 1",
        "millrace_request_duration_seconds_count{api=\"CreateTopics\"} 2",
        "millrace_request_errors_total{api=\"CreateTopics\",code=\"36\"} 1",
        "millrace_log_end_offset{topic=\"orders\",partition=\"0\"} 0",
        "millrace_memory_budget_bytes{kind=\"requests\"} 268435456",
        "# EOF",
    ] {
        assert!(metrics.contains(line), "{line} is not in:\n{metrics}");
    }
}

#[test]
fn a_schema_registry_is_served_beside_the_broker() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|free| free.local_addr())
        .expect("a free port")
        .port();
    let registry = format!("127.0.0.1:{port}");
    let broker = Broker::start(&["--registry", &registry]);
    let start = Instant::now();
    while TcpStream::connect(&registry).is_err() {
        assert!(start.elapsed() < Duration::from_secs(30), "the registry does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    let answer = get(&registry, "/subjects");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n[]"), "{answer}");
    let topics = run(&["topic", "list", "--bootstrap", &broker.address]);
    assert!(crate::support::stdout(&topics).contains("_schemas"), "{topics:?}");
    let taken =
        run(&["broker", "--data-dir", "elsewhere", "--listen", "127.0.0.1:0", "--registry", "nonsense"]);
    assert_eq!(code(&taken), Some(2), "{}", stderr(&taken));
}

#[test]
fn nobody_reading_the_output_is_no_failure() {
    let mut child = millrace()
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
}
