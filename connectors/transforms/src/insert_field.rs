//! `insert-field`: what is known of a record, or a fixed value, as fields of the object at the top.

use millrace_connector_fields::{Edit, Member, splice};
use millrace_sdk::{Description, Error, Output, Problem, RecordRef, Rejection, Task, Transform};
use serde::Deserialize;
use serde_json::Value;

use crate::part::{Part, object, quoted};

const SCHEMA: &str = r#"{
  "type": "object", "additionalProperties": false,
  "properties": {
    "static_field": { "type": "string", "minLength": 1, "description": "Name of a field with a fixed value." },
    "static_value": { "description": "Its value, any JSON value." },
    "topic_field": { "type": "string", "minLength": 1, "description": "Name of a field for the record's topic." },
    "timestamp_field": {
      "type": "string", "minLength": 1,
      "description": "Name of a field for the record's timestamp, in milliseconds since 1970. At a source a record that has none yet gets null."
    },
    "partition_field": {
      "type": "string", "minLength": 1,
      "description": "Name of a field for the record's partition. At a source a record has none, unless the source chose it, and gets null."
    },
    "offset_field": {
      "type": "string", "minLength": 1,
      "description": "Name of a field for the record's offset. Of use on the way to a sink: at a source it is null."
    },
    "of": { "enum": ["value", "key"], "default": "value", "description": "Which part of the record." }
  },
  "dependentRequired": { "static_field": ["static_value"], "static_value": ["static_field"] },
  "anyOf": [
    { "required": ["static_field"] }, { "required": ["topic_field"] }, { "required": ["timestamp_field"] },
    { "required": ["partition_field"] }, { "required": ["offset_field"] }
  ]
}"#;

/// The connector.
#[derive(Debug)]
pub struct InsertField {
    part: Part,
    /// Names, plain and in JSON, with what they get.
    fields: Vec<(String, String, What)>,
    members: Vec<Member>,
    edits: Vec<Edit>,
}

#[derive(Debug, Clone)]
enum What {
    /// JSON text.
    Static(String),
    Topic,
    Timestamp,
    Partition,
    Offset,
}

/// The settings as they are written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    static_field: Option<String>,
    #[serde(default)]
    static_value: Value,
    topic_field: Option<String>,
    timestamp_field: Option<String>,
    partition_field: Option<String>,
    offset_field: Option<String>,
    #[serde(default)]
    of: Part,
}

impl Settings {
    /// The fields in the order of the settings; no name twice.
    fn fields(&self) -> Result<Vec<(String, String, What)>, Problem> {
        let all = [
            ("/static_field", &self.static_field, What::Static(self.static_value.to_string())),
            ("/topic_field", &self.topic_field, What::Topic),
            ("/timestamp_field", &self.timestamp_field, What::Timestamp),
            ("/partition_field", &self.partition_field, What::Partition),
            ("/offset_field", &self.offset_field, What::Offset),
        ];
        let mut fields: Vec<(String, String, What)> = Vec::new();
        for (pointer, name, what) in all {
            let Some(name) = name else { continue };
            if fields.iter().any(|(known, _, _)| known == name) {
                return Err(Problem::error(pointer, format!("two fields would be called {name}")));
            }
            fields.push((name.clone(), quoted(name), what));
        }
        Ok(fields)
    }
}

impl What {
    fn of(&self, record: &RecordRef<'_>) -> String {
        let number = |number: i64| if number < 0 { "null".to_owned() } else { number.to_string() };
        match self {
            Self::Static(value) => value.clone(),
            Self::Topic => quoted(record.topic),
            Self::Timestamp => number(record.timestamp),
            Self::Partition => number(record.partition.into()),
            Self::Offset => number(record.offset),
        }
    }
}

impl Transform for InsertField {
    type Settings = Settings;

    fn describe() -> Description {
        let about = "Adds a fixed value, or what is known of a record, as fields of JSON records";
        Description::new("insert-field", env!("CARGO_PKG_VERSION"), about)
            .settings(SCHEMA)
            .key_formats(&["bytes"])
    }

    fn validate(settings: &Settings) -> Result<Vec<Problem>, Error> {
        Ok(settings.fields().err().into_iter().collect())
    }

    fn open(_: &Task, settings: Settings) -> Result<Self, Error> {
        let fields = settings.fields().map_err(|problem| Error::fatal("settings", problem.message))?;
        Ok(Self { part: settings.of, fields, members: Vec::new(), edits: Vec::new() })
    }

    fn apply(&mut self, record: &RecordRef<'_>, out: &mut Output<'_>) -> Result<(), Rejection> {
        let Self { part, fields, members, edits } = self;
        part.rewrite(record, out, |text, into| {
            object(text, members)?;
            edits.clear();
            let end = text.trim_end().len() - 1;
            // Behind the last member, or behind the opening brace.
            let place = members.last().map_or(end, |member| member.value.end);
            let mut added = String::new();
            for (name, quoted, what) in fields.iter() {
                let mut there = members.iter().filter(|member| member.plain_name(text) == **name).peekable();
                if there.peek().is_none() {
                    let comma = if members.is_empty() && added.is_empty() { "" } else { "," };
                    added.push_str(&format!("{comma}{quoted}:{}", what.of(record)));
                }
                edits.extend(there.map(|member| Edit { range: member.value.clone(), text: what.of(record) }));
            }
            if !added.is_empty() {
                edits.push(Edit { range: place..place, text: added });
            }
            splice(text, edits, into);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use millrace_sdk::testing::Record;
    use serde_json::json;

    use super::*;
    use crate::check;

    #[test]
    fn fields_come_at_the_end_or_in_the_place_of_what_is_there() {
        let inserted = |value: &str| {
            let settings = json!({ "static_field": "a", "static_value": { "x": [1] } });
            check::value::<InsertField>(settings, value)
        };
        assert_eq!(inserted(r#"{ "b" : 1.50 }  "#), Ok(r#"{ "b" : 1.50,"a":{"x":[1]} }  "#.to_owned()));
        assert_eq!(inserted("{ }"), Ok(r#"{ "a":{"x":[1]}}"#.to_owned()));
        assert_eq!(
            inserted(r#"{"a":1,"b":2,"a":3}"#),
            Ok(r#"{"a":{"x":[1]},"b":2,"a":{"x":[1]}}"#.to_owned())
        );
        assert_eq!(inserted(r#"{"b":1,"a":2}"#), Ok(r#"{"b":1,"a":{"x":[1]}}"#.to_owned()));
        assert!(inserted("[]").expect_err("a list").starts_with("json.object"));
        check::keeps_tombstones::<InsertField>(json!({ "topic_field": "t" }));
    }

    #[test]
    fn what_is_known_of_the_record_is_inserted() {
        let settings = json!({
            "static_field": "s", "static_value": null, "topic_field": "t", "timestamp_field": "ts",
            "partition_field": "p", "offset_field": "o",
        });
        let known = Record { timestamp: 17, ..Record::value("{}").at("orders", 2, 5) };
        let unknown = Record::value("{}").at("orders", -1, -1);
        let out = check::apply::<InsertField>(settings, &[known, unknown]).expect("kept");
        assert_eq!(out[0].text(), r#"{"s":null,"t":"orders","ts":17,"p":2,"o":5}"#);
        assert_eq!(out[1].text(), r#"{"s":null,"t":"orders","ts":null,"p":null,"o":null}"#);
    }

    #[test]
    fn a_name_is_not_given_twice() {
        let settings = json!({ "topic_field": "a", "offset_field": "a" });
        assert_eq!(check::problems::<InsertField>(settings)[0].path, "/offset_field");
    }
}
