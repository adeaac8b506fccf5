//! `cast`: fields, or the whole key or value, as another type. What the type can't hold is rejected, never cut.

use std::collections::BTreeMap;

use millrace_connector_fields::{Edit, Fields, Found, Path, PathError, splice};
use millrace_sdk::{Description, Error, Output, Problem, RecordRef, Rejection, Task, Transform};
use serde::Deserialize;

use crate::part::{Part, not_json, plain, quoted};

const SCHEMA: &str = r##"{
  "type": "object", "additionalProperties": false, "required": ["spec"],
  "properties": {
    "spec": {
      "description": "From the path of a field to its type, like { id: int64, paid: boolean }; or one type for the whole. Types: int8, int16, int32, int64, float32, float64, boolean, string. A null stays null, a field that isn't there is passed over, a value that doesn't fit rejects the record.",
      "anyOf": [
        { "$ref": "#/$defs/type" },
        { "type": "object", "minProperties": 1, "additionalProperties": { "$ref": "#/$defs/type" } }
      ]
    },
    "of": { "enum": ["value", "key"], "default": "value", "description": "Which part of the record." }
  },
  "$defs": {
    "type": { "enum": ["int8", "int16", "int32", "int64", "float32", "float64", "boolean", "string"] }
  }
}"##;

/// The connector.
#[derive(Debug)]
pub struct Cast {
    part: Part,
    /// The types, by the places of their paths in `fields`; without paths one for the whole.
    types: Vec<Type>,
    fields: Option<Fields>,
    found: Vec<Found>,
    edits: Vec<Edit>,
}

/// The settings as they are written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    spec: Spec,
    #[serde(default)]
    of: Part,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Spec {
    Whole(Type),
    Fields(BTreeMap<String, Type>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Type {
    Int8,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    Boolean,
    String,
}

impl Cast {
    fn new(settings: &Settings) -> Result<Self, Problem> {
        let (types, fields) = match &settings.spec {
            Spec::Whole(wanted) => (vec![*wanted], None),
            Spec::Fields(spec) => {
                let path = |name: &String| {
                    let pointer = format!("/spec/{}", name.replace('~', "~0").replace('/', "~1"));
                    name.parse::<Path>().map_err(|e: PathError| Problem::error(pointer, e.to_string()))
                };
                let paths = spec.keys().map(path).collect::<Result<Vec<_>, _>>()?;
                (spec.values().copied().collect(), Some(Fields::new(&paths)))
            }
        };
        Ok(Self { part: settings.of, types, fields, found: Vec::new(), edits: Vec::new() })
    }
}

impl Transform for Cast {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new("cast", env!("CARGO_PKG_VERSION"), "Gives fields of JSON records other types")
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
        let Self { part, types, fields, found, edits } = self;
        part.rewrite(record, out, |text, into| {
            edits.clear();
            match fields {
                Some(fields) => {
                    fields.find(text, found).map_err(not_json)?;
                    for found in found.iter() {
                        let value = &text[found.value.clone()];
                        let cast = types[found.path].cast(value)?;
                        edits.extend(cast.map(|text| Edit { range: found.value.clone(), text }));
                    }
                }
                None => {
                    serde_json::from_str::<serde::de::IgnoredAny>(text)
                        .map_err(|e| Rejection::new("json", format!("not a JSON document: {e}")))?;
                    let cast = types[0].cast(text.trim())?;
                    edits.extend(cast.map(|cast| Edit { range: 0..text.len(), text: cast }));
                }
            }
            splice(text, edits, into);
            Ok(())
        })
    }
}

impl Type {
    /// `value`, a JSON value, as this type; none: it is already.
    fn cast(self, value: &str) -> Result<Option<String>, Rejection> {
        if value == "null" {
            return Ok(None);
        }
        if value.starts_with(['{', '[']) {
            return Err(self.refuse("an object or a list"));
        }
        let text = plain(value);
        let is_text = value.starts_with('"');
        let cast = match self {
            Self::String => (!is_text).then(|| quoted(&text)),
            Self::Boolean => {
                (value != "true" && value != "false").then(|| self.boolean(&text, is_text)).transpose()?
            }
            Self::Float32 | Self::Float64 if is_text && matches!(&*text, "true" | "false") => {
                return Err(self.refuse(value));
            }
            Self::Float32 => Some(self.float(&text).map(|number| (number as f32).to_string())?),
            // Digits that a double has no room for stay where they are.
            Self::Float64 if !is_text && !matches!(value, "true" | "false") => None,
            Self::Float64 => Some(self.float(&text).map(|number| number.to_string())?),
            Self::Int8 | Self::Int16 | Self::Int32 | Self::Int64 => Some(self.whole(&text, is_text)?),
        };
        Ok(cast.filter(|cast| cast != value))
    }

    fn boolean(self, text: &str, is_text: bool) -> Result<String, Rejection> {
        let truth = match is_text {
            true if text.eq_ignore_ascii_case("true") => true,
            true if text.eq_ignore_ascii_case("false") => false,
            true => return Err(self.refuse(&quoted(text))),
            false => self.float(text)? != 0.0,
        };
        Ok(truth.to_string())
    }

    /// Towards zero, as Java does it.
    fn whole(self, text: &str, is_text: bool) -> Result<String, Rejection> {
        let number = match (text, text.parse::<i128>()) {
            ("true", _) if !is_text => 1,
            ("false", _) if !is_text => 0,
            (_, Ok(number)) => number,
            (_, Err(_)) if is_text => return Err(self.refuse(&quoted(text))),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "beyond the range of every type it only saturates"
            )]
            (_, Err(_)) => self.float(text)?.trunc() as i128,
        };
        let (least, most) = match self {
            Self::Int8 => (i8::MIN.into(), i8::MAX.into()),
            Self::Int16 => (i16::MIN.into(), i16::MAX.into()),
            Self::Int32 => (i32::MIN.into(), i32::MAX.into()),
            _ => (i64::MIN.into(), i64::MAX.into()),
        };
        if (least..=most).contains(&number) { Ok(number.to_string()) } else { Err(self.refuse(text)) }
    }

    fn float(self, text: &str) -> Result<f64, Rejection> {
        let limit = if self == Self::Float32 { f64::from(f32::MAX) } else { f64::MAX };
        match text {
            "true" => Ok(1.0),
            "false" => Ok(0.0),
            // Not what Rust reads beyond JSON's numbers: inf, nan, .5, +1.
            _ => serde_json::from_str::<f64>(text.trim())
                .ok()
                .filter(|number| number.abs() <= limit)
                .ok_or_else(|| self.refuse(&quoted(text))),
        }
    }

    fn refuse(self, value: &str) -> Rejection {
        let name = format!("{self:?}").to_lowercase();
        Rejection::new("cast", format!("{value} can't be {name}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::check;

    fn cast(to: &str, value: &str) -> Result<String, String> {
        check::value::<Cast>(json!({ "spec": to }), value)
    }

    #[test]
    fn values_are_cast_as_java_casts_them() {
        for (to, from, wanted) in [
            ("int32", "\"42\"", "42"),
            ("int32", "-7.9", "-7"),
            ("int64", "9007199254740993", "9007199254740993"),
            ("int8", "true", "1"),
            ("float64", "\"1e3\"", "1000"),
            ("float64", "12345678901234567890.123456789", "12345678901234567890.123456789"),
            ("float32", "0.1", "0.1"),
            ("float32", "16777217", "16777216"),
            ("boolean", "0", "false"),
            ("boolean", "-0.5", "true"),
            ("boolean", "\"TRUE\"", "true"),
            ("string", "1.50", "\"1.50\""),
            ("string", "false", "\"false\""),
            ("string", "\"as \\\"is\\\"\"", "\"as \\\"is\\\"\""),
            ("int32", "null", "null"),
        ] {
            assert_eq!(cast(to, from), Ok(wanted.to_owned()), "{from} to {to}");
        }
    }

    #[test]
    fn what_a_type_cant_hold_is_rejected() {
        for (to, from) in [
            ("int8", "128"),
            ("int64", "9223372036854775808"),
            ("int32", "1e300"),
            ("int32", "\"1.5\""),
            ("int32", "\"\""),
            ("float32", "1e39"),
            ("float64", "\"NaN\""),
            ("float64", "\"true\""),
            ("int8", "\"true\""),
            ("boolean", "\"yes\""),
            ("string", "{}"),
            ("int32", "[1]"),
        ] {
            let error = cast(to, from).expect_err(from);
            assert!(error.starts_with("cast: ") && error.ends_with(&format!("can't be {to}")), "{error}");
        }
        assert!(cast("int32", "{").expect_err("cut off").starts_with("json: "));
    }

    #[test]
    fn fields_are_cast_where_they_stand() {
        let spec = json!({ "spec": { "id": "string", "items[*].n": "int32", "no.such": "int8" } });
        assert_eq!(
            check::value::<Cast>(spec, r#"{ "id" : 7, "x":1.0, "items":[{"n":"1"},{"n":2}] }"#),
            Ok(r#"{ "id" : "7", "x":1.0, "items":[{"n":1},{"n":2}] }"#.to_owned())
        );
        check::keeps_tombstones::<Cast>(json!({ "spec": "string" }));
    }

    #[test]
    fn a_bad_path_is_named() {
        let problems = check::problems::<Cast>(json!({ "spec": { "a/b[": "int8" } }));
        assert_eq!(problems[0].path, "/spec/a~1b[");
        let key: Value = json!({ "spec": "string", "of": "key" });
        let record = millrace_sdk::testing::Record::keyed("7", "\0");
        let out = check::apply::<Cast>(key, &[record]).expect("the value is not looked at");
        assert_eq!(out[0].key.as_deref(), Some(&b"\"7\""[..]));
    }
}
