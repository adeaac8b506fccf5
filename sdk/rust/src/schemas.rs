//! Schemas of a registry that the pipeline grants by name.
//!
//! A setting with `"x-connection": "schema_registry"` in the schema names the connection; the host knows its addresses and credentials. Most connectors need
//! none of it: the pipeline's `key_format` and `value_format` convert. This is for those that carry encoded records elsewhere, or
//! describe to a target what they bring. A schema never changes under its id: keep what you were told.
//!
//! Natively there is a registry for each thread, empty at first, which takes whatever is registered.

pub use crate::bindings::schemas::millrace::connect::schemas::{Dependency, Format, Registered, Schema};
use crate::error::Error;

impl Schema {
    /// A schema that refers to no other.
    pub fn new(format: Format, definition: impl Into<String>) -> Self {
        Self { format, definition: definition.into(), dependencies: Vec::new() }
    }
}

/// The schema of an id.
///
/// # Errors
/// Of this and the others: retriable is a registry that is out of reach; fatal with the code `schemas.unknown` what it doesn't have,
/// `schemas.refused` what it refuses, `schemas.denied` a connection that isn't granted.
pub fn get(connection: &str, id: u32) -> Result<Schema, Error> {
    imports::get(connection, id)
}

/// The last version of a subject.
pub fn latest(connection: &str, subject: &str) -> Result<Registered, Error> {
    imports::latest(connection, subject)
}

/// Makes a schema the subject's last version, unless the subject has it; its id.
pub fn register(connection: &str, subject: &str, schema: &Schema) -> Result<u32, Error> {
    imports::register(connection, subject, schema)
}

/// The id of a schema that the subject has.
pub fn find(connection: &str, subject: &str, schema: &Schema) -> Result<u32, Error> {
    imports::find(connection, subject, schema)
}

#[cfg(target_family = "wasm")]
mod imports {
    use super::{Registered, Schema};
    use crate::bindings::schemas::millrace::connect::schemas;
    use crate::error::Error;

    pub(super) fn get(connection: &str, id: u32) -> Result<Schema, Error> {
        Ok(schemas::get(connection, id)?)
    }

    pub(super) fn latest(connection: &str, subject: &str) -> Result<Registered, Error> {
        Ok(schemas::latest(connection, subject)?)
    }

    pub(super) fn register(connection: &str, subject: &str, schema: &Schema) -> Result<u32, Error> {
        Ok(schemas::register(connection, subject, schema)?)
    }

    pub(super) fn find(connection: &str, subject: &str, schema: &Schema) -> Result<u32, Error> {
        Ok(schemas::find(connection, subject, schema)?)
    }
}

#[cfg(not(target_family = "wasm"))]
mod imports {
    use std::cell::RefCell;

    use super::{Registered, Schema};
    use crate::error::Error;

    thread_local! {
        /// Subject and schema; the id is the place, from 1.
        static REGISTERED: RefCell<Vec<(String, Schema)>> = const { RefCell::new(Vec::new()) };
    }

    fn unknown(what: &str) -> Error {
        Error::fatal("schemas.unknown", format!("the registry of this test has no {what}"))
    }

    pub(super) fn get(_connection: &str, id: u32) -> Result<Schema, Error> {
        let schema = REGISTERED.with_borrow(|all| Some(all.get(id.checked_sub(1)? as usize)?.1.clone()));
        schema.ok_or_else(|| unknown(&format!("schema {id}")))
    }

    pub(super) fn latest(_connection: &str, subject: &str) -> Result<Registered, Error> {
        let found = REGISTERED.with_borrow(|all| {
            let (at, (_, schema)) = all.iter().enumerate().rfind(|(_, (of, _))| of == subject)?;
            Some(Registered { id: at as u32 + 1, schema: schema.clone() })
        });
        found.ok_or_else(|| unknown(&format!("subject {subject}")))
    }

    pub(super) fn register(connection: &str, subject: &str, schema: &Schema) -> Result<u32, Error> {
        if let Ok(id) = find(connection, subject, schema) {
            return Ok(id);
        }
        Ok(REGISTERED.with_borrow_mut(|all| {
            all.push((subject.to_owned(), schema.clone()));
            all.len() as u32
        }))
    }

    pub(super) fn find(_connection: &str, subject: &str, schema: &Schema) -> Result<u32, Error> {
        let at =
            REGISTERED.with_borrow(|all| all.iter().position(|(of, known)| of == subject && known == schema));
        at.map(|at| at as u32 + 1).ok_or_else(|| unknown(&format!("such schema of subject {subject}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_of_a_test_keeps_what_is_registered() {
        let schema = Schema::new(Format::Avro, r#""string""#);
        assert_eq!(find("r", "birds-value", &schema).unwrap_err().code, "schemas.unknown");
        let id = register("r", "birds-value", &schema).unwrap();
        assert_eq!(register("r", "birds-value", &schema), Ok(id));
        assert_eq!(find("r", "birds-value", &schema), Ok(id));
        assert_eq!(get("r", id), Ok(schema.clone()));
        let other = Schema::new(Format::Avro, r#""long""#);
        let next = register("r", "birds-value", &other).unwrap();
        assert_eq!(latest("r", "birds-value"), Ok(Registered { id: next, schema: other }));
        assert!(get("r", 0).is_err() && get("r", next + 1).is_err() && latest("r", "other").is_err());
    }
}
