//! When two texts are one schema.
//!
//! Layout doesn't count: white space and the order of keys in JSON, comments and white space in `.proto` text. Everything else
//! does, documentation too, as in Confluent's registry.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::{Kind, protobuf};

/// A text that is the same for all texts of one schema. A text that can't be parsed stands for itself.
#[must_use]
pub fn identity(kind: Kind, text: &str) -> String {
    let normal = match kind {
        // Maps of serde_json are sorted.
        Kind::Avro | Kind::Json => {
            serde_json::from_str::<serde_json::Value>(text).ok().map(|value| value.to_string())
        }
        Kind::Protobuf => protobuf::descriptor(text).ok().map(|file| STANDARD.encode(file)),
    };
    normal.unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_does_not_count() {
        let same = |kind, a: &str, b: &str| identity(kind, a) == identity(kind, b);
        assert!(same(
            Kind::Avro,
            r#"{"type":"array","items":"int"}"#,
            "{ \"items\": \"int\", \"type\": \"array\" }"
        ));
        assert!(!same(Kind::Avro, r#"{"type":"string"}"#, r#"{"type":"string","doc":"x"}"#));
        assert!(same(
            Kind::Protobuf,
            "syntax = \"proto3\"; message A { int32 a = 1; }",
            "// c\nsyntax=\"proto3\";\nmessage A {\n int32 a=1;}"
        ));
        assert!(!same(
            Kind::Protobuf,
            "message A { optional int32 a = 1; }",
            "message A { optional int32 b = 1; }"
        ));
    }
}
