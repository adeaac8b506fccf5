//! The transform `rename`: gives fields of JSON records other names. Values and all other bytes stay as they are.

mod rename;
mod settings;

use millrace_connector_fields::document;
use millrace_sdk::{Description, Error, Output, Problem, RecordRef, Rejection, Task, Transform};

use self::rename::Rename;
pub use self::settings::Settings;

/// The connector.
#[derive(Debug)]
pub struct RenameTransform {
    rename: Rename,
}

impl Transform for RenameTransform {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new("rename", env!("CARGO_PKG_VERSION"), "Gives fields of JSON records other names")
            .settings(settings::SCHEMA)
            .key_formats(&["bytes"])
    }

    fn validate(settings: &Settings) -> Result<Vec<Problem>, Error> {
        Ok(settings.check().err().into_iter().collect())
    }

    fn open(_task: &Task, settings: Settings) -> Result<Self, Error> {
        let renamings = settings.check().map_err(|problem| Error::fatal("settings", problem.message))?;
        Ok(Self { rename: Rename::new(renamings) })
    }

    fn apply(&mut self, record: &RecordRef<'_>, out: &mut Output<'_>) -> Result<(), Rejection> {
        let Some(value) = record.value else {
            out.keep(record);
            return Ok(());
        };
        let text = document(value).map_err(|e| Rejection::new("json", e.to_string()))?;
        out.write_value(record, |into| self.rename.apply(text, into)).map_err(|e| {
            let code = if matches!(e, rename::Error::NotJson(_)) { "json" } else { "name-taken" };
            Rejection::new(code, e.to_string())
        })
    }
}
