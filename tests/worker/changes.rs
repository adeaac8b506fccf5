//! Changes from all sides: of one connector at once, of its topic's partitions, of the names of the state's topics.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use millrace_client::{Admin, ProduceRecord, Producer, ProducerConfig};
use millrace_connect_runtime::herder::handle::{Error, HerderHandle};
use millrace_connect_runtime::herder::offsets::OffsetsError;
use millrace_connect_runtime::herder::ownership::Alone;
use millrace_connect_runtime::herder::record::{RunState, TargetState};
use millrace_connect_runtime::herder::request::{Refusal, Request};
use millrace_connect_runtime::herder::service::{HerderConfig, HerderService};
use millrace_connect_runtime::worker::{Worker, WorkerConfig};

use crate::lifecycle::{LIMIT, config, counting, make, wait_for};
use crate::setup::{Cluster, pipeline, sink};

async fn herder(cluster: &Cluster, worker: WorkerConfig) -> HerderService {
    let config = HerderConfig {
        worker: WorkerConfig { offsets_partitions: 3, ..worker },
        configs_topic: "my-configs".to_owned(),
        status_topic: "my-status".to_owned(),
        status_partitions: 2,
        ..HerderConfig::new("w:8083")
    };
    let (client, host) = (cluster.client().clone(), cluster.host().clone());
    HerderService::start(config, host, client, Box::new(Alone)).await.unwrap()
}

async fn ready(service: &HerderService) -> HerderHandle {
    tokio::time::timeout(LIMIT, service.handle().ready()).await.expect("the topics are read");
    service.handle()
}

async fn add_partitions(cluster: &Cluster, topic: &str, total: i32) {
    let totals = BTreeMap::from([(topic.to_owned(), total)]);
    for (_, made) in Admin::new(cluster.client()).create_partitions(&totals).await.unwrap() {
        made.unwrap();
    }
}

/// The partitions that a connector's tasks have, as they are stored.
fn shares(handle: &HerderHandle, name: &str) -> Vec<String> {
    let tasks = handle.connector(name).and_then(|view| view.wanted.tasks);
    tasks.map_or_else(Vec::new, |tasks| tasks.configs.to_vec())
}

async fn wait_for_shares(handle: &HerderHandle, name: &str, wanted: &[&str]) {
    let started = Instant::now();
    while shares(handle, name) != wanted {
        assert!(started.elapsed() < LIMIT, "{:?}", shares(handle, name));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_changes_at_once_none_undoes_the_other() {
    let cluster = Cluster::start().await;
    let service = herder(&cluster, WorkerConfig::default()).await;
    let handle = ready(&service).await;
    make(&handle, "c", counting(1)).await;
    let keys = ["retention.ms", "retention.bytes", "segment.ms", "segment.bytes", "max.message.bytes"];
    let changes: Vec<_> = keys
        .map(|key| {
            let handle = handle.clone();
            tokio::spawn(async move {
                let change = |now: Option<&BTreeMap<String, String>>| {
                    let mut config = now.cloned().ok_or_else(|| Refusal::NoConnector("c".to_owned()))?;
                    config.insert(format!("topic.creation.default.{key}"), "1048576".to_owned());
                    Ok(Request::Put { name: "c".to_owned(), config })
                };
                handle.configure("c", change).await
            })
        })
        .into();
    for change in changes {
        change.await.unwrap().unwrap();
    }
    let changed = handle.connector("c").unwrap().wanted.config;
    for key in keys {
        assert!(changed.contains_key(&format!("topic.creation.default.{key}")), "{key}: {changed:?}");
    }
    let wrong = |_: Option<&BTreeMap<String, String>>| {
        let config = config(&[("connector.class", "source"), ("topic", "t"), ("topc", "t")]);
        Ok(Request::Put { name: "c".to_owned(), config })
    };
    let refused = handle.configure("c", wrong).await;
    assert!(
        matches!(&refused, Err(Error::Invalid(problems)) if problems.contains_key("topc")),
        "{refused:?}"
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_routed_to_the_topics_of_the_state_whatever_their_names() {
    let cluster = Cluster::start().await;
    let service = herder(&cluster, WorkerConfig::default()).await;
    let handle = ready(&service).await;
    for topic in ["my-configs", "my-status", "connect-retry-c"] {
        let mut routed = counting(10);
        let route = [("transforms", "r"), ("transforms.r.type", "transform"), ("transforms.r.do", "route")];
        routed.extend(config(&route));
        routed.insert("transforms.r.match".to_owned(), topic.to_owned());
        make(&handle, topic, routed).await;
        let view = wait_for(&handle, topic, &[RunState::Running, RunState::Failed]).await;
        let trace = view.tasks[0].as_ref().and_then(|status| status.trace.clone()).unwrap_or_default();
        assert!(trace.contains(&format!("addressed to topic {topic}, which holds the state")), "{trace}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_reads_partitions_that_are_added_to_its_topic() {
    let cluster = Cluster::start().await;
    let worker = WorkerConfig { metadata_max_age: Duration::from_millis(100), ..WorkerConfig::default() };
    let service = herder(&cluster, worker).await;
    let handle = ready(&service).await;
    let sink = [("connector.class", "sink"), ("do", "nothing"), ("topics", "grows")];
    let partitions = [("topic.creation.default.partitions", "1"), ("tasks.max", "2")];
    make(&handle, "s", config(&[&sink[..], &partitions].concat())).await;
    wait_for_shares(&handle, "s", &[r#"{"partitions":[0]}"#]).await;
    add_partitions(&cluster, "grows", 3).await;
    wait_for_shares(&handle, "s", &[r#"{"partitions":[0,2]}"#, r#"{"partitions":[1]}"#]).await;
    wait_for(&handle, "s", &[RunState::Running, RunState::Running, RunState::Running]).await;
    service.stop().await;
    // Also while nobody looked, and whoever takes it over.
    add_partitions(&cluster, "grows", 4).await;
    let service = herder(&cluster, WorkerConfig::default()).await;
    let handle = ready(&service).await;
    wait_for_shares(&handle, "s", &[r#"{"partitions":[0,2]}"#, r#"{"partitions":[1,3]}"#]).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_runs_from_a_file_does_so_too() {
    let cluster = Cluster::start().await;
    let config = WorkerConfig { metadata_max_age: Duration::from_millis(100), ..WorkerConfig::default() };
    let plan = pipeline("p", None, vec![sink("nothing", "")]);
    let worker = Worker::start(config, cluster.host().clone(), cluster.client().clone(), plan).await.unwrap();
    let records = || worker.progress()[0].records;
    let producer = Producer::start(cluster.client(), ProducerConfig::default()).await.unwrap();
    let send = |partition| {
        let producer = &producer;
        async move {
            let value = Some(Bytes::from_static(b"x"));
            let record = ProduceRecord {
                topic: "p".into(),
                partition: Some(partition),
                value,
                ..ProduceRecord::default()
            };
            producer.send(record).await.unwrap().wait().await.unwrap();
        }
    };
    let wait = async |count| {
        let started = Instant::now();
        while records() < count {
            assert!(started.elapsed() < LIMIT, "{:?}", worker.progress());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    send(2).await;
    wait(1).await;
    add_partitions(&cluster, "p", 5).await;
    // A producer of its own: the first one may not have heard of them yet.
    let producer = Producer::start(cluster.client(), ProducerConfig::default()).await.unwrap();
    for partition in 0..5 {
        let value = Some(Bytes::from_static(b"x"));
        let record = ProduceRecord {
            topic: "p".into(),
            partition: Some(partition),
            value,
            ..ProduceRecord::default()
        };
        producer.send(record).await.unwrap().wait().await.unwrap();
    }
    wait(6).await;
    assert_eq!(records(), 6);
    worker.stop();
    tokio::time::timeout(LIMIT, worker.join()).await.expect("it ends");
}

// One thread: nothing has run yet when the service is there.
#[tokio::test]
async fn a_worker_that_has_not_read_its_topics_changes_no_positions() {
    let cluster = Cluster::start().await;
    let service = herder(&cluster, WorkerConfig::default()).await;
    let early = service.handle().alter_offsets("c", None).await;
    assert!(matches!(early, Err(OffsetsError::Starting)), "{early:?}");
    let create = Request::Create { name: "c".into(), config: counting(1), initial: TargetState::Stopped };
    let handle = ready(&service).await;
    handle.request(create).await.unwrap();
    handle.alter_offsets("c", None).await.unwrap();
    service.stop().await;
}
