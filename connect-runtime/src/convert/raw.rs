//! JSON in its parts, each still as it is written (`RawValue`), so that a decimal of forty digits gets to where it is read.

use std::borrow::Cow;

use serde::Deserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Bad;

/// The text that a JSON string is.
pub(super) fn text(json: &str) -> Result<Cow<'_, str>, Bad> {
    let inner = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let inner = inner.ok_or_else(|| expected("text", json))?;
    if !inner.contains('\\') {
        return Ok(Cow::Borrowed(inner));
    }
    serde_json::from_str::<String>(json).map(Cow::Owned).map_err(|error| Bad::new(error.to_string()))
}

/// What was there instead, by its kind: values don't belong into messages.
pub(super) fn expected(what: &str, json: &str) -> Bad {
    let found = match json.as_bytes().first() {
        Some(b'"') => "text",
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        _ => "number",
    };
    Bad::new(format!("{what} was expected, not this {found}"))
}

/// The items of an array, of which messages say `what` it should have been.
pub(super) fn parts<'j>(json: &'j str, what: &str, first: u8) -> Result<Vec<&'j RawValue>, Bad> {
    if json.as_bytes().first() != Some(&first) {
        return Err(expected(what, json));
    }
    struct Parts;
    impl<'de> Visitor<'de> for Parts {
        type Value = Vec<&'de RawValue>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut parts = Vec::new();
            while let Some(part) = items.next_element()? {
                parts.push(part);
            }
            Ok(parts)
        }
    }
    serde_json::Deserializer::from_str(json)
        .deserialize_seq(Parts)
        .map_err(|error| Bad::new(error.to_string()))
}

/// The members of an object, in order.
pub(super) struct Members<'j>(pub(super) Vec<(String, &'j RawValue)>);

/// Takes an object apart.
pub(super) fn members(json: &str) -> Result<Members<'_>, Bad> {
    if !json.starts_with('{') {
        return Err(expected("an object", json));
    }
    struct Visit;
    impl<'de> Visitor<'de> for Visit {
        type Value = Members<'de>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(Members(members))
        }
    }
    serde_json::Deserializer::from_str(json)
        .deserialize_map(Visit)
        .map_err(|error| Bad::new(error.to_string()))
}
