//! What a pipeline says of new names.

use std::collections::BTreeMap;

use millrace_connector_fields::{Path, PathError, Step};
use millrace_sdk::Problem;
use serde::Deserialize;

/// JSON Schema of the settings.
pub(crate) const SCHEMA: &str = include_str!("settings.schema.json");

/// The settings as they are written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    fields: BTreeMap<String, String>,
}

/// One field and its new name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Renaming {
    /// Where it stands; the last step is a name.
    pub(crate) from: Path,
    /// What it is called then.
    pub(crate) to: String,
}

impl Settings {
    /// The renamings, in the order of their paths.
    pub(crate) fn check(&self) -> Result<Vec<Renaming>, Problem> {
        if self.fields.is_empty() {
            return Err(Problem::error("/fields", "no fields: name at least one to rename"));
        }
        self.fields
            .iter()
            .map(|(from, to)| {
                let pointer = || format!("/fields/{}", from.replace('~', "~0").replace('/', "~1"));
                let path: Path = from.parse().map_err(|e: PathError| Problem::error(pointer(), e.to_string()))?;
                match path.steps().last() {
                    Some(Step::Name(_)) => Ok(Renaming { from: path, to: to.clone() }),
                    _ => Err(Problem::error(
                        pointer(),
                        format!("{from} is an element of a list, which has no name: rename the list or a field in it"),
                    )),
                }
            })
            .collect()
    }
}
