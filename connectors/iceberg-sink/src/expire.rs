//! What only expired snapshots need is removed, once they are expired: first data files, then the manifests that tell of them, then the lists
//! that lead there. So whoever is interrupted finds the rest again, by the task's mark in the table.
//!
//! Nothing is found by listing: only what an expired snapshot names is removed. What somebody is about to commit nobody names yet, and what a
//! snapshot that is kept needs is named by its neighbour in the line, too (see [`crate::metadata::history`]).

use std::collections::{BTreeMap, BTreeSet};

use millrace_sdk::object_store::{Change, Refusal};
use millrace_sdk::{Error, host, warn};

use crate::manifest::list::List;
use crate::manifest::removed_files;
use crate::metadata::Metadata;
use crate::metadata::history::Expired;
use crate::place::Warehouse;
use crate::store::Store;

/// Snapshots that one commit expires at most: their lists stand in the table until they are cleaned up after.
pub const SNAPSHOTS_MAX: usize = 100;
/// Objects that are removed at a time.
const DELETES_MAX: usize = 500;

/// Why it was not done.
pub enum Fault {
    /// It is to be tried again.
    Later(Error),
    /// It never will be, and the files stay: engines call them orphans.
    Never(String),
    /// The task can't go on.
    Fatal(Error),
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Denied(why) => Self::Never(why),
            refusal => match Error::from(refusal) {
                error if error.kind == millrace_sdk::ErrorKind::Retriable => Self::Later(error),
                error => Self::Fatal(error),
            },
        }
    }
}

/// Removes what these snapshots leave. The metadata is such that has none of them any more.
pub fn clean(
    store: &Store,
    warehouse: &Warehouse,
    metadata: &Metadata,
    gone: &[Expired],
) -> Result<(), Fault> {
    let ids: BTreeSet<i64> = gone.iter().map(|one| one.snapshot).collect();
    let mut kept = BTreeSet::new();
    for uri in metadata.ends().map_err(Fault::Never)? {
        let list = list(store, warehouse, &uri)?;
        // Somebody expired it in the meantime: the table has to be read again.
        let list =
            list.ok_or_else(|| Fault::Later(Error::retriable("table.ahead", format!("{uri} is gone"))))?;
        kept.extend(list.manifests().map(|manifest| manifest.path.to_owned()));
    }
    // By URI, with whether it tells of files that one of these snapshots removed.
    let mut manifests: BTreeMap<String, bool> = BTreeMap::new();
    for one in gone {
        let Some(list) = list(store, warehouse, &one.list)? else { continue };
        for manifest in list.manifests() {
            let removes = manifest.removed_files > 0 && ids.contains(&manifest.added_by);
            if removes || !kept.contains(manifest.path) {
                *manifests.entry(manifest.path.to_owned()).or_default() |= removes;
            }
        }
    }
    for (uri, removes) in manifests {
        if removes && let Some(bytes) = read(store, warehouse, &uri)? {
            let files = removed_files(&bytes).map_err(|why| Fault::Never(format!("{uri}: {why}")))?;
            delete(store, warehouse, files.iter().map(String::as_str))?;
        }
        if !kept.contains(&uri) {
            delete(store, warehouse, [uri.as_str()])?;
        }
    }
    delete(store, warehouse, gone.iter().map(|one| one.list.as_str()))
}

/// An object of the table; none: it is not there any more.
fn read(store: &Store, warehouse: &Warehouse, uri: &str) -> Result<Option<Vec<u8>>, Fault> {
    let key = warehouse.key(uri).map_err(|error| Fault::Never(error.message))?;
    match store.get(key, 0) {
        Ok(object) => Ok(Some(object.body)),
        Err(Refusal::Missing(_)) => Ok(None),
        Err(refusal) => Err(refusal.into()),
    }
}

fn list(store: &Store, warehouse: &Warehouse, uri: &str) -> Result<Option<List>, Fault> {
    let Some(bytes) = read(store, warehouse, uri)? else { return Ok(None) };
    List::read(&bytes).map(Some).map_err(|why| Fault::Never(format!("{uri}: {why}")))
}

fn delete<'u>(
    store: &Store,
    warehouse: &Warehouse,
    uris: impl IntoIterator<Item = &'u str>,
) -> Result<(), Fault> {
    let mut changes = Vec::new();
    for uri in uris {
        match warehouse.key(uri) {
            Ok(key) => changes.push(Change::Delete(key.to_owned())),
            Err(error) => warn!("it is not removed: {}", error.message),
        }
    }
    for some in changes.chunks(DELETES_MAX) {
        for answer in store.apply(some) {
            answer?;
        }
        host::count("files_removed", some.len() as u64, &[]);
    }
    Ok(())
}
