//! `hoist-field`: the key or value as the one field of an object.

use millrace_sdk::{Description, Error, Output, RecordRef, Rejection, Task, Transform};
use serde::Deserialize;

use crate::part::{Part, quoted};

const SCHEMA: &str = r#"{
  "type": "object", "additionalProperties": false, "required": ["field"],
  "properties": {
    "field": { "type": "string", "minLength": 1, "description": "Name of the field." },
    "from": {
      "enum": ["json", "text"], "default": "json",
      "description": "What the part is before: a JSON document, or text such as a line of a file, which becomes a JSON string."
    },
    "of": { "enum": ["value", "key"], "default": "value", "description": "Which part of the record." }
  }
}"#;

/// The connector.
#[derive(Debug)]
pub struct HoistField {
    /// As the object begins: brace, name, colon.
    start: String,
    settings: Settings,
}

/// The settings as they are written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    field: String,
    #[serde(default)]
    from: From,
    #[serde(default)]
    of: Part,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum From {
    #[default]
    Json,
    Text,
}

impl Transform for HoistField {
    type Settings = Settings;

    fn describe() -> Description {
        let about = "Makes the whole key or value the one field of an object";
        Description::new("hoist-field", env!("CARGO_PKG_VERSION"), about)
            .settings(SCHEMA)
            .key_formats(&["bytes"])
            .value_formats(&["json", "utf8"])
    }

    fn open(_: &Task, settings: Settings) -> Result<Self, Error> {
        Ok(Self { start: format!("{{{}:", quoted(&settings.field)), settings })
    }

    fn apply(&mut self, record: &RecordRef<'_>, out: &mut Output<'_>) -> Result<(), Rejection> {
        self.settings.of.rewrite(record, out, |text, into| {
            into.extend_from_slice(self.start.as_bytes());
            match self.settings.from {
                From::Json => {
                    serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|e| {
                        let way_out = "set `from: text` for lines of text";
                        Rejection::new("json", format!("not a JSON document: {e}; {way_out}"))
                    })?;
                    into.extend_from_slice(text.as_bytes());
                }
                From::Text => into.extend_from_slice(quoted(text).as_bytes()),
            }
            into.push(b'}');
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::check;

    #[test]
    fn a_document_or_a_line_becomes_a_field() {
        let hoisted = |from: &str, value: &str| {
            check::value::<HoistField>(json!({ "field": "li\"ne", "from": from }), value)
        };
        assert_eq!(hoisted("json", "[1.50]"), Ok(r#"{"li\"ne":[1.50]}"#.to_owned()));
        assert_eq!(hoisted("text", "say \"hi\""), Ok(r#"{"li\"ne":"say \"hi\""}"#.to_owned()));
        let error = hoisted("json", "a line").expect_err("no JSON");
        assert!(error.ends_with("set `from: text` for lines of text"), "{error}");
        check::keeps_tombstones::<HoistField>(json!({ "field": "a" }));
    }
}
