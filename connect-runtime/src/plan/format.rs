//! In which formats keys and values stand in a topic.

use std::sync::Arc;

use millrace_schema::Kind;

use crate::connection::Connection;

/// Of a source's or a sink's records. `R`: what is known of schema registries; in a plan, the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Formats<R = Arc<Connection>> {
    /// Keys.
    pub key: Format<R>,
    /// Values.
    pub value: Format<R>,
}

/// One side. Kafka Connect: `key.converter`, `value.converter`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Format<R = Arc<Connection>> {
    /// As the connector gives and takes it.
    #[default]
    AsIs,
    /// One JSON document (`JsonConverter` with `schemas.enable=false`).
    Json,
    /// Text (`StringConverter`).
    String,
    /// Anything (`ByteArrayConverter`).
    Bytes,
    /// JSON with its schema beside it (`JsonConverter` with `schemas.enable=true`).
    Envelope {
        /// How decimals are shown.
        decimals: Decimals,
    },
    /// With a schema of a registry.
    Registered(RegisteredFormat<R>),
}

/// `AvroConverter`, `ProtobufConverter`, `JsonSchemaConverter`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredFormat<R = Arc<Connection>> {
    /// What the schema is written in.
    pub kind: Kind,
    /// Where schemas are: of kind `schema_registry`.
    pub registry: R,
    /// Under which name; none: `<topic>-key`, `<topic>-value`.
    pub subject: Option<String>,
    /// The schema that a source writes with; none: what its connector says of its values, or the subject's last version.
    pub declared: Option<String>,
    /// The subject's last version, whatever the connector says (`use.latest.version`).
    pub latest: bool,
    /// Whether it is registered if it is not (`auto.register.schemas`).
    pub register: bool,
    /// Protobuf: which message a source writes; none: the first.
    pub message: Option<String>,
    /// How decimals of Avro are shown.
    pub decimals: Decimals,
    /// JSON Schema: whether documents are checked.
    pub validate: bool,
}

/// How decimals look in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Decimals {
    /// `"12.34"`: no reader makes a binary fraction of it.
    #[default]
    Text,
    /// `12.34`
    Numbers,
}

impl<R> Formats<R> {
    /// The same with every registry looked up; none: one of them can't be had. Both are looked up, so that what is wrong with either
    /// is told.
    pub fn try_map<S>(self, mut find: impl FnMut(R) -> Option<S>) -> Option<Formats<S>> {
        let (key, value) = (self.key.try_map(&mut find), self.value.try_map(&mut find));
        Some(Formats { key: key?, value: value? })
    }
}

impl<R> Format<R> {
    fn try_map<S>(self, find: impl FnOnce(R) -> Option<S>) -> Option<Format<S>> {
        Some(match self {
            Self::AsIs => Format::AsIs,
            Self::Json => Format::Json,
            Self::String => Format::String,
            Self::Bytes => Format::Bytes,
            Self::Envelope { decimals } => Format::Envelope { decimals },
            Self::Registered(of) => {
                let RegisteredFormat {
                    kind,
                    registry,
                    subject,
                    declared,
                    latest,
                    register,
                    message,
                    decimals,
                    validate,
                } = of;
                let registry = find(registry)?;
                Format::Registered(RegisteredFormat {
                    kind,
                    registry,
                    subject,
                    declared,
                    latest,
                    register,
                    message,
                    decimals,
                    validate,
                })
            }
        })
    }
}

impl<R> RegisteredFormat<R> {
    /// Whether the schema may be made of what a connector says of its values.
    #[must_use]
    pub fn may_derive(&self) -> bool {
        self.declared.is_none() && !self.latest && self.kind != Kind::Protobuf
    }
}

impl<R> Default for Formats<R> {
    fn default() -> Self {
        Self { key: Format::default(), value: Format::default() }
    }
}
