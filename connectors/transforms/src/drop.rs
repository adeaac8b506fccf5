//! `drop`: drops every record that it is given; with a predicate, those that match.

use millrace_sdk::{Description, Error, Output, RecordRef, Rejection, Task, Transform};
use serde::Deserialize;

/// The connector.
#[derive(Debug)]
pub struct DropRecords;

/// None.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {}

impl Transform for DropRecords {
    type Settings = Settings;

    fn describe() -> Description {
        let about = "Drops every record that it is given: put a predicate beside it";
        Description::new("drop", env!("CARGO_PKG_VERSION"), about)
            .key_formats(&["bytes"])
            .value_formats(&["bytes"])
    }

    fn open(_: &Task, _: Settings) -> Result<Self, Error> {
        Ok(Self)
    }

    fn apply(&mut self, _: &RecordRef<'_>, _: &mut Output<'_>) -> Result<(), Rejection> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use millrace_sdk::testing::Record;
    use serde_json::json;

    use super::*;
    use crate::check;

    #[test]
    fn nothing_goes_on() {
        assert_eq!(check::apply::<DropRecords>(json!({}), &[Record::value("?")]), Ok(vec![]));
    }
}
