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
/// The classes of the formats, and what their own settings begin with.
pub(super) const KEY_CONVERTER: &str = "key.converter";
pub(super) const VALUE_CONVERTER: &str = "value.converter";
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

const fn converter(name: &'static str, documentation: &'static str) -> FrameworkKey {
    FrameworkKey { name, kind: "CLASS", default: None, documentation, only: &[] }
}

/// Every such key that stands by itself; `topic.creation.default.*`, `transforms.*`, `predicates.*`, `key.converter.*` and
/// `value.converter.*` come by their beginnings.
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
    converter(KEY_CONVERTER, "How keys stand in the topic; without it, as the connector gives and takes them."),
    converter(VALUE_CONVERTER, "How values stand in the topic; without it, as the connector gives and takes them."),
];

/// The classes of Kafka Connect's and Confluent's converters, which the formats of the YAML are.
pub(super) const JSON_CONVERTER: &str = "org.apache.kafka.connect.json.JsonConverter";
pub(super) const STRING_CONVERTER: &str = "org.apache.kafka.connect.storage.StringConverter";
pub(super) const BYTES_CONVERTER: &str = "org.apache.kafka.connect.converters.ByteArrayConverter";
pub(super) const AVRO_CONVERTER: &str = "io.confluent.connect.avro.AvroConverter";
pub(super) const PROTOBUF_CONVERTER: &str = "io.confluent.connect.protobuf.ProtobufConverter";
pub(super) const JSON_SCHEMA_CONVERTER: &str = "io.confluent.connect.json.JsonSchemaConverter";
/// All of them.
pub(crate) const CONVERTERS: &[&str] = &[
    JSON_CONVERTER,
    STRING_CONVERTER,
    BYTES_CONVERTER,
    AVRO_CONVERTER,
    PROTOBUF_CONVERTER,
    JSON_SCHEMA_CONVERTER,
];

/// Behind `key.converter.` and `value.converter.`: the converters' own names.
pub(super) const SCHEMAS_ENABLE: &str = "schemas.enable";
pub(super) const ENCODING: &str = "converter.encoding";
pub(super) const REGISTRY_URL: &str = "schema.registry.url";
pub(super) const AUTH_SOURCE: &str = "basic.auth.credentials.source";
/// The only source of credentials that is known: the setting [`USER_INFO`].
pub(super) const AUTH_USER_INFO: &str = "USER_INFO";
pub(super) const USER_INFO: &str = "basic.auth.user.info";
pub(super) const AUTO_REGISTER: &str = "auto.register.schemas";
pub(super) const USE_LATEST: &str = "use.latest.version";
pub(super) const KEY_STRATEGY: &str = "key.subject.name.strategy";
pub(super) const VALUE_STRATEGY: &str = "value.subject.name.strategy";
/// The only strategy that is known.
pub(super) const TOPIC_NAME_STRATEGY: &str = "io.confluent.kafka.serializers.subject.TopicNameStrategy";
pub(super) const VALIDATE: &str = "json.fail.invalid.schema";
/// And ours: a connection instead of address and credentials, the schema as text, and what the YAML calls so.
pub(super) const REGISTRY_CONNECTION: &str = "schema.registry.connection";
pub(super) const SCHEMA: &str = "schema";
pub(super) const SUBJECT: &str = "subject";
pub(super) const MESSAGE: &str = "message";
pub(super) const DECIMALS: &str = "decimals";

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
