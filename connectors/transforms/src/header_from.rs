//! `header-from`: fields of the object at the top as headers, copied or moved.

use millrace_connector_fields::{Member, document, retain};
use millrace_sdk::{Description, Error, HeaderList, Output, Problem, RecordRef, Rejection, Task, Transform};
use serde::Deserialize;

use crate::part::{Part, not_json, object, plain};

const SCHEMA: &str = r#"{
  "type": "object", "additionalProperties": false, "required": ["fields", "headers", "operation"],
  "properties": {
    "fields": {
      "type": "array", "minItems": 1, "items": { "type": "string" },
      "description": "Names of the fields. One that isn't there gives a header without a value."
    },
    "headers": {
      "type": "array", "minItems": 1, "items": { "type": "string" },
      "description": "Names of the headers, one for each field, in the same order. Texts go without quotes, anything else as JSON."
    },
    "operation": { "enum": ["copy", "move"], "description": "Whether the fields stay, or go." },
    "of": { "enum": ["value", "key"], "default": "value", "description": "Which part of the record." }
  }
}"#;

/// The connector.
#[derive(Debug)]
pub struct HeaderFrom {
    settings: Settings,
    members: Vec<Member>,
    headers: HeaderList,
    rest: Vec<u8>,
}

/// The settings as they are written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    fields: Vec<String>,
    headers: Vec<String>,
    operation: Operation,
    #[serde(default)]
    of: Part,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Operation {
    Copy,
    Move,
}

impl Settings {
    fn check(&self) -> Option<Problem> {
        let (fields, headers) = (self.fields.len(), self.headers.len());
        let message = format!("{headers} headers for {fields} fields: each field needs one");
        (fields != headers).then(|| Problem::error("/headers", message))
    }
}

impl Transform for HeaderFrom {
    type Settings = Settings;

    fn describe() -> Description {
        let about = "Copies or moves fields of JSON records into headers";
        Description::new("header-from", env!("CARGO_PKG_VERSION"), about)
            .settings(SCHEMA)
            .key_formats(&["bytes"])
    }

    fn validate(settings: &Settings) -> Result<Vec<Problem>, Error> {
        Ok(settings.check().into_iter().collect())
    }

    fn open(_: &Task, settings: Settings) -> Result<Self, Error> {
        match settings.check() {
            None => Ok(Self { settings, members: vec![], headers: HeaderList::default(), rest: vec![] }),
            Some(problem) => Err(Error::fatal("settings", problem.message)),
        }
    }

    fn apply(&mut self, record: &RecordRef<'_>, out: &mut Output<'_>) -> Result<(), Rejection> {
        let Self { settings, members, headers, rest } = self;
        let Some(bytes) = settings.of.of(record) else {
            out.keep(record);
            return Ok(());
        };
        let text = document(bytes).map_err(not_json)?;
        object(text, members)?;
        headers.clear();
        record.headers.for_each(|header| headers.push(header.name, header.value));
        for (field, header) in settings.fields.iter().zip(&settings.headers) {
            let member = members.iter().rfind(|member| member.plain_name(text) == **field);
            let value = member.map(|member| &text[member.value.clone()]).filter(|value| *value != "null");
            headers.push(header, value.map(plain).as_deref().map(str::as_bytes));
        }
        let mut changed = RecordRef { headers: headers.headers(), ..*record };
        if settings.operation == Operation::Move {
            rest.clear();
            let stays =
                |member: &Member| !settings.fields.iter().any(|field| member.plain_name(text) == **field);
            retain(text, members, stays, rest);
            match settings.of {
                Part::Key => changed.key = Some(rest),
                Part::Value => changed.value = Some(rest),
            }
        }
        out.push(&changed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use millrace_sdk::testing::Record;
    use serde_json::json;

    use super::*;
    use crate::check;

    fn made(operation: &str) -> Record {
        let record = Record {
            headers: vec![("t".to_owned(), Some(b"0".to_vec()))],
            ..Record::value(r#"{"id":7, "trace":"a\"b","list":[1, 2],"none":null}"#)
        };
        let settings = json!({
            "fields": ["trace", "list", "none", "x"], "headers": ["t", "l", "n", "x"], "operation": operation,
        });
        check::apply::<HeaderFrom>(settings, &[record]).expect("kept").remove(0)
    }

    #[test]
    fn fields_become_headers() {
        let header =
            |name: &str, value: Option<&str>| (name.to_owned(), value.map(|v| v.as_bytes().to_vec()));
        let wanted = [
            header("t", Some("0")),
            header("t", Some("a\"b")),
            header("l", Some("[1, 2]")),
            header("n", None),
            header("x", None),
        ];
        assert_eq!(made("copy").headers, wanted);
        assert_eq!(made("copy").text(), r#"{"id":7, "trace":"a\"b","list":[1, 2],"none":null}"#);
        assert_eq!((made("move").headers, made("move").text()), (wanted.to_vec(), r#"{"id":7}"#.to_owned()));
    }

    #[test]
    fn each_field_needs_a_header() {
        let settings = json!({ "fields": ["a", "b"], "headers": ["a"], "operation": "copy" });
        assert_eq!(check::problems::<HeaderFrom>(settings.clone())[0].path, "/headers");
        check::keeps_tombstones::<HeaderFrom>(
            json!({ "fields": ["a"], "headers": ["a"], "operation": "move" }),
        );
    }
}
