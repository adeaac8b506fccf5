//! What a pipeline says of a filter.

use millrace_connector_fields::{Path, PathError};
use millrace_sdk::Problem;
use regex_lite::Regex;
use serde::Deserialize;
use serde_json::{Number, Value};

use crate::condition::{Bound, Condition, Literal};

/// JSON Schema of the settings.
pub(crate) const SCHEMA: &str = include_str!("settings.schema.json");

/// The settings as they are written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    field: String,
    #[serde(default, deserialize_with = "given")]
    equals: Option<Value>,
    #[serde(default, deserialize_with = "given")]
    not_equals: Option<Value>,
    r#in: Option<Vec<Value>>,
    not_in: Option<Vec<Value>>,
    matches: Option<String>,
    exists: Option<bool>,
    gt: Option<Number>,
    gte: Option<Number>,
    lt: Option<Number>,
    lte: Option<Number>,
    #[serde(default)]
    pub(crate) action: Action,
    #[serde(default)]
    pub(crate) tombstones: Action,
}

/// What happens to a record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It goes on.
    #[default]
    Keep,
    /// It ends here.
    Drop,
}

/// Tells `equals: null` from no `equals`.
fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl Settings {
    /// The field and what is asked of it: at least one condition.
    pub(crate) fn check(&self) -> Result<(Path, Vec<Condition>), Problem> {
        let path = self.field.parse().map_err(|e: PathError| Problem::error("/field", e.to_string()))?;
        let mut conditions = Vec::new();
        if let Some(value) = &self.equals {
            conditions.push(Condition::OneOf(literals("/equals", std::slice::from_ref(value))?));
        }
        if let Some(value) = &self.not_equals {
            conditions.push(Condition::NoneOf(literals("/not_equals", std::slice::from_ref(value))?));
        }
        if let Some(values) = &self.r#in {
            conditions.push(Condition::OneOf(literals("/in", values)?));
        }
        if let Some(values) = &self.not_in {
            conditions.push(Condition::NoneOf(literals("/not_in", values)?));
        }
        if let Some(pattern) = &self.matches {
            let regex = Regex::new(pattern).map_err(|e| {
                Problem::error("/matches", format!("{pattern:?} is no regular expression: {e}"))
            })?;
            conditions.push(Condition::Matches(regex));
        }
        if let Some(exists) = self.exists {
            conditions.push(Condition::Exists(exists));
        }
        let bounds =
            [(Bound::Gt, &self.gt), (Bound::Gte, &self.gte), (Bound::Lt, &self.lt), (Bound::Lte, &self.lte)];
        for (bound, limit) in bounds {
            if let Some(limit) = limit {
                conditions.push(Condition::Bound(bound, limit.clone().into()));
            }
        }
        if conditions.is_empty() {
            let message =
                "no condition: give equals, not_equals, in, not_in, matches, exists, gt, gte, lt or lte";
            return Err(Problem::error("", message));
        }
        Ok((path, conditions))
    }
}

fn literals(pointer: &str, values: &[Value]) -> Result<Vec<Literal>, Problem> {
    let refused = || {
        Problem::error(
            pointer,
            "a list or an object can't be compared: give text, a number, a boolean or null",
        )
    };
    values.iter().map(|value| Literal::new(value).ok_or_else(refused)).collect()
}
