//! Tables that need no server, as Iceberg's Hadoop catalog lays them out: `metadata/v1.metadata.json`, `v2`, and so on, each written only if
//! it isn't there yet, and `version-hint.text` with the newest one's number.
//!
//! The conditional write is the commit: of two committers that made version 8 of version 7 one is refused. The hint is only where to begin to
//! look, so it may lag; it never goes back, since it is changed by its etag.
//!
//! A committer that slept through a hundred commits may find its number free again, because somebody removed old metadata. The hint tells:
//! it is ahead then, and what was committed is looked for in the newest metadata.
//!
//! Files of a folder have no etags, so there the hint may go back for a moment, and is for readers only: what is newest is what the list says,
//! which is asked behind each write, too. Whoever moves the hint looks again afterwards whether it is the newest one's.

use millrace_sdk::clock::now_ms;
use millrace_sdk::object_store::{Change, Condition, Refusal};
use millrace_sdk::{Error, ErrorKind, warn};

use super::{AHEAD, Catalog, Outcome, Table, Version};
use crate::metadata::{Metadata, Update};
use crate::place::Warehouse;
use crate::store::Store;

/// Newer versions that are tried one by one, before all are listed.
const PROBES_MAX: u64 = 50;
/// Objects that one list asks for, and lists.
const LIST_MAX: u32 = 1000;
const LISTS_MAX: usize = 1000;
/// Attempts to move the hint.
const HINTS_MAX: u32 = 5;
/// A hint is a number and nothing else.
const HINT_BYTES_MAX: u32 = 64;

/// A folder of a warehouse.
#[derive(Clone, Debug)]
pub struct Hadoop {
    store: Store,
    warehouse: Warehouse,
    folder: String,
}

impl Hadoop {
    /// The table in this folder.
    pub fn new(store: Store, warehouse: Warehouse, folder: String) -> Self {
        Self { store, warehouse, folder }
    }

    fn key(&self, number: u64) -> String {
        format!("{}/metadata/v{number}.metadata.json", self.folder)
    }

    fn hint_key(&self) -> String {
        format!("{}/metadata/version-hint.text", self.folder)
    }

    /// The hint and its etag.
    fn hint(&self) -> Result<Option<(u64, String)>, Error> {
        let object = match self.store.get(&self.hint_key(), HINT_BYTES_MAX) {
            Ok(object) => object,
            Err(Refusal::Missing(_)) => return Ok(None),
            Err(refusal) => return Err(refusal.into()),
        };
        let number = std::str::from_utf8(&object.body).ok().and_then(|text| text.trim().parse().ok());
        let number = number.ok_or_else(|| {
            let message = format!("{} holds no number; write the newest version's into it", self.hint_key());
            Error::fatal("table.hint", message)
        })?;
        Ok(Some((number, object.meta.etag)))
    }

    /// The highest version that is there.
    fn newest(&self) -> Result<Option<u64>, Error> {
        let prefix = format!("{}/metadata/v", self.folder);
        // A folder is read whole for each list.
        let most = if self.store.is_folder() { u32::MAX } else { LIST_MAX };
        let (mut after, mut newest) = (None, None);
        for _ in 0..LISTS_MAX {
            let page = self.store.list(&prefix, after.as_deref(), most)?;
            let numbers = page.objects.iter().filter_map(|object| {
                object.key.strip_prefix(&prefix)?.strip_suffix(".metadata.json")?.parse().ok()
            });
            newest = newest.max(numbers.max());
            match page.objects.last() {
                Some(last) if page.more => after = Some(last.key.clone()),
                _ => break,
            }
        }
        Ok(newest)
    }

    /// Refuses a folder whose metadata is named as catalogs do it: `00000-UUID.metadata.json`.
    fn refuse_foreign(&self) -> Result<(), Error> {
        let prefix = format!("{}/metadata/0", self.folder);
        let listed = self.store.list(&prefix, None, LIST_MAX)?.objects;
        // What else begins so is a manifest's, or of a connector that was killed before there was a table.
        match listed.iter().find(|object| object.key.ends_with(".metadata.json")) {
            Some(object) => Err(Error::fatal(
                "table.foreign",
                format!(
                    "{} belongs to a table that a catalog has; write it through that catalog",
                    object.key
                ),
            )),
            None => Ok(()),
        }
    }

    fn read(&self, number: u64) -> Result<Option<Metadata>, Error> {
        let key = self.key(number);
        let object = match self.store.get(&key, 0) {
            Ok(object) => object,
            Err(Refusal::Missing(_)) => return Ok(None),
            Err(refusal) => return Err(refusal.into()),
        };
        let read = serde_json::from_slice(&object.body).map_err(|error| error.to_string());
        let metadata = read.and_then(Metadata::read);
        metadata.map(Some).map_err(|why| Error::fatal("table.metadata", format!("{key}: {why}")))
    }

    /// Writes a version, if it isn't there yet, and moves the hint to it.
    fn write(&self, metadata: Metadata, number: u64, hint: Option<String>) -> Result<Outcome, Error> {
        match self.store.put(&self.key(number), metadata.bytes(), Condition::Absent) {
            Ok(_) => {}
            Err(Refusal::Precondition(_)) => return Ok(Outcome::Conflict),
            Err(Refusal::Failed(error)) if error.kind == ErrorKind::Retriable => {
                return Ok(Outcome::Unknown(error));
            }
            Err(refusal) => return Err(refusal.into()),
        }
        let moved = if self.store.is_folder() { self.point() } else { self.move_hint(number, hint) };
        Ok(match moved {
            // An older one of this number would have gone on, and been removed.
            Hint::At(newest) if newest != number => ahead(),
            Hint::At(_) => {
                let version = Version::File { number, hint: None };
                Outcome::Done(Box::new(Table { metadata, version }))
            }
            Hint::Moved(hint) => {
                let version = Version::File { number, hint: Some(hint) };
                Outcome::Done(Box::new(Table { metadata, version }))
            }
            Hint::Ahead => ahead(),
        })
    }

    /// Removes earlier versions. The hint has passed them: whoever begins to look there doesn't come by their numbers, and whoever would make one of
    /// them again is told by it. What isn't removed now never is.
    fn remove(&self, spare: &[String], newest: u64) {
        let prefix = format!("{}/metadata/v", self.folder);
        let key = |uri: &String| {
            let key = self.warehouse.key(uri).ok()?;
            let number: u64 = key.strip_prefix(&prefix)?.strip_suffix(".metadata.json")?.parse().ok()?;
            (number < newest).then(|| Change::Delete(key.to_owned()))
        };
        let changes: Vec<Change> = spare.iter().filter_map(key).collect();
        if let Some(refusal) = self.store.apply(&changes).into_iter().find_map(Result::err) {
            warn!("an earlier version of the metadata stays: {}", Error::from(refusal).message);
        }
    }

    /// Lets the hint of a folder lead to the newest version.
    fn point(&self) -> Hint {
        let mut told = None;
        for _ in 0..HINTS_MAX {
            let Ok(Some(newest)) = self.newest() else { break };
            if told == Some(newest) {
                return Hint::At(newest);
            }
            if let Err(refusal) = self.store.put(&self.hint_key(), newest.to_string(), Condition::Always) {
                let why = Error::from(refusal).message;
                warn!(
                    "the hint to version {newest} can't be written: {why}; readers that go by it see an older one for now"
                );
                break;
            }
            told = Some(newest);
        }
        Hint::Ahead
    }

    fn move_hint(&self, number: u64, mut etag: Option<String>) -> Hint {
        for _ in 0..HINTS_MAX {
            let condition = etag.clone().map_or(Condition::Absent, Condition::Unchanged);
            match self.store.put(&self.hint_key(), number.to_string(), condition) {
                Ok(etag) => return Hint::Moved(etag),
                Err(Refusal::Precondition(_)) => {}
                // Whether it is ahead isn't known then. Who reads looks for newer versions than the hint's.
                Err(refusal) => {
                    let why = Error::from(refusal).message;
                    warn!(
                        "the hint to version {number} can't be written: {why}; readers that go by it see an older one for now"
                    );
                    return Hint::Ahead;
                }
            }
            match self.hint() {
                Ok(Some((now, _))) if now > number => return Hint::Ahead,
                Ok(Some((now, etag))) if now == number => return Hint::Moved(etag),
                Ok(hint) => etag = hint.map(|(_, etag)| etag),
                Err(_) => return Hint::Ahead,
            }
        }
        Hint::Ahead
    }
}

fn ahead() -> Outcome {
    Outcome::Unknown(Error::retriable(AHEAD, "the table has gone on since this commit was made"))
}

enum Hint {
    /// Leads to the newest version of a folder, which is this one.
    At(u64),
    /// Its etag.
    Moved(String),
    /// Others may have gone on: it has to be looked whether they went on from here.
    Ahead,
}

impl Catalog for Hadoop {
    fn load(&self) -> Result<Option<Table>, Error> {
        let hint = if self.store.is_folder() { None } else { self.hint()? };
        let (mut number, hint) = match hint {
            Some((number, etag)) => (number, Some(etag)),
            None => match self.newest()? {
                Some(number) => (number, None),
                None => {
                    self.refuse_foreign()?;
                    return Ok(None);
                }
            },
        };
        let mut metadata = self.read(number)?;
        for probe in 0.. {
            let next = if probe < PROBES_MAX && metadata.is_some() {
                number.checked_add(1)
            } else {
                // Far behind, or what it leads to was removed.
                self.newest()?.filter(|newest| *newest > number || metadata.is_none())
            };
            let Some(next) = next else { break };
            match self.read(next)? {
                Some(newer) => (number, metadata) = (next, Some(newer)),
                None => break,
            }
        }
        let Some(metadata) = metadata else {
            let message = format!("{} leads to version {number}, which is not there", self.hint_key());
            return Err(Error::fatal("table.hint", message));
        };
        Ok(Some(Table { metadata, version: Version::File { number, hint } }))
    }

    fn location(&self) -> String {
        self.warehouse.uri(&self.folder)
    }

    fn create(&self, metadata: &Metadata) -> Result<Outcome, Error> {
        self.write(metadata.clone(), 1, None)
    }

    fn commit(&self, table: &Table, updates: &[Update]) -> Result<Outcome, Error> {
        let Version::File { number, hint } = &table.version else {
            return Err(Error::fatal("table.version", "the table's metadata is a catalog's"));
        };
        let before = self.warehouse.uri(&self.key(*number));
        let metadata = table.metadata.apply(updates, Some(&before), now_ms());
        let next =
            number.checked_add(1).ok_or_else(|| Error::fatal("table.version", "no version is left"))?;
        let spare = metadata.spare(&table.metadata);
        let outcome = self.write(metadata, next, hint.clone())?;
        if matches!(outcome, Outcome::Done(_)) {
            self.remove(&spare, next);
        }
        Ok(outcome)
    }
}
