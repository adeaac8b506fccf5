//! A broker in this process, plans made of hostile components, and a reader of what is in a topic.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use millrace_broker::{Broker, BrokerHandle, Config, Env};
use millrace_client::{
    Admin, Client, ClientConfig, Consumer, ConsumerConfig, Isolation, NewTopic, OffsetSpec, Polled, Position,
    TopicPartition,
};
use millrace_connect_runtime::component::{BundledComponent, ComponentHost, HostConfig};
use millrace_connect_runtime::plan::{
    Access, ComponentRef, ErrorPlan, FolderGrant, Formats, Grants, GuestPlan, Limits, PipelinePlan, Plan,
    SinkPlan, SourcePlan, Tolerance, TopicPlan, TransformPlan,
};
use millrace_connect_runtime::worker::{RunSummary, Worker, WorkerConfig, WorkerHandle};
use millrace_test_components::{hostile_sink, hostile_source, hostile_transform};
use serde_json::json;

/// A run that takes longer than this is stuck.
const RUN_TIMEOUT: Duration = Duration::from_secs(120);

/// A broker and what is needed to run plans on it.
pub(crate) struct Cluster {
    _broker: BrokerHandle,
    _dir: tempfile::TempDir,
    client: Client,
    host: ComponentHost,
}

/// A record as the tests look at it.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) value: String,
    pub(crate) headers: Vec<(String, String)>,
}

/// All components there are, compiled once for each folder.
fn host(cache: &Path) -> ComponentHost {
    let bundled =
        [("sink", hostile_sink()), ("source", hostile_source()), ("transform", hostile_transform())];
    let mut bundled = bundled.map(|(name, wasm)| BundledComponent { name, wasm }).to_vec();
    bundled.extend(
        millrace_connectors::bundled().iter().map(|c| BundledComponent { name: c.name, wasm: c.wasm }),
    );
    let config = HostConfig { cache_dir: Some(cache.to_owned()), bundled, ..HostConfig::default() };
    ComponentHost::new(config).unwrap()
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new();
        config.set_data_dir(&dir.path().join("data"));
        config.set_listen("127.0.0.1:0").unwrap();
        let broker = Broker::start(config, Env::real()).await.unwrap();
        let bootstrap = vec![broker.local_addr().to_string()];
        let client = Client::new(ClientConfig { bootstrap, ..ClientConfig::default() }).unwrap();
        static CACHE: std::sync::LazyLock<tempfile::TempDir> =
            std::sync::LazyLock::new(|| tempfile::tempdir().unwrap());
        Self { _broker: broker, _dir: dir, client, host: host(&CACHE.path().join("code")) }
    }

    /// The same cluster, as a machine sees it on which nothing has run yet.
    pub(crate) fn with_own_cache(self, cache: &Path) -> Self {
        Self { host: host(cache), ..self }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn host(&self) -> &ComponentHost {
        &self.host
    }

    /// Starts a worker that ends when its pipelines are done.
    pub(crate) async fn worker(&self, plan: Plan) -> WorkerHandle {
        let config = WorkerConfig { exit_when_done: true, offsets_partitions: 3, ..WorkerConfig::default() };
        Worker::start(config, self.host.clone(), self.client.clone(), plan).await.unwrap()
    }

    /// Runs a plan to its end.
    pub(crate) async fn run(&self, plan: Plan) -> RunSummary {
        let worker = self.worker(plan).await;
        let view = worker.progress_view();
        tokio::time::timeout(RUN_TIMEOUT, worker.join())
            .await
            .unwrap_or_else(|_| panic!("the run is stuck: {:?}", view.snapshot()))
    }

    /// Commits an offset of partition 0 for a group.
    pub(crate) async fn commit(&self, group: &str, topic: &str, offset: i64) {
        let config = ConsumerConfig { group_id: Some(group.to_owned()), ..ConsumerConfig::default() };
        let consumer = Consumer::start(&self.client, config).await.unwrap();
        let offsets = BTreeMap::from([(TopicPartition::new(topic, 0), offset.into())]);
        consumer.commit(offsets).await.unwrap();
        consumer.close().await.unwrap();
    }

    /// Makes a topic anew, with as many partitions as pipelines here have.
    pub(crate) async fn make_anew(&self, topic: &str) {
        let admin = Admin::new(&self.client);
        for (_, deleted) in admin.delete_topics(&[topic]).await.unwrap() {
            deleted.unwrap();
        }
        let wanted = NewTopic {
            name: topic.to_owned(),
            partitions: 3,
            replication_factor: -1,
            configs: BTreeMap::new(),
        };
        for (_, made) in admin.create_topics(&[wanted]).await.unwrap() {
            made.unwrap();
        }
        admin.await_topics(&[topic]).await.unwrap();
    }

    /// What a group without members is, after a week in which nothing was committed.
    pub(crate) async fn forget(&self, group: &str) {
        for (_, deleted) in Admin::new(&self.client).delete_groups(&[group]).await.unwrap() {
            deleted.unwrap();
        }
    }

    /// The number of partitions of a topic.
    pub(crate) async fn partitions(&self, topic: &str) -> usize {
        Admin::new(&self.client).describe_topics(&[topic]).await.unwrap()[topic].partitions.len()
    }

    /// All committed records of a topic.
    pub(crate) async fn records(&self, topic: &str) -> Vec<Record> {
        let admin = Admin::new(&self.client);
        let count = admin.describe_topics(&[topic]).await.unwrap()[topic].partitions.len() as i32;
        let partitions: Vec<_> = (0..count).map(|p| TopicPartition::new(topic, p)).collect();
        let wanted = partitions.iter().map(|tp| (tp.clone(), OffsetSpec::Latest)).collect();
        let ends = admin.list_offsets(&wanted, Isolation::ReadUncommitted).await.unwrap();
        let config = ConsumerConfig { isolation: Isolation::ReadCommitted, ..ConsumerConfig::default() };
        let mut consumer = Consumer::start(&self.client, config).await.unwrap();
        consumer.assign(partitions.iter().map(|tp| (tp.clone(), Position::Earliest)).collect()).unwrap();
        let mut records = Vec::new();
        let at_end = |consumer: &Consumer| {
            partitions.iter().all(|tp| {
                let end = ends[tp].offset.unwrap_or(0);
                end == 0 || consumer.position(tp).is_some_and(|position| position >= end)
            })
        };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        while !at_end(&consumer) {
            let Polled::Records(fetched) = consumer.poll(Duration::from_millis(20)).await.unwrap() else {
                continue;
            };
            for record in fetched.iter().flat_map(|fetched| fetched.records()) {
                let record = record.unwrap();
                let headers = record.headers.iter();
                let headers =
                    headers.map(|(n, v)| (text(n), text(v.as_deref().unwrap_or_default()))).collect();
                records.push(Record { value: text(record.value.as_deref().unwrap_or_default()), headers });
            }
        }
        records
    }

    /// The numbers that a counting source wrote, sorted.
    pub(crate) async fn numbers(&self, topic: &str) -> Vec<u64> {
        let number = |record: Record| {
            let digits: String = record.value.chars().filter(char::is_ascii_digit).collect();
            digits.parse().unwrap_or_else(|_| panic!("{:?} holds no number", record.value))
        };
        let mut numbers: Vec<u64> = self.records(topic).await.into_iter().map(number).collect();
        numbers.sort_unstable();
        numbers
    }
}

pub(crate) fn errors(tolerance: Tolerance, dead_letter_topic: Option<&str>) -> ErrorPlan {
    ErrorPlan { tolerance, dead_letter_topic: dead_letter_topic.map(str::to_owned), ..ErrorPlan::default() }
}

fn guest(component: &str, settings: serde_json::Value) -> GuestPlan {
    let serde_json::Value::Object(settings) = settings else { panic!("settings are an object") };
    GuestPlan {
        component: ComponentRef::Bundled(component.to_owned()),
        settings,
        grants: Grants::default(),
        limits: Limits { memory_bytes_max: 64 << 20, call_timeout: Duration::from_secs(1) },
    }
}

pub(crate) fn source(action: &str, records: u64) -> SourcePlan {
    SourcePlan {
        name: String::new(),
        guest: guest("source", json!({ "do": action, "records": records })),
        tasks: 1,
        transforms: vec![],
        formats: Formats::default(),
        errors: ErrorPlan::default(),
    }
}

pub(crate) fn sink(action: &str, matching: &str) -> SinkPlan {
    SinkPlan {
        name: String::new(),
        guest: guest("sink", json!({ "do": action, "match": matching })),
        tasks: 1,
        transforms: vec![],
        formats: Formats::default(),
        errors: ErrorPlan::default(),
        flush_interval: Duration::from_millis(100),
    }
}

/// A sink whose target holds its positions: it writes values to `out.txt` below a folder, one line each.
pub(crate) fn file_sink(folder: &Path, mut settings: serde_json::Value) -> SinkPlan {
    settings["path"] = json!(folder.join("out.txt"));
    settings["format"] = json!("lines");
    let mut guest = guest("file-sink", settings);
    guest.grants.files = vec![FolderGrant {
        host: folder.to_owned(),
        guest: folder.display().to_string(),
        access: Access::Write,
    }];
    SinkPlan { guest, ..sink("", "") }
}

/// The numbers that such a sink wrote, sorted.
pub(crate) fn lines(folder: &Path) -> Vec<u64> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.file_name().unwrap().to_string_lossy().starts_with('.') {
            let text = std::fs::read_to_string(path).unwrap();
            let digits = |line: &str| line.chars().filter(char::is_ascii_digit).collect::<String>();
            numbers.extend(text.lines().map(|line| digits(line).parse::<u64>().unwrap()));
        }
    }
    numbers.sort_unstable();
    numbers
}

pub(crate) fn transform(action: &str, matching: &str) -> TransformPlan {
    TransformPlan {
        name: action.to_owned(),
        guest: guest("transform", json!({ "do": action, "match": matching })),
        predicate: None,
    }
}

/// A plan of one pipeline, whose topic has its name and three partitions.
pub(crate) fn pipeline(name: &str, source: Option<SourcePlan>, sinks: Vec<SinkPlan>) -> Plan {
    let source = source.map(|source| SourcePlan { name: format!("{name}.source"), ..source });
    let named = |(index, sink)| SinkPlan { name: format!("{name}.sink{index}"), ..sink };
    let sinks = (0..).zip(sinks).map(|(index, sink): (u32, SinkPlan)| named((index, sink))).collect();
    let topic =
        TopicPlan { name: name.to_owned(), partitions: 3, replication_factor: -1, config: BTreeMap::new() };
    Plan { pipelines: vec![PipelinePlan { name: name.to_owned(), topic, source, sinks }] }
}
