//! One pipeline: source, transforms, topic, sinks.

use std::collections::BTreeMap;

use super::cases;
use super::connector;
use super::deployment::{ClusterSpec, Pipeline, Role, TopicSpec};
use super::names::{self, NAME_SHAPE, TOPIC_SHAPE, nearest};
use super::read::{Field, Reader};
use super::tree::Data;

/// Most partitions a topic may be declared with.
pub(super) const PARTITIONS_MAX: i64 = 10_000;
/// The name of a source in `<pipeline>.<connector>`, so no sink can have it.
const SOURCE_NAME: &str = "source";

pub(super) const PIPELINE_KEYS: &[&str] = &["source", "transforms", "topic", "sinks", "tests"];
pub(super) const TOPIC_KEYS: &[&str] = &["name", "partitions", "replication_factor", "config"];

/// Topic properties of Apache Kafka 4.3 (`kafka-configs --describe --all`, `TopicConfig`).
pub(super) const TOPIC_PROPERTIES: &[&str] = &[
    "cleanup.policy",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "delete.retention.ms",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "follower.replication.throttled.replicas",
    "index.interval.bytes",
    "leader.replication.throttled.replicas",
    "local.retention.bytes",
    "local.retention.ms",
    "max.compaction.lag.ms",
    "max.message.bytes",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.type",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "min.insync.replicas",
    "preallocate",
    "remote.copy.disable",
    "remote.delete.on.disable",
    "remote.storage.enable",
    "retention.bytes",
    "retention.ms",
    "segment.bytes",
    "segment.index.bytes",
    "segment.jitter.ms",
    "segment.ms",
    "unclean.leader.election.enable",
];

/// A pipeline, or `None` if so much is missing that nothing can be said of it.
pub(super) fn read(reader: &mut Reader<'_>, entry: &Field<'_>, cluster: &ClusterSpec) -> Option<Pipeline> {
    let name = entry.key.name.clone();
    let mut fields = reader.fields(entry, PIPELINE_KEYS)?;
    let topic = fields.take("topic");
    let source = fields.take("source");
    let transforms = fields.take("transforms");
    let sinks = fields.take("sinks");
    let tests = fields.take("tests").map(|field| cases::read(reader, &field)).unwrap_or_default();
    fields.finish(reader);

    let mut source_spec = source
        .and_then(|field| connector::read(reader, &field, Role::Source, format!("{name}.{SOURCE_NAME}")));
    if let Some(field) = transforms {
        let chain = connector::transforms(reader, &field);
        match &mut source_spec {
            Some(spec) => spec.transforms = chain,
            None if source.is_some() => {}
            None => {
                let problem = reader
                    .at(field.key.span, "transforms without a source")
                    .help("these stand between source and topic; give a sink its own `transforms`");
                reader.push(problem);
            }
        }
    }
    let sink_specs = sinks.map(|field| sinks_of(reader, &field, &name)).unwrap_or_default();
    if source.is_none() && sinks.is_none() {
        let problem = reader
            .at(entry.key.span, format!("pipeline `{name}` moves nothing"))
            .expected("a `source`, `sinks`, or both");
        reader.push(problem);
    }
    let nameless = |span| TopicSpec { span, ..TopicSpec::default() };
    let topic = match topic {
        Some(field) => topic_of(reader, &field, cluster).unwrap_or_else(|| nameless(field.place())),
        None => {
            let parts = if sinks.is_some() { "sinks" } else { "a source" };
            let problem = reader
                .at(entry.key.span, format!("pipeline `{name}` has {parts} but no topic"))
                .expected("`topic: { name: ... }`");
            reader.push(problem);
            nameless(entry.key.span)
        }
    };
    Some(Pipeline { name, span: entry.key.span, source: source_spec, topic, sinks: sink_specs, tests })
}

fn sinks_of(reader: &mut Reader<'_>, field: &Field<'_>, pipeline: &str) -> Vec<super::ConnectorSpec> {
    let mut all = Vec::new();
    for entry in reader.entries(field, "a mapping of names to sinks") {
        let name = &entry.key.name;
        if !names::is_name(name) {
            let problem =
                reader.at(entry.key.span, format!("a sink can't be called `{name}`")).expected(NAME_SHAPE);
            reader.push(problem);
        } else if name == SOURCE_NAME {
            let problem = reader.at(entry.key.span, format!("a sink can't be called `{name}`")).help(
                format!("`{pipeline}.{name}` is the name of the pipeline's source; call the sink otherwise"),
            );
            reader.push(problem);
        }
        all.extend(connector::read(reader, &entry, Role::Sink, format!("{pipeline}.{name}")));
    }
    all
}

/// `topic: name`, or a mapping.
fn topic_of(reader: &mut Reader<'_>, field: &Field<'_>, cluster: &ClusterSpec) -> Option<TopicSpec> {
    let mut spec = TopicSpec { span: field.place(), ..TopicSpec::default() };
    if !matches!(field.node.data, Data::Map(_)) {
        spec.name = topic_name(reader, field)?;
        return Some(spec);
    }
    let mut fields = reader.fields(field, TOPIC_KEYS)?;
    let name = fields.take("name");
    match name {
        Some(name) => {
            spec.span = name.place();
            spec.name = topic_name(reader, &name).unwrap_or_default();
        }
        None => {
            let problem =
                reader.at(field.key.span, "the topic has no name").expected("`topic: { name: ... }`");
            reader.push(problem);
        }
    }
    if let Some(field) = fields.take("partitions") {
        spec.partitions = reader.whole(&field, 1..=PARTITIONS_MAX).and_then(|n| i32::try_from(n).ok());
    }
    if let Some(field) = fields.take("replication_factor") {
        spec.replication_factor =
            reader.whole(&field, 1..=i64::from(i16::MAX)).and_then(|n| i16::try_from(n).ok());
    }
    if let Some(field) = fields.take("config") {
        spec.config = topic_config(reader, &field, matches!(cluster, ClusterSpec::Kafka(_)));
    }
    fields.finish(reader);
    Some(spec)
}

/// A legal topic name, or a problem.
pub(super) fn topic_name(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<String> {
    let text = reader.text(field, "a topic name")?;
    match names::topic(&text.value) {
        Ok(()) => Some(text.value),
        Err(why) => {
            let problem = reader
                .at(text.span, format!("{} can't be a topic: {why}", text.shown()))
                .expected(TOPIC_SHAPE);
            reader.push(problem);
            None
        }
    }
}

/// `foreign`: somebody's cluster may know properties that we don't; ours doesn't.
fn topic_config(reader: &mut Reader<'_>, field: &Field<'_>, foreign: bool) -> BTreeMap<String, String> {
    let mut config = BTreeMap::new();
    for entry in reader.entries(field, "a mapping of Kafka's topic properties") {
        let name = &entry.key.name;
        if !foreign && !TOPIC_PROPERTIES.contains(&name.as_str()) {
            let problem = reader
                .at(entry.key.span, format!("unknown topic property `{name}`"))
                .expected("a topic property of Apache Kafka, such as retention.ms or cleanup.policy")
                .suggest(nearest(name, TOPIC_PROPERTIES.iter().copied()));
            reader.push(problem);
        }
        if let Some(text) = reader.scalar(&entry, "a value") {
            config.insert(name.clone(), text.value);
        }
    }
    config
}
