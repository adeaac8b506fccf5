//! The records of the topic, in Confluent's shapes, so that a topic which its registry wrote is read here and the other way round.
//!
//! The topic is compacted, so a key must be the same bytes every time: the order of its fields is Confluent's.

use serde::{Deserialize, Serialize};

/// A key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// A version of a subject.
    Schema { subject: String, version: u32 },
    /// A compatibility level; of the whole registry without a subject.
    Config { subject: Option<String> },
    /// A mode, likewise.
    Mode { subject: Option<String> },
    /// A subject's versions up to one were deleted softly.
    DeleteSubject { subject: String },
    /// A subject's versions up to one were deleted for good.
    ClearSubject { subject: String },
    /// Nothing; Confluent writes it to find the end. Here its value keeps the highest ids that were given.
    Noop,
}

/// A version of a subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SchemaValue {
    pub(crate) subject: String,
    pub(crate) version: u32,
    pub(crate) id: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) schema_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) references: Option<Vec<Reference>>,
    pub(crate) schema: String,
    #[serde(default)]
    pub(crate) deleted: bool,
}

/// A schema that another one refers to, as it stands in requests, answers and records.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Reference {
    pub(crate) name: String,
    pub(crate) subject: String,
    pub(crate) version: i64,
}

/// The value of [`Key::Config`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConfigValue {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<String>,
    pub(crate) compatibility_level: String,
}

/// The value of [`Key::Mode`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ModeValue {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<String>,
    pub(crate) mode: String,
}

/// The value of [`Key::DeleteSubject`] and [`Key::ClearSubject`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SubjectValue {
    pub(crate) subject: String,
    #[serde(default)]
    pub(crate) version: u32,
}

/// Our value of [`Key::Noop`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NoopValue {
    #[serde(default)]
    pub(crate) max_ids: std::collections::BTreeMap<String, u32>,
}

/// A record to write; without a value it removes its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) key: Key,
    pub(crate) value: Option<Vec<u8>>,
}

impl Record {
    pub(crate) fn new(key: Key, value: &impl Serialize) -> Self {
        // Values are plain structs of texts and numbers: they can always be written.
        Self { key, value: Some(serde_json::to_vec(value).unwrap_or_default()) }
    }

    pub(crate) fn tombstone(key: Key) -> Self {
        Self { key, value: None }
    }
}

/// All fields of all keys, in Confluent's order.
#[derive(Serialize)]
struct Wire<'a> {
    keytype: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    magic: u32,
}

impl Key {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let (keytype, subject, version, magic) = match self {
            Self::Schema { subject, version } => ("SCHEMA", Some(Some(subject)), Some(*version), 1),
            Self::Config { subject } => ("CONFIG", Some(subject.as_ref()), None, 0),
            Self::Mode { subject } => ("MODE", Some(subject.as_ref()), None, 0),
            Self::DeleteSubject { subject } => ("DELETE_SUBJECT", Some(Some(subject)), None, 0),
            Self::ClearSubject { subject } => ("CLEAR_SUBJECT", Some(Some(subject)), None, 0),
            Self::Noop => ("NOOP", None, None, 0),
        };
        let subject = subject.map(|subject| subject.cloned());
        serde_json::to_vec(&Wire { keytype, subject, version, magic }).unwrap_or_default()
    }

    /// None: a key of another program or version.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let value: serde_json::Value = serde_json::from_slice(bytes).ok()?;
        let subject = || value.get("subject").and_then(|subject| subject.as_str()).map(str::to_owned);
        Some(match value.get("keytype")?.as_str()? {
            "SCHEMA" => {
                let version = u32::try_from(value.get("version")?.as_u64()?).ok()?;
                Self::Schema { subject: subject()?, version }
            }
            "CONFIG" => Self::Config { subject: subject() },
            "MODE" => Self::Mode { subject: subject() },
            "DELETE_SUBJECT" => Self::DeleteSubject { subject: subject()? },
            "CLEAR_SUBJECT" => Self::ClearSubject { subject: subject()? },
            "NOOP" => Self::Noop,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_confluents_byte_for_byte() {
        let s = || "orders-value".to_owned();
        for (key, bytes) in [
            (
                Key::Schema { subject: s(), version: 2 },
                r#"{"keytype":"SCHEMA","subject":"orders-value","version":2,"magic":1}"#,
            ),
            (Key::Config { subject: None }, r#"{"keytype":"CONFIG","subject":null,"magic":0}"#),
            (
                Key::Config { subject: Some(s()) },
                r#"{"keytype":"CONFIG","subject":"orders-value","magic":0}"#,
            ),
            (Key::Mode { subject: Some(s()) }, r#"{"keytype":"MODE","subject":"orders-value","magic":0}"#),
            (
                Key::DeleteSubject { subject: s() },
                r#"{"keytype":"DELETE_SUBJECT","subject":"orders-value","magic":0}"#,
            ),
            (
                Key::ClearSubject { subject: s() },
                r#"{"keytype":"CLEAR_SUBJECT","subject":"orders-value","magic":0}"#,
            ),
            (Key::Noop, r#"{"keytype":"NOOP","magic":0}"#),
        ] {
            assert_eq!(String::from_utf8(key.to_bytes()).unwrap(), bytes);
            assert_eq!(Key::parse(bytes.as_bytes()), Some(key));
        }
        for bytes in [
            "",
            "{}",
            "[]",
            r#"{"keytype":"SCHEMA"}"#,
            r#"{"keytype":"NEW","subject":"a"}"#,
            r#"{"keytype":"SCHEMA","subject":"a","version":-1}"#,
        ] {
            assert_eq!(Key::parse(bytes.as_bytes()), None, "{bytes}");
        }
    }
}
