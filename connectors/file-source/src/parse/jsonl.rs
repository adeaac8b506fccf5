//! JSON lines: each line is one document and becomes the value as it stands. Blank lines are passed over.

use millrace_connector_fields::{Fields, Found, Path, document};
use millrace_sdk::{Error, Poll};

use super::{Place, Step, line};
use crate::json::push_string;
use crate::settings::{Key, Settings};

/// A parser of JSON lines.
#[derive(Debug)]
pub struct Jsonl {
    fields: Fields,
    found: Vec<Found>,
    key: Option<Key>,
}

impl Jsonl {
    /// Looks for the fields of the key.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let names = settings.key.as_ref().map(Key::fields).unwrap_or_default();
        let paths: Result<Vec<Path>, _> = names.iter().map(|name| name.parse()).collect();
        let paths = paths.map_err(|error| Error::fatal("settings", format!("/key: {error}")))?;
        Ok(Self { fields: Fields::new(&paths), found: Vec::new(), key: settings.key.clone() })
    }

    /// Takes one line.
    pub fn step(&mut self, data: &[u8], last: bool, place: Place<'_>, out: &mut Poll) -> Step {
        let Some((line, bytes)) = line(data, last) else { return Step::More };
        let step = Step::Taken { bytes, lines: 1 };
        let line = line.trim_ascii();
        // A byte order mark may stand before the first line.
        let line = if place.line == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        if line.is_empty() {
            return step;
        }
        let checked = document(line).and_then(|text| self.fields.find(text, &mut self.found));
        if let Err(error) = checked {
            out.reject(line, place.reject(1, "json.syntax", &error.to_string()));
            return step;
        }
        let mut record = out.batch.record();
        match &self.key {
            None => {}
            Some(Key::Field(_)) => {
                if let Some(found) = self.found.first() {
                    push_key(&mut record, &line[found.value.clone()]);
                }
            }
            Some(Key::Fields(names)) => {
                let found = &self.found;
                record.key_with(|key| push_key_object(key, names, found, line));
            }
        }
        record.value().extend_from_slice(line);
        record.end();
        step
    }
}

/// A text without its quotes, anything else as it is written; null: no key.
fn push_key(record: &mut millrace_sdk::RecordWriter<'_>, value: &[u8]) {
    if value == b"null" {
        return;
    }
    match serde_json::from_slice::<std::borrow::Cow<'_, str>>(value) {
        Ok(text) => record.key(text.as_bytes()),
        Err(_) => record.key(value),
    }
}

/// `{"a":…,"b":…}` in the order of the settings; a field that is not there is null.
fn push_key_object(key: &mut Vec<u8>, names: &[String], found: &[Found], line: &[u8]) {
    for (index, name) in names.iter().enumerate() {
        key.push(if index == 0 { b'{' } else { b',' });
        push_string(key, name.as_bytes());
        key.push(b':');
        match found.iter().find(|found| found.path == index) {
            Some(found) => key.extend_from_slice(&line[found.value.clone()]),
            None => key.extend_from_slice(b"null"),
        }
    }
    key.push(b'}');
}
