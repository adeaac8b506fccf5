//! Keys out of JSON documents.

use millrace_connector_fields::{Fields, Found, NotJson, Path, document};
use millrace_sdk::{Error, RecordWriter};

use crate::json::push_string;
use crate::options::Key;

/// Finds the fields that become the key.
#[derive(Debug)]
pub struct Keys {
    fields: Fields,
    found: Vec<Found>,
    key: Option<Key>,
}

impl Keys {
    /// As the settings say.
    pub fn new(key: Option<&Key>) -> Result<Self, Error> {
        let names = key.map(Key::fields).unwrap_or_default();
        let paths: Result<Vec<Path>, _> = names.iter().map(|name| name.parse()).collect();
        let paths = paths.map_err(|error| Error::fatal("settings", format!("/key: {error}")))?;
        Ok(Self { fields: Fields::new(&paths), found: Vec::new(), key: key.cloned() })
    }

    /// Whether there is anything to find.
    pub fn is_none(&self) -> bool {
        self.key.is_none()
    }

    /// Looks through a document, which is checked by this.
    pub fn find(&mut self, text: &[u8]) -> Result<(), NotJson> {
        document(text).and_then(|text| self.fields.find(text, &mut self.found))
    }

    /// Writes what was found in `text` as the record's key.
    pub fn write(&self, text: &[u8], record: &mut RecordWriter<'_>) {
        match &self.key {
            None => {}
            Some(Key::Field(_)) => {
                if let Some(found) = self.found.first() {
                    push_key(record, &text[found.value.clone()]);
                }
            }
            Some(Key::Fields(names)) => {
                record.key_with(|key| push_key_object(key, names, &self.found, text));
            }
        }
    }
}

/// A text without its quotes, anything else as it is written; null: no key.
fn push_key(record: &mut RecordWriter<'_>, value: &[u8]) {
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
