//! One side of a task's records, key or value: finds the schemas that it needs, and converts one record at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use millrace_schema::{Kind, Schema};
use prost_reflect::MessageDescriptor;
use tokio::time::Instant;

use super::connect::{self, ConnectSchema, Envelope, value};
use super::derived::{Derived, Made};
use super::registry::{self, Failure, Fetched, RegistryClient};
use super::{Bad, Direction, Speech, avro, framing, protobuf, put_text};
use crate::plan::{Decimals, Format, RegisteredFormat};

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
    speech: Speech,
    /// `key` or `value`: the end of a subject's name.
    name: &'static str,
    registry: Option<RegistryClient>,
    /// What the ids of records stand for; or since when the registry doesn't know one, in its words.
    by_id: BTreeMap<u32, Result<Known, (Instant, String)>>,
    by_topic: BTreeMap<String, Target>,
    /// What the schemas of envelopes became.
    derived: Derived,
    /// The last schema of an envelope, which usually is the next one's.
    last: Option<(String, ConnectSchema)>,
}

/// What records of an id are read with.
#[derive(Debug)]
struct Known {
    schema: Schema,
    /// Where the connector takes envelopes and this kind has types: the schema for them, also as it is written there.
    connect: Option<Result<(ConnectSchema, String), Bad>>,
}

/// What records are written with.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) id: u32,
    pub(super) schema: Schema,
    /// Protobuf: the message, and the path to it.
    pub(super) message: Option<(MessageDescriptor, Vec<usize>)>,
}

impl Side {
    pub(super) fn new(format: &Format, told: &str, name: &'static str) -> Self {
        let registry = match format {
            Format::Registered(format) => Some(RegistryClient::new(&format.registry)),
            _ => None,
        };
        Self {
            format: format.clone(),
            speech: Speech::of(told),
            name,
            registry,
            by_id: BTreeMap::new(),
            by_topic: BTreeMap::new(),
            derived: Derived::default(),
            last: None,
        }
    }

    /// Whether bytes pass untouched.
    pub(super) fn is_idle(&self) -> bool {
        match self.format {
            Format::AsIs => true,
            Format::Json => self.speech != Speech::Typed,
            Format::String | Format::Bytes => self.speech == Speech::Text,
            Format::Envelope { .. } => self.speech == Speech::Typed,
            Format::Registered(_) => false,
        }
    }

    /// Whether schemas to write with are made of those beside the values.
    fn is_derived(&self) -> bool {
        matches!(&self.format, Format::Registered(format) if self.speech == Speech::Typed && format.may_derive())
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
                Ok(fetched) => Ok(Known::new(fetched, self.speech)),
                Err(Failure::Unknown { message, .. }) => Err((Instant::now(), message)),
                Err(failure) => return Err(failure),
            };
            self.by_id.insert(id, found);
        }
        Ok(None)
    }

    /// Finds the schema that records of a topic are to be written with.
    pub(super) async fn learn_topic(&mut self, topic: &str) -> Result<(), Failure> {
        let (Some(registry), Format::Registered(format), false) =
            (&self.registry, &self.format, self.is_derived())
        else {
            return Ok(());
        };
        if self.by_topic.contains_key(topic) {
            return Ok(());
        }
        if self.by_topic.len() >= SCHEMAS_MAX {
            self.by_topic.clear();
        }
        let subject = subject(format, topic, self.name);
        let refused = |message: String| Failure::Refused { url: registry::url_of(&format.registry), message };
        let (id, schema) = match &format.declared {
            Some(declared) => {
                let schema =
                    Schema::parse(format.kind, declared, &[]).map_err(|error| refused(error.to_string()))?;
                let id = registry.id_of(&subject, format.kind, declared, format.register).await?;
                (id, schema)
            }
            None => {
                let latest = registry.latest(&subject).await?;
                (latest.id, latest.fetched.schema)
            }
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

    /// Makes the schemas that records are to be written with of those beside their values, and registers them: each with its number,
    /// rising, and its topic. As for [`Side::learn_ids`], the number of the first record whose schema found no room.
    pub(super) async fn learn_envelopes<'r>(
        &mut self,
        records: impl Iterator<Item = (usize, &'r str, &'r [u8])>,
    ) -> Result<Option<usize>, Failure> {
        let (Some(registry), Format::Registered(format), true) =
            (&self.registry, &self.format, self.is_derived())
        else {
            return Ok(None);
        };
        if self.derived.is_full() {
            self.derived.clear();
        }
        let since = Instant::now();
        for (number, topic, record) in records {
            // What can't be read is told when it is converted.
            let Ok(envelope) = Envelope::parse(record) else { continue };
            let Some(text) = envelope.schema() else { continue };
            if self.derived.get(topic, text).is_some() {
                continue;
            }
            if self.derived.is_full() {
                return Ok(Some(number));
            }
            if since.elapsed() > LEARN_TIME_MAX {
                return Err(registry.outage(format!("schemas take more than {LEARN_TIME_MAX:?} to come")));
            }
            let made = match Made::of(format.kind, text) {
                Ok((made, schema)) => {
                    let subject = subject(format, topic, self.name);
                    let id = registry.id_of(&subject, format.kind, &made.text, format.register).await?;
                    Ok((made.connect, Target { id, schema, message: None }))
                }
                Err(bad) => Err(bad),
            };
            self.derived.insert(topic, text, made);
        }
        Ok(None)
    }

    /// Converts a key or value into `out`; false: it is null.
    pub(super) fn convert(
        &mut self,
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
            Direction::ToTopic if self.speech == Speech::Typed => self.write_envelope(topic, bytes, out),
            Direction::ToTopic => self.write(topic, bytes, out).map(|()| true),
        }
    }

    fn read(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<bool, Bad> {
        let is_typed = self.speech == Speech::Typed;
        match &self.format {
            Format::AsIs => out.extend_from_slice(bytes),
            // Only for connectors that take envelopes, see `is_idle`.
            Format::Json => {
                serde_json::from_slice::<serde::de::IgnoredAny>(bytes)
                    .map_err(|error| Bad::new(format!("not JSON: {error}")))?;
                connect::begin("null", out);
                out.extend_from_slice(bytes);
                out.push(b'}');
            }
            // Not for connectors that take text.
            Format::String => {
                let text = std::str::from_utf8(bytes).map_err(|_| Bad::new("the text is not UTF-8"))?;
                quoted(text, r#"{"type":"string","optional":false}"#, is_typed, out);
            }
            Format::Bytes => {
                quoted(&STANDARD.encode(bytes), r#"{"type":"bytes","optional":false}"#, is_typed, out);
            }
            Format::Envelope { decimals } => {
                let decimals = *decimals;
                let envelope = Envelope::parse(bytes)?;
                let Some(payload) = envelope.payload() else { return Ok(false) };
                match envelope.schema() {
                    None => out.extend_from_slice(payload.as_bytes()),
                    Some(text) => {
                        value::to_plain(connect_schema(&mut self.last, text)?, payload, decimals, out)?;
                    }
                }
                self.unquote(out)?;
            }
            Format::Registered(format) => {
                let (id, rest) = framing::split(bytes)?;
                let known = match self.by_id.get(&id) {
                    Some(Ok(known)) => known,
                    Some(Err((_, message))) => return Err(Bad::new(message.clone())),
                    None => return Err(Bad::new(format!("schema {id} is not known"))),
                };
                let (connect, printed) = match &known.connect {
                    Some(Ok((connect, printed))) => (Some(connect), printed.as_str()),
                    Some(Err(bad)) => return Err(bad.clone()),
                    None => (None, "null"),
                };
                if is_typed {
                    connect::begin(printed, out);
                }
                let begun = out.len();
                match (&known.schema, format.kind) {
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
                if let Some(connect) = connect {
                    let plain = out.split_off(begun);
                    let plain = std::str::from_utf8(&plain).map_err(|_| Bad::new("the text is not UTF-8"))?;
                    value::to_payload(connect, plain, out)?;
                }
                if is_typed {
                    out.push(b'}');
                }
                self.unquote(out)?;
            }
        }
        Ok(true)
    }

    /// Of a connector that gives envelopes; false: it is null.
    fn write_envelope(&mut self, topic: &str, bytes: &[u8], out: &mut Vec<u8>) -> Result<bool, Bad> {
        let envelope = Envelope::parse(bytes)?;
        let Some(payload) = envelope.payload() else { return Ok(false) };
        match &self.format {
            Format::Json => out.extend_from_slice(payload.as_bytes()),
            Format::Registered(format) if self.is_derived() => {
                let text = envelope.schema().ok_or_else(|| Bad::new("it has no schema beside it"))?;
                let (connect, target) = match self.derived.get(topic, text) {
                    Some(Ok(made)) => made,
                    Some(Err(bad)) => return Err(bad.clone()),
                    None => return Err(Bad::new("its schema is not known")),
                };
                if format.kind == Kind::Json {
                    target.write(format, payload.as_bytes(), out)?;
                } else {
                    let mut plain = Vec::with_capacity(payload.len());
                    value::to_plain(connect, payload, Decimals::Text, &mut plain)?;
                    target.write(format, &plain, out)?;
                }
            }
            // What knows nothing of Kafka Connect's schemas is written as by a connector that gives JSON.
            _ => {
                let mut plain = Vec::with_capacity(payload.len());
                match envelope.schema() {
                    None => plain.extend_from_slice(payload.as_bytes()),
                    Some(text) => {
                        let schema = connect_schema(&mut self.last, text)?;
                        value::to_plain(schema, payload, Decimals::Text, &mut plain)?;
                    }
                }
                self.write(topic, &plain, out)?;
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
            Format::Envelope { .. } => return Err(Bad::new("the connector gives no schemas")),
            Format::Registered(format) => {
                let target = self
                    .by_topic
                    .get(topic)
                    .ok_or_else(|| Bad::new(format!("topic {topic} has no schema")))?;
                if self.speech != Speech::Text {
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
        if self.speech == Speech::Text && out.first() == Some(&b'"') {
            *out = serde_json::from_slice::<String>(out)
                .map_err(|error| Bad::new(error.to_string()))?
                .into_bytes();
        }
        Ok(())
    }
}

impl Known {
    fn new(Fetched { schema, text, dependencies }: Fetched, speech: Speech) -> Self {
        let connect = match &schema {
            Schema::Avro(avro) if speech == Speech::Typed => {
                let made = connect::avro::from_avro(avro, &text, &dependencies);
                Some(made.map(|connect| {
                    let printed = connect.print();
                    (connect, printed)
                }))
            }
            _ => None,
        };
        Self { schema, connect }
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

/// Confluent's TopicNameStrategy, unless the pipeline says otherwise.
fn subject(format: &RegisteredFormat, topic: &str, side: &str) -> String {
    format.subject.clone().unwrap_or_else(|| format!("{topic}-{side}"))
}

/// The schema of an envelope; `last` is the one before.
fn connect_schema<'l>(
    last: &'l mut Option<(String, ConnectSchema)>,
    text: &str,
) -> Result<&'l ConnectSchema, Bad> {
    let known = last.take().filter(|(known, _)| known == text);
    let found = match known {
        Some(known) => known,
        None => (text.to_owned(), ConnectSchema::parse(text)?),
    };
    Ok(&last.insert(found).1)
}

/// Text as JSON, or as an envelope.
fn quoted(text: &str, schema: &str, is_typed: bool, out: &mut Vec<u8>) {
    if is_typed {
        connect::begin(schema, out);
    }
    put_text(text, out);
    if is_typed {
        out.push(b'}');
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
