//! Values in PostgreSQL's text format, written as JSON without loss.
//!
//! The text is what a session with `DateStyle` ISO, `IntervalStyle` iso_8601, `TimeZone` UTC and hexadecimal bytea gives. A text that
//! is not as its type should be is written as the string that it is: never a guess, never a document that is no JSON.

mod array;
#[cfg(test)]
mod tests;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::types::{Scalar, Type};

/// What stands for a value that the server didn't send because it has not changed. Debezium's word.
pub(crate) const UNAVAILABLE: &str = "__debezium_unavailable_value";

/// How values are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Style {
    /// Dates and times without a zone get the Z that Debezium's IsoDate, IsoTime and IsoTimestamp have.
    pub(crate) is_iso_zoned: bool,
}

/// Appends the JSON of a text of this type.
pub(crate) fn write(out: &mut Vec<u8>, kind: &Type, text: &str, style: Style) {
    match kind {
        Type::Scalar(scalar) => write_scalar(out, *scalar, text, style),
        Type::Array { element, delimiter } => {
            let start = out.len();
            if array::write(out, *element, *delimiter, text, style).is_none() {
                out.truncate(start);
                string(out, text);
            }
        }
    }
}

/// Appends a JSON string.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn write_scalar(out: &mut Vec<u8>, kind: Scalar, text: &str, style: Style) {
    match kind {
        Scalar::Bool => match text {
            "t" => out.extend_from_slice(b"true"),
            "f" => out.extend_from_slice(b"false"),
            _ => string(out, text),
        },
        Scalar::Int16 | Scalar::Int32 | Scalar::Int64 if is_integer(text) => {
            out.extend_from_slice(text.as_bytes());
        }
        // NaN and the infinities are none of JSON's numbers.
        Scalar::Float32 | Scalar::Float64 if is_number(text) => out.extend_from_slice(text.as_bytes()),
        Scalar::Bytes => match bytes(text) {
            Some(bytes) => string(out, &STANDARD.encode(bytes)),
            None => string(out, text),
        },
        Scalar::Date | Scalar::Time if style.is_iso_zoned && !text.ends_with("infinity") => {
            string(out, &zoned(text));
        }
        Scalar::Timestamp if !text.ends_with("infinity") => {
            let text = text.replacen(' ', "T", 1);
            string(out, &if style.is_iso_zoned { zoned(&text) } else { text });
        }
        Scalar::TimestampTz if !text.ends_with("infinity") => string(out, &utc(&text.replacen(' ', "T", 1))),
        Scalar::TimeTz => string(out, &utc(text)),
        _ => string(out, text),
    }
}

/// With a Z, in front of an era.
fn zoned(text: &str) -> String {
    match text.strip_suffix(" BC") {
        Some(text) => format!("{text}Z BC"),
        None => format!("{text}Z"),
    }
}

/// `+00` as Z; any other zone stays.
fn utc(text: &str) -> String {
    let (text, era) = match text.strip_suffix(" BC") {
        Some(text) => (text, " BC"),
        None => (text, ""),
    };
    match text.strip_suffix("+00") {
        Some(text) => format!("{text}Z{era}"),
        None => format!("{text}{era}"),
    }
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_plain = digits == "0" || !digits.starts_with('0');
    !digits.is_empty() && is_plain && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// A number of JSON (RFC 8259).
fn is_number(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_integer(whole)
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}

/// Bytes in PostgreSQL's hexadecimal format.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x")?.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}
