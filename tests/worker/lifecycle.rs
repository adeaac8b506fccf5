//! Connectors that come, change and go while the worker runs: whatever is done to them, each record arrives once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use millrace_connect_runtime::herder::handle::{ConnectorView, Error, HerderHandle};
use millrace_connect_runtime::herder::offsets::OffsetsError;
use millrace_connect_runtime::herder::ownership::{Alone, TaskId};
use millrace_connect_runtime::herder::record::{Restart, RunState, TargetState};
use millrace_connect_runtime::herder::request::{Refusal, Request};
use millrace_connect_runtime::herder::service::{HerderConfig, HerderService};
use millrace_connect_runtime::worker::WorkerConfig;
use serde_json::{Value, json};

use crate::setup::Cluster;

/// A wait that takes longer than this is stuck.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

impl Cluster {
    /// Starts a worker that takes what the topics say.
    async fn herder(&self) -> HerderService {
        let worker = WorkerConfig { offsets_partitions: 3, ..WorkerConfig::default() };
        let config = HerderConfig { worker, status_partitions: 2, ..HerderConfig::new("w:8083") };
        let (client, host) = (self.client().clone(), self.host().clone());
        let service = HerderService::start(config, host, client, Box::new(Alone)).await.unwrap();
        tokio::time::timeout(LIMIT, service.handle().ready()).await.expect("the topics are read");
        service
    }
}

pub(crate) type Config = BTreeMap<String, String>;

pub(crate) fn config(pairs: &[(&str, &str)]) -> Config {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A source that counts to `records`.
pub(crate) fn counting(records: u64) -> Config {
    let records = records.to_string();
    config(&[("connector.class", "source"), ("do", "count"), ("records", &records), ("topic", "numbers")])
}

/// A sink that writes the topic's values to files, one line each.
fn to_files(folder: &Path) -> Config {
    let path = folder.join("out.txt").to_string_lossy().into_owned();
    let fixed = [
        ("connector.class", "file-sink"),
        ("topics", "numbers"),
        ("format", "lines"),
        ("rotate.every", "100ms"),
        ("offset.flush.interval.ms", "50"),
    ];
    let mut config = config(&fixed);
    config.insert("path".to_owned(), path);
    config
}

pub(crate) async fn make(handle: &HerderHandle, name: &str, config: Config) {
    let (_, problems) = handle.check(name, &config).await;
    assert!(problems.is_empty(), "{problems:?}");
    let create = Request::Create { name: name.to_owned(), config, initial: TargetState::Started };
    handle.request(create).await.unwrap();
}

async fn target(handle: &HerderHandle, name: &str, target: TargetState) {
    handle.request(Request::Target(name.to_owned(), target)).await.unwrap();
}

/// The states of a connector and its tasks.
fn states(view: &ConnectorView) -> Vec<Option<RunState>> {
    let all = std::iter::once(&view.status).chain(&view.tasks);
    all.map(|status| status.as_ref().map(|status| status.state)).collect()
}

pub(crate) async fn wait_for(handle: &HerderHandle, name: &str, wanted: &[RunState]) -> ConnectorView {
    let wanted: Vec<_> = wanted.iter().map(|state| Some(*state)).collect();
    let started = Instant::now();
    loop {
        let view = handle.connector(name);
        if let Some(view) = view.clone().filter(|view| states(view) == wanted) {
            return view;
        }
        assert!(started.elapsed() < LIMIT, "{name} is not {wanted:?}: {view:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Where a counting source is, as its position says.
pub(crate) async fn position(handle: &HerderHandle, name: &str) -> u64 {
    let offsets = handle.offsets(name).await.unwrap();
    let number = |(_, offset): &(Value, Value)| offset["position"].as_str().unwrap().parse().unwrap();
    offsets.first().map_or(0, number)
}

pub(crate) async fn wait_for_position(handle: &HerderHandle, name: &str, least: u64) -> u64 {
    let started = Instant::now();
    loop {
        let position = position(handle, name).await;
        if position >= least {
            return position;
        }
        assert!(
            started.elapsed() < LIMIT,
            "{name} is at {position}, not at {least}: {:?}",
            handle.connector(name)
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The numbers in the files of a folder that are shown.
fn written(folder: &Path) -> Vec<u64> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let hidden = path.file_name().unwrap().to_string_lossy().starts_with('.');
        if !hidden && path.is_file() {
            let text = std::fs::read_to_string(path).unwrap();
            let digits = |line: &str| line.chars().filter(char::is_ascii_digit).collect::<String>();
            numbers.extend(text.lines().map(|line| digits(line).parse::<u64>().unwrap()));
        }
    }
    numbers.sort_unstable();
    numbers
}

use RunState::{Failed, Paused, Running, Stopped};

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_done_to_a_pipeline_each_record_arrives_once() {
    let cluster = Cluster::start().await;
    let out = tempfile::tempdir().unwrap();
    let total = 150_000;
    let service = cluster.herder().await;
    let handle = service.handle();
    make(&handle, "numbers.source", counting(total)).await;
    make(&handle, "numbers.files", to_files(out.path())).await;
    let task = |connector: &str| TaskId { connector: connector.to_owned(), task: 0 };
    let mut least = 1;
    for (round, connector) in ["numbers.source", "numbers.files"].iter().cycle().take(8).enumerate() {
        least = wait_for_position(&handle, "numbers.source", least.min(total)).await + 500;
        match round / 2 {
            0 => {
                target(&handle, connector, TargetState::Paused).await;
                wait_for(&handle, connector, &[Paused, Paused]).await;
                let (before, lines) = (position(&handle, "numbers.source").await, written(out.path()).len());
                tokio::time::sleep(Duration::from_millis(200)).await;
                match *connector {
                    "numbers.source" => assert_eq!(position(&handle, connector).await, before),
                    _ => assert_eq!(written(out.path()).len(), lines),
                }
                target(&handle, connector, TargetState::Started).await;
            }
            1 => {
                target(&handle, connector, TargetState::Stopped).await;
                wait_for(&handle, connector, &[Stopped]).await;
                target(&handle, connector, TargetState::Started).await;
            }
            2 => handle.request(Request::RestartTask(task(connector))).await.unwrap(),
            _ => {
                let mut config = (*handle.connector(connector).unwrap().wanted.config).clone();
                config.insert("errors.retry.timeout".to_owned(), "60000".to_owned());
                handle.request(Request::Put { name: (*connector).to_owned(), config }).await.unwrap();
                let all = Restart { include_tasks: true, only_failed: false };
                handle.request(Request::Restart((*connector).to_owned(), all)).await.unwrap();
            }
        }
        wait_for(&handle, connector, &[Running, Running]).await;
    }
    wait_for_position(&handle, "numbers.source", total).await;
    let started = Instant::now();
    while written(out.path()).len() < total as usize && started.elapsed() < LIMIT {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    service.stop().await;
    let all: Vec<u64> = (0..total).collect();
    assert_eq!(cluster.numbers("numbers").await, all);
    assert_eq!(written(out.path()), all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_or_stops_leaves_everything_in_the_topics() {
    let cluster = Cluster::start().await;
    let total = 60_000;
    let first = cluster.herder().await;
    make(&first.handle(), "a", counting(total)).await;
    let mut other = counting(5);
    other.insert("topic".to_owned(), "other".to_owned());
    make(&first.handle(), "b", other).await;
    target(&first.handle(), "b", TargetState::Paused).await;
    wait_for_position(&first.handle(), "a", 1).await;
    // As by a kill.
    drop(first);
    let second = cluster.herder().await;
    let handle = second.handle();
    let names: BTreeSet<String> = handle.connectors().into_iter().map(|view| view.name).collect();
    assert_eq!(names, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
    wait_for(&handle, "a", &[Running, Running]).await;
    assert_eq!(handle.connector("b").unwrap().wanted.target, TargetState::Paused);
    let started = Instant::now();
    while handle.topics("a") != ["numbers"] {
        assert!(started.elapsed() < LIMIT, "{:?}", handle.topics("a"));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    second.stop().await;
    let third = cluster.herder().await;
    wait_for_position(&third.handle(), "a", total).await;
    third.stop().await;
    let numbers = cluster.numbers("numbers").await;
    assert_eq!(numbers.len(), numbers.iter().collect::<BTreeSet<_>>().len());
    assert!((0..total).all(|number| numbers.binary_search(&number).is_ok()));
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_are_changed_only_while_the_connector_is_stopped() {
    let cluster = Cluster::start().await;
    let service = cluster.herder().await;
    let handle = service.handle();
    make(&handle, "c", counting(100)).await;
    wait_for_position(&handle, "c", 100).await;
    let at = |position: &str| vec![(json!({ "partition": "numbers" }), json!({ "position": position }))];
    let refused = handle.alter_offsets("c", Some(at("40"))).await;
    assert!(matches!(refused, Err(OffsetsError::NotStopped(_))), "{refused:?}");
    target(&handle, "c", TargetState::Stopped).await;
    wait_for(&handle, "c", &[Stopped]).await;
    handle.alter_offsets("c", Some(at("40"))).await.unwrap();
    assert_eq!(handle.offsets("c").await.unwrap(), at("40"));
    target(&handle, "c", TargetState::Started).await;
    wait_for_position(&handle, "c", 100).await;
    target(&handle, "c", TargetState::Stopped).await;
    wait_for(&handle, "c", &[Stopped]).await;
    handle.alter_offsets("c", None).await.unwrap();
    assert_eq!(handle.offsets("c").await.unwrap(), []);
    target(&handle, "c", TargetState::Started).await;
    wait_for_position(&handle, "c", 100).await;
    service.stop().await;
    let wanted: Vec<u64> = (0..100).chain(40..100).chain(0..100).collect();
    let mut numbers = cluster.numbers("numbers").await;
    let mut sorted = wanted;
    sorted.sort_unstable();
    numbers.sort_unstable();
    assert_eq!(numbers, sorted);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_positions_of_a_sink_are_its_groups() {
    let cluster = Cluster::start().await;
    let service = cluster.herder().await;
    let handle = service.handle();
    make(&handle, "c", counting(100)).await;
    let mut sink = config(&[("connector.class", "sink"), ("do", "nothing"), ("topics", "numbers")]);
    sink.insert("offset.flush.interval.ms".to_owned(), "20".to_owned());
    make(&handle, "s", sink).await;
    let started = Instant::now();
    let all = loop {
        let offsets = handle.offsets("s").await.unwrap();
        let sum: i64 = offsets.iter().filter_map(|(_, offset)| offset["kafka_offset"].as_i64()).sum();
        // Each transaction ends with a record of its own.
        if sum > 100 {
            break offsets;
        }
        assert!(started.elapsed() < LIMIT, "{offsets:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(all[0].0, json!({ "kafka_topic": "numbers", "kafka_partition": 0 }));
    target(&handle, "s", TargetState::Stopped).await;
    wait_for(&handle, "s", &[Stopped]).await;
    let change = vec![(all[0].0.clone(), json!({ "kafka_offset": 7 }))];
    handle.alter_offsets("s", Some(change.clone())).await.unwrap();
    assert_eq!(handle.offsets("s").await.unwrap()[0], change[0]);
    let other = vec![(json!({ "kafka_topic": "x", "kafka_partition": 0 }), json!({ "kafka_offset": 7 }))];
    let refused = handle.alter_offsets("s", Some(other)).await.unwrap_err().to_string();
    assert_eq!(refused, "connector s does not read topic x, but numbers");
    handle.alter_offsets("s", None).await.unwrap();
    assert_eq!(handle.offsets("s").await.unwrap(), []);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_says_why_and_can_be_mended() {
    let cluster = Cluster::start().await;
    let service = cluster.herder().await;
    let handle = service.handle();
    let mut bad = counting(10);
    bad.insert("do".to_owned(), "columns".to_owned());
    make(&handle, "c", bad).await;
    let view = wait_for(&handle, "c", &[Running, Failed]).await;
    let trace = view.tasks[0].as_ref().and_then(|status| status.trace.clone()).unwrap_or_default();
    assert!(trace.contains("poll broke the contract"), "{trace}");
    handle.request(Request::Put { name: "c".to_owned(), config: counting(10) }).await.unwrap();
    wait_for_position(&handle, "c", 10).await;

    let twice = Request::Create { name: "c".into(), config: counting(1), initial: TargetState::Started };
    assert!(matches!(handle.request(twice).await, Err(Error::Refused(Refusal::Exists(_)))));
    let nobody = Request::Delete("nobody".to_owned());
    assert!(matches!(handle.request(nobody).await, Err(Error::Refused(Refusal::NoConnector(_)))));
    let out = tempfile::tempdir().unwrap();
    make(&handle, "files", to_files(out.path())).await;
    let (_, problems) = handle.check("more", &to_files(out.path())).await;
    assert_eq!(problems["path"], ["connector files writes to the same path; give each its own"]);
    let (_, problems) = handle.check("files", &to_files(out.path())).await;
    assert!(problems.is_empty(), "{problems:?}");
    let (_, problems) = handle.check("d", &config(&[("connector.class", "sorce"), ("topic", "t")])).await;
    assert!(problems["connector.class"][0].contains("did you mean `source`"), "{problems:?}");

    handle.request(Request::Delete("c".to_owned())).await.unwrap();
    assert!(handle.connector("c").is_none());
    // Positions outlive their connector, as in Kafka Connect: made again it has nothing left to do.
    make(&handle, "c", counting(10)).await;
    wait_for(&handle, "c", &[Running, Running]).await;
    assert_eq!(position(&handle, "c").await, 10);
    service.stop().await;
    assert_eq!(cluster.numbers("numbers").await.len(), 10);
}
