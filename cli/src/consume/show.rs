//! One record as a line.

use std::borrow::Cow;

use millrace_wire::record::RecordRef;
use serde::Serialize;
use serde_json::{Value, json};

use crate::args::Format;

/// A record in JSON, in this order.
#[derive(Serialize)]
struct Line<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp: i64,
    key: Value,
    value: Value,
    headers: Vec<Header<'a>>,
}

#[derive(Serialize)]
struct Header<'a> {
    name: Cow<'a, str>,
    value: Value,
}

/// Appends a line.
pub(super) fn record(out: &mut Vec<u8>, format: Format, topic: &str, partition: i32, record: &RecordRef<'_>) {
    match format {
        Format::Text => out.extend_from_slice(record.value.unwrap_or_default()),
        Format::Keyed => {
            out.extend_from_slice(record.key.unwrap_or_default());
            out.push(b'\t');
            out.extend_from_slice(record.value.unwrap_or_default());
        }
        Format::Json => {
            let headers = record
                .headers
                .map(|(name, value)| Header { name: String::from_utf8_lossy(name), value: bytes(value) });
            let line = Line {
                topic,
                partition,
                offset: record.offset,
                timestamp: record.timestamp,
                key: bytes(record.key),
                value: bytes(record.value),
                headers: headers.collect(),
            };
            // Such a structure always has a JSON form, and a vector takes every byte.
            let _ = serde_json::to_writer(&mut *out, &line);
        }
    }
    out.push(b'\n');
}

/// Text if it is UTF-8, else `{"base64": "..."}`: nothing is lost.
pub(crate) fn bytes(bytes: Option<&[u8]>) -> Value {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => Value::Null,
        Some((_, Ok(text))) => text.into(),
        Some((bytes, Err(_))) => json!({ "base64": base64(bytes) }),
    }
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let index = (word >> (18 - 6 * at) & 63) as usize;
            text.push(if at <= chunk.len() { char::from(ALPHABET[index]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let texts = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|t| base64(t.as_bytes()));
        assert_eq!(texts, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
    }
}
