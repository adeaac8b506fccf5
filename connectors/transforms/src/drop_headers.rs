//! `drop-headers`: takes headers off by their names. Never looks at key or value.

use millrace_sdk::{Description, Error, HeaderList, Output, RecordRef, Rejection, Task, Transform};
use serde::Deserialize;

const SCHEMA: &str = r#"{
  "type": "object", "additionalProperties": false, "required": ["headers"],
  "properties": {
    "headers": {
      "type": "array", "minItems": 1, "items": { "type": "string" },
      "description": "Names of the headers to take off; all of a name that repeats."
    }
  }
}"#;

/// The connector.
#[derive(Debug)]
pub struct DropHeaders {
    names: Vec<String>,
    kept: HeaderList,
}

/// The settings as they are written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    headers: Vec<String>,
}

impl Transform for DropHeaders {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new("drop-headers", env!("CARGO_PKG_VERSION"), "Takes headers off")
            .settings(SCHEMA)
            .key_formats(&["bytes"])
            .value_formats(&["bytes"])
    }

    fn open(_: &Task, settings: Settings) -> Result<Self, Error> {
        Ok(Self { names: settings.headers, kept: HeaderList::default() })
    }

    fn apply(&mut self, record: &RecordRef<'_>, out: &mut Output<'_>) -> Result<(), Rejection> {
        let Self { names, kept } = self;
        kept.clear();
        for header in record.headers.filter(|header| !names.iter().any(|name| name == header.name)) {
            kept.push(header.name, header.value);
        }
        out.push(&RecordRef { headers: kept.headers(), ..*record });
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
    fn all_of_a_name_go_and_the_rest_stays_in_order() {
        let header = |name: &str, value: Option<&[u8]>| (name.to_owned(), value.map(<[u8]>::to_vec));
        let headers =
            vec![header("a", Some(b"1")), header("b", None), header("a", Some(b"2")), header("c", Some(b""))];
        let record = Record { headers, ..Record::keyed("k", "\0 no JSON") };
        let out =
            check::apply::<DropHeaders>(json!({ "headers": ["a", "x"] }), std::slice::from_ref(&record));
        let kept = vec![header("b", None), header("c", Some(b""))];
        assert_eq!(out, Ok(vec![Record { headers: kept, ..record }]));
    }
}
