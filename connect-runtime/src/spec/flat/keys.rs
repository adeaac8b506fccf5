//! Names in a connector's map that are not the connector's own settings.
//!
//! Kafka Connect's names wherever it has the thing; ours are those of the YAML, dotted.

/// The connector's name; as in Kafka Connect it may stand in its own map.
pub(super) const NAME: &str = "name";
/// Which component: a bundled name, or the path of a `.wasm` file.
pub const CONNECTOR_CLASS: &str = "connector.class";
pub(super) const TASKS_MAX: &str = "tasks.max";
/// Of a source: what it fills.
pub(super) const TOPIC: &str = "topic";
/// Of a sink: what it empties.
pub(super) const TOPICS: &str = "topics";
/// Followed by `partitions`, `replication.factor` or a topic property.
pub(super) const TOPIC_CREATION: &str = "topic.creation.default.";
pub(super) const TRANSFORMS: &str = "transforms";
pub(super) const PREDICATES: &str = "predicates";
pub(super) const ERRORS_TOLERANCE: &str = "errors.tolerance";
pub(super) const ERRORS_RETRY_TIMEOUT: &str = "errors.retry.timeout";
pub(super) const ERRORS_RETRY_DELAY: &str = "errors.retry.delay.max.ms";
/// Where records go that a connector can't process.
pub const DEAD_LETTER_TOPIC: &str = "errors.deadletterqueue.topic.name";
pub(super) const FLUSH_INTERVAL: &str = "offset.flush.interval.ms";
pub(super) const LIMITS_MEMORY: &str = "limits.memory";
pub(super) const LIMITS_CALL_TIMEOUT: &str = "limits.call_timeout";
pub(super) const FILES_READ: &str = "files.read";
pub(super) const FILES_WRITE: &str = "files.write";
/// The folder that relative paths start from.
pub(super) const BASE_FOLDER: &str = "base.folder";

/// What [`FRAMEWORK`] says of a key.
#[derive(Debug)]
pub(crate) struct FrameworkKey {
    /// The name.
    pub(crate) name: &'static str,
    /// As Kafka's `ConfigDef.Type` calls it.
    pub(crate) kind: &'static str,
    /// What holds without it.
    pub(crate) default: Option<&'static str>,
    /// For people.
    pub(crate) documentation: &'static str,
    /// The only values that may stand there, if it is there for compatibility.
    pub(crate) only: &'static [&'static str],
}

const fn key(
    name: &'static str,
    kind: &'static str,
    default: Option<&'static str>,
    documentation: &'static str,
) -> FrameworkKey {
    FrameworkKey { name, kind, default, documentation, only: &[] }
}

const fn fixed(
    name: &'static str,
    only: &'static [&'static str],
    documentation: &'static str,
) -> FrameworkKey {
    FrameworkKey { name, kind: "STRING", default: Some(only[0]), documentation, only }
}

/// Every such key that stands by itself; `topic.creation.default.*`, `transforms.*` and `predicates.*` come by their
/// beginnings.
#[rustfmt::skip]
pub(crate) const FRAMEWORK: &[FrameworkKey] = &[
    key(NAME, "STRING", None, "Globally unique name of the connector."),
    key(CONNECTOR_CLASS, "STRING", None, "A bundled connector's name, or the path of a component that ends in .wasm."),
    key(TASKS_MAX, "INT", Some("1"), "Most tasks at once."),
    key(TOPIC, "STRING", None, "Sources: the topic that is filled."),
    key(TOPICS, "LIST", None, "Sinks: the topic that is emptied."),
    key(TRANSFORMS, "LIST", Some(""), "Aliases of the transforms, in order; transforms.ALIAS.type names each one's component."),
    key(PREDICATES, "LIST", Some(""), "Aliases of predicates; predicates.ALIAS.type names each one's type, transforms.ALIAS.predicate the predicate of a transform."),
    key(ERRORS_TOLERANCE, "STRING", Some("none"), "none: a bad record fails the task; all: it is skipped."),
    key(ERRORS_RETRY_TIMEOUT, "LONG", Some("300000"), "How long a failure that may pass is repeated, in milliseconds."),
    key(ERRORS_RETRY_DELAY, "LONG", Some("10000"), "Longest pause between two tries, in milliseconds."),
    key(DEAD_LETTER_TOPIC, "STRING", Some(""), "With errors.tolerance=all: where skipped records go."),
    key(FLUSH_INTERVAL, "LONG", Some("5000"), "Sinks: how often what was taken is made durable, in milliseconds."),
    key(LIMITS_MEMORY, "STRING", Some("256MiB"), "Most memory of one instance of the component."),
    key(LIMITS_CALL_TIMEOUT, "STRING", Some("60s"), "Longest time of one call into the component."),
    key(FILES_READ, "LIST", Some(""), "Folders that the component may read."),
    key(FILES_WRITE, "LIST", Some(""), "Folders that the component may change."),
    key(BASE_FOLDER, "STRING", None, "The folder of the worker's machine that relative paths start from."),
    fixed("exactly.once.support", &["required", "requested"], "Sources always write exactly once."),
    fixed("transaction.boundary", &["poll"], "A transaction holds whole polls."),
    fixed("errors.deadletterqueue.context.headers.enable", &["true"], "Dead letters always say why."),
    fixed("key.converter", &["org.apache.kafka.connect.converters.ByteArrayConverter"], "Keys are bytes."),
    fixed("value.converter", &["org.apache.kafka.connect.converters.ByteArrayConverter"], "Values are bytes."),
];

/// The key of a transform, behind `transforms.ALIAS.`
pub(super) const TRANSFORM_TYPE: &str = "type";
/// Which records a transform is given: the alias of a predicate, and whether its answer is turned round.
pub(super) const TRANSFORM_PREDICATE: &str = "predicate";
pub(super) const TRANSFORM_NEGATE: &str = "negate";
/// Keys of a transform that are ours.
pub(super) const TRANSFORM_KEYS: &[&str] = &[
    TRANSFORM_TYPE,
    TRANSFORM_PREDICATE,
    TRANSFORM_NEGATE,
    LIMITS_MEMORY,
    LIMITS_CALL_TIMEOUT,
    FILES_READ,
    FILES_WRITE,
];
