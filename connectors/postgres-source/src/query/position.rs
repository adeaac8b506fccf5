//! Checkpoints: for each table the cursor of the last row in the topic.

use std::collections::BTreeMap;

use millrace_sdk::{Checkpoint, Error};
use serde::{Deserialize, Serialize};

use crate::position::{CURSOR, other_mode, read};
use crate::settings::Settings;
use crate::tables::Key;

/// A row's place.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Position {
    /// Names of the cursor's columns.
    columns: Vec<String>,
    /// Their values, in PostgreSQL's text format.
    values: Key,
}

/// The partition of a table's checkpoint.
pub(crate) fn partition(table: &str) -> String {
    format!("{CURSOR}{table}")
}

/// As it is kept.
pub(crate) fn written(columns: &[String], values: &Key) -> Vec<u8> {
    crate::position::written(&Position { columns: columns.to_vec(), values: values.clone() })
}

/// What was kept, by table.
pub(crate) fn resume(kept: &[Checkpoint], settings: &Settings) -> Result<BTreeMap<String, Key>, Error> {
    let mut positions = BTreeMap::new();
    for checkpoint in kept {
        let table = checkpoint.partition.strip_prefix(CURSOR).ok_or_else(|| other_mode("replication"))?;
        let position: Position = read(checkpoint)?;
        match settings.cursors.get(table) {
            Some(columns) if *columns != position.columns => {
                let message = format!(
                    "rows of {table} were followed by {}, and now are to be by {}; set it back, or reset the offsets to read the table anew",
                    position.columns.join(", "),
                    columns.join(", ")
                );
                return Err(Error::fatal("postgres.position", message));
            }
            _ => drop(positions.insert(table.to_owned(), position.values)),
        }
    }
    Ok(positions)
}
