//! The settings, as `settings.schema.json` describes them.

use millrace_connector_fields::Path;
use millrace_sdk::Problem;
use serde::Deserialize;

/// Settings of one source.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Connection that is listened at.
    pub connection: String,
    /// Path that is taken; none: every one.
    pub path: Option<String>,
    /// Methods that are taken.
    #[serde(default = "post")]
    pub methods: Vec<String>,
    /// What a body is.
    #[serde(default)]
    pub format: Format,
    /// Whether an array becomes a record per element.
    #[serde(default)]
    pub split: bool,
    /// Field that becomes the key.
    pub key: Option<String>,
    /// Header that becomes the key.
    pub key_header: Option<String>,
    /// Headers that are handed on.
    #[serde(default)]
    pub headers: Vec<String>,
    /// The answer to what is durable.
    #[serde(default = "ok")]
    pub status: u16,
}

/// What a body is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A JSON document.
    #[default]
    Json,
    /// UTF-8.
    Text,
    /// Anything.
    Bytes,
}

fn post() -> Vec<String> {
    vec!["POST".to_owned()]
}

fn ok() -> u16 {
    200
}

impl Settings {
    /// What the schema can't say.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.key.is_some() && self.key_header.is_some() {
            problems.push(Problem::error("/key_header", "excludes `key`; choose one of them"));
        }
        for (name, given) in [("key", self.key.is_some()), ("split", self.split)] {
            if given && self.format != Format::Json {
                problems.push(Problem::error(format!("/{name}"), "needs format: json"));
            }
        }
        if let Some(Err(error)) = self.key.as_deref().map(str::parse::<Path>) {
            problems.push(Problem::error("/key", error.to_string()));
        }
        problems
    }
}
