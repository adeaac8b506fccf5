//! What a pipeline says of a mapping.

use serde::Deserialize;

/// JSON Schema of the settings.
pub(crate) const SCHEMA: &str = include_str!("settings.schema.json");

/// The settings as they are written: an expression each.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub(crate) value: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) headers: Option<String>,
    pub(crate) topic: Option<String>,
    pub(crate) timestamp: Option<String>,
}
