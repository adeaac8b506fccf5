//! Guests that misbehave: contained, explained, and without harm to their neighbours.

use std::path::Path;
use std::time::{Duration, Instant};

use millrace_test_components::{hostile_sink, hostile_source, hostile_transform};

use super::batch::{Batch, BatchBuilder, RecordView};
use super::*;
use crate::capability::control::Stopping;
use crate::capability::http::tests::server::{Reply, Server};
use crate::capability::metrics::GuestMetrics;
use crate::connection::{Connection, Surroundings, kind};
use crate::plan::{Access, FolderGrant, Grants, Limits};
use crate::spec::ProcessEnvironment;

fn host(cache_dir: Option<&Path>) -> ComponentHost {
    let bundled =
        [("sink", hostile_sink()), ("source", hostile_source()), ("transform", hostile_transform())];
    let bundled = bundled.map(|(name, wasm)| BundledComponent { name, wasm }).to_vec();
    ComponentHost::new(HostConfig {
        cache_dir: cache_dir.map(Path::to_owned),
        bundled,
        ..HostConfig::default()
    })
    .unwrap()
}

/// One cache for all tests of this process: compiling the guests is the slow part.
fn shared_host() -> ComponentHost {
    static CACHE: std::sync::LazyLock<tempfile::TempDir> =
        std::sync::LazyLock::new(|| tempfile::tempdir().unwrap());
    host(Some(&CACHE.path().join("code")))
}

fn environment(limits: Limits, grants: Grants) -> Environment {
    let label = Label { connector: "p.s".into(), task: 3 };
    Environment { label, grants, limits, stopping: Stopping::never(), metrics: GuestMetrics::default() }
}

fn short(call_timeout_ms: u64) -> Limits {
    Limits { memory_bytes_max: 64 << 20, call_timeout: Duration::from_millis(call_timeout_ms) }
}

fn context(config: serde_json::Value) -> TaskContext {
    TaskContext {
        connector_name: "p.s".into(),
        task: 3,
        tasks: 4,
        config: config.to_string(),
        key_format: "bytes".into(),
        value_format: "json".into(),
        generation: 1,
    }
}

async fn sink(action: &str, limits: Limits, grants: Grants, path: &str) -> SinkInstance {
    let component = shared_host().load(&ComponentRef::Bundled("sink".into())).await.unwrap();
    let mut sink = component.sink(environment(limits, grants)).await.unwrap();
    sink.open(&context(serde_json::json!({ "do": action, "path": path, "match": "bad" }))).await.unwrap();
    sink
}

async fn source(action: &str) -> SourceInstance {
    let component = shared_host().load(&ComponentRef::Bundled("source".into())).await.unwrap();
    let mut source = component.source(environment(short(20_000), Grants::default())).await.unwrap();
    source.open(&context(serde_json::json!({ "do": action })), &[]).await.unwrap();
    source
}

fn values(values: &[&str]) -> Batch {
    let mut builder = BatchBuilder::default();
    for (offset, value) in (0..).zip(values) {
        builder.push(&RecordView {
            value: Some(value.as_bytes()),
            offset: Some(offset),
            ..RecordView::default()
        });
    }
    builder.build()
}

#[tokio::test]
async fn a_component_says_what_it_is() {
    let component = shared_host().load(&ComponentRef::Bundled("sink".into())).await.unwrap();
    assert_eq!(component.kind(), Kind::Sink);
    assert!(component.describe().config_schema.contains("What to do wrong"));
    assert!(component.capabilities().contains(&"files"), "{:?}", component.imports());
    let error = component.source(environment(Limits::default(), Grants::default())).await.err().unwrap();
    assert_eq!(error.to_string(), "connector p.s task 3: component sink is a sink, not a source");
}

#[tokio::test]
async fn what_is_no_connector_is_refused_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let refuse = async |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        host(None).load(&ComponentRef::Path(path)).await.unwrap_err().to_string()
    };
    assert!(refuse("text.wasm", b"hello").await.contains("not a WebAssembly component"));
    assert!(refuse("module.wasm", b"\0asm\x01\0\0\0").await.contains("not a WebAssembly component"));
    assert!(refuse("torn.wasm", &hostile_sink()[..5000]).await.contains("not a WebAssembly component"));
    let empty = refuse("empty.wasm", b"\0asm\x0d\0\x01\0").await;
    assert!(empty.contains("interface connector"), "{empty}");
    let error = host(None).load(&ComponentRef::Bundled("sunk".into())).await.unwrap_err().to_string();
    assert!(error.contains("did you mean sink?"), "{error}");
}

#[tokio::test]
async fn compiled_code_is_taken_from_disk_the_next_time() {
    let dir = tempfile::tempdir().unwrap();
    let sink = ComponentRef::Bundled("sink".into());
    host(Some(dir.path())).load(&sink).await.unwrap();
    let entries = || std::fs::read_dir(dir.path()).unwrap().count();
    let before = entries();
    assert_eq!(before, 2, "a key and the code");
    let start = Instant::now();
    host(Some(dir.path())).load(&sink).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(entries(), before);
}

#[tokio::test]
async fn a_trap_names_connector_task_call_and_reason_and_costs_the_instance() {
    let mut sink = sink("trap", short(20_000), Grants::default(), "").await;
    let error = sink.put(&values(&["1"])).await.unwrap_err();
    let message = error.to_string();
    assert!(message.starts_with("connector p.s task 3: trap in put: panicked at "), "{message}");
    assert!(message.contains("on purpose"), "{message}");
    assert!(error.wants_new_instance() && !error.is_retriable());
    assert!(matches!(sink.flush().await.unwrap_err(), CallError::Gone { call: "flush", .. }));
}

#[tokio::test(flavor = "current_thread")]
async fn an_endless_loop_is_ended_and_neighbours_go_on_meanwhile() {
    let mut looping = sink("loop", short(2_000), Grants::default(), "").await;
    let mut neighbour = sink("nothing", short(20_000), Grants::default(), "").await;
    let batch = values(&["1", "2"]);
    let mut puts = 0_u64;
    let neighbours = async {
        while puts < u64::MAX {
            assert_eq!(neighbour.put(&batch).await.unwrap().accepted, 2);
            puts += 1;
            tokio::task::yield_now().await;
        }
    };
    // The loop is polled first, and there is one thread: a put that came back did so while the loop went on.
    let error = tokio::select! {
        biased;
        ended = looping.put(&batch) => ended.unwrap_err(),
        () = neighbours => panic!("the neighbour is never done"),
    };
    assert!(error.to_string().contains("put was stopped after its time limit of 2s"), "{error}");
    assert!(puts > 0, "the neighbour waited for the loop");
}

#[tokio::test]
async fn memory_is_limited_and_the_message_says_so() {
    let mut sink = sink("memory", short(20_000), Grants::default(), "").await;
    let message = sink.put(&values(&["1"])).await.unwrap_err().to_string();
    assert!(message.contains("it needs more memory than its limit of 64 MiB"), "{message}");
}

#[tokio::test]
async fn files_are_reached_in_granted_folders_only() {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["in", "secret"] {
        std::fs::create_dir(dir.path().join(folder)).unwrap();
        std::fs::write(dir.path().join(folder).join("file"), "twelve bytes").unwrap();
    }
    std::os::unix::fs::symlink(dir.path().join("secret/file"), dir.path().join("in/link")).unwrap();
    let grants = Grants {
        files: vec![FolderGrant { host: dir.path().join("in"), guest: "./in".into(), access: Access::Read }],
        ..Grants::default()
    };
    let attempt = async |action: &str, path: &str| {
        let mut sink = sink(action, short(20_000), grants.clone(), path).await;
        sink.put(&values(&["1"])).await.unwrap_err().to_string()
    };
    for path in ["in/file", "/in/file"] {
        let message = attempt("read", path).await;
        assert!(message.contains("read 12 bytes"), "{path}: {message}");
    }
    let secret = dir.path().join("secret/file");
    for (action, path) in [
        ("read", "in/../secret/file"),
        ("read", "in/link"),
        ("read", secret.to_str().unwrap()),
        ("read", "/etc/hostname"),
        ("write", "in/new"),
        ("write", "in/file"),
    ] {
        let message = attempt(action, path).await;
        assert!(message.contains("(test.refused)"), "{action} {path}: {message}");
    }
    assert!(!dir.path().join("in/new").exists());
    assert_eq!(std::fs::read(dir.path().join("in/file")).unwrap(), b"twelve bytes");
}

/// A guest that asks for `url` over connection `shop`, which it was granted or not.
async fn ask(url: &str, granted: Option<serde_json::Value>) -> CallError {
    let around = Surroundings { folder: Path::new("."), env: &ProcessEnvironment };
    let connections = granted.map(|settings| {
        let settings = settings.as_object().unwrap().clone();
        let shop = Connection::open("shop", kind("http").unwrap(), settings, &around).unwrap();
        ("shop".to_owned(), std::sync::Arc::new(shop))
    });
    let grants = Grants { connections: connections.into_iter().collect(), ..Grants::default() };
    let component = shared_host().load(&ComponentRef::Bundled("sink".into())).await.unwrap();
    let mut sink = component.sink(environment(short(20_000), grants)).await.unwrap();
    let settings = serde_json::json!({ "do": "http", "path": url, "connection": "shop" });
    sink.open(&context(settings)).await.unwrap();
    sink.put(&values(&["1"])).await.unwrap_err()
}

#[tokio::test]
async fn the_network_is_reached_over_granted_connections_only() {
    let inside = Server::start(|_| Reply::ok("inside")).await;
    let to = inside.url();
    let server = Server::start(move |seen| match seen.path() {
        "/redirect" => Reply::redirect(302, &to),
        "/endless" => Reply::Endless,
        "/slow" => Reply::Slow,
        _ => Reply::ok("twelve bytes"),
    })
    .await;
    let granted = serde_json::json!({ "url": server.url(), "timeout": "500ms", "response_max": "1KiB" });
    let said = ask("/", Some(granted.clone())).await.to_string();
    assert!(said.contains("status 200, 12 bytes (test.done)"), "{said}");
    let component = shared_host().load(&ComponentRef::Bundled("sink".into())).await.unwrap();
    assert!(component.capabilities().contains(&"http"), "{:?}", component.imports());

    for (url, granted, refusal) in [
        ("/", None, "(http.denied)"),
        (inside.url().as_str(), Some(granted.clone()), "(http.denied)"),
        ("http://169.254.169.254/latest", Some(granted.clone()), "(http.denied)"),
        ("/redirect", Some(granted.clone()), "(http.denied)"),
        ("/endless", Some(granted.clone()), "(http.response-size)"),
    ] {
        let error = ask(url, granted).await;
        assert!(!error.is_retriable() && error.to_string().contains(refusal), "{url}: {error}");
    }
    let error = ask("/slow", Some(granted)).await;
    assert!(error.is_retriable() && error.to_string().contains("(http.timeout)"), "{error}");
    assert!(inside.seen().is_empty(), "a guest came where it must not");
}

/// What a guest says that tries `action` with its own sockets; it was granted connection `machine`, or nothing.
async fn sockets(action: &str, path: &str, granted: Option<serde_json::Value>) -> String {
    let around = Surroundings { folder: Path::new("."), env: &ProcessEnvironment };
    let connections = granted.map(|settings| {
        let settings = settings.as_object().unwrap().clone();
        let machine = Connection::open("machine", kind("tcp").unwrap(), settings, &around).unwrap();
        ("machine".to_owned(), std::sync::Arc::new(machine))
    });
    let grants = Grants { connections: connections.into_iter().collect(), ..Grants::default() };
    let component = shared_host().load(&ComponentRef::Bundled("sink".into())).await.unwrap();
    let mut sink = component.sink(environment(short(20_000), grants)).await.unwrap();
    sink.open(&context(serde_json::json!({ "do": action, "path": path }))).await.unwrap();
    sink.put(&values(&["1"])).await.unwrap_err().to_string()
}

/// A server that sends back what it is sent; its port.
async fn echo() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    port
}

#[tokio::test]
async fn sockets_lead_to_granted_machines_and_ports_only() {
    let (port, other) = (echo().await, echo().await);
    let at = |host: &str| Some(serde_json::json!({ "host": host, "ports": [port] }));
    let to = |host: &str, port: u16| format!("{host}:{port}");
    // By the connection's name, by the host's, by its address.
    for (path, granted) in [
        (to("machine", port), at("127.0.0.1")),
        (to("machine", port), at("localhost")),
        (to("localhost", port), at("localhost")),
        (to("127.0.0.1", port), at("127.0.0.1")),
    ] {
        let said = sockets("tcp", &path, granted).await;
        assert!(said.contains("exchanged 4 bytes (test.done)"), "{path}: {said}");
    }
    for (action, path, granted) in [
        // No connection; another port; another address; a name that is not its own; one that only looks alike.
        ("tcp", to("127.0.0.1", port), None),
        ("tcp", to("machine", other), at("127.0.0.1")),
        ("tcp", to("127.0.0.2", port), at("127.0.0.1")),
        ("tcp", to("localhost", port), at("127.0.0.1")),
        ("tcp", to("[::ffff:127.0.0.2]", port), at("127.0.0.1")),
        ("lookup", "example.com".to_owned(), at("127.0.0.1")),
        ("lookup", "machine".to_owned(), None),
        // A name that resolves to an address inside, when nobody said that it may.
        ("tcp", to("machine", port), at("inside.localhost.example")),
        ("listen", "127.0.0.1:0".to_owned(), at("127.0.0.1")),
        ("listen", "0.0.0.0:0".to_owned(), at("127.0.0.1")),
        ("udp", "0.0.0.0:0".to_owned(), at("127.0.0.1")),
    ] {
        let said = sockets(action, &path, granted).await;
        assert!(said.contains("(test.refused)"), "{action} {path}: {said}");
    }
    let component = shared_host().load(&ComponentRef::Bundled("sink".into())).await.unwrap();
    assert!(component.capabilities().contains(&"sockets"), "{:?}", component.imports());
}

#[tokio::test]
async fn errors_of_the_contract_keep_their_class() {
    let error =
        sink("retriable", short(20_000), Grants::default(), "").await.put(&values(&["1"])).await.unwrap_err();
    assert!(error.is_retriable());
    assert_eq!(error.to_string(), "connector p.s task 3: put: the target is out of reach (test.retriable)");
    let mut sink_instance = sink("fatal", short(20_000), Grants::default(), "").await;
    let error = sink_instance.put(&values(&["1"])).await.unwrap_err();
    assert!(!error.is_retriable() && !error.wants_new_instance());
    // An answer is no accident: the instance lives.
    sink_instance.flush().await.unwrap();
}

#[tokio::test]
async fn an_answer_that_is_far_too_long_is_bounded() {
    let limits = Limits { memory_bytes_max: 512 << 20, call_timeout: Duration::from_secs(20) };
    let mut sink = sink("result", limits, Grants::default(), "").await;
    let message = sink.put(&values(&["1"])).await.unwrap_err().to_string();
    assert!(message.len() < 10_000, "{} bytes", message.len());
}

#[tokio::test]
async fn single_records_are_rejected() {
    let mut sink = sink("reject", short(20_000), Grants::default(), "").await;
    let outcome = sink.put(&values(&["good", "bad", "good", "bad too"])).await.unwrap();
    let rejected: Vec<u32> = outcome.rejected.iter().map(|error| error.index).collect();
    assert_eq!((outcome.accepted, rejected), (4, vec![1, 3]));
}

#[tokio::test]
async fn rubbish_columns_are_a_broken_contract() {
    for (action, expected) in [
        ("columns", "entries for"),
        ("lengths", "add up to"),
        ("negative", "holds -7"),
        ("topic", "is past the"),
        ("index", "rejected"),
        ("records", "records in one batch"),
        ("header", "is not UTF-8"),
    ] {
        let mut source = source(action).await;
        let error = source.poll(10, 1 << 20, Duration::ZERO).await.unwrap_err();
        let message = error.to_string();
        assert!(
            message.starts_with("connector p.s task 3: poll broke the contract: "),
            "{action}: {message}"
        );
        assert!(message.contains(expected), "{action}: {message}");
        assert!(matches!(source.commit(&[]).await.unwrap_err(), CallError::Gone { .. }));
    }
}

#[tokio::test]
async fn a_text_that_is_none_is_found_by_the_engine() {
    let mut source = source("text").await;
    let message = source.poll(10, 1 << 20, Duration::ZERO).await.unwrap_err().to_string();
    assert!(message.contains("trap in poll") && message.contains("utf"), "{message}");
    assert!(matches!(source.commit(&[]).await.unwrap_err(), CallError::Gone { .. }));
}

#[tokio::test]
async fn a_source_gives_records_and_positions_to_its_end() {
    let mut source = source("count").await;
    assert_eq!(source.plan("{\"do\":\"count\"}", 4).await.unwrap().len(), 1);
    let (mut records, mut last) = (0, None);
    loop {
        let outcome = source.poll(1000, 1 << 20, Duration::ZERO).await.unwrap();
        records += outcome.batch.len();
        last = outcome.checkpoints.last().cloned().or(last);
        if outcome.flow == Flow::End {
            break;
        }
    }
    assert_eq!(records, 100);
    source.commit(&[last.unwrap()]).await.unwrap();
    source.close().await.unwrap();
}

#[tokio::test]
async fn transforms_drop_multiply_and_reject() {
    let component = shared_host().load(&ComponentRef::Bundled("transform".into())).await.unwrap();
    let apply = async |action: &str| {
        let mut transform = component.transform(environment(short(20_000), Grants::default())).await.unwrap();
        transform.open(&context(serde_json::json!({ "do": action, "match": "bad" }))).await.unwrap();
        transform.apply(&values(&["a", "bad", "c"])).await.unwrap()
    };
    assert_eq!(apply("drop").await.batch.len(), 0);
    assert_eq!(apply("double").await.origin, [0, 0, 1, 1, 2, 2]);
    let outcome = apply("reject").await;
    assert_eq!((outcome.origin, outcome.rejected[0].index), (vec![0, 2], 1));
    assert_eq!(apply("nothing").await.batch.len(), 3);
}

#[tokio::test]
async fn memory_and_time_of_an_instance_are_counted_until_it_is_gone() {
    let component = shared_host().load(&ComponentRef::Bundled("sink".into())).await.unwrap();
    let metrics = GuestMetrics::default().instance("sink");
    let environment =
        Environment { metrics: metrics.clone(), ..environment(short(20_000), Grants::default()) };
    let mut sink = component.sink(environment).await.unwrap();
    sink.open(&context(serde_json::json!({ "do": "nothing" }))).await.unwrap();
    let usage = metrics.usage();
    assert!(usage.memory_bytes() >= 64 << 10, "{usage:?}");
    assert!(usage.calls() >= 2 && !usage.busy().is_zero(), "{usage:?}");
    drop(sink);
    assert_eq!(usage.memory_bytes(), 0);
}
