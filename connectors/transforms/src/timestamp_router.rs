//! `timestamp-router`: another topic by the record's timestamp, such as one a day. Never looks at key or value.

use jiff::Timestamp;
use millrace_sdk::clock::now_ms;
use millrace_sdk::{Description, Error, Output, Problem, RecordRef, Rejection, Task, Transform};
use serde::Deserialize;

use crate::time::Pattern;

const SCHEMA: &str = r#"{
  "type": "object", "additionalProperties": false,
  "properties": {
    "topic_format": {
      "type": "string", "minLength": 1, "default": "${topic}-${timestamp}",
      "description": "The new name; ${topic} and ${timestamp} are filled in."
    },
    "timestamp_format": {
      "type": "string", "minLength": 1, "default": "yyyyMMdd",
      "description": "Pattern of the timestamp, as of Java's SimpleDateFormat, in UTC."
    }
  }
}"#;

/// The connector.
#[derive(Debug)]
pub struct TimestampRouter {
    topic_format: String,
    pattern: Pattern,
    /// Topic, second and new name of the last record: most have the same.
    last: Option<(String, i64, String)>,
}

/// The settings as they are written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    #[serde(default = "topic_format")]
    topic_format: String,
    #[serde(default = "timestamp_format")]
    timestamp_format: String,
}

fn topic_format() -> String {
    "${topic}-${timestamp}".to_owned()
}

fn timestamp_format() -> String {
    "yyyyMMdd".to_owned()
}

impl TimestampRouter {
    fn new(settings: &Settings) -> Result<Self, Problem> {
        let problem = |message: String| Problem::error("/timestamp_format", message);
        if settings.timestamp_format.contains('S') {
            return Err(problem("a topic for each millisecond would be a topic for each record".to_owned()));
        }
        let pattern = Pattern::new(&settings.timestamp_format).map_err(problem)?;
        Ok(Self { topic_format: settings.topic_format.clone(), pattern, last: None })
    }

    fn route(&mut self, topic: &str, ms: i64) -> Result<&str, Rejection> {
        let second = ms.div_euclid(1_000);
        let known = self.last.as_ref().is_some_and(|(of, at, _)| *at == second && of == topic);
        if !known {
            let time = Timestamp::from_second(second).ok();
            let text = time.and_then(|time| self.pattern.write(time)).ok_or_else(|| {
                Rejection::new("timestamp", format!("the timestamp {ms} has no form in the format"))
            })?;
            let routed = self.topic_format.replace("${topic}", topic).replace("${timestamp}", &text);
            self.last = Some((topic.to_owned(), second, routed));
        }
        Ok(self.last.as_ref().map_or("", |(_, _, routed)| routed))
    }
}

impl Transform for TimestampRouter {
    type Settings = Settings;

    fn describe() -> Description {
        let about = "Sends records to another topic by their timestamp, such as one a day";
        Description::new("timestamp-router", env!("CARGO_PKG_VERSION"), about)
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
        // A source's record without a timestamp would get the time of its writing, which is now.
        let timestamp = if record.timestamp < 0 { now_ms() } else { record.timestamp };
        let topic = self.route(record.topic, timestamp)?;
        out.push(&RecordRef { topic, timestamp, ..*record });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use millrace_sdk::testing::Record;
    use serde_json::{Value, json};

    use super::*;
    use crate::check;

    fn routed(settings: Value, timestamp: i64) -> Record {
        let record = Record { timestamp, ..Record::value("\0 no JSON").at("orders", -1, -1) };
        check::apply::<TimestampRouter>(settings, &[record]).expect("kept").remove(0)
    }

    #[test]
    fn a_day_has_its_topic() {
        assert_eq!(routed(json!({}), 1_795_248_000_250).topic, "orders-20261121");
        let hourly = json!({ "topic_format": "${timestamp}.${topic}", "timestamp_format": "yyyy.MM.dd-HH" });
        assert_eq!(routed(hourly, 1_795_248_000_250).topic, "2026.11.21-08.orders");
    }

    #[test]
    fn a_record_without_a_timestamp_gets_the_one_it_is_routed_by() {
        let record = routed(json!({}), -1);
        assert_eq!(routed(json!({}), record.timestamp).topic, record.topic);
        assert!(record.timestamp > 1_700_000_000_000);
    }

    #[test]
    fn bad_settings_are_named() {
        for format in ["yyyy-ww", "yyyyMMddHHmmssSSS"] {
            let problems = check::problems::<TimestampRouter>(json!({ "timestamp_format": format }));
            assert_eq!(problems[0].path, "/timestamp_format");
        }
    }
}
