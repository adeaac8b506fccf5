//! `timestamp-converter`: a time in a field, or as the whole key or value, from a text to a number or the other way.

use jiff::Timestamp;
use millrace_connector_fields::{Edit, Fields, Found, Path, PathError, splice};
use millrace_sdk::{Description, Error, Output, Problem, RecordRef, Rejection, Task, Transform};
use serde::Deserialize;

use crate::part::{Part, not_json, plain, quoted};
use crate::time::Pattern;

const SCHEMA: &str = r#"{
  "type": "object", "additionalProperties": false, "required": ["target_type"],
  "properties": {
    "field": {
      "type": "string", "minLength": 1,
      "description": "Path of the field, like created or items[*].sold; without it the whole. One that isn't there is passed over, a null stays null."
    },
    "target_type": {
      "enum": ["string", "unix"],
      "description": "What the time becomes: text, or the time since 1970 as a number. Text is read as such, a number as unix time."
    },
    "format": {
      "type": "string", "minLength": 1,
      "description": "Pattern of the text, read or written, as of Java's SimpleDateFormat (yyyy-MM-dd HH:mm:ss.SSS; y M d D E a H h m s SSS X), in UTC. Without it RFC 3339, like 2026-11-21T08:00:00Z."
    },
    "unix_precision": {
      "enum": ["seconds", "milliseconds", "microseconds", "nanoseconds"], "default": "milliseconds",
      "description": "Unit of the number, read or written."
    },
    "of": { "enum": ["value", "key"], "default": "value", "description": "Which part of the record." }
  }
}"#;

/// The connector.
#[derive(Debug)]
pub struct TimestampConverter {
    part: Part,
    /// None: the whole.
    fields: Option<Fields>,
    conversion: Conversion,
    found: Vec<Found>,
    edits: Vec<Edit>,
}

/// The settings as they are written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    field: Option<String>,
    target_type: Target,
    format: Option<String>,
    #[serde(default)]
    unix_precision: Precision,
    #[serde(default)]
    of: Part,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Target {
    String,
    Unix,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Precision {
    Seconds,
    #[default]
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

#[derive(Debug)]
struct Conversion {
    target: Target,
    /// None: RFC 3339.
    pattern: Option<Pattern>,
    unit_ns: i128,
}

impl TimestampConverter {
    fn new(settings: &Settings) -> Result<Self, Problem> {
        let path = |field: &String| {
            field.parse::<Path>().map_err(|e: PathError| Problem::error("/field", e.to_string()))
        };
        let path = settings.field.as_ref().map(path).transpose()?;
        let pattern = settings.format.as_deref().map(Pattern::new).transpose();
        let unit_ns = match settings.unix_precision {
            Precision::Seconds => 1_000_000_000,
            Precision::Milliseconds => 1_000_000,
            Precision::Microseconds => 1_000,
            Precision::Nanoseconds => 1,
        };
        Ok(Self {
            part: settings.of,
            fields: path.map(|path| Fields::new(&[path])),
            conversion: Conversion {
                target: settings.target_type,
                pattern: pattern.map_err(|message| Problem::error("/format", message))?,
                unit_ns,
            },
            found: Vec::new(),
            edits: Vec::new(),
        })
    }
}

impl Conversion {
    /// A time, JSON text, in its other form.
    fn convert(&self, value: &str) -> Result<String, Rejection> {
        if value == "null" {
            return Ok("null".to_owned());
        }
        let time = self.read(value).ok_or_else(|| {
            let shown: String = value.chars().take(80).collect();
            Rejection::new("timestamp", format!("{shown} is no time of the format that the settings ask for"))
        })?;
        match self.target {
            Target::Unix => Ok(time.as_nanosecond().div_euclid(self.unit_ns).to_string()),
            Target::String => match &self.pattern {
                None => Some(time.to_string()),
                Some(pattern) => pattern.write(time),
            }
            .map(|text| quoted(&text))
            .ok_or_else(|| Rejection::new("timestamp", format!("{time} has no form in the format"))),
        }
    }

    fn read(&self, value: &str) -> Option<Timestamp> {
        if value.starts_with('"') {
            let text = plain(value);
            return match &self.pattern {
                None => text.parse().ok(),
                Some(pattern) => pattern.read(&text),
            };
        }
        // Whole numbers only: what a fraction means depends on who wrote it.
        let number: i128 = value.parse().ok()?;
        Timestamp::from_nanosecond(number.checked_mul(self.unit_ns)?).ok()
    }
}

impl Transform for TimestampConverter {
    type Settings = Settings;

    fn describe() -> Description {
        let about = "Turns times in JSON records from text to numbers and back";
        Description::new("timestamp-converter", env!("CARGO_PKG_VERSION"), about)
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
        let Self { part, fields, conversion, found, edits } = self;
        part.rewrite(record, out, |text, into| {
            edits.clear();
            match fields {
                Some(fields) => {
                    fields.find(text, found).map_err(not_json)?;
                    for found in found.iter() {
                        let converted = conversion.convert(&text[found.value.clone()])?;
                        edits.push(Edit { range: found.value.clone(), text: converted });
                    }
                }
                // Whatever is converted was a sound number or string.
                None => edits.push(Edit { range: 0..text.len(), text: conversion.convert(text.trim())? }),
            }
            splice(text, edits, into);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::check;

    fn converted(settings: Value, value: &str) -> Result<String, String> {
        check::value::<TimestampConverter>(settings, value)
    }

    #[test]
    fn times_go_both_ways() {
        let to_text = json!({ "field": "at", "target_type": "string" });
        assert_eq!(
            converted(to_text.clone(), r#"{"at": 1795248000250, "x":1.0}"#),
            Ok(r#"{"at": "2026-11-21T08:00:00.25Z", "x":1.0}"#.to_owned())
        );
        let to_number = json!({ "field": "at", "target_type": "unix", "unix_precision": "seconds" });
        assert_eq!(
            converted(to_number, r#"{"at":"2026-11-21T09:00:00+01:00"}"#),
            Ok(r#"{"at":1795248000}"#.to_owned())
        );
        let dates =
            |to: &str| json!({ "target_type": to, "format": "dd.MM.yyyy", "unix_precision": "microseconds" });
        assert_eq!(converted(dates("unix"), "\"21.11.2026\""), Ok("1795219200000000".to_owned()));
        assert_eq!(converted(dates("string"), "1795219200000000"), Ok("\"21.11.2026\"".to_owned()));
        // Another text of the same time, and before 1970 towards the earlier.
        assert_eq!(
            converted(json!({ "target_type": "unix", "unix_precision": "seconds" }), "-1"),
            Ok("-1".to_owned())
        );
        let before = json!({ "target_type": "unix" });
        assert_eq!(converted(before, "\"1969-12-31T23:59:59.9999Z\""), Ok("-1".to_owned()));
        assert_eq!(converted(to_text, r#"{"at":null}"#), Ok(r#"{"at":null}"#.to_owned()));
        check::keeps_tombstones::<TimestampConverter>(json!({ "target_type": "unix" }));
    }

    #[test]
    fn what_is_no_time_is_rejected() {
        for value in [
            "\"yesterday\"",
            "1.5",
            "true",
            "{}",
            "99999999999999999999",
            "\"2026-02-30T00:00:00Z\"",
            "\"cut",
        ] {
            let error = converted(json!({ "target_type": "unix" }), value).expect_err(value);
            assert!(error.starts_with("timestamp: "), "{error}");
        }
    }

    #[test]
    fn bad_settings_are_named() {
        let problems =
            check::problems::<TimestampConverter>(json!({ "target_type": "unix", "format": "yyyy-ww" }));
        assert_eq!(problems[0].path, "/format");
    }
}
