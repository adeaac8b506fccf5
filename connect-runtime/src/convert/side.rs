//! One side of a task's records, key or value: finds the schemas that it needs, and converts one record at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use millrace_schema::{Kind, Schema};
use prost_reflect::MessageDescriptor;
use tokio::time::Instant;

use super::registry::{self, Failure, Registered, RegistryClient};
use super::{Bad, Direction, avro, envelope, framing, protobuf, put_text};
use crate::plan::{Format, RegisteredFormat};

/// Schemas that are kept; past it they are fetched again as they are needed.
const SCHEMAS_MAX: usize = 1_000;
/// Longest that the schemas of one batch may take to come: what waits for them may stand in an open transaction. Those that came are
/// kept, and the others are asked for after a pause.
const LEARN_TIME_MAX: Duration = Duration::from_secs(30);
/// How long it counts that a registry does not know an id.
const UNKNOWN_AGE: Duration = Duration::from_secs(30);

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Side {
    format: Format,
    /// The connector was told `json`; else it takes text: strings without quotes, everything else as JSON.
    is_json: bool,
    /// `key` or `value`: the end of a subject's name.
    name: &'static str,
    registry: Option<RegistryClient>,
    /// What the ids of records stand for; or since when the registry doesn't know one, in its words.
    by_id: BTreeMap<u32, Result<Schema, (Instant, String)>>,
    by_topic: BTreeMap<String, Target>,
}

/// What records of a topic are written with.
#[derive(Debug)]
struct Target {
    id: u32,
    schema: Schema,
    /// Protobuf: the message, and the path to it.
    message: Option<(MessageDescriptor, Vec<usize>)>,
}

impl Side {
    pub(super) fn new(format: &Format, is_json: bool, name: &'static str) -> Self {
        let registry = match format {
            Format::Registered(format) => Some(RegistryClient::new(&format.registry)),
            _ => None,
        };
        let (by_id, by_topic) = (BTreeMap::new(), BTreeMap::new());
        Self { format: format.clone(), is_json, name, registry, by_id, by_topic }
    }

    /// Whether bytes pass untouched.
    pub(super) fn is_idle(&self) -> bool {
        match self.format {
            Format::AsIs | Format::Json => true,
            Format::String | Format::Bytes => !self.is_json,
            Format::Envelope { .. } | Format::Registered(_) => false,
        }
    }

    /// Fetches the schemas that records were written with: each with its number, rising. The number of the first record whose schema
    /// found no room; none: all are known.
    pub(super) async fn learn_ids<'r>(
        &mut self,
        records: impl Iterator<Item = (usize, &'r [u8])>,
    ) -> Result<Option<usize>, Failure> {
        let Some(registry) = &self.registry else { return Ok(None) };
        if self.by_id.len() >= SCHEMAS_MAX {
            self.by_id.clear();
        }
        let since = Instant::now();
        for (number, record) in records {
            let Ok((id, _)) = framing::split(record) else { continue };
            match self.by_id.get(&id) {
                Some(Ok(_)) => continue,
                Some(Err((since, _))) if since.elapsed() < UNKNOWN_AGE => continue,
                Some(Err(_)) => {}
                None if self.by_id.len() >= SCHEMAS_MAX => return Ok(Some(number)),
                None => {}
            }
            if since.elapsed() > LEARN_TIME_MAX {
                return Err(registry.outage(format!("schemas take more than {LEARN_TIME_MAX:?} to come")));
            }
            let found = match registry.by_id(id).await {
                Ok(schema) => Ok(schema),
                Err(Failure::Unknown { message, .. }) => Err((Instant::now(), message)),
                Err(failure) => return Err(failure),
            };
            self.by_id.insert(id, found);
        }
        Ok(None)
    }

    /// Finds the schema that records of a topic are to be written with.
    pub(super) async fn learn_topic(&mut self, topic: &str) -> Result<(), Failure> {
        let (Some(registry), Format::Registered(format)) = (&self.registry, &self.format) else {
            return Ok(());
        };
        if self.by_topic.contains_key(topic) {
            return Ok(());
        }
        if self.by_topic.len() >= SCHEMAS_MAX {
            self.by_topic.clear();
        }
        // Confluent's TopicNameStrategy.
        let subject = format.subject.clone().unwrap_or_else(|| format!("{topic}-{}", self.name));
        let refused = |message: String| Failure::Refused { url: registry::url_of(&format.registry), message };
        let Registered { id, schema } = match &format.declared {
            Some(declared) => {
                let schema =
                    Schema::parse(format.kind, declared, &[]).map_err(|error| refused(error.to_string()))?;
                let id = registry.id_of(&subject, format.kind, declared, format.register).await?;
                Registered { id, schema }
            }
            None => registry.latest(&subject).await?,
        };
        if schema.kind() != format.kind {
            return Err(refused(format!(
                "subject {subject} is of type {}, not {}",
                schema.kind(),
                format.kind
            )));
        }
        let message = match &schema {
            Schema::Protobuf(of) => {
                Some(message(of, format).map_err(|why| refused(format!("subject {subject}: {why}")))?)
            }
            _ => None,
        };
        self.by_topic.insert(topic.to_owned(), Target { id, schema, message });
        Ok(())
    }

    /// Converts a key or value into `out`; false: it is null.
    pub(super) fn convert(
        &self,
        direction: Direction,
        topic: &str,
        bytes: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Result<bool, Bad> {
        out.clear();
        let Some(bytes) = bytes else { return Ok(false) };
        if self.is_idle() {
            out.extend_from_slice(bytes);
            return Ok(true);
        }
        match direction {
            Direction::FromTopic => self.read(bytes, out),
            Direction::ToTopic => self.write(topic, bytes, out).map(|()| true),
        }
    }

    fn read(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<bool, Bad> {
        match &self.format {
            Format::AsIs | Format::Json => out.extend_from_slice(bytes),
            // Only for connectors that take nothing but JSON, see `is_idle`.
            Format::String => {
                let text = std::str::from_utf8(bytes).map_err(|_| Bad::new("the text is not UTF-8"))?;
                put_text(text, out);
            }
            Format::Bytes => put_text(&STANDARD.encode(bytes), out),
            Format::Envelope { decimals } => {
                if !envelope::to_json(bytes, *decimals, out)? {
                    return Ok(false);
                }
                self.unquote(out)?;
            }
            Format::Registered(format) => {
                let (id, rest) = framing::split(bytes)?;
                let schema = match self.by_id.get(&id) {
                    Some(Ok(schema)) => schema,
                    Some(Err((_, message))) => return Err(Bad::new(message.clone())),
                    None => return Err(Bad::new(format!("schema {id} is not known"))),
                };
                match (schema, format.kind) {
                    (Schema::Avro(schema), Kind::Avro) => avro::to_json(schema, rest, format.decimals, out)?,
                    (Schema::Protobuf(schema), Kind::Protobuf) => protobuf::to_json(schema, rest, out)?,
                    (Schema::Json(schema), Kind::Json) => {
                        check_json(schema, rest, format.validate)?;
                        out.extend_from_slice(rest);
                    }
                    (schema, kind) => {
                        return Err(Bad::new(format!("its schema is of type {}, not {kind}", schema.kind())));
                    }
                }
                self.unquote(out)?;
            }
        }
        Ok(true)
    }

    fn write(&self, topic: &str, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Bad> {
        match &self.format {
            Format::AsIs | Format::Json => out.extend_from_slice(bytes),
            Format::String => match serde_json::from_slice::<String>(bytes) {
                Ok(text) => out.extend_from_slice(text.as_bytes()),
                // Anything else is its own text.
                Err(_) => out.extend_from_slice(bytes),
            },
            Format::Bytes => {
                let text: String = serde_json::from_slice(bytes)
                    .map_err(|_| Bad::new("bytes have to be a JSON text in base64"))?;
                let decoded =
                    STANDARD.decode(text).map_err(|error| Bad::new(format!("it is not base64: {error}")))?;
                out.extend_from_slice(&decoded);
            }
            Format::Envelope { .. } => return Err(Bad::new("`schemas_enable` is for sinks")),
            Format::Registered(format) => {
                let target = self
                    .by_topic
                    .get(topic)
                    .ok_or_else(|| Bad::new(format!("topic {topic} has no schema")))?;
                if self.is_json {
                    return target.write(format, bytes, out);
                }
                // A text; or, where the schema wants something else, the JSON in it.
                let text = std::str::from_utf8(bytes).map_err(|_| Bad::new("the text is not UTF-8"))?;
                let mut quoted = Vec::with_capacity(bytes.len() + 2);
                put_text(text, &mut quoted);
                if let Err(bad) = target.write(format, &quoted, out) {
                    out.clear();
                    return target.write(format, bytes, out).map_err(|_| bad);
                }
            }
        }
        Ok(())
    }

    /// Where a connector takes text, a JSON string is the text in it.
    fn unquote(&self, out: &mut Vec<u8>) -> Result<(), Bad> {
        if !self.is_json && out.first() == Some(&b'"') {
            *out = serde_json::from_slice::<String>(out)
                .map_err(|error| Bad::new(error.to_string()))?
                .into_bytes();
        }
        Ok(())
    }
}

impl Target {
    fn write(&self, format: &RegisteredFormat, json: &[u8], out: &mut Vec<u8>) -> Result<(), Bad> {
        framing::begin(self.id, out);
        match (&self.schema, &self.message) {
            (Schema::Avro(schema), _) => avro::from_json(schema, json, out),
            (Schema::Protobuf(_), Some((message, indexes))) => {
                protobuf::from_json(message, indexes, json, out)
            }
            (Schema::Protobuf(_), None) => Err(Bad::new("its schema has no message")),
            (Schema::Json(schema), _) => {
                check_json(schema, json, format.validate)?;
                out.extend_from_slice(json);
                Ok(())
            }
        }
    }
}

/// That it is JSON, and what the schema asks for.
fn check_json(schema: &millrace_schema::json::Json, json: &[u8], validate: bool) -> Result<(), Bad> {
    let not_json = |error: serde_json::Error| Bad::new(format!("not JSON: {error}"));
    if validate {
        let document = serde_json::from_slice(json).map_err(not_json)?;
        return schema.validate(&document).map_err(Bad::new);
    }
    serde_json::from_slice::<serde::de::IgnoredAny>(json).map(|_| ()).map_err(not_json)
}

/// The message that the pipeline names, or the only one that it can mean.
fn message(
    of: &millrace_schema::protobuf::Protobuf,
    format: &RegisteredFormat,
) -> Result<(MessageDescriptor, Vec<usize>), String> {
    let found = match &format.message {
        Some(name) => of.message(name).ok_or_else(|| format!("it has no message {name}"))?,
        None => of.messages().next().ok_or("it has no message")?,
    };
    let indexes =
        of.indexes_of(&found).ok_or_else(|| format!("message {} is not of this file", found.full_name()))?;
    Ok((found, indexes))
}
