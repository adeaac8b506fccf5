//! The transform `jq`: new values, keys, headers, topics and timestamps of records by expressions of the language jq.
//!
//! | file | what is in it |
//! |---|---|
//! | `settings` | what a pipeline says, and its schema |
//! | `program` | an expression, compiled in steps, so that an error can say where it happened |
//! | `document` | JSON text to jq's values and back, strictly |
//! | `mapping` | from one record to those that come out |
//!
//! What can go wrong with one record rejects it. An expression that never ends is not seen here: the host's call timeout stops
//! the task, and its memory limit one that takes too much.

mod document;
mod mapping;
mod program;
mod settings;

use millrace_sdk::{Description, Error, Output, Problem, RecordRef, Rejection, Task, Transform};

use self::mapping::Mapping;
pub use self::settings::Settings;

/// The connector.
#[derive(Debug)]
pub struct Jq {
    mapping: Mapping,
}

impl Transform for Jq {
    type Settings = Settings;

    fn describe() -> Description {
        let about = "Maps, filters and splits JSON records by expressions of the language jq";
        Description::new("jq", env!("CARGO_PKG_VERSION"), about)
            .settings(settings::SCHEMA)
            .key_formats(&["bytes"])
    }

    fn validate(settings: &Settings) -> Result<Vec<Problem>, Error> {
        Ok(Mapping::new(settings).err().unwrap_or_default())
    }

    fn open(_: &Task, settings: Settings) -> Result<Self, Error> {
        let mapping = Mapping::new(&settings).map_err(|problems| {
            let messages: Vec<String> = problems.into_iter().map(|problem| problem.message).collect();
            Error::fatal("settings", messages.join("; "))
        })?;
        Ok(Self { mapping })
    }

    fn apply(&mut self, record: &RecordRef<'_>, out: &mut Output<'_>) -> Result<(), Rejection> {
        self.mapping.apply(record, out)
    }
}

millrace_sdk::export_transform!(Jq);

#[cfg(test)]
mod tests;
