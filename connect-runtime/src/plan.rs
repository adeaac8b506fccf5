//! What is to run: pipelines as the worker takes them.
//!
//! A plan is plain data. [`crate::spec`] makes it out of YAML (names resolved, settings checked against each connector's
//! schema, folders made absolute); [`crate::worker`] runs it and knows nothing of YAML.
//!
//! Invariants: connector names are unique within a plan; a sink's settings, a source's settings and a transform's settings are
//! each one JSON object; host folders are absolute.

mod build;
mod catalog;
mod draft;
mod format;
pub(crate) mod guest;
mod location;
pub(crate) mod schema;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::component::Digest;
use crate::connection::Connections;

pub use catalog::{Catalog, Description, components};
pub use draft::Draft;
pub use format::{Decimals, Format, Formats, RegisteredFormat};

/// Most bytes of memory a guest may hold unless its pipeline says otherwise.
pub const DEFAULT_MEMORY_BYTES_MAX: u64 = 256 << 20;
/// Longest that one call into a guest may take unless its pipeline says otherwise.
pub const DEFAULT_CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a call that fails with a retriable error is repeated before the task fails.
pub const DEFAULT_RETRY_TIMEOUT: Duration = Duration::from_secs(300);
/// Longest pause between two tries of a call.
pub const DEFAULT_RETRY_DELAY_MAX: Duration = Duration::from_secs(10);
/// How often a sink is asked to make durable what it took.
pub const DEFAULT_FLUSH_INTERVAL: Duration = Duration::from_secs(5);

/// Everything that one process is asked to run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Pipelines in the order they were written.
    pub pipelines: Vec<PipelinePlan>,
}

/// One pipeline: an optional source into a topic, and sinks out of it.
#[derive(Clone, Debug, PartialEq)]
pub struct PipelinePlan {
    /// Name as written.
    pub name: String,
    /// The topic between source and sinks.
    pub topic: TopicPlan,
    /// What fills the topic; none: someone else does.
    pub source: Option<SourcePlan>,
    /// What reads the topic.
    pub sinks: Vec<SinkPlan>,
}

impl PipelinePlan {
    /// Makes every component the one that it was when `builds` were written down.
    pub(crate) fn pin(&mut self, builds: &Builds) {
        let sources = self.source.iter_mut().map(|source| (&mut source.guest, &mut source.transforms));
        let sinks = self.sinks.iter_mut().map(|sink| (&mut sink.guest, &mut sink.transforms));
        for (guest, transforms) in sources.chain(sinks) {
            let guests = transforms.iter_mut().map(|transform| &mut transform.guest);
            for guest in std::iter::once(guest).chain(guests) {
                guest.component = guest.component.pinned(builds);
            }
        }
    }
}

/// A topic and how to make it when it does not exist.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TopicPlan {
    /// Name in the cluster.
    pub name: String,
    /// Partitions when it has to be created; an existing topic keeps its own number. -1: the cluster's default.
    pub partitions: i32,
    /// Copies of each partition; -1: the cluster's default.
    pub replication_factor: i16,
    /// Topic settings by their Kafka names.
    pub config: BTreeMap<String, String>,
}

/// A source: one connector with its transforms.
#[derive(Clone, Debug, PartialEq)]
pub struct SourcePlan {
    /// Connector name, unique in the cluster: `<pipeline>.source`. Positions are kept under it.
    pub name: String,
    /// The guest and what it may do.
    pub guest: GuestPlan,
    /// Most tasks; the connector may ask for fewer.
    pub tasks: u32,
    /// Between connector and topic, in order.
    pub transforms: Vec<TransformPlan>,
    /// How keys and values stand in the topic.
    pub formats: Formats,
    /// What happens with errors.
    pub errors: ErrorPlan,
}

/// A sink: one connector with its transforms.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkPlan {
    /// Connector name, unique in the cluster: `<pipeline>.<sink>`. Its consumer group is `connect-<name>`.
    pub name: String,
    /// The guest and what it may do.
    pub guest: GuestPlan,
    /// Tasks; never more run than the topic has partitions.
    pub tasks: u32,
    /// Between topic and connector, in order.
    pub transforms: Vec<TransformPlan>,
    /// How keys and values stand in the topic.
    pub formats: Formats,
    /// What happens with errors.
    pub errors: ErrorPlan,
    /// How often the sink is asked to make durable what it took (Kafka Connect: `offset.flush.interval.ms`).
    pub flush_interval: Duration,
}

/// One transform in a chain.
#[derive(Clone, Debug, PartialEq)]
pub struct TransformPlan {
    /// For messages: `<connector>.transforms[<index>]`.
    pub name: String,
    /// The guest and what it may do.
    pub guest: GuestPlan,
    /// Which records it is given; the others pass by. None: all.
    pub predicate: Option<PredicatePlan>,
}

/// Which records a transform is given (KIP-585).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PredicatePlan {
    /// What is asked of a record.
    pub test: RecordTest,
    /// Whether it is given those for which the answer is no.
    pub negate: bool,
}

/// What can be asked of a record, by the names of Kafka Connect's predicates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordTest {
    /// Its topic's whole name matches the regular expression.
    TopicNameMatches(String),
    /// It has a header of this name.
    HasHeaderKey(String),
    /// Its value is null.
    RecordIsTombstone,
}

/// A component with its settings, grants and limits.
#[derive(Clone, Debug, PartialEq)]
pub struct GuestPlan {
    /// Which component.
    pub component: ComponentRef,
    /// Settings, one JSON object, secrets filled in.
    pub settings: serde_json::Map<String, serde_json::Value>,
    /// What it may reach.
    pub grants: Grants,
    /// What it may use up.
    pub limits: Limits,
}

/// Where a component comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ComponentRef {
    /// One that is built into the binary, by its connector name.
    Bundled(String),
    /// A `.wasm` file, absolute, as it is now.
    Path(PathBuf),
    /// A `.wasm` file as it was when a connector was planned with it, whatever has become of the file.
    Build(PathBuf, Digest),
}

impl ComponentRef {
    /// The same as it was when `builds` were written down; what they don't have, as it is now.
    #[must_use]
    pub fn pinned(&self, builds: &Builds) -> Self {
        match (self, builds.get(&self.to_string())) {
            (Self::Path(path), Some(build)) => Self::Build(path.clone(), build.digest),
            _ => self.clone(),
        }
    }
}

/// What a component was when a connector was planned with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// As it calls it.
    pub version: String,
    /// Its bytes.
    pub digest: Digest,
}

/// The components of a connector, by name or path.
pub type Builds = BTreeMap<String, Build>;

impl std::fmt::Display for ComponentRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bundled(name) => f.write_str(name),
            Self::Path(path) | Self::Build(path, _) => write!(f, "{}", path.display()),
        }
    }
}

/// What a guest may reach. Nothing unless written here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Folders.
    pub files: Vec<FolderGrant>,
    /// Connections, by the names that the settings have.
    pub connections: Connections,
}

/// One folder that a guest may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderGrant {
    /// The folder, absolute.
    pub host: PathBuf,
    /// The path under which the guest sees it: as written in the pipeline.
    pub guest: String,
    /// Whether the guest may change it.
    pub access: Access,
}

/// What may be done in a granted folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// List and read.
    Read,
    /// List, read, create, write, rename and remove.
    Write,
}

/// What a guest may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of memory of one instance.
    pub memory_bytes_max: u64,
    /// Longest that one call may take.
    pub call_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_bytes_max: DEFAULT_MEMORY_BYTES_MAX, call_timeout: DEFAULT_CALL_TIMEOUT }
    }
}

/// What happens with errors (Kafka Connect: `errors.*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPlan {
    /// Whether a record that cannot be processed stops the task.
    pub tolerance: Tolerance,
    /// Where such records go when tolerated; none: they are counted and skipped.
    pub dead_letter_topic: Option<String>,
    /// How long a call that may succeed later is repeated.
    pub retry_timeout: Duration,
    /// Longest pause between two tries.
    pub retry_delay_max: Duration,
}

impl Default for ErrorPlan {
    fn default() -> Self {
        Self {
            tolerance: Tolerance::None,
            dead_letter_topic: None,
            retry_timeout: DEFAULT_RETRY_TIMEOUT,
            retry_delay_max: DEFAULT_RETRY_DELAY_MAX,
        }
    }
}

/// `errors.tolerance`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tolerance {
    /// The first bad record stops the task.
    #[default]
    None,
    /// Bad records go to the dead letter topic, or are skipped and counted.
    All,
}
