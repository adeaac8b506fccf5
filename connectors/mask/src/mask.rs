//! What a masked value looks like.

use hmac::{Hmac, KeyInit, Mac};
use millrace_connector_fields::{Edit, Fields, Found, NotJson, Path, splice};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::settings::How;

/// Puts something else in the place of fields. Nulls stay null, fields that aren't there stay away.
#[derive(Debug)]
pub(crate) struct Mask {
    fields: Fields,
    how: How,
    found: Vec<Found>,
    edits: Vec<Edit>,
}

impl Mask {
    /// Ready to mask the fields at `paths`.
    pub(crate) fn new(paths: &[Path], how: How) -> Self {
        Self { fields: Fields::new(paths), how, found: Vec::new(), edits: Vec::new() }
    }

    /// Appends `text`, a JSON document, to `out` with the fields masked.
    pub(crate) fn apply(&mut self, text: &str, out: &mut Vec<u8>) -> Result<(), NotJson> {
        self.fields.find(text, &mut self.found)?;
        self.edits.clear();
        for found in &self.found {
            let value = &text[found.value.clone()];
            if value != "null" {
                self.edits.push(Edit { range: found.value.clone(), text: masked(&self.how, value) });
            }
        }
        splice(text, &mut self.edits, out);
        Ok(())
    }
}

/// What stands in the place of `value`, JSON text both.
fn masked(how: &How, value: &str) -> String {
    match how {
        How::With(replacement) => replacement.clone(),
        How::KeepLast(count) => match scalar(value) {
            Some(plain) => quoted(&keep_last(&plain, *count)),
            // The end of an object or a list would show part of what is in it.
            None => quoted("****"),
        },
        How::Sha256(None) => quoted(&hex(&Sha256::digest(scalar(value).unwrap_or_else(|| value.to_owned())))),
        How::Sha256(Some(key)) => {
            // HMAC takes a key of any length; the error type has no value.
            let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.as_bytes()) else { return quoted("****") };
            mac.update(scalar(value).unwrap_or_else(|| value.to_owned()).as_bytes());
            quoted(&hex(&mac.finalize().into_bytes()))
        }
    }
}

/// A text without quotes and escapes, a number or boolean as written; none for an object or a list.
fn scalar(value: &str) -> Option<String> {
    match value.as_bytes().first() {
        Some(b'{' | b'[') => None,
        Some(b'"') => serde_json::from_str(value).ok(),
        _ => Some(value.to_owned()),
    }
}

fn keep_last(plain: &str, count: usize) -> String {
    let chars = plain.chars().count();
    // A value no longer than what may be shown would be shown whole.
    let hidden = if chars <= count { chars } else { chars - count };
    "*".repeat(hidden).chars().chain(plain.chars().skip(hidden)).collect()
}

fn quoted(plain: &str) -> String {
    Value::from(plain).to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn masked(settings: Value, text: &str) -> String {
        let settings: crate::settings::Settings =
            serde_json::from_value(settings).expect("the settings' form");
        let (paths, how) = settings.check().expect("good settings");
        let mut out = Vec::new();
        Mask::new(&paths, how).apply(text, &mut out).expect("JSON");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn the_rest_of_the_record_stays_byte_for_byte() {
        let text = r#"{ "card" : "4111 1111", "amount":1.50, "to":{"card":7,"id":12345678901234567890} }"#;
        assert_eq!(
            masked(json!({ "fields": ["card", "to.card", "no.such"] }), text),
            r#"{ "card" : "****", "amount":1.50, "to":{"card":"****","id":12345678901234567890} }"#
        );
    }

    #[test]
    fn null_stays_null() {
        assert_eq!(masked(json!({ "fields": ["card"] }), r#"{"card":null}"#), r#"{"card":null}"#);
    }

    #[test]
    fn with_takes_any_value() {
        assert_eq!(masked(json!({ "fields": ["a"], "with": null }), r#"{"a":1}"#), r#"{"a":null}"#);
        assert_eq!(masked(json!({ "fields": ["a"], "with": 0 }), r#"{"a":{"b":2}}"#), r#"{"a":0}"#);
        assert_eq!(
            masked(json!({ "fields": ["a"], "with": "say \"no\"" }), r#"{"a":1}"#),
            r#"{"a":"say \"no\""}"#
        );
    }

    #[test]
    fn the_end_of_a_value_may_stay() {
        let keep = json!({ "fields": ["a"], "keep_last": 4 });
        assert_eq!(masked(keep.clone(), r#"{"a":"4111-1234"}"#), r#"{"a":"*****1234"}"#);
        assert_eq!(masked(keep.clone(), r#"{"a":41111234}"#), r#"{"a":"****1234"}"#);
        assert_eq!(masked(keep.clone(), r#"{"a":"äöüß€"}"#), r#"{"a":"*öüß€"}"#);
        // Not a short value whole, and nothing of an object.
        assert_eq!(masked(keep.clone(), r#"{"a":"1234"}"#), r#"{"a":"****"}"#);
        assert_eq!(masked(keep, r#"{"a":{"b":"123456"}}"#), r#"{"a":"****"}"#);
    }

    #[test]
    fn a_hash_is_the_known_one_and_a_key_changes_it() {
        let plain = masked(json!({ "fields": ["a"], "hash": "sha256" }), r#"{"a":"abc"}"#);
        assert_eq!(plain, r#"{"a":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}"#);
        // RFC 4231, test case 2.
        let keyed = masked(
            json!({ "fields": ["a"], "hash": "sha256", "hash_key": "Jefe" }),
            r#"{"a":"what do ya want for nothing?"}"#,
        );
        assert_eq!(keyed, r#"{"a":"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"}"#);
    }

    #[test]
    fn a_name_that_is_there_twice_is_masked_twice() {
        assert_eq!(masked(json!({ "fields": ["a"] }), r#"{"a":1,"a":2}"#), r#"{"a":"****","a":"****"}"#);
    }

    #[test]
    fn it_describes_itself() {
        millrace_sdk::testing::check_description(
            &<crate::MaskTransform as millrace_sdk::Transform>::describe(),
        )
        .expect("a sound description");
    }
}
