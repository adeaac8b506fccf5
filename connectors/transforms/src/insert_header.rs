//! `insert-header`: adds a header with a fixed value. Never looks at key or value.

use millrace_sdk::{Description, Error, HeaderList, Output, RecordRef, Rejection, Task, Transform};
use serde::Deserialize;

const SCHEMA: &str = r#"{
  "type": "object", "additionalProperties": false, "required": ["header", "value"],
  "properties": {
    "header": { "type": "string", "minLength": 1, "description": "Name of the header." },
    "value": {
      "type": ["string", "number", "boolean", "null"],
      "description": "Its value (Kafka Connect: value.literal), as text. It is added behind headers of the same name."
    }
  }
}"#;

/// The connector.
#[derive(Debug)]
pub struct InsertHeader {
    header: String,
    value: Option<String>,
    headers: HeaderList,
}

/// The settings as they are written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    header: String,
    value: serde_json::Value,
}

impl Transform for InsertHeader {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new("insert-header", env!("CARGO_PKG_VERSION"), "Adds a header with a fixed value")
            .settings(SCHEMA)
            .key_formats(&["bytes"])
            .value_formats(&["bytes"])
    }

    fn open(_: &Task, settings: Settings) -> Result<Self, Error> {
        let value = match settings.value {
            serde_json::Value::Null => None,
            serde_json::Value::String(text) => Some(text),
            other => Some(other.to_string()),
        };
        Ok(Self { header: settings.header, value, headers: HeaderList::default() })
    }

    fn apply(&mut self, record: &RecordRef<'_>, out: &mut Output<'_>) -> Result<(), Rejection> {
        self.headers.clear();
        record.headers.for_each(|header| self.headers.push(header.name, header.value));
        self.headers.push(&self.header, self.value.as_deref().map(str::as_bytes));
        out.push(&RecordRef { headers: self.headers.headers(), ..*record });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use millrace_sdk::testing::Record;
    use serde_json::{Value, json};

    use super::*;
    use crate::check;

    #[test]
    fn it_comes_behind_the_others() {
        let record =
            Record { headers: vec![("a".to_owned(), Some(b"1".to_vec()))], ..Record::value("\0 no JSON") };
        let added = |value: Value| {
            let settings = json!({ "header": "a", "value": value });
            let mut out =
                check::apply::<InsertHeader>(settings, std::slice::from_ref(&record)).expect("kept");
            out.remove(0).headers.into_iter().map(|(_, value)| value).collect::<Vec<_>>()
        };
        assert_eq!(added("2".into()), [Some(b"1".to_vec()), Some(b"2".to_vec())]);
        assert_eq!(added(7.into()), [Some(b"1".to_vec()), Some(b"7".to_vec())]);
        assert_eq!(added(Value::Null), [Some(b"1".to_vec()), None]);
    }
}
