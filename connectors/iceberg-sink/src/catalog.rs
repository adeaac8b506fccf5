//! Who says which metadata is the table's: a catalog, or where none runs, the order of the metadata's files.
//!
//! Both do three things: they give the newest metadata, they make a table, and they put new metadata in the place of the very one that
//! it was made of, or refuse to. Everything else is built on the last.

pub mod hadoop;
pub mod rest;

use millrace_sdk::Error;

use self::hadoop::Hadoop;
use self::rest::Rest;
use crate::metadata::{Metadata, Update};
use crate::place::Warehouse;
use crate::settings::Settings;
use crate::store::Store;

/// Code of the error that the table has gone on: whether from a commit or past it, it has to be read to know.
pub const AHEAD: &str = "table.ahead";

/// A table as a catalog gave it.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Its metadata.
    pub metadata: Metadata,
    /// By which the catalog knows that it is the newest.
    pub version: Version,
}

/// Which of a table's metadata it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    /// The number of its file, and the etag of the hint that leads to it.
    File {
        /// Its number.
        number: u64,
        /// The hint's etag.
        hint: Option<String>,
    },
    /// Where a catalog keeps it.
    Catalog(String),
}

/// What became of a commit.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It is made; this is the table now.
    Done(Box<Table>),
    /// Somebody else's came before. Nothing was done.
    Conflict,
    /// It may be made or not: read the table to know.
    Unknown(Error),
}

/// What every catalog does.
pub trait Catalog: std::fmt::Debug {
    /// The newest metadata; none: there is no such table.
    fn load(&self) -> Result<Option<Table>, Error>;

    /// Where a new table's files go.
    fn location(&self) -> String;

    /// Makes a table of this metadata, unless there is one.
    fn create(&self, metadata: &Metadata) -> Result<Outcome, Error>;

    /// Changes the table, if this is still its newest metadata.
    fn commit(&self, table: &Table, updates: &[Update]) -> Result<Outcome, Error>;

    /// Whether only a new snapshot makes commits fail that were made of what was before.
    fn commits_are_snapshots(&self) -> bool {
        false
    }
}

/// The catalog that the settings name. Asks it for nothing yet.
pub fn of(settings: &Settings, store: &Store, warehouse: &Warehouse) -> Box<dyn Catalog> {
    let folder = settings.names().join("/");
    match &settings.catalog_connection {
        None => Box::new(Hadoop::new(store.clone(), warehouse.clone(), folder)),
        Some(connection) => {
            let name = settings.catalog_warehouse.as_deref();
            Box::new(Rest::new(connection, name, &settings.names(), warehouse.uri(&folder)))
        }
    }
}
