//! What a valid YAML file means, as types: the deployment, its cluster, its pipelines.
//!
//! Everything here has been checked as far as the files alone can tell. What needs a connector's own word (its settings
//! schema, the capabilities it imports) is checked later, by [`crate::plan`].
//!
//! Invariants: names are unique and legal; folders of grants are absolute; a settings value that came from a reference (`${env:NAME}`) is never shown by `Debug`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::connection::Connection;
use crate::plan::{ComponentRef, ErrorPlan, FolderGrant, Formats, Limits, PredicatePlan};

use super::settings::Settings;
use super::source_file::{SourceFile, Span};

/// One file: which cluster to use, and the pipelines to run on it.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// The file, for messages and as the base of its relative paths.
    pub file: Arc<SourceFile>,
    /// Where the topics are.
    pub cluster: ClusterSpec,
    /// Where `broker` or `kafka` stands.
    pub cluster_span: Span,
    /// What connectors may reach by name.
    pub connections: BTreeMap<String, ConnectionSpec>,
    /// The pipelines, in the order of the file.
    pub pipelines: Vec<Pipeline>,
}

/// A connection as the file declares it.
#[derive(Debug, Clone)]
pub struct ConnectionSpec {
    /// Where its name stands.
    pub span: Span,
    /// Its kind; `None`: there is no such kind.
    pub kind: Option<&'static str>,
    /// `None`: what the file says of it was refused, or its references are not filled in here.
    pub connection: Option<Arc<Connection>>,
}

/// The cluster a deployment asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterSpec {
    /// Neither `broker` nor `kafka` is there: the command line decides.
    Unspecified,
    /// `broker: {...}`: the broker in this process.
    Embedded(BrokerSpec),
    /// `kafka: {...}`: somebody's cluster.
    Kafka(KafkaSpec),
}

/// `broker: { data, listen, config }`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BrokerSpec {
    /// Data folder, joined to the folder of the YAML file.
    pub data: Option<PathBuf>,
    /// `HOST:PORT` of the Kafka listener.
    pub listen: Option<String>,
    /// Kafka's broker properties, passed on as they are; the broker checks them.
    pub config: BTreeMap<String, Property>,
}

/// A Kafka property's value and where its name stands, so that whoever checks it can point there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// As text, the way Kafka takes it.
    pub value: String,
    /// Where the name stands.
    pub span: Span,
}

/// `kafka: { bootstrap }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaSpec {
    /// `host:port` of one or more brokers.
    pub bootstrap: Vec<String>,
}

/// One pipeline: at most one source, one topic, any number of sinks.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// Unique over all files of a run; `[A-Za-z0-9_-]`.
    pub name: String,
    /// Where the name stands.
    pub span: Span,
    /// What fills the topic; `None` when something else does.
    pub source: Option<ConnectorSpec>,
    /// The topic between.
    pub topic: TopicSpec,
    /// What empties the topic, by name, in the order of the file.
    pub sinks: Vec<ConnectorSpec>,
    /// What it is tested with, offline.
    pub tests: Vec<Case>,
}

/// A case that a pipeline's transforms are tested with.
#[derive(Debug, Clone)]
pub struct Case {
    /// The file it stands in, which may be one of its own.
    pub file: Arc<SourceFile>,
    /// Where it begins.
    pub span: Span,
    /// What it shows.
    pub name: String,
    /// Where its records begin their way.
    pub start: CaseStart,
    /// The records.
    pub input: Vec<RecordSpec>,
    /// What has to be in the topic; `None`: not looked at.
    pub topic: Option<Expected>,
    /// What sinks have to be given, by their names.
    pub sinks: Vec<(String, Expected)>,
    /// Which records have to be rejected on the way; any other rejection fails the case.
    pub rejected: Vec<RejectionSpec>,
}

/// Where a case's records begin their way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CaseStart {
    /// At the source, before its transforms.
    #[default]
    Source,
    /// In the topic.
    Topic,
}

/// Records that have to come out.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Where they stand.
    pub span: Span,
    /// The records, in order.
    pub records: Vec<RecordSpec>,
}

/// A record of a case. What is `None` was not written.
#[derive(Debug, Clone)]
pub struct RecordSpec {
    /// Where it stands.
    pub span: Span,
    /// Topic.
    pub topic: Option<String>,
    /// Partition.
    pub partition: Option<i32>,
    /// Offset.
    pub offset: Option<i64>,
    /// Milliseconds since the epoch.
    pub timestamp_ms: Option<i64>,
    /// Key.
    pub key: Option<Content>,
    /// Value.
    pub value: Option<Content>,
    /// Headers.
    pub headers: Option<Vec<(String, Content)>>,
}

/// A key, a value or a header's value of a case.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Null.
    Null,
    /// These very bytes.
    Text(String),
    /// A JSON document, as it is written.
    Json(String),
}

/// A record that has to be rejected.
#[derive(Debug, Clone)]
pub struct RejectionSpec {
    /// Where it stands.
    pub span: Span,
    /// Its place in the input.
    pub record: usize,
    /// The transform's code.
    pub code: Option<String>,
    /// A part of the transform's message.
    pub message: Option<String>,
}

/// `topic: { name, partitions, replication_factor, config }`.
#[derive(Debug, Clone, Default)]
pub struct TopicSpec {
    /// A legal Kafka topic name; empty: what the file says of it was refused.
    pub name: String,
    /// Where the name stands.
    pub span: Span,
    /// Partitions if the topic has to be created; `None`: the cluster's default.
    pub partitions: Option<i32>,
    /// Replicas if the topic has to be created; `None`: the cluster's default.
    pub replication_factor: Option<i16>,
    /// Topic configuration by Kafka's names.
    pub config: BTreeMap<String, String>,
}

/// The schema registry of a format.
#[derive(Debug, Clone)]
pub enum RegistrySpec {
    /// A connection's name.
    Named {
        /// The name.
        name: String,
        /// Where it stands.
        span: Span,
        /// Whether it came from a reference, and is not to be shown.
        referenced: bool,
    },
    /// A map has its address and credentials themselves.
    Given(Arc<Connection>),
}

/// A source or a sink as the file declares it.
#[derive(Debug, Clone)]
pub struct ConnectorSpec {
    /// `<pipeline>.source` or `<pipeline>.<sink>`: the connector's name in topics, groups, logs.
    pub name: String,
    /// Source or sink.
    pub role: Role,
    /// Where the block begins (its `connector:` value if there is one).
    pub span: Span,
    /// Which component; `None`: what the file says of it was refused.
    pub component: Option<ComponentRef>,
    /// Most tasks to run at once, at least 1.
    pub tasks_max: u32,
    /// The connector's own settings.
    pub settings: Settings,
    /// Folders granted by `files:`.
    pub files: Vec<FolderGrant>,
    /// What a task may use up.
    pub limits: Limits,
    /// What happens with errors.
    pub errors: ErrorPlan,
    /// How keys and values stand in the topic.
    pub formats: Formats<RegistrySpec>,
    /// Sinks: how often to make durable what was taken; `None`: the runtime's default.
    pub flush_interval: Option<Duration>,
    /// Transforms: for a source between it and the topic, for a sink between the topic and it.
    pub transforms: Vec<TransformSpec>,
}

/// One step of a chain of transforms.
#[derive(Debug, Clone)]
pub struct TransformSpec {
    /// Where the block begins.
    pub span: Span,
    /// Which component; `None`: what the file says of it was refused.
    pub component: Option<ComponentRef>,
    /// The transform's own settings.
    pub settings: Settings,
    /// Folders granted by `files:`.
    pub files: Vec<FolderGrant>,
    /// What the instance may use up.
    pub limits: Limits,
    /// Which records it is given; `None`: all.
    pub predicate: Option<PredicatePlan>,
}

/// What a component is used as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Fills a topic.
    Source,
    /// Empties a topic.
    Sink,
    /// Changes records on their way.
    Transform,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Role::Source => "source",
            Role::Sink => "sink",
            Role::Transform => "transform",
        })
    }
}
