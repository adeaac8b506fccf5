//! The transform `filter`: keeps or drops JSON records by the value of a field.

mod condition;
mod settings;

use millrace_connector_fields::{Fields, Found, document};
use millrace_sdk::{Description, Error, Output, Problem, RecordRef, Rejection, Task, Transform};

use self::condition::{Condition, Field};
pub use self::settings::{Action, Settings};

/// The connector.
#[derive(Debug)]
pub struct FilterTransform {
    fields: Fields,
    conditions: Vec<Condition>,
    action: Action,
    tombstones: Action,
    found: Vec<Found>,
}

impl FilterTransform {
    fn new(settings: &Settings) -> Result<Self, Problem> {
        let (path, conditions) = settings.check()?;
        Ok(Self {
            fields: Fields::new(&[path]),
            conditions,
            action: settings.action,
            tombstones: settings.tombstones,
            found: Vec::new(),
        })
    }

    /// What happens to a record with this value.
    fn decide(&mut self, value: Option<&[u8]>) -> Result<Action, Rejection> {
        let Some(value) = value else { return Ok(self.tombstones) };
        let rejected = |e: millrace_connector_fields::NotJson| Rejection::new("json", e.to_string());
        let text = document(value).map_err(rejected)?;
        self.fields.find(text, &mut self.found).map_err(rejected)?;
        let values: Vec<Field<'_>> =
            self.found.iter().map(|found| Field::new(&text[found.value.clone()])).collect();
        let meets_all = self.conditions.iter().all(|condition| condition.holds(&values));
        Ok(match (self.action, meets_all) {
            (Action::Keep, true) | (Action::Drop, false) => Action::Keep,
            (Action::Keep, false) | (Action::Drop, true) => Action::Drop,
        })
    }
}

impl Transform for FilterTransform {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new(
            "filter",
            env!("CARGO_PKG_VERSION"),
            "Keeps or drops JSON records by the value of a field",
        )
        .settings(settings::SCHEMA)
        .key_formats(&["bytes"])
    }

    fn validate(settings: &Settings) -> Result<Vec<Problem>, Error> {
        Ok(settings.check().err().into_iter().collect())
    }

    fn open(_task: &Task, settings: Settings) -> Result<Self, Error> {
        Self::new(&settings).map_err(|problem| Error::fatal("settings", problem.message))
    }

    fn apply(&mut self, record: &RecordRef<'_>, out: &mut Output<'_>) -> Result<(), Rejection> {
        if self.decide(record.value)? == Action::Keep {
            out.keep(record);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
