//! `replace-field`: which fields of the object at the top stay, and under which names.

use std::collections::BTreeMap;

use millrace_connector_fields::Member;
use millrace_sdk::{Description, Error, Output, Problem, RecordRef, Rejection, Task, Transform};
use serde::Deserialize;

use crate::part::{Part, object, quoted};

const SCHEMA: &str = r#"{
  "type": "object", "additionalProperties": false,
  "properties": {
    "include": {
      "type": "array", "minItems": 1, "items": { "type": "string" },
      "description": "Names of the fields that stay; without it all."
    },
    "exclude": {
      "type": "array", "minItems": 1, "items": { "type": "string" },
      "description": "Names of the fields that go; it wins over include."
    },
    "renames": {
      "type": "object", "additionalProperties": { "type": "string", "minLength": 1 },
      "description": "From the name of a field that stays to its new name. A record in which the new name is taken is rejected."
    },
    "of": { "enum": ["value", "key"], "default": "value", "description": "Which part of the record." }
  },
  "anyOf": [{ "required": ["include"] }, { "required": ["exclude"] }, { "required": ["renames"] }]
}"#;

/// The connector.
#[derive(Debug)]
pub struct ReplaceField {
    settings: Settings,
    members: Vec<Member>,
}

/// The settings as they are written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    include: Option<Vec<String>>,
    #[serde(default)]
    exclude: Vec<String>,
    #[serde(default)]
    renames: BTreeMap<String, String>,
    #[serde(default)]
    of: Part,
}

impl Settings {
    fn stays(&self, name: &str) -> bool {
        let named = |names: &[String]| names.iter().any(|known| known == name);
        !named(&self.exclude) && self.include.as_deref().is_none_or(named)
    }

    fn check(&self) -> Option<Problem> {
        let gone = self.renames.keys().find(|name| !self.stays(name))?;
        Some(Problem::error(
            "/renames",
            format!("{gone} is renamed and doesn't stay: include it, or don't exclude it"),
        ))
    }
}

impl Transform for ReplaceField {
    type Settings = Settings;

    fn describe() -> Description {
        let about = "Keeps, drops and renames the fields at the top of JSON records";
        Description::new("replace-field", env!("CARGO_PKG_VERSION"), about)
            .settings(SCHEMA)
            .key_formats(&["bytes"])
    }

    fn validate(settings: &Settings) -> Result<Vec<Problem>, Error> {
        Ok(settings.check().into_iter().collect())
    }

    fn open(_: &Task, settings: Settings) -> Result<Self, Error> {
        match settings.check() {
            None => Ok(Self { settings, members: Vec::new() }),
            Some(problem) => Err(Error::fatal("settings", problem.message)),
        }
    }

    fn apply(&mut self, record: &RecordRef<'_>, out: &mut Output<'_>) -> Result<(), Rejection> {
        let Self { settings, members } = self;
        settings.of.rewrite(record, out, |text, into| {
            object(text, members)?;
            members.retain(|member| settings.stays(&member.plain_name(text)));
            taken(settings, text, members)?;
            into.push(b'{');
            for (place, member) in members.iter().enumerate() {
                if place > 0 {
                    into.push(b',');
                }
                match settings.renames.get(&*member.plain_name(text)) {
                    None => into.extend_from_slice(&text.as_bytes()[member.name.start..member.value.end]),
                    Some(name) => {
                        into.extend_from_slice(quoted(name).as_bytes());
                        into.extend_from_slice(&text.as_bytes()[member.name.end..member.value.end]);
                    }
                }
            }
            into.push(b'}');
            Ok(())
        })
    }
}

/// Refuses a new name that another field has, or gets, too.
fn taken(settings: &Settings, text: &str, members: &[Member]) -> Result<(), Rejection> {
    for (from, to) in &settings.renames {
        let is_source = |member: &&Member| member.plain_name(text) == **from;
        if !members.iter().any(|member| is_source(&member)) {
            continue;
        }
        let gets_it = |member: &Member| {
            let name = member.plain_name(text);
            settings.renames.get(&*name).map_or(&*name, String::as_str) == to
        };
        if members.iter().filter(|member| !is_source(member)).any(gets_it) {
            let message =
                format!("{from} cannot be called {to}: another field has that name; exclude that one");
            return Err(Rejection::new("name-taken", message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::check;

    const ORDER: &str = r#"{ "id" : 7, "card":"4111", "to":{"zip":0.10} }"#;

    fn replaced(settings: serde_json::Value) -> Result<String, String> {
        check::value::<ReplaceField>(settings, ORDER)
    }

    #[test]
    fn fields_stay_go_and_change_their_names() {
        assert_eq!(
            replaced(json!({ "include": ["to", "id", "x"] })),
            Ok(r#"{"id" : 7,"to":{"zip":0.10}}"#.to_owned())
        );
        assert_eq!(
            replaced(json!({ "exclude": ["card"] })),
            Ok(r#"{"id" : 7,"to":{"zip":0.10}}"#.to_owned())
        );
        assert_eq!(
            replaced(json!({ "include": ["id", "card"], "exclude": ["card"], "renames": { "id": "order" } })),
            Ok(r#"{"order" : 7}"#.to_owned())
        );
        assert_eq!(
            replaced(json!({ "renames": { "id": "card", "card": "id" } })),
            Ok(r#"{"card" : 7,"id":"4111","to":{"zip":0.10}}"#.to_owned())
        );
        check::keeps_tombstones::<ReplaceField>(json!({ "exclude": ["a"] }));
    }

    #[test]
    fn a_name_is_not_given_twice() {
        let error = replaced(json!({ "renames": { "id": "card" } })).expect_err("taken");
        assert_eq!(
            error,
            "name-taken: id cannot be called card: another field has that name; exclude that one"
        );
        replaced(json!({ "renames": { "id": "x", "card": "x" } })).expect_err("both");
        assert_eq!(
            replaced(json!({ "exclude": ["card"], "renames": { "id": "card" } })),
            Ok(r#"{"card" : 7,"to":{"zip":0.10}}"#.to_owned())
        );
        let gone = json!({ "exclude": ["id"], "renames": { "id": "x" } });
        assert_eq!(check::problems::<ReplaceField>(gone)[0].path, "/renames");
    }
}
