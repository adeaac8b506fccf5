//! `regex-router`: another topic by a regular expression over its name. Never looks at key or value.

use millrace_sdk::{Description, Error, Output, Problem, RecordRef, Rejection, Task, Transform};
use regex_lite::Regex;
use serde::Deserialize;

const SCHEMA: &str = r#"{
  "type": "object", "additionalProperties": false, "required": ["regex", "replacement"],
  "properties": {
    "regex": {
      "type": "string",
      "description": "Regular expression that the topic's whole name has to match; a record of another topic stays there."
    },
    "replacement": {
      "type": "string", "minLength": 1,
      "description": "The new name. $1 is what the first group matched, \\$ a dollar sign."
    }
  }
}"#;

/// The connector.
#[derive(Debug)]
pub struct RegexRouter {
    regex: Regex,
    replacement: String,
    /// The last topic and what becomes of it: records of one topic stand together.
    last: Option<(String, String)>,
}

/// The settings as they are written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    regex: String,
    replacement: String,
}

impl RegexRouter {
    fn new(settings: &Settings) -> Result<Self, Problem> {
        let regex = Regex::new(&format!("^(?:{})$", settings.regex)).map_err(|error| {
            Problem::error("/regex", format!("{:?} is no regular expression: {error}", settings.regex))
        })?;
        let replacement = replacement(&settings.replacement, regex.captures_len())?;
        Ok(Self { regex, replacement, last: None })
    }

    fn route(&self, topic: &str) -> String {
        let Some(captures) = self.regex.captures(topic) else { return topic.to_owned() };
        let mut routed = String::new();
        captures.expand(&self.replacement, &mut routed);
        routed
    }
}

/// A replacement as Java has it (`$1`, `\$`) as the crate has it (`${1}`, `$$`).
fn replacement(java: &str, groups: usize) -> Result<String, Problem> {
    let problem = |message: String| Problem::error("/replacement", message);
    let mut text = String::new();
    let mut chars = java.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('$') => text.push_str("$$"),
                Some(escaped) => text.push(escaped),
                None => return Err(problem("a \\ at its end escapes nothing".to_owned())),
            },
            '$' => {
                let mut digits = String::new();
                while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                    digits.push(digit);
                }
                if !digits.parse().is_ok_and(|group: usize| group < groups) {
                    let named = format!("${digits} names no group of the regex");
                    return Err(problem(format!("{named}, which has {}; \\$ is a dollar sign", groups - 1)));
                }
                text.push_str(&format!("${{{digits}}}"));
            }
            c => text.push(c),
        }
    }
    Ok(text)
}

impl Transform for RegexRouter {
    type Settings = Settings;

    fn describe() -> Description {
        let about = "Sends records to another topic by a regular expression over its name";
        Description::new("regex-router", env!("CARGO_PKG_VERSION"), about)
            .settings(SCHEMA)
            .key_formats(&["bytes"])
            .value_formats(&["bytes"])
    }

    fn validate(settings: &Settings) -> Result<Vec<Problem>, Error> {
        Ok(Self::new(settings).err().into_iter().collect())
    }

    fn open(_: &Task, settings: Settings) -> Result<Self, Error> {
        Self::new(&settings).map_err(|problem| Error::fatal("settings", problem.message))
    }

    fn apply(&mut self, record: &RecordRef<'_>, out: &mut Output<'_>) -> Result<(), Rejection> {
        if self.last.as_ref().is_none_or(|(known, _)| known != record.topic) {
            self.last = Some((record.topic.to_owned(), self.route(record.topic)));
        }
        let topic = self.last.as_ref().map_or(record.topic, |(_, routed)| routed);
        out.push(&RecordRef { topic, ..*record });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use millrace_sdk::testing::Record;
    use serde_json::json;

    use super::*;
    use crate::check;

    fn routed(regex: &str, replacement: &str, topics: &[&str]) -> Vec<String> {
        let records: Vec<_> =
            topics.iter().map(|topic| Record::value("\0 no JSON").at(topic, -1, -1)).collect();
        let settings = json!({ "regex": regex, "replacement": replacement });
        let out = check::apply::<RegexRouter>(settings, &records).expect("kept");
        out.into_iter().map(|record| record.topic).collect()
    }

    #[test]
    fn a_topic_is_routed_when_all_of_its_name_matches() {
        assert_eq!(
            routed(
                "db-(.*)-(v[0-9]+)",
                "$2.$1x",
                &["db-orders-v1", "db-orders", "my-db-orders-v1", "db-a-v2"]
            ),
            ["v1.ordersx", "db-orders", "my-db-orders-v1", "v2.ax"]
        );
        assert_eq!(routed("a|b", "c", &["a", "b", "ab"]), ["c", "c", "ab"]);
    }

    #[test]
    fn bad_settings_are_named() {
        let problem = |regex: &str, replacement: &str| {
            check::problems::<RegexRouter>(json!({ "regex": regex, "replacement": replacement })).remove(0)
        };
        assert_eq!(problem("(", "x").path, "/regex");
        assert_eq!(
            problem("(.*)", "$2").message,
            "$2 names no group of the regex, which has 1; \\$ is a dollar sign"
        );
        assert_eq!(problem("(.*)", "${1}").path, "/replacement");
        assert!(
            check::problems::<RegexRouter>(json!({ "regex": "(.*)", "replacement": "\\$$1" })).is_empty()
        );
    }
}
