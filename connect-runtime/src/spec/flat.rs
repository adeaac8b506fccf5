//! A connector as Kafka Connect's REST API has it: a flat map of names to text.
//!
//! | room | what is there |
//! |---|---|
//! | `keys` | the names that are ours and not the connector's |
//! | `read` | a map to a checked deployment of one connector |
//! | `write` | a connector of a YAML file to its map |
//! | `settings` | a connector's own settings: JSON to dotted names and back |
//!
//! Both forms mean the same, and going from YAML to the map and back loses nothing (docs/LIFECYCLE.md has the table of
//! names). References stay as they are written: a map may be stored and shown. They are filled in by [`read()`], on the worker.
//!
//! For messages a map is shown as a file with one line a key, so that whatever checks a YAML file's connector checks this one, too,
//! and a problem's line leads back to its key.

mod keys;
mod read;
mod settings;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeMap;

pub use keys::{CONNECTOR_CLASS, DEAD_LETTER_TOPIC};
pub(crate) use keys::{CONVERTERS, FRAMEWORK, FrameworkKey};
pub use read::{Reading, Referenced, components, key_of, read, written};
pub use write::{Unwritable, write};

/// Names to text, references unresolved.
pub type ConnectorConfig = BTreeMap<String, String>;
