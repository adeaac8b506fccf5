//! The part of a record that a transform works on, as a JSON document.

use millrace_connector_fields::{Member, NotJson, document, members};
use millrace_sdk::{Output, RecordRef, Rejection};
use serde::Deserialize;
use serde_json::Value;

/// Key or value (Kafka Connect: the classes `...$Key` and `...$Value`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Part {
    /// The key.
    Key,
    /// The value.
    #[default]
    Value,
}

impl Part {
    /// Its bytes; none: null.
    pub(crate) fn of<'a>(self, record: &RecordRef<'a>) -> Option<&'a [u8]> {
        match self {
            Self::Key => record.key,
            Self::Value => record.value,
        }
    }

    /// The record with what `write` appends in this part's place. What is null stays as it is.
    pub(crate) fn rewrite(
        self,
        record: &RecordRef<'_>,
        out: &mut Output<'_>,
        write: impl FnOnce(&str, &mut Vec<u8>) -> Result<(), Rejection>,
    ) -> Result<(), Rejection> {
        let Some(bytes) = self.of(record) else {
            out.keep(record);
            return Ok(());
        };
        let text = document(bytes).map_err(not_json)?;
        match self {
            Self::Value => out.write_value(record, |into| write(text, into)),
            Self::Key => {
                let mut key = Vec::with_capacity(text.len());
                write(text, &mut key)?;
                out.push(&RecordRef { key: Some(&key), ..*record });
                Ok(())
            }
        }
    }
}

/// The members of the object `text`, into `found`.
pub(crate) fn object(text: &str, found: &mut Vec<Member>) -> Result<(), Rejection> {
    match members(text, found).map_err(not_json)? {
        true => Ok(()),
        false => Err(Rejection::new("json.object", "the document is not an object, which alone has fields")),
    }
}

/// A document that is none.
pub(crate) fn not_json(error: NotJson) -> Rejection {
    Rejection::new("json", error.to_string())
}

/// `text` in JSON.
pub(crate) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// A value's plain text: a string without quotes and escapes, anything else as it is written.
pub(crate) fn plain(value: &str) -> std::borrow::Cow<'_, str> {
    match value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) if !inner.contains('\\') => inner.into(),
        // The parser has accepted this string already.
        Some(_) => serde_json::from_str::<String>(value).unwrap_or_default().into(),
        None => value.into(),
    }
}
