//! JSON text to jq's values and back, both strictly: jq's own reader and writer take and give more than JSON.

use jaq_json::{Num, Val, read};
use serde::de::IgnoredAny;

/// Deepest nesting of what is read and written: both are recursive.
const DEPTH_MAX: usize = 128;
/// Longest part of a text that goes into a message.
const SHOWN_CHARS_MAX: usize = 120;

/// Why a value can't be read or written.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Error {
    /// Not a document at all.
    #[error("not a JSON document: {0}")]
    NotJson(String),
    /// jq has it, JSON hasn't.
    #[error("the result holds {0}, which JSON has no form for")]
    NoForm(&'static str),
    /// Deeper than [`DEPTH_MAX`].
    #[error("nested deeper than {DEPTH_MAX} levels")]
    Deep,
}

/// The value of a document.
pub(crate) fn parse(text: &[u8]) -> Result<Val, Error> {
    serde_json::from_slice::<IgnoredAny>(text).map_err(|error| Error::NotJson(error.to_string()))?;
    if is_deep(text) {
        return Err(Error::Deep);
    }
    read::parse_single(text).map_err(|error| Error::NotJson(error.to_string()))
}

/// Whether a document is nested deeper than [`DEPTH_MAX`].
fn is_deep(document: &[u8]) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for byte in document {
        match byte {
            _ if std::mem::take(&mut escaped) => {}
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => depth += 1,
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return true;
        }
    }
    false
}

/// Appends the document of a value.
pub(crate) fn write(value: &Val, out: &mut Vec<u8>) -> Result<(), Error> {
    write_at(value, DEPTH_MAX, out)
}

fn write_at(value: &Val, depth: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    let depth = depth.checked_sub(1).ok_or(Error::Deep)?;
    match value {
        Val::Null => out.extend_from_slice(b"null"),
        Val::Bool(truth) => out.extend_from_slice(if *truth { b"true" } else { b"false" }),
        Val::Num(number) => out.extend_from_slice(number_text(number)?.as_bytes()),
        Val::TStr(text) => write_text(text, out),
        Val::BStr(_) => return Err(Error::NoForm("bytes")),
        Val::Arr(items) => {
            out.push(b'[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                write_at(item, depth, out)?;
            }
            out.push(b']');
        }
        Val::Obj(members) => {
            out.push(b'{');
            for (place, (name, member)) in members.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                let Val::TStr(name) = name else { return Err(Error::NoForm("a name that is no text")) };
                write_text(name, out);
                out.push(b':');
                write_at(member, depth, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn write_text(text: &[u8], out: &mut Vec<u8>) {
    // Such a text always has a JSON form, and a vector takes every byte.
    let _ = serde_json::to_writer(out, &String::from_utf8_lossy(text));
}

fn number_text(number: &Num) -> Result<String, Error> {
    Ok(match number {
        Num::Int(whole) => whole.to_string(),
        Num::BigInt(whole) => whole.to_string(),
        // As it was written, with all its digits.
        Num::Dec(text) if serde_json::from_str::<IgnoredAny>(text).is_ok() => text.to_string(),
        Num::Dec(text) => double_text(text.parse().unwrap_or(f64::NAN))?,
        Num::Float(number) => double_text(*number)?,
    })
}

fn double_text(number: f64) -> Result<String, Error> {
    serde_json::Number::from_f64(number)
        .map(|number| number.to_string())
        .ok_or(Error::NoForm("nan or infinite"))
}

/// A value for a message, cut short.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn rewritten(text: &str) -> Result<String, Error> {
        let mut out = Vec::new();
        write(&parse(text.as_bytes())?, &mut out)?;
        Ok(String::from_utf8(out).expect("text"))
    }

    #[test]
    fn numbers_keep_their_digits_and_objects_their_order() {
        for text in [
            r#"{"b":1,"a":[12345678901234567890,1.50,0.1e-7,0],"ä":"\u0000\"\\"}"#,
            "9007199254740993",
            "123456789012345678901234567890.123456789",
            "1e1000",
            "[[],{},null,true,\"\"]",
        ] {
            assert_eq!(rewritten(text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn more_than_json_is_neither_read_nor_written() {
        for text in ["NaN", "b\"x\"", "{1:2}", "# no\n1", "1 2", "", "\u{ff}"] {
            assert!(matches!(rewritten(text), Err(Error::NotJson(_))), "{text}");
        }
        let deep = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert!(rewritten(&deep(DEPTH_MAX)).is_ok());
        assert_eq!(rewritten(&deep(DEPTH_MAX + 1)), Err(Error::Deep));
        assert_eq!(rewritten(&deep(1_000_000)), Err(Error::Deep));
        let text = format!("[\"{}\\\"[\", {{}}]", "[".repeat(200)).replace("[\", {}", "[\",{}");
        assert_eq!(rewritten(&text), Ok(text.clone()));
        assert_eq!(write(&Val::from(f64::NAN), &mut Vec::new()), Err(Error::NoForm("nan or infinite")));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1e9..1e9f64).prop_map(Value::from),
            ".{0,5}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(".{0,3}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_document_is_written_as_it_was_read(document in any_json()) {
            let text = document.to_string();
            prop_assert_eq!(rewritten(&text), Ok(text));
        }
    }
}
