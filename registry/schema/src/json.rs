//! JSON Schema: the crate `jsonschema` validates, with drafts 4 to 2020-12; which schema accepts what another did is ours.
//!
//! Nothing is fetched: a `$ref` reaches the schema itself, a registry's references by their names, and the drafts' own
//! meta-schemas. Patterns run in linear time, so those with look-around or back-references are refused.

mod accepts;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::sync::Arc;

use jsonschema::{PatternOptions, Retrieve, Uri, Validator};
use serde_json::Value;

use crate::Dependency;

pub use accepts::unaccepted;

/// Most bytes of one compiled pattern.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// The base that relative references are resolved against by `jsonschema`.
const BASE: &str = "json-schema:///";

/// A schema.
#[derive(Clone)]
pub struct Json {
    root: Arc<Value>,
    references: Arc<BTreeMap<String, Value>>,
    validator: Arc<Validator>,
}

impl std::fmt::Debug for Json {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.root.fmt(f)
    }
}

impl Json {
    /// Parses; see [`crate::Schema::parse`].
    pub(crate) fn parse(text: &str, dependencies: &[Dependency]) -> Result<Self, String> {
        let value = |text: &str| serde_json::from_str::<Value>(text).map_err(|error| error.to_string());
        let root = value(text)?;
        if !root.is_object() && !root.is_boolean() {
            return Err("a JSON Schema is an object or a boolean".to_owned());
        }
        let mut references = BTreeMap::new();
        for dependency in dependencies {
            references.insert(dependency.name.clone(), value(&dependency.text)?);
        }
        let references = Arc::new(references);
        let validator = jsonschema::options()
            .with_retriever(Registered(Arc::clone(&references)))
            .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_BYTES_MAX))
            .build(&root)
            .map_err(|error| error.to_string())?;
        Ok(Self { root: Arc::new(root), references, validator: Arc::new(validator) })
    }

    /// What is wrong with a document; the message names the place and what was expected, without the value.
    ///
    /// # Errors
    /// The first thing that doesn't fit.
    pub fn validate(&self, document: &Value) -> Result<(), String> {
        self.validator.validate(document).map_err(|error| {
            let place = error.instance_path().to_string();
            let place = if place.is_empty() { "the document".to_owned() } else { place };
            format!("{place}: {}", error.masked_with("the value"))
        })
    }

    /// The schema itself.
    #[must_use]
    pub fn root(&self) -> &Value {
        &self.root
    }
}

/// References by their names; nothing else.
#[derive(Debug)]
struct Registered(Arc<BTreeMap<String, Value>>);

impl Retrieve for Registered {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn StdError + Send + Sync>> {
        let uri = uri.as_str();
        let name = uri.strip_prefix(BASE).unwrap_or(uri);
        let found = self.0.get(uri).or_else(|| self.0.get(name));
        found.cloned().ok_or_else(|| format!("{name} is not among the schema's references").into())
    }
}
