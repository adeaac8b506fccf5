//! What only expired snapshots need is removed, once they are expired: first data files, then the manifests that tell of them, then the lists
//! that lead there. So whoever is interrupted finds the rest again, by the task's mark in the table.
//!
//! Nothing is found by listing: only what an expired snapshot names is removed. What somebody is about to commit nobody names yet, and what a
//! snapshot that is kept needs is named by its neighbour in the line, too (see [`crate::metadata::history`]).

use std::collections::{BTreeMap, BTreeSet};

use millrace_sdk::clock::now_ms;
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
/// Lists that one call reads: those of so many bytes,
const READ_BYTES_MAX: usize = if cfg!(test) { 5_000 } else { 8 << 20 };
/// and no more after this time. The next commit goes on.
const READ_MS_MAX: i64 = 5_000;
/// Longest that one call removes things; the next one goes on where it ended.
const CALL_MS_MAX: i64 = 20_000;
/// Objects that are removed at a time.
const DELETES_MAX: usize = 500;

/// Code of the error that a table's snapshots are no line, so that it isn't known what is needed still.
pub const UNCLEAR: &str = "table.unclear";

/// Why it was not done.
pub enum Fault {
    /// It is to be tried again.
    Later(Error),
    /// It never will be, and the files stay: engines call them orphans.
    Never(String),
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Denied(why) => Self::Never(why),
            refusal => match Error::from(refusal) {
                error if error.kind == millrace_sdk::ErrorKind::Retriable => Self::Later(error),
                // An object that is too large to be read, for one: nothing that a task should end for.
                error => Self::Never(error.message),
            },
        }
    }
}

/// What can't be made out stays, and what it names; the rest goes on.
fn or_stays<T>(found: Result<Option<T>, Fault>) -> Result<Option<T>, Fault> {
    match found {
        Err(Fault::Never(why)) => {
            warn!("files of an expired snapshot stay: {why}");
            Ok(None)
        }
        found => found,
    }
}

/// How many of the files that a manifest says are removed are gone, by its URI: what a call had no time for is left for the next.
pub type Removed = BTreeMap<String, usize>;

/// Removes what the first of these snapshots leave: of as many as may be read in one call. Gives back how many those are. The metadata is such that has
/// none of them any more.
pub fn clean(
    store: &Store,
    warehouse: &Warehouse,
    metadata: &Metadata,
    gone: &[Expired],
    removed: &mut Removed,
) -> Result<usize, Fault> {
    let (since, mut bytes) = (now_ms(), 0);
    let mut kept = BTreeSet::new();
    // A tag, say, may have come to the table: once it is gone the line is clear again.
    let ends = metadata.ends().map_err(|why| Fault::Later(Error::retriable(UNCLEAR, why)))?;
    for uri in ends {
        let list = list(store, warehouse, &uri)?;
        // Somebody expired it in the meantime: the table has to be read again.
        let (list, _) =
            list.ok_or_else(|| Fault::Later(Error::retriable("table.ahead", format!("{uri} is gone"))))?;
        kept.extend(list.manifests().map(|manifest| manifest.path.to_owned()));
    }
    // By URI, with whether it tells of files that nobody needs any more: such as a snapshot removed that is expired, whoever did that and whether or not
    // it has cleaned up, since the manifest goes now if no other snapshot has it.
    let mut manifests: BTreeMap<String, bool> = BTreeMap::new();
    let ids: BTreeSet<i64> = gone.iter().map(|one| one.snapshot).collect();
    let mut done = 0;
    for one in gone {
        let is_enough = bytes >= READ_BYTES_MAX || !(0..READ_MS_MAX).contains(&(now_ms() - since));
        if done > 0 && is_enough {
            break;
        }
        done += 1;
        let Some((list, length)) = or_stays(list(store, warehouse, &one.list))? else { continue };
        bytes += length;
        for manifest in list.manifests() {
            let is_kept = kept.contains(manifest.path);
            let is_over = match is_kept {
                true => ids.contains(&manifest.added_by),
                false => !metadata.has_snapshot(manifest.added_by),
            };
            let removes = manifest.removed_files > 0 && is_over;
            if removes || !is_kept {
                *manifests.entry(manifest.path.to_owned()).or_default() |= removes;
            }
        }
    }
    for (uri, removes) in manifests {
        if removes && let Some(files) = or_stays(removed_by(store, warehouse, &uri))? {
            let before = removed.entry(uri.clone()).or_default();
            for some in files.get(*before..).unwrap_or_default().chunks(DELETES_MAX) {
                delete(store, warehouse, some.iter().map(String::as_str))?;
                *before += some.len();
                if !(0..CALL_MS_MAX).contains(&(now_ms() - since)) {
                    return Err(Fault::Later(Error::retriable("table.cleaning", "there is more to remove")));
                }
            }
        }
        if !kept.contains(&uri) {
            delete(store, warehouse, [uri.as_str()])?;
        }
    }
    delete(store, warehouse, gone[..done].iter().map(|one| one.list.as_str()))?;
    removed.clear();
    Ok(done)
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

/// The files that a manifest says are removed.
fn removed_by(store: &Store, warehouse: &Warehouse, uri: &str) -> Result<Option<Vec<String>>, Fault> {
    let Some(bytes) = read(store, warehouse, uri)? else { return Ok(None) };
    removed_files(&bytes).map(Some).map_err(|why| Fault::Never(format!("{uri}: {why}")))
}

/// A list, and its size.
fn list(store: &Store, warehouse: &Warehouse, uri: &str) -> Result<Option<(List, usize)>, Fault> {
    let Some(bytes) = read(store, warehouse, uri)? else { return Ok(None) };
    let list = List::read(&bytes).map_err(|why| Fault::Never(format!("{uri}: {why}")))?;
    Ok(Some((list, bytes.len())))
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
