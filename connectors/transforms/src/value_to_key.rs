//! `value-to-key`: an object of some of the value's fields as the key.

use millrace_connector_fields::{Fields, Found, Path, PathError, Step, document};
use millrace_sdk::{Description, Error, Output, Problem, RecordRef, Rejection, Task, Transform};
use serde::Deserialize;

use crate::part::{not_json, quoted};

const SCHEMA: &str = r#"{
  "type": "object", "additionalProperties": false, "required": ["fields"],
  "properties": {
    "fields": {
      "type": "array", "minItems": 1, "items": { "type": "string", "minLength": 1 },
      "description": "Paths of the fields, like id or customer.id; in the key each has its last name. One that isn't there is null. For a plain key put extract-field with `of: key` behind."
    }
  }
}"#;

/// The connector.
#[derive(Debug)]
pub struct ValueToKey {
    names: Vec<String>,
    fields: Fields,
    found: Vec<Found>,
    key: Vec<u8>,
}

/// The settings as they are written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    fields: Vec<String>,
}

impl ValueToKey {
    fn new(settings: &Settings) -> Result<Self, Problem> {
        let (mut names, mut paths) = (Vec::new(), Vec::new());
        for (index, field) in settings.fields.iter().enumerate() {
            let problem = |message: String| Problem::error(format!("/fields/{index}"), message);
            let path: Path = field.parse().map_err(|e: PathError| problem(e.to_string()))?;
            let Some(Step::Name(name)) = path.steps().last() else {
                return Err(problem(format!("{field} is an element of a list, which has no name")));
            };
            if path.steps().contains(&Step::Each) {
                return Err(problem(format!("{field} names several fields")));
            }
            if names.contains(&quoted(name)) {
                return Err(problem(format!("two fields would be called {name} in the key")));
            }
            names.push(quoted(name));
            paths.push(path);
        }
        Ok(Self { names, fields: Fields::new(&paths), found: Vec::new(), key: Vec::new() })
    }
}

impl Transform for ValueToKey {
    type Settings = Settings;

    fn describe() -> Description {
        let about = "Makes an object of some of the value's fields the key";
        Description::new("value-to-key", env!("CARGO_PKG_VERSION"), about)
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
        let Some(value) = record.value else {
            out.keep(record);
            return Ok(());
        };
        let text = document(value).map_err(not_json)?;
        self.fields.find(text, &mut self.found).map_err(not_json)?;
        self.key.clear();
        for (path, name) in self.names.iter().enumerate() {
            self.key.push(if path == 0 { b'{' } else { b',' });
            self.key.extend_from_slice(name.as_bytes());
            self.key.push(b':');
            let found = self.found.iter().rfind(|found| found.path == path);
            let field = found.map_or("null", |found| &text[found.value.clone()]);
            self.key.extend_from_slice(field.as_bytes());
        }
        self.key.push(b'}');
        out.push(&RecordRef { key: Some(&self.key), ..*record });
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
    fn the_key_is_an_object_of_the_fields() {
        let record = Record::keyed("before", r#"{"id":1.50,"to":{"zip":"a"}}"#);
        let out = check::apply::<ValueToKey>(
            json!({ "fields": ["to.zip", "id", "x"] }),
            std::slice::from_ref(&record),
        );
        let key = br#"{"zip":"a","id":1.50,"x":null}"#.to_vec();
        assert_eq!(out, Ok(vec![Record { key: Some(key), ..record }]));
        check::keeps_tombstones::<ValueToKey>(json!({ "fields": ["id"] }));
    }

    #[test]
    fn bad_fields_are_named() {
        for (fields, place) in [
            (json!(["a", "b["]), "/fields/1"),
            (json!(["a[0]"]), "/fields/0"),
            (json!(["a.x", "b.x"]), "/fields/1"),
        ] {
            assert_eq!(check::problems::<ValueToKey>(json!({ "fields": fields }))[0].path, place);
        }
    }
}
