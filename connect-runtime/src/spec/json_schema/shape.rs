//! What each key of the format takes.

use serde_json::{Map, Value, json};

use super::super::format::{plain_names, type_names};
use super::super::{connector, pipeline, predicate};
use crate::plan;

/// A text that is the path of a component.
pub(super) const COMPONENT_PATH: &str = "\\.wasm$";

/// A mapping of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Top,
    Broker,
    Kafka,
    Pipeline,
    Topic,
    Connector,
    Files,
    Limits,
    Errors,
    Format,
    Predicate,
    Case,
    Record,
    Rejection,
}

impl Place {
    /// The name of its definition.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Top => "top",
            Self::Broker => "broker",
            Self::Kafka => "kafka",
            Self::Pipeline => "pipeline",
            Self::Topic => "topic",
            Self::Connector => "connector",
            Self::Files => "files",
            Self::Limits => "limits",
            Self::Errors => "errors",
            Self::Format => "format",
            Self::Predicate => "predicate",
            Self::Case => "case",
            Self::Record => "record",
            Self::Rejection => "rejection",
        }
    }

    /// The mapping with these keys.
    pub(super) fn object(self, keys: &[&str]) -> Value {
        let properties: Map<String, Value> =
            keys.iter().map(|key| ((*key).to_owned(), self.value(key))).collect();
        let mut schema = json!({ "type": "object", "additionalProperties": false, "properties": properties });
        let rules: &[(&str, Value)] = &match self {
            Self::Top => vec![
                ("required", json!(["version", "pipelines"])),
                ("not", json!({ "required": ["broker", "kafka"] })),
            ],
            Self::Kafka => vec![("required", json!(["bootstrap"]))],
            Self::Pipeline => vec![
                ("required", json!(["topic"])),
                ("anyOf", json!([{ "required": ["source"] }, { "required": ["sinks"] }])),
                ("dependentRequired", json!({ "transforms": ["source"] })),
            ],
            Self::Topic => vec![("required", json!(["name"]))],
            Self::Errors => vec![("dependentRequired", json!({ "dead_letter_topic": ["tolerance"] }))],
            Self::Format => vec![("required", json!(["type"]))],
            Self::Predicate => vec![("required", json!(["type"])), ("allOf", predicate_settings())],
            Self::Case => vec![
                ("required", json!(["name", "input"])),
                (
                    "anyOf",
                    json!([{ "required": ["topic"] }, { "required": ["sinks"] }, { "required": ["rejected"] }]),
                ),
            ],
            Self::Rejection => vec![("required", json!(["record"]))],
            Self::Broker | Self::Connector | Self::Files | Self::Limits | Self::Record => Vec::new(),
        };
        for (key, value) in rules {
            schema[*key] = value.clone();
        }
        schema
    }

    /// What a key takes; a key that nobody described yet takes anything.
    pub(super) fn value(self, key: &str) -> Value {
        self.shape(key).unwrap_or_else(|| json!({}))
    }

    /// None: nobody described it yet.
    pub(super) fn shape(self, key: &str) -> Option<Value> {
        Some(match (self, key) {
            (Self::Top, "version") => told("Version of the format.", json!({ "const": 1 })),
            (Self::Top, "broker") => told("The broker in this process.", to("broker")),
            (Self::Top, "kafka") => told("A cluster that is there already.", to("kafka")),
            (Self::Top, "connections") => told(
                "Connections by name; settings of connectors and `registry` of a format name one.",
                json!({ "type": "object", "additionalProperties": { "type": "object" } }),
            ),
            (Self::Top, "pipelines") => told(
                "Pipelines by name.",
                json!({ "type": "object", "minProperties": 1, "maxProperties": 1000, "propertyNames": to("name"),
                    "additionalProperties": to("pipeline") }),
            ),

            (Self::Broker, "data") => told("Folder of the broker's data.", text()),
            (Self::Broker, "listen") => told("Address for Kafka clients, `host:port`.", to("address")),
            (Self::Broker, "config") => told("Kafka's broker properties.", properties(None)),
            (Self::Kafka, "bootstrap") => told(
                "Brokers, `host:port`, several with commas.",
                or_reference(json!({ "pattern": "^\\s*[^\\s,]+:[0-9]+\\s*(,\\s*[^\\s,]+:[0-9]+\\s*)*$" })),
            ),

            (Self::Pipeline, "source") => told("What fills the topic.", to("source")),
            (Self::Pipeline, "transforms") => told("Between source and topic, in order.", transforms()),
            (Self::Pipeline, "topic") => told(
                "The topic between source and sinks.",
                json!({ "anyOf": [to("topic_name"), to("topic")] }),
            ),
            (Self::Pipeline, "sinks") => told(
                "What reads the topic, by name.",
                json!({ "type": "object", "propertyNames": { "allOf": [to("name"), { "not": { "const": "source" } }] },
                    "additionalProperties": to("sink") }),
            ),
            (Self::Pipeline, "tests") => {
                told("Cases for `millrace test`.", json!({ "type": "array", "items": to("case") }))
            }

            (Self::Topic, "name") => told("Name of the topic.", to("topic_name")),
            (Self::Topic, "partitions") => {
                told("Partitions, if the topic has to be made.", number(1, pipeline::PARTITIONS_MAX))
            }
            (Self::Topic, "replication_factor") => {
                told("Replicas, if the topic has to be made.", number(1, i64::from(i16::MAX)))
            }
            (Self::Topic, "config") => told(
                "Kafka's topic properties, if the topic has to be made.",
                properties(Some(pipeline::TOPIC_PROPERTIES)),
            ),

            (Self::Connector, "connector") => told("The connector.", text()),
            (Self::Connector, "key_format") => told("How keys stand in the topic.", format()),
            (Self::Connector, "value_format") => told("How values stand in the topic.", format()),
            (Self::Connector, "tasks") => told("Most tasks.", number(1, connector::TASKS_MAX)),
            (Self::Connector, "files") => {
                told("Folders that the connector may use, besides those its settings name.", to("files"))
            }
            (Self::Connector, "limits") => told("What the connector may use up.", to("limits")),
            (Self::Connector, "errors") => told("What happens to what goes wrong.", to("errors")),
            (Self::Connector, "transforms") => told("Between topic and sink, in order.", transforms()),
            (Self::Connector, "flush_interval") => with_default(
                told("How often a sink makes durable what it took.", to("duration")),
                format!("{}s", plan::DEFAULT_FLUSH_INTERVAL.as_secs()),
            ),
            (Self::Connector, "predicate") => told("Which records the transform is given.", to("predicate")),
            (Self::Connector, "negate") => told(
                "Gives the transform the records that the predicate is not true of.",
                or_reference(json!({ "enum": [true, false, "true", "false"] })),
            ),

            (Self::Files, "read") => {
                told("Folders to read from.", json!({ "type": "array", "items": text() }))
            }
            (Self::Files, "write") => {
                told("Folders to read from and write to.", json!({ "type": "array", "items": text() }))
            }
            (Self::Limits, "memory") => with_default(
                told("Most memory, 1MiB to 4GiB.", to("size")),
                format!("{}MiB", plan::DEFAULT_MEMORY_BYTES_MAX >> 20),
            ),
            (Self::Limits, "call_timeout") => with_default(
                told("Longest call.", to("duration")),
                format!("{}s", plan::DEFAULT_CALL_TIMEOUT.as_secs()),
            ),
            (Self::Errors, "tolerance") => with_default(
                told(
                    "`all`: bad records are passed over, or become dead letters; `none`: the first one fails the task.",
                    or_reference(json!({ "enum": ["none", "all"] })),
                ),
                "none".to_owned(),
            ),
            (Self::Errors, "dead_letter_topic") => {
                told("Topic for bad records, with the reason in headers.", to("topic_name"))
            }
            (Self::Errors, "retry_timeout") => with_default(
                told("How long a call that may succeed later is repeated.", to("duration")),
                format!("{}s", plan::DEFAULT_RETRY_TIMEOUT.as_secs()),
            ),
            (Self::Errors, "retry_delay_max") => with_default(
                told("Longest pause between two tries.", to("duration")),
                format!("{}s", plan::DEFAULT_RETRY_DELAY_MAX.as_secs()),
            ),

            (Self::Format, "type") => {
                told("The format.", or_reference(json!({ "enum": type_names().collect::<Vec<_>>() })))
            }
            (Self::Format, "registry") => told("The name of a connection of kind `schema_registry`.", text()),
            (Self::Format, "schema") => told(
                "File of the schema that a source writes with; without it what the connector's types make, or the subject's last version.",
                text(),
            ),
            (Self::Format, "subject") => {
                told("The subject of a source's schema; without it `<topic>-key` or `<topic>-value`.", text())
            }
            (Self::Format, "message") => {
                told("protobuf: the message that a source writes; without it the file's first.", text())
            }
            (Self::Format, "auto_register_schemas") => {
                told("Whether a source's schema is registered if the subject doesn't have it.", truth(true))
            }
            (Self::Format, "use_latest_version") => told(
                "Whether a source writes with the subject's last version, whatever types its connector gives.",
                truth(false),
            ),
            (Self::Format, "decimals") => with_default(
                told(
                    "How decimals look in JSON: as text, or as numbers.",
                    or_reference(json!({ "enum": ["text", "numbers"] })),
                ),
                "text".to_owned(),
            ),
            (Self::Format, "validate") => told("json-schema: whether documents are checked.", truth(true)),
            (Self::Format, "schemas_enable") => told(
                "json: whether the schema stands beside each value, as Kafka Connect writes it.",
                truth(false),
            ),

            (Self::Predicate, "type") => told(
                "Kafka Connect's name of the predicate.",
                or_reference(json!({ "enum": predicate::names().collect::<Vec<_>>() })),
            ),
            (Self::Predicate, "pattern") => {
                told("A regular expression for the whole name of the topic.", text())
            }
            (Self::Predicate, "name") => told("The name of a header.", text()),

            (Self::Case, "name") => told("What the case shows.", text()),
            (Self::Case, "start") => with_default(
                told(
                    "Where the input enters: behind the source, or in the topic.",
                    or_reference(json!({ "enum": ["source", "topic"] })),
                ),
                String::new(),
            ),
            (Self::Case, "input") => told("Records that go in.", records()),
            (Self::Case, "topic") => told("Records that come into the topic.", records()),
            (Self::Case, "sinks") => told(
                "Records that each sink is given.",
                json!({ "type": "object", "additionalProperties": records() }),
            ),
            (Self::Case, "rejected") => {
                told("Records that are refused.", json!({ "type": "array", "items": to("rejection") }))
            }
            (Self::Record, "value" | "key") => {
                json!({ "description": "Text for bytes, null, or anything as JSON." })
            }
            (Self::Record, "headers") => told("Headers by name.", json!({ "type": "object" })),
            (Self::Record, "topic") => told("The topic of the record.", text()),
            (Self::Record, "partition" | "offset") => told("Its place.", number(0, i64::MAX)),
            (Self::Record, "timestamp") => told("Milliseconds since 1970.", number(0, i64::MAX)),
            (Self::Rejection, "record") => told("Its place in `input`, from 0.", number(0, i64::MAX)),
            (Self::Rejection, "code" | "message") => told("What the transform says.", text()),
            _ => return None,
        })
    }
}

/// What several places use.
pub(super) fn shared() -> [(&'static str, Value); 6] {
    [
        (
            "reference",
            json!({
                "description": "Text with a reference: ${env:NAME}, ${env:NAME:default} or ${file:path:key}.",
                "type": "string", "pattern": "\\$\\{(env|file):[^}]+\\}",
            }),
        ),
        ("duration", or_reference(json!({ "type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$" }))),
        (
            "size",
            or_reference(json!({ "type": "string", "pattern": "^[0-9]+ ?(B|KiB|MiB|GiB|TiB|KB|MB|GB|TB)$" })),
        ),
        ("address", or_reference(json!({ "type": "string", "pattern": "^.+:[0-9]+$" }))),
        ("topic_name", or_reference(json!({ "type": "string", "pattern": "^[a-zA-Z0-9._-]{1,249}$" }))),
        ("name", json!({ "type": "string", "pattern": "^[a-zA-Z0-9_-]{1,64}$" })),
    ]
}

fn to(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn told(description: &str, mut schema: Value) -> Value {
    schema["description"] = description.into();
    schema
}

/// An empty text: there is none.
fn with_default(mut schema: Value, default: String) -> Value {
    if !default.is_empty() {
        schema["default"] = default.into();
    }
    schema
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn number(from: i64, to: i64) -> Value {
    or_reference(json!({ "type": "integer", "minimum": from, "maximum": to }))
}

fn or_reference(schema: Value) -> Value {
    json!({ "anyOf": [schema, { "$ref": "#/$defs/reference" }] })
}

fn truth(default: bool) -> Value {
    let mut schema = or_reference(json!({ "enum": [true, false, "true", "false"] }));
    schema["default"] = default.into();
    schema
}

/// The format's name where nothing else is to be said, or a mapping.
fn format() -> Value {
    json!({ "anyOf": [{ "enum": plain_names().collect::<Vec<_>>() }, to("format"), to("reference")] })
}

fn transforms() -> Value {
    json!({ "type": "array", "maxItems": connector::TRANSFORMS_MAX, "items": to("transform") })
}

fn records() -> Value {
    json!({ "type": "array", "items": to("record") })
}

/// Properties whose values are Kafka's business. Which of the cluster's own there are only the cluster knows: the known ones are
/// offered, others are taken.
fn properties(known: Option<&[&str]>) -> Value {
    let value = || json!({ "type": ["string", "number", "boolean"] });
    let offered: Map<String, Value> =
        known.into_iter().flatten().map(|name| ((*name).to_owned(), value())).collect();
    json!({ "type": "object", "properties": offered, "additionalProperties": value() })
}

/// Each type of predicate with the one setting that it takes.
fn predicate_settings() -> Value {
    let settings = ["pattern", "name"];
    let each = predicate::names().map(|name| {
        let wanted = predicate::setting_of(name).flatten();
        let refused: Map<String, Value> = settings
            .iter()
            .filter(|setting| wanted != Some(**setting))
            .map(|setting| ((*setting).to_owned(), Value::Bool(false)))
            .collect();
        json!({
            "if": { "required": ["type"], "properties": { "type": { "const": name } } },
            "then": { "required": wanted.iter().collect::<Vec<_>>(), "properties": refused },
        })
    });
    each.collect()
}
