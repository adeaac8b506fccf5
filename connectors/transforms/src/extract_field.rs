//! `extract-field`: one field in the place of the key or value.

use millrace_connector_fields::{Fields, Found, Path, PathError, Step, document};
use millrace_sdk::{Description, Error, Output, Problem, RecordRef, Rejection, Task, Transform};
use serde::Deserialize;

use crate::part::{Part, not_json, plain};

const SCHEMA: &str = r#"{
  "type": "object", "additionalProperties": false, "required": ["field"],
  "properties": {
    "field": {
      "type": "string", "minLength": 1,
      "description": "Path of the field, like id or customer.name. One that isn't there counts as null."
    },
    "of": {
      "enum": ["value", "key"], "default": "value",
      "description": "Which part of the record. A value becomes the field's JSON, where null stays a value and no tombstone. A key becomes the field's text, without quotes, and null is no key: as file-source makes keys."
    }
  }
}"#;

/// The connector.
#[derive(Debug)]
pub struct ExtractField {
    part: Part,
    fields: Fields,
    found: Vec<Found>,
}

/// The settings as they are written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    field: String,
    #[serde(default)]
    of: Part,
}

impl ExtractField {
    fn new(settings: &Settings) -> Result<Self, Problem> {
        let path: Path =
            settings.field.parse().map_err(|e: PathError| Problem::error("/field", e.to_string()))?;
        if path.steps().contains(&Step::Each) {
            let message = format!("{path} names several fields, and one takes the place of the record");
            return Err(Problem::error("/field", message));
        }
        Ok(Self { part: settings.of, fields: Fields::new(&[path]), found: Vec::new() })
    }

    /// The field's JSON; of a name that repeats the last, as most readers take it.
    fn field<'t>(&mut self, text: &'t str) -> Result<&'t str, Rejection> {
        self.fields.find(text, &mut self.found).map_err(not_json)?;
        Ok(self.found.last().map_or("null", |found| &text[found.value.clone()]))
    }
}

impl Transform for ExtractField {
    type Settings = Settings;

    fn describe() -> Description {
        let about = "Puts one field in the place of the whole key or value";
        Description::new("extract-field", env!("CARGO_PKG_VERSION"), about)
            .settings(SCHEMA)
            .key_formats(&["bytes"])
    }

    fn validate(settings: &Settings) -> Result<Vec<Problem>, Error> {
        Ok(Self::new(settings).err().into_iter().collect())
    }

    fn open(_: &Task, settings: Settings) -> Result<Self, Error> {
        Self::new(&settings).map_err(|problem| Error::fatal("settings", problem.message))
    }

    fn apply(&mut self, record: &RecordRef<'_>, out: &mut Output<'_>) -> Result<(), Rejection> {
        let Some(bytes) = self.part.of(record) else {
            out.keep(record);
            return Ok(());
        };
        let field = self.field(document(bytes).map_err(not_json)?)?;
        match self.part {
            Part::Value => out.with_value(record, Some(field.as_bytes())),
            Part::Key if field == "null" => out.push(&RecordRef { key: None, ..*record }),
            Part::Key => out.push(&RecordRef { key: Some(plain(field).as_bytes()), ..*record }),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use millrace_sdk::testing::Record;
    use serde_json::json;

    use super::*;
    use crate::check;

    #[test]
    fn a_value_becomes_the_fields_json() {
        let extracted = |field: &str| {
            check::value::<ExtractField>(json!({ "field": field }), r#"{"a":{"b": [1.50, "x"]},"c":null}"#)
        };
        assert_eq!(extracted("a.b"), Ok(r#"[1.50, "x"]"#.to_owned()));
        assert_eq!(extracted("a.b[1]"), Ok(r#""x""#.to_owned()));
        assert_eq!((extracted("c"), extracted("no.such")), (Ok("null".to_owned()), Ok("null".to_owned())));
        check::keeps_tombstones::<ExtractField>(json!({ "field": "a" }));
    }

    #[test]
    fn a_key_becomes_the_fields_text() {
        let key = |key: &str| {
            let settings = json!({ "field": "id", "of": "key" });
            let record = Record { value: None, ..Record::keyed(key, "") };
            let out = check::apply::<ExtractField>(settings, &[record]).expect("kept").remove(0);
            assert_eq!(out.value, None);
            out.key.map(|key| String::from_utf8(key).expect("text"))
        };
        assert_eq!(key(r#"{"id":"a \"b\""}"#).as_deref(), Some("a \"b\""));
        assert_eq!(key(r#"{"id":17}"#).as_deref(), Some("17"));
        assert_eq!((key(r#"{"id":null}"#), key("{}")), (None, None));
    }

    #[test]
    fn several_fields_are_refused() {
        assert_eq!(check::problems::<ExtractField>(json!({ "field": "a[*]" }))[0].path, "/field");
        assert_eq!(check::problems::<ExtractField>(json!({ "field": "a..b" }))[0].path, "/field");
    }
}
