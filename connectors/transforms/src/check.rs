//! What the tests of all transforms ask: one call from settings and records to what comes out.

use millrace_sdk::testing::{Record, TransformTest, check_description};
use millrace_sdk::{Problem, Transform};
use serde_json::Value;

/// What comes out of a transform with these settings. The first rejection is the error.
pub(crate) fn apply<T: Transform>(settings: Value, records: &[Record]) -> Result<Vec<Record>, String> {
    check_description(&T::describe()).expect("a sound description");
    let mut test = TransformTest::<T>::open(&settings.to_string()).map_err(|error| error.message)?;
    let applied = test.apply(records).expect("the columns are sound");
    match applied.rejected.first() {
        Some((_, why)) => Err(format!("{}: {}", why.code, why.message)),
        None => Ok(applied.records),
    }
}

/// The value that a transform makes of a record's value.
pub(crate) fn value<T: Transform>(settings: Value, value: &str) -> Result<String, String> {
    let out = apply::<T>(settings, &[Record::keyed("k", value)])?;
    assert_eq!((out.len(), out[0].key.as_deref()), (1, Some(&b"k"[..])));
    Ok(out[0].text())
}

/// What is wrong with settings.
pub(crate) fn problems<T: Transform>(settings: Value) -> Vec<Problem> {
    let settings = millrace_sdk::settings::parse(&settings.to_string()).expect("the settings' form");
    T::validate(&settings).expect("checked")
}

/// Passes a tombstone on as it is.
pub(crate) fn keeps_tombstones<T: Transform>(settings: Value) {
    let tombstone = Record { value: None, ..Record::keyed("k", "") };
    assert_eq!(apply::<T>(settings, std::slice::from_ref(&tombstone)), Ok(vec![tombstone]));
}
