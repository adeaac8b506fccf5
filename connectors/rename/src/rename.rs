//! Gives fields their new names.

use millrace_connector_fields::{Edit, Fields, Found, NotJson, Path, splice};
use serde_json::Value;

use crate::settings::Renaming;

/// Why a record keeps its names.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Not a document at all.
    #[error(transparent)]
    NotJson(#[from] NotJson),
    /// Two fields would have one name, and one of them would be lost for most readers.
    #[error(
        "{from} cannot be called {to}: its object has a field of that name; rename or drop that one first"
    )]
    Taken {
        /// Path of the field.
        from: String,
        /// The new name.
        to: String,
    },
}

/// The renamings, ready to use.
#[derive(Debug)]
pub(crate) struct Rename {
    renamings: Vec<Renaming>,
    fields: Fields,
    /// Per path in `fields`: the renaming that begins there, and those that end there.
    roles: Vec<Role>,
    found: Vec<Found>,
    edits: Vec<Edit>,
}

#[derive(Debug, Default)]
struct Role {
    source: Option<usize>,
    targets: Vec<usize>,
}

impl Rename {
    pub(crate) fn new(renamings: Vec<Renaming>) -> Self {
        let mut paths: Vec<Path> = Vec::new();
        let mut roles: Vec<Role> = Vec::new();
        let mut role = |path: Path, change: &dyn Fn(&mut Role)| {
            let at = paths.iter().position(|p| *p == path).unwrap_or_else(|| {
                paths.push(path);
                roles.push(Role::default());
                paths.len() - 1
            });
            change(&mut roles[at]);
        };
        for (index, renaming) in renamings.iter().enumerate() {
            role(renaming.from.clone(), &|role| role.source = Some(index));
            role(renaming.from.sibling(&renaming.to), &|role| role.targets.push(index));
        }
        let fields = Fields::new(&paths);
        Self { renamings, fields, roles, found: Vec::new(), edits: Vec::new() }
    }

    /// Appends `text`, a JSON document, to `out` with the new names.
    pub(crate) fn apply(&mut self, text: &str, out: &mut Vec<u8>) -> Result<(), Error> {
        self.fields.find(text, &mut self.found)?;
        self.edits.clear();
        for found in &self.found {
            let (Some(index), Some(name)) = (self.roles[found.path].source, &found.name) else { continue };
            if self.is_taken(index, found) {
                let Renaming { from, to } = &self.renamings[index];
                return Err(Error::Taken { from: from.to_string(), to: to.clone() });
            }
            let text = Value::from(self.renamings[index].to.as_str()).to_string();
            self.edits.push(Edit { range: name.clone(), text });
        }
        splice(text, &mut self.edits, out);
        Ok(())
    }

    /// Whether the object of `source` will have another field with the name that `source` is to get: one that keeps it, or
    /// one that gets it too.
    fn is_taken(&self, renaming: usize, source: &Found) -> bool {
        let to = &self.renamings[renaming].to;
        self.found.iter().filter(|other| other.parent == source.parent && other.value != source.value).any(
            |other| {
                let role = &self.roles[other.path];
                match role.source {
                    Some(index) => index != renaming && self.renamings[index].to == *to,
                    None => role.targets.contains(&renaming),
                }
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::settings::Settings;

    fn renamed(fields: Value, text: &str) -> Result<String, String> {
        let settings: Settings =
            serde_json::from_value(json!({ "fields": fields })).expect("the settings' form");
        let mut out = Vec::new();
        Rename::new(settings.check().expect("good settings"))
            .apply(text, &mut out)
            .map_err(|e| e.to_string())?;
        Ok(String::from_utf8(out).expect("text"))
    }

    #[test]
    fn only_the_name_changes() {
        assert_eq!(
            renamed(
                json!({ "Origin State": "state", "to.zip": "postcode", "no.such": "x" }),
                r#"{ "Origin State" : "Ohio", "to":{"zip":0.1e3,"x":1.50} }"#
            ),
            Ok(r#"{ "state" : "Ohio", "to":{"postcode":0.1e3,"x":1.50} }"#.to_owned())
        );
    }

    #[test]
    fn names_may_be_swapped() {
        assert_eq!(
            renamed(json!({ "a": "b", "b": "a" }), r#"{"a":1,"b":2}"#),
            Ok(r#"{"b":1,"a":2}"#.to_owned())
        );
    }

    #[test]
    fn a_name_is_not_given_twice() {
        let error = renamed(json!({ "a": "b" }), r#"{"a":1,"b":2}"#).expect_err("taken");
        assert_eq!(
            error,
            "a cannot be called b: its object has a field of that name; rename or drop that one first"
        );
        renamed(json!({ "a": "c", "b": "c" }), r#"{"a":1,"b":2}"#).expect_err("both");
        // In other objects the name may stand.
        assert_eq!(
            renamed(json!({ "list[*].a": "b" }), r#"{"b":0,"list":[{"a":1},{"b":2}]}"#),
            Ok(r#"{"b":0,"list":[{"b":1},{"b":2}]}"#.to_owned())
        );
    }

    #[test]
    fn a_new_name_is_written_as_json() {
        assert_eq!(renamed(json!({ "a": "say \"x\"" }), r#"{"a":1}"#), Ok(r#"{"say \"x\"":1}"#.to_owned()));
    }

    #[test]
    fn an_element_has_no_name() {
        let settings: Settings =
            serde_json::from_value(json!({ "fields": { "a/b[0]": "c" } })).expect("the form");
        assert_eq!(settings.check().expect_err("no name").path, "/fields/a~1b[0]");
    }

    #[test]
    fn it_describes_itself() {
        millrace_sdk::testing::check_description(
            &<crate::RenameTransform as millrace_sdk::Transform>::describe(),
        )
        .expect("a sound description");
    }
}
