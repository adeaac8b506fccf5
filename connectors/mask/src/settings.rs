//! What a pipeline says of a mask.

use millrace_connector_fields::Path;
use millrace_sdk::Problem;
use serde::Deserialize;
use serde_json::Value;

/// JSON Schema of the settings.
pub(crate) const SCHEMA: &str = include_str!("settings.schema.json");

/// The settings as they are written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    fields: Vec<String>,
    #[serde(default, deserialize_with = "given")]
    with: Option<Value>,
    keep_last: Option<usize>,
    hash: Option<Hash>,
    hash_key: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Hash {
    Sha256,
}

/// What comes in the place of a value.
#[derive(Debug, Clone)]
pub(crate) enum How {
    /// Always the same JSON text.
    With(String),
    /// Its last characters behind asterisks.
    KeepLast(usize),
    /// Its SHA-256 in hexadecimal digits; with a key its HMAC.
    Sha256(Option<String>),
}

/// Tells `with: null` from no `with`.
fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl Settings {
    /// Which fields are masked, and how.
    pub(crate) fn check(&self) -> Result<(Vec<Path>, How), Problem> {
        if self.fields.is_empty() {
            return Err(Problem::error("/fields", "no fields: name at least one to mask"));
        }
        let how = match (&self.with, self.keep_last, self.hash) {
            (None, None, None) => How::With(Value::from("****").to_string()),
            (Some(value), None, None) => How::With(value.to_string()),
            (None, Some(count), None) => How::KeepLast(count),
            (None, None, Some(Hash::Sha256)) => How::Sha256(self.hash_key.clone()),
            _ => {
                return Err(Problem::error(
                    "",
                    "with, keep_last and hash exclude one another: keep one of them",
                ));
            }
        };
        if self.hash_key.is_some() && !matches!(how, How::Sha256(_)) {
            return Err(Problem::error("/hash_key", "a hash_key is of use only with hash: sha256"));
        }
        let path = |(index, path): (usize, &String)| {
            path.parse().map_err(|e: millrace_connector_fields::PathError| {
                Problem::error(format!("/fields/{index}"), e.to_string())
            })
        };
        Ok((self.fields.iter().enumerate().map(path).collect::<Result<_, _>>()?, how))
    }
}
