//! The top of a file: version, cluster, connections, pipelines.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::connections;
use super::deployment::{BrokerSpec, ClusterSpec, ConnectionSpec, Deployment, KafkaSpec, Pipeline, Property};
use super::names::{self, NAME_SHAPE};
use super::pipeline;
use super::read::{Field, Fields, Reader};
use super::source_file::Span;
use super::tree::{Data, Key, Node};

/// The only version of the format so far.
const VERSION: i64 = 1;
/// Most pipelines in one file.
const PIPELINES_MAX: usize = 1_000;

pub(super) const TOP_KEYS: &[&str] = &["version", "broker", "kafka", "connections", "pipelines"];
const CONNECTIONS_FILE_KEYS: &[&str] = &["version", "connections"];
pub(super) const BROKER_KEYS: &[&str] = &["data", "listen", "config"];
pub(super) const KAFKA_KEYS: &[&str] = &["bootstrap"];

/// The whole file. Problems are collected in the reader; what is returned is only good to run if there are none.
pub(super) fn read(reader: &mut Reader<'_>, root: &Node) -> Option<Deployment> {
    let key = Key { name: "the file".into(), span: root.span };
    let mut top = reader.fields(&Field { key: &key, node: root }, TOP_KEYS)?;
    version(reader, &mut top, root.span);
    let (cluster, cluster_span) = cluster(reader, &mut top);
    let connections = connections::read(reader, &mut top);
    let pipelines = pipelines(reader, &mut top, &cluster, root.span);
    top.finish(reader);
    Some(Deployment { file: Arc::clone(&reader.file), cluster, cluster_span, connections, pipelines })
}

/// A file that declares connections only, for workers.
pub(super) fn read_connections(reader: &mut Reader<'_>, root: &Node) -> BTreeMap<String, ConnectionSpec> {
    let key = Key { name: "the file".into(), span: root.span };
    let Some(mut top) = reader.fields(&Field { key: &key, node: root }, CONNECTIONS_FILE_KEYS) else {
        return BTreeMap::new();
    };
    version(reader, &mut top, root.span);
    let connections = connections::read(reader, &mut top);
    top.finish(reader);
    connections
}

fn version(reader: &mut Reader<'_>, top: &mut Fields<'_>, start: Span) {
    match top.take("version") {
        None => {
            let problem = reader
                .at(Span { width: 1, ..start }, "`version` is missing")
                .expected("`version: 1` as the first line");
            reader.push(problem);
        }
        Some(field) => {
            reader.whole(&field, VERSION..=VERSION);
        }
    }
}

fn cluster(reader: &mut Reader<'_>, top: &mut Fields<'_>) -> (ClusterSpec, Span) {
    match (top.take("broker"), top.take("kafka")) {
        (None, None) => (ClusterSpec::Unspecified, Span::default()),
        (Some(field), None) => (ClusterSpec::Embedded(broker(reader, &field)), field.key.span),
        (None, Some(field)) => (ClusterSpec::Kafka(kafka(reader, &field)), field.key.span),
        (Some(broker), Some(kafka)) => {
            let later = if broker.key.span.line > kafka.key.span.line { broker } else { kafka };
            let problem = reader
                .at(later.key.span, "both `broker` and `kafka` are there")
                .help("keep `broker` for the one in this process, or `kafka` for a cluster of your own");
            reader.push(problem);
            (ClusterSpec::Unspecified, Span::default())
        }
    }
}

fn broker(reader: &mut Reader<'_>, field: &Field<'_>) -> BrokerSpec {
    let mut spec = BrokerSpec::default();
    let Some(mut fields) = reader.fields(field, BROKER_KEYS) else { return spec };
    if let Some(field) = fields.take("data") {
        spec.data = reader.text(&field, "a folder").map(|text| reader.absolute(&text.value));
    }
    if let Some(field) = fields.take("listen") {
        spec.listen = address(reader, &field);
    }
    if let Some(field) = fields.take("config") {
        for entry in reader.entries(&field, "a mapping of Kafka's broker properties") {
            if let Some(text) = reader.scalar(&entry, "a value") {
                let property = Property { value: text.value, span: entry.key.span };
                spec.config.insert(entry.key.name.clone(), property);
            }
        }
    }
    fields.finish(reader);
    spec
}

fn kafka(reader: &mut Reader<'_>, field: &Field<'_>) -> KafkaSpec {
    let mut spec = KafkaSpec { bootstrap: Vec::new() };
    let Some(mut fields) = reader.fields(field, KAFKA_KEYS) else { return spec };
    match fields.take("bootstrap") {
        Some(field) => {
            let text = reader.text(&field, "`host:port`, several with commas");
            for part in text.iter().flat_map(|text| text.value.split(',').map(str::trim)) {
                if is_address(part) {
                    spec.bootstrap.push(part.to_owned());
                    continue;
                }
                let problem = reader
                    .at(field.node.span, "`bootstrap` has an address without host or port")
                    .expected("`host:port`, several with commas");
                reader.push(problem);
            }
        }
        None => {
            let problem = reader
                .at(field.key.span, "`kafka` without `bootstrap`")
                .expected("`kafka: { bootstrap: \"host:port\" }`");
            reader.push(problem);
        }
    }
    fields.finish(reader);
    spec
}

fn address(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<String> {
    let text = reader.text(field, "`host:port`")?;
    if is_address(&text.value) {
        return Some(text.value);
    }
    let problem = reader
        .at(text.span, format!("`{}` can't be {}", field.key.name, text.shown()))
        .expected("`host:port`, such as 127.0.0.1:9092");
    reader.push(problem);
    None
}

/// `host:port`; the host is not looked up here.
fn is_address(text: &str) -> bool {
    matches!(text.rsplit_once(':'), Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok())
}

fn pipelines(
    reader: &mut Reader<'_>,
    top: &mut Fields<'_>,
    cluster: &ClusterSpec,
    start: Span,
) -> Vec<Pipeline> {
    let Some(field) = top.take("pipelines") else {
        let problem = reader
            .at(Span { width: 1, ..start }, "`pipelines` is missing")
            .expected("`pipelines:` with at least one name and what it moves");
        reader.push(problem);
        return Vec::new();
    };
    let entries = reader.entries(&field, "a mapping of names to pipelines");
    if entries.is_empty() && matches!(field.node.data, Data::Map(_)) {
        let problem = reader.at(field.key.span, "`pipelines` is empty").expected("at least one pipeline");
        reader.push(problem);
    }
    if entries.len() > PIPELINES_MAX {
        let problem = reader
            .at(
                field.key.span,
                format!("{} pipelines, at most {PIPELINES_MAX} fit in one file", entries.len()),
            )
            .help("split the file: `millrace run` takes several");
        reader.push(problem);
    }
    let mut all = Vec::new();
    for entry in entries.iter().take(PIPELINES_MAX) {
        if !names::is_name(&entry.key.name) {
            let problem = reader
                .at(entry.key.span, format!("a pipeline can't be called `{}`", entry.key.name))
                .expected(NAME_SHAPE);
            reader.push(problem);
        }
        all.extend(pipeline::read(reader, entry, cluster));
    }
    all
}
