//! Text with parts of a record: `/orders/${key}`, `{"id": ${value.id}}`.

use std::borrow::Cow;
use std::str::FromStr;

use millrace_connector_fields::{Fields, Found, Path, document};
use millrace_sdk::{RecordRef, Rejection, http};

/// Text and places, in order.
#[derive(Debug)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Text(String),
    Place(Place),
}

/// A part of a record.
#[derive(Debug)]
enum Place {
    Key,
    KeyField(Field),
    Value,
    ValueField(Field),
    Header(String),
    Topic,
    Partition,
    Offset,
    Timestamp,
}

/// A field of a JSON document.
#[derive(Debug)]
struct Field {
    /// As written, for messages.
    path: String,
    fields: Fields,
}

/// How parts are put into the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Percent-encoded.
    Url,
    /// As they are, without what a header can't hold.
    Header,
    /// As JSON: texts with their quotes, what is JSON as it is.
    Json,
    /// As they are.
    Text,
}

/// Why text is no template.
pub type Mistake = String;

const PLACES: &str = "key, key.FIELD, value, value.FIELD, header.NAME, topic, partition, offset, timestamp";

impl FromStr for Template {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            if at > 0 {
                parts.push(Part::Text(rest[..at].to_owned()));
            }
            let (place, after) = rest[at + 2..].split_once('}').ok_or("a ${ without its }")?;
            parts.push(Part::Place(place_of(place)?));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }
}

fn place_of(name: &str) -> Result<Place, Mistake> {
    let field = |path: &str| {
        let parsed: Path = path.parse().map_err(|error| format!("${{{name}}}: {error}"))?;
        Ok::<_, Mistake>(Field { path: path.to_owned(), fields: Fields::new(&[parsed]) })
    };
    Ok(match name {
        "key" => Place::Key,
        "value" => Place::Value,
        "topic" => Place::Topic,
        "partition" => Place::Partition,
        "offset" => Place::Offset,
        "timestamp" => Place::Timestamp,
        _ => match name.split_once('.') {
            Some(("key", path)) => Place::KeyField(field(path)?),
            Some(("value", path)) => Place::ValueField(field(path)?),
            Some(("header", header)) if !header.is_empty() => Place::Header(header.to_owned()),
            _ => return Err(format!("${{{name}}} is no part of a record; known are {PLACES}")),
        },
    })
}

impl Template {
    /// The text that stands before the first part of a record.
    pub fn lead(&self) -> &str {
        match self.parts.first() {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }

    /// Whether it stands for the same text whatever the record.
    pub fn is_constant(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Text(_)))
    }

    /// Whether records of one partition all give the same text.
    pub fn is_of_partition(&self) -> bool {
        self.parts
            .iter()
            .all(|part| matches!(part, Part::Text(_) | Part::Place(Place::Topic | Place::Partition)))
    }

    /// The text with `sample` in place of every part.
    pub fn sample(&self, sample: &str) -> String {
        let text = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Place(_) => sample.to_owned(),
        };
        self.parts.iter().map(text).collect()
    }

    /// The text for a record.
    pub fn render(&self, record: &RecordRef<'_>, form: Form) -> Result<String, Rejection> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Place(place) => put(&mut out, place, record, form)?,
            }
        }
        Ok(out)
    }
}

fn put(out: &mut String, place: &Place, record: &RecordRef<'_>, form: Form) -> Result<(), Rejection> {
    match place {
        Place::Key => bytes(out, "key", record.key, form),
        Place::Value => bytes(out, "value", record.value, form),
        Place::KeyField(wanted) => field(out, "key", record.key, wanted, form),
        Place::ValueField(wanted) => field(out, "value", record.value, wanted, form),
        Place::Header(name) => {
            let found = record.headers.get(name).and_then(|header| header.value);
            bytes(out, &format!("header {name}"), found, form)
        }
        Place::Topic => text(out, "topic", record.topic, form),
        Place::Partition => number(out, record.partition.into()),
        Place::Offset => number(out, record.offset),
        Place::Timestamp => number(out, record.timestamp),
    }
}

fn number(out: &mut String, number: i64) -> Result<(), Rejection> {
    out.push_str(&number.to_string());
    Ok(())
}

/// A key, value or header, which may be anything.
fn bytes(out: &mut String, what: &str, bytes: Option<&[u8]>, form: Form) -> Result<(), Rejection> {
    let Some(bytes) = bytes else { return missing(out, what, form) };
    let found = std::str::from_utf8(bytes)
        .map_err(|_| Rejection::new("http.template", format!("{what} is no text")))?;
    if form == Form::Json && serde_json::from_str::<serde::de::IgnoredAny>(found).is_ok() {
        out.push_str(found);
        return Ok(());
    }
    text(out, what, found, form)
}

fn field(
    out: &mut String,
    what: &str,
    bytes: Option<&[u8]>,
    wanted: &Field,
    form: Form,
) -> Result<(), Rejection> {
    let name = format!("{what}.{}", wanted.path);
    let Some(bytes) = bytes else { return missing(out, &name, form) };
    let not_json = |error: &dyn std::fmt::Display| Rejection::new("json.syntax", format!("{what}: {error}"));
    let whole = document(bytes).map_err(|error| not_json(&error))?;
    let mut found: Vec<Found> = Vec::new();
    wanted.fields.find(whole, &mut found).map_err(|error| not_json(&error))?;
    let Some(found) = found.last().map(|found| &whole[found.value.clone()]) else {
        return missing(out, &name, form);
    };
    match form {
        Form::Json => out.push_str(found),
        _ if found == "null" => return missing(out, &name, form),
        _ if found.starts_with('"') => {
            // The parser has accepted it.
            let plain: Cow<'_, str> = serde_json::from_str::<String>(found).unwrap_or_default().into();
            text(out, &name, &plain, form)?;
        }
        _ => text(out, &name, found, form)?,
    }
    Ok(())
}

/// What is not there is null in JSON, and nothing in other bodies; a URL or a header without it is another one than was meant.
fn missing(out: &mut String, what: &str, form: Form) -> Result<(), Rejection> {
    match form {
        Form::Json => out.push_str("null"),
        Form::Text => {}
        Form::Url | Form::Header => {
            return Err(Rejection::new("http.template", format!("the record has no {what}")));
        }
    }
    Ok(())
}

fn text(out: &mut String, what: &str, text: &str, form: Form) -> Result<(), Rejection> {
    match form {
        Form::Text => out.push_str(text),
        Form::Json => out.push_str(&serde_json::Value::from(text).to_string()),
        Form::Header if text.contains(|c: char| c.is_control()) => {
            let message = format!("{what} holds a control character, which no header can");
            return Err(Rejection::new("http.template", message));
        }
        Form::Header => out.push_str(text),
        Form::Url => encode(out, what, text)?,
    }
    Ok(())
}

/// Percent-encodes all but RFC 3986's unreserved characters. A dot segment would lead elsewhere even so.
fn encode(out: &mut String, what: &str, text: &str) -> Result<(), Rejection> {
    if matches!(text, "" | "." | "..") {
        let message = format!("{what} is {text:?}, with which the URL would be another");
        return Err(Rejection::new("http.template", message));
    }
    out.push_str(&http::encoded(text));
    Ok(())
}

#[cfg(test)]
mod tests {
    use millrace_sdk::Records;
    use millrace_sdk::testing::{Record, batch};

    use super::*;

    fn render(template: &str, record: Record, form: Form) -> String {
        let batch = batch(&[record.at("orders", 3, 42)]);
        let records = Records::new(&batch).expect("a batch");
        let record = records.iter().next().expect("a record");
        let template: Template = template.parse().expect("a template");
        template.render(&record, form).unwrap_or_else(|why| why.to_string())
    }

    fn record() -> Record {
        let mut record =
            Record::keyed("a/ä", r#"{"id": 12345678901234567890, "n": {"s": "x \"y\"", "z": null}}"#);
        record.headers.push(("trace".into(), Some(b"t1".to_vec())));
        record
    }

    #[test]
    fn parts_are_encoded_for_where_they_stand() {
        assert_eq!(render("/o/${key}?t=${topic}", record(), Form::Url), "/o/a%2F%C3%A4?t=orders");
        assert_eq!(render("${value.id}-${header.trace}", record(), Form::Header), "12345678901234567890-t1");
        assert_eq!(
            render(
                r#"{"k": ${key}, "v": ${value.n.s}, "z": ${value.n.z}, "m": ${value.m}, "o": ${offset}}"#,
                record(),
                Form::Json
            ),
            r#"{"k": "a/ä", "v": "x \"y\"", "z": null, "m": null, "o": 42}"#
        );
        assert_eq!(render("p${partition}: ${value.n.s}${value.m}", record(), Form::Text), "p3: x \"y\"");
    }

    #[test]
    fn a_record_without_a_part_is_rejected_where_it_matters() {
        assert_eq!(render("/${value.m}", record(), Form::Url), "the record has no value.m (http.template)");
        assert_eq!(
            render("/${value.n.z}", record(), Form::Url),
            "the record has no value.n.z (http.template)"
        );
        assert_eq!(render("/${key}", Record::value("1"), Form::Url), "the record has no key (http.template)");
        assert!(render("/${key}/x", Record::keyed("..", "1"), Form::Url).contains("would be another"));
        assert!(
            render("${key}", Record::keyed("a\r\nb: c", "1"), Form::Header).contains("control character")
        );
        assert!(render("${value.a}", Record::value("?"), Form::Url).contains("json.syntax"));
    }

    #[test]
    fn mistakes_are_named() {
        let mistake = |text: &str| text.parse::<Template>().map(|_| ()).expect_err("no template");
        assert!(mistake("${kye}").contains("${kye} is no part of a record"));
        assert!(mistake("a${key").contains("without its }"));
        assert!(mistake("${value.a..b}").contains("no name at character 3"));
    }
}
