//! The transform `mask`: hides values of fields in JSON records. Whatever isn't masked stays byte for byte.

mod mask;
mod settings;

use millrace_connector_fields::document;
use millrace_sdk::{Description, Error, Output, Problem, RecordRef, Rejection, Task, Transform};

use self::mask::Mask;
pub use self::settings::Settings;

/// The connector.
#[derive(Debug)]
pub struct MaskTransform {
    mask: Mask,
}

impl Transform for MaskTransform {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new("mask", env!("CARGO_PKG_VERSION"), "Hides values of fields in JSON records")
            .settings(settings::SCHEMA)
            .key_formats(&["bytes"])
    }

    fn validate(settings: &Settings) -> Result<Vec<Problem>, Error> {
        Ok(settings.check().err().into_iter().collect())
    }

    fn open(_task: &Task, settings: Settings) -> Result<Self, Error> {
        let (paths, how) = settings.check().map_err(|problem| Error::fatal("settings", problem.message))?;
        Ok(Self { mask: Mask::new(&paths, how) })
    }

    fn apply(&mut self, record: &RecordRef<'_>, out: &mut Output<'_>) -> Result<(), Rejection> {
        let Some(value) = record.value else {
            out.keep(record);
            return Ok(());
        };
        let text = document(value).map_err(|e| Rejection::new("json", e.to_string()))?;
        out.write_value(record, |into| self.mask.apply(text, into))
            .map_err(|e| Rejection::new("json", e.to_string()))
    }
}
