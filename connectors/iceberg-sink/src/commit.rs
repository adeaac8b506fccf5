//! The steps between data files and a table that has them, each of which can be repeated, and is, after an error.
//!
//! 1. Data files are objects, each in a place of its own: nobody knows of them.
//! 2. A manifest names them, and a list names it beside the manifests that are there.
//! 3. **The commit** puts metadata with a new snapshot, which has that list, and with the new positions, in the place of the very metadata
//!    that it was made of.
//!
//! Whoever comes second at 3 reads the table, makes sure that what it holds is still its own, and does 2 and 3 again on top of it. When an
//! answer is lost, the table is read, too: it says how many commits each task made.

mod merge;
mod rewrite;
mod summary;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet};

use millrace_sdk::clock::{PAUSE_MS_MAX, now_ms, patiently, pause};
use millrace_sdk::object_store::{Condition, Refusal};
use millrace_sdk::{Error, ErrorKind, TopicPartition, host};

use self::merge::Merging;
pub use self::rewrite::Replaced;
use self::rewrite::Rewriting;
use self::summary::summary;
pub use self::upkeep::Upkeep;
use crate::catalog::{AHEAD, Catalog, Outcome, Table};
use crate::expire;
use crate::fence::{Claim, FENCED, Fence};
use crate::manifest::list::{Added, List, Named};
use crate::manifest::{self, DataFile, Of};
use crate::metadata::{Metadata, Snapshot, Update};
use crate::partition::Divider;
use crate::place::{self, Warehouse};
use crate::schema::Columns;
use crate::small::SmallFiles;
use crate::store::Store;

/// Attempts to get a commit in between those of others.
const ATTEMPTS_MAX: u32 = 30;

/// Rows that are to be added.
#[derive(Debug)]
pub struct NewRows {
    /// The data files: one at least, or a file of deletes.
    pub files: Vec<DataFile>,
    /// Files of deletes.
    pub deletes: Vec<DataFile>,
    /// The columns that they were written by.
    pub columns: Columns,
    /// The spec that they were divided by.
    pub divider: Divider,
}

/// What is to be committed.
#[derive(Debug)]
pub struct Intent {
    /// None: nothing that was taken is a row.
    pub rows: Option<NewRows>,
    /// What the rows were in before; none: they are new.
    pub replaced: Option<Replaced>,
    /// The positions behind them.
    pub positions: BTreeMap<(String, i32), i64>,
    /// Files with lower numbers are in the table then.
    pub numbers: u64,
}

/// An intent that is under way.
#[derive(Debug)]
struct Pending {
    intent: Intent,
    snapshot: i64,
    /// Its manifests, once they are there.
    added: Option<Vec<Added>>,
    /// The manifests that others are merged into: of data, and of deletes.
    merging: [Merging; 2],
    /// The list that was written for it last, and how many were.
    list: Option<Written>,
    lists: u32,
    /// Whether the table has to be read before it is known what became of it.
    in_doubt: bool,
    /// Whether an attempt may have been made whose answer was lost.
    was_in_doubt: bool,
    /// Whether any was made.
    was_sent: bool,
}

/// A list that is there.
#[derive(Clone, Debug)]
struct Written {
    key: String,
    /// What it was made of.
    parent: Option<i64>,
    sequence: i64,
    list: List,
}

/// A table and this task's part in it.
#[derive(Debug)]
pub struct Session {
    store: Store,
    warehouse: Warehouse,
    catalog: Box<dyn Catalog>,
    /// The table as it was last seen; none: there is none yet.
    table: Option<Table>,
    /// When it was last read.
    read_ms: i64,
    /// What this task holds of it.
    pub fence: Fence,
    pending: Option<Pending>,
    /// The manifests of the snapshot with this id.
    manifests: Option<(i64, List)>,
    /// Manifests that can't be merged, though they look like it.
    unmergeable: BTreeSet<String>,
    small: SmallFiles,
    rewriting: Option<Rewriting>,
    removed: expire::Removed,
    upkeep: Upkeep,
}

fn metadata_error(why: String) -> Error {
    Error::fatal("table.metadata", why)
}

/// The table, where there has to be one.
fn known(table: &Option<Table>) -> Result<&Table, Error> {
    table.as_ref().ok_or_else(|| Error::fatal("table.missing", "there is no table"))
}

/// A number that no other snapshot has.
fn random_id() -> i64 {
    let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
    ((high ^ low) >> 1).max(1) as i64
}

impl Session {
    /// Of a task that was just started. Asks for nothing yet.
    pub fn new(
        store: Store,
        warehouse: Warehouse,
        catalog: Box<dyn Catalog>,
        fence: Fence,
        upkeep: Upkeep,
    ) -> Self {
        let (table, pending, manifests) = (None, None, None);
        let (unmergeable, small, rewriting) = (BTreeSet::new(), SmallFiles::default(), None);
        let read_ms = 0;
        Self {
            store,
            warehouse,
            catalog,
            table,
            read_ms,
            fence,
            pending,
            manifests,
            unmergeable,
            small,
            rewriting,
            removed: expire::Removed::new(),
            upkeep,
        }
    }

    /// The table as it was last seen.
    pub fn metadata(&self) -> Option<&Metadata> {
        self.table.as_ref().map(|table| &table.metadata)
    }

    /// The key of one of the table's files.
    pub fn key(&self, name: &str) -> Result<String, Error> {
        let location =
            self.metadata().map_or_else(|| self.catalog.location(), |table| table.location().to_owned());
        Ok(format!("{}/{name}", self.warehouse.key(&location)?))
    }

    /// The warehouse.
    pub fn warehouse(&self) -> &Warehouse {
        &self.warehouse
    }

    /// When the table was last read.
    pub fn read_ms(&self) -> i64 {
        self.read_ms
    }

    /// Reads the table.
    pub fn reload(&mut self) -> Result<(), Error> {
        let table = self.catalog.load()?;
        match (self.metadata(), &table) {
            (Some(before), Some(now)) if before.uuid() != now.metadata.uuid() => {
                return Err(Error::fatal(
                    "table.replaced",
                    "the table was made anew meanwhile; start the connector again",
                ));
            }
            (Some(_), None) => return Err(Error::fatal("table.missing", "the table was removed meanwhile")),
            _ => {}
        }
        self.read_ms = now_ms();
        self.table = table;
        Ok(())
    }

    fn table(&self) -> Result<&Table, Error> {
        known(&self.table)
    }

    /// Changes the table by what `updates` makes of it, on top of whatever others do to it. None of `updates`: there is nothing to do.
    fn change(
        &mut self,
        mut updates: impl FnMut(&Metadata) -> Result<Option<Vec<Update>>, Error>,
    ) -> Result<(), Error> {
        for attempt in 1..=ATTEMPTS_MAX {
            let table = self.table()?;
            let Some(mut updates) = updates(&table.metadata)? else { return Ok(()) };
            if self.catalog.commits_are_snapshots() {
                match self.empty_snapshot() {
                    Ok(snapshot) => updates.extend(snapshot),
                    Err(error) if error.code == AHEAD => {
                        patiently(|| self.reload())?;
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            }
            match self.catalog.commit(self.table()?, &updates)? {
                Outcome::Done(table) => {
                    self.table = Some(*table);
                    return Ok(());
                }
                Outcome::Conflict => wait(attempt),
                Outcome::Unknown(error) if error.kind == ErrorKind::Fatal => return Err(error),
                Outcome::Unknown(_) => wait(attempt),
            }
            patiently(|| self.reload())?;
        }
        Err(busy())
    }

    /// Makes these partitions the task's own; their positions are in the fence then. What instances before it left is removed.
    pub fn claim(&mut self, partitions: &[TopicPartition]) -> Result<(), Error> {
        let mut claimed: Option<Claim> = None;
        let (fence, wanted) = (self.fence.clone(), self.upkeep.properties.clone());
        self.change(|metadata| {
            if claimed.as_ref().is_some_and(|claim| fence.is_claimed(metadata, claim)) {
                return Ok(None);
            }
            let claim = fence.claim(Some(metadata), partitions)?;
            let others =
                wanted.iter().filter(|(name, value)| metadata.property(name) != Some(value.as_str()));
            let mut updates = claim.properties.clone();
            updates.extend(others.map(|(name, value)| (name.clone(), value.clone())));
            let updates = vec![Update::SetProperties { updates }];
            claimed = Some(claim);
            Ok(Some(updates))
        })?;
        if let Some(claim) = claimed {
            self.own(claim);
        }
        self.sweep()?;
        self.sweep_unfinished()?;
        self.tidy()
    }

    /// Removes hidden files of instances that were replaced before they were in the table.
    pub fn sweep_unfinished(&self) -> Result<(), Error> {
        let Store::Folder(folder) = &self.store else { return Ok(()) };
        let all = self.key(self.fence.instance.all_metadata().as_str())?;
        for name in folder.names(&all)?.into_iter().filter(|name| self.fence.instance.is_after(name)) {
            patiently(|| place::sweep_uploads(&self.store, &format!("{all}/{name}/")))?;
        }
        Ok(())
    }

    /// A snapshot that has what the one before has.
    fn empty_snapshot(&mut self) -> Result<[Update; 2], Error> {
        let list = self.manifests()?;
        let metadata = &self.table()?.metadata;
        let (snapshot_id, parent) = (random_id(), metadata.snapshot_id());
        let sequence = metadata.sequence() + 1;
        let schema_id = i32::try_from(metadata.schema_id()).unwrap_or(0);
        let written = Written { key: self.key(&self.fence.instance.claim_list())?, parent, sequence, list };
        let bytes = written.list.bytes(snapshot_id, parent, sequence).map_err(metadata_error)?;
        self.store.put(&written.key, bytes, Condition::Always)?;
        let snapshot =
            self.snapshot_of(snapshot_id, &written, summary(None, 0, None, metadata), schema_id)?;
        Ok([Update::AddSnapshot { snapshot }, Update::set_main(snapshot_id)])
    }

    fn snapshot_of(
        &self,
        snapshot_id: i64,
        written: &Written,
        summary: BTreeMap<&'static str, String>,
        schema_id: i32,
    ) -> Result<Snapshot, Error> {
        Ok(Snapshot {
            snapshot_id,
            parent_snapshot_id: written.parent,
            sequence_number: written.sequence,
            timestamp_ms: now_ms().max(self.table()?.metadata.updated_ms()),
            manifest_list: self.warehouse.uri(&written.key),
            summary,
            schema_id,
        })
    }

    fn own(&mut self, claim: Claim) {
        self.fence.mark = claim.mark;
        self.fence.held.extend(claim.positions);
    }

    fn sweep(&mut self) -> Result<(), Error> {
        while let Some(dead) = self.fence.mark.dead.first().cloned() {
            let instance = &self.fence.instance;
            let folders = [
                (instance.data(&dead.instance), dead.files),
                (instance.metadata(&dead.instance), dead.commits),
            ];
            for (folder, from) in folders {
                let folder = self.key(&folder)?;
                patiently(|| place::sweep(&self.store, &folder, from))?;
            }
            self.fence.mark.dead.remove(0);
        }
        Ok(())
    }

    /// Makes the table, with these partitions as the task's own. If somebody else made it first, that one is taken.
    pub fn create(
        &mut self,
        partitions: &[TopicPartition],
        make: impl Fn(&str, &str) -> Result<Metadata, Error>,
    ) -> Result<(), Error> {
        let claim = self.fence.claim(None, partitions)?;
        let uuid = uuid::Uuid::new_v4().to_string();
        let metadata = make(&uuid, &self.catalog.location())?;
        let mut updates = self.upkeep.properties.clone();
        updates.extend(claim.properties.clone());
        let metadata = metadata.apply(&[Update::SetProperties { updates }], None, now_ms());
        match self.catalog.create(&metadata)? {
            Outcome::Done(table) => {
                self.table = Some(*table);
                self.own(claim);
                return Ok(());
            }
            Outcome::Conflict => {}
            Outcome::Unknown(error) if error.kind == ErrorKind::Fatal => return Err(error),
            Outcome::Unknown(_) => {}
        }
        self.reload()?;
        if self.table.is_none() {
            return Err(Error::retriable("table.create", "it is not known whether the table was made"));
        }
        if let Err(error) = self.claim(partitions) {
            // What is not this task's is not there for it.
            self.table = None;
            return Err(error);
        }
        // Reading began without them.
        if self.fence.held.values().any(Option::is_some) {
            let message = "the table was made meanwhile, and holds positions of these partitions; start the connector again";
            return Err(Error::fatal("table.appeared", message));
        }
        Ok(())
    }

    /// Adds a schema and writes by it from now on; `wanted` makes it of the table's, or nothing if that will do.
    pub fn evolve(
        &mut self,
        mut wanted: impl FnMut(&Metadata) -> Result<Option<(Columns, i32)>, Error>,
    ) -> Result<(), Error> {
        self.change(|metadata| {
            let Some((mut columns, last_column_id)) = wanted(metadata)? else { return Ok(None) };
            columns.schema_id = metadata.next_schema();
            let added = Update::AddSchema { schema: columns.json(), last_column_id };
            Ok(Some(vec![added, Update::SetCurrentSchema { schema_id: -1 }]))
        })
    }

    /// Whether an intent is under way.
    pub fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// Begins to commit.
    pub fn intend(&mut self, intent: Intent) {
        self.pending = Some(Pending {
            intent,
            snapshot: random_id(),
            added: None,
            merging: [Merging::Open, Merging::Open],
            list: None,
            lists: 0,
            in_doubt: false,
            was_in_doubt: false,
            was_sent: false,
        });
    }

    /// Commits what is intended. After an error for now it is under way still, and is to be settled again.
    pub fn settle(&mut self) -> Result<(), Error> {
        let Some(mut pending) = self.pending.take() else { return Ok(()) };
        let settled = self.commit(&mut pending);
        match &settled {
            Ok(()) => host::count("commits", 1, &[]),
            Err(error) if error.kind == ErrorKind::Retriable => self.pending = Some(pending),
            Err(error) if error.code == FENCED => self.abandon(&pending),
            Err(_) => {}
        }
        settled
    }

    /// Removes what a fenced task wrote, if it is certain that it is not in the table. That an attempt came second is not enough: something on the
    /// way may have repeated one that came first. What can't be removed is of no account.
    fn abandon(&self, pending: &Pending) {
        let commits = self.fence.mark.commits;
        let was_left = |metadata| self.fence.was_left_with(metadata, commits);
        if pending.was_sent && !self.metadata().is_some_and(was_left) {
            return;
        }
        for key in self.written(pending) {
            let _unneeded = self.store.delete(&key);
        }
    }

    /// Everything that was written for an intent, whether or not it is there still.
    fn written(&self, pending: &Pending) -> Vec<String> {
        let files = pending.intent.files().filter_map(|file| self.warehouse.key(&file.path).ok());
        let (instance, commits) = (&self.fence.instance, self.fence.mark.commits);
        let names = Of::ALL.map(|of| [instance.manifest(commits, of), instance.merged(commits, of)]);
        let manifests = names.as_flattened().iter().filter_map(|name| self.key(name).ok());
        let list = pending.list.as_ref().map(|list| list.key.clone());
        files.map(str::to_owned).chain(manifests).chain(list).collect()
    }

    /// Removes what was written for an intent that has lost its object, if nothing can name it.
    fn give_up(&self, pending: &Pending) -> Result<(), Error> {
        if !pending.was_in_doubt {
            for key in self.written(pending) {
                match self.store.delete(&key).map_err(Error::from) {
                    Err(error) if error.kind == ErrorKind::Retriable => return Err(error),
                    // It may not be allowed: then it stays, and nothing names it.
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn commit(&mut self, pending: &mut Pending) -> Result<(), Error> {
        let number = self.fence.mark.commits;
        for attempt in 1..=ATTEMPTS_MAX {
            if pending.in_doubt {
                self.reload()?;
                pending.in_doubt = false;
            }
            let metadata = &self.table()?.metadata;
            if self.fence.committed(metadata, number)?.is_none() {
                self.fence.check(metadata)?;
                let mut updates = match self.snapshot(pending, number) {
                    Err(error) if error.code == AHEAD => {
                        pending.in_doubt = true;
                        continue;
                    }
                    updates => match updates? {
                        Some(updates) => updates,
                        None => return self.give_up(pending),
                    },
                };
                let expired = self.expired()?;
                if !expired.is_empty() {
                    let snapshot_ids = expired.iter().map(|one| one.snapshot).collect();
                    updates.push(Update::RemoveSnapshots { snapshot_ids });
                }
                let Intent { positions, numbers, .. } = &pending.intent;
                let properties = self.fence.advance(positions, *numbers, &expired)?;
                updates.push(Update::SetProperties { updates: properties });
                (pending.in_doubt, pending.was_sent) = (true, true);
                match self.catalog.commit(self.table()?, &updates) {
                    Ok(Outcome::Done(table)) => self.table = Some(*table),
                    Ok(Outcome::Conflict) => {
                        wait(attempt);
                        continue;
                    }
                    Ok(Outcome::Unknown(error)) => {
                        pending.was_in_doubt = true;
                        if error.code == AHEAD {
                            continue;
                        }
                        return Err(error);
                    }
                    Err(error) => {
                        pending.was_in_doubt = true;
                        return Err(error);
                    }
                }
            }
            if let Some(written) = pending.list.take() {
                self.manifests = Some((pending.snapshot, written.list));
            }
            self.note_small(pending);
            let mark = self.fence.committed(&self.table()?.metadata, number)?;
            self.fence.mark =
                mark.ok_or_else(|| metadata_error("it has lost what was just committed".to_owned()))?;
            let positions = std::mem::take(&mut pending.intent.positions);
            self.fence.held.extend(positions.into_iter().map(|(of, offset)| (of, Some(offset))));
            return Ok(());
        }
        Err(busy())
    }

    /// The updates that add the files: no updates, if there are no files and none are needed; none, if what they were to replace is not there.
    fn snapshot(&mut self, pending: &mut Pending, number: u64) -> Result<Option<Vec<Update>>, Error> {
        if pending.intent.rows.is_none() && !self.catalog.commits_are_snapshots() {
            return Ok(Some(Vec::new()));
        }
        let Some(written) = self.list(pending, number)? else { return Ok(None) };
        let (intent, metadata) = (&pending.intent, &self.table()?.metadata);
        let summary = summary(intent.rows.as_ref(), intent.partitions(), intent.replaced.as_ref(), metadata);
        let current = i32::try_from(metadata.schema_id()).unwrap_or(0);
        let schema_id = intent.rows.as_ref().map_or(current, |rows| rows.columns.schema_id);
        let snapshot = self.snapshot_of(pending.snapshot, &written, summary, schema_id)?;
        Ok(Some(vec![Update::AddSnapshot { snapshot }, Update::set_main(pending.snapshot)]))
    }

    /// The list of manifests on top of the table's, which is written anew only when the table has changed; none: what the files are to replace is
    /// not there.
    fn list(&mut self, pending: &mut Pending, number: u64) -> Result<Option<Written>, Error> {
        let metadata = &self.table()?.metadata;
        let (parent, sequence) = (metadata.snapshot_id(), metadata.sequence() + 1);
        match &pending.list {
            Some(written) if (written.parent, written.sequence) == (parent, sequence) => {
                return Ok(Some(written.clone()));
            }
            Some(written) if !pending.was_in_doubt => {
                // It came second, and nothing names it.
                let _unneeded = self.store.delete(&written.key);
            }
            _ => {}
        }
        pending.list = None;
        let mut list = self.manifests()?;
        divided_once(&pending.intent, &list)?;
        let added = self.added(pending, number)?;
        for of in Of::ALL {
            match self.merged(pending, number, of, &list)? {
                Some(merged) => list = list.merged(&merged, sequence),
                None if pending.intent.replaced.is_some() && of == Of::Data => return Ok(None),
                None => {}
            }
        }
        let list = list.with(&added, sequence);
        let bytes = list.bytes(pending.snapshot, parent, sequence).map_err(metadata_error)?;
        let key = self.key(&self.fence.instance.list(number, pending.lists))?;
        pending.lists += 1;
        self.store.put(&key, bytes, Condition::Always)?;
        let written = Written { key, parent, sequence, list };
        pending.list = Some(written.clone());
        Ok(Some(written))
    }

    /// The manifests of the files, which are written once.
    fn added(&self, pending: &mut Pending, number: u64) -> Result<Vec<Added>, Error> {
        if let Some(added) = &pending.added {
            return Ok(added.clone());
        }
        let mut all = Vec::new();
        let Some(NewRows { files, deletes, columns, divider }) = &pending.intent.rows else { return Ok(all) };
        for of in Of::ALL {
            let files = of.of([files, deletes]);
            if files.is_empty() {
                continue;
            }
            let bytes =
                manifest::write(of, files, pending.snapshot, columns, divider).map_err(metadata_error)?;
            let key = self.key(&self.fence.instance.manifest(number, of))?;
            let name = (self.warehouse.uri(&key), bytes.len());
            all.push(Added::new(of, (&name.0, name.1), pending.snapshot, files, divider));
            self.store.put(&key, bytes, Condition::Always)?;
        }
        pending.added = Some(all.clone());
        Ok(all)
    }

    /// Why there is no list of manifests of this snapshot: somebody went on from it and expired it, or else the table is broken.
    fn without_list(&mut self, id: i64, why: String) -> Error {
        match self.reload() {
            Err(error) => error,
            Ok(()) if self.metadata().and_then(Metadata::snapshot_id) == Some(id) => {
                metadata_error(format!("the newest snapshot's manifests can't be read: {why}"))
            }
            Ok(()) => Error::retriable(AHEAD, why),
        }
    }

    /// The manifests of the table's snapshot.
    fn manifests(&mut self) -> Result<List, Error> {
        let metadata = &self.table()?.metadata;
        let Some(id) = metadata.snapshot_id() else { return Ok(List::default()) };
        if let Some((_, list)) = self.manifests.as_ref().filter(|(of, _)| *of == id) {
            return Ok(list.clone());
        }
        let snapshot =
            metadata.snapshot().ok_or_else(|| metadata_error(format!("snapshot {id} is missing")))?;
        let uri = snapshot["manifest-list"]
            .as_str()
            .ok_or_else(|| metadata_error(format!("snapshot {id} has no list of manifests")))?;
        let object = match self.store.get(self.warehouse.key(uri)?, 0) {
            Err(Refusal::Missing(why)) => return Err(self.without_list(id, why)),
            object => object?,
        };
        let list = List::read(&object.body).map_err(|why| metadata_error(format!("{uri}: {why}")))?;
        self.manifests = Some((id, list.clone()));
        Ok(list)
    }
}

/// Refuses deletes where rows lie in a division that they don't hold for.
fn divided_once(intent: &Intent, list: &List) -> Result<(), Error> {
    let Some(rows) = intent.rows.as_ref().filter(|rows| !rows.deletes.is_empty()) else { return Ok(()) };
    let own = rows.divider.spec.id;
    let is_other = |of: &Named<'_>| of.content == Of::Data.number() && of.spec_id != own && of.files > 0;
    match list.manifests().find(is_other) {
        // A delete that is divided by nothing holds for all.
        Some(other) if !rows.divider.spec.fields.is_empty() => Err(Error::fatal(
            "table.partition",
            format!(
                "the table has files that are divided in another way (spec {}) than its new ones (spec {own}): deletes hold for one division; let an \
                 engine rewrite its data files",
                other.spec_id
            ),
        )),
        _ => Ok(()),
    }
}

impl Intent {
    fn files(&self) -> impl Iterator<Item = &DataFile> {
        self.rows.iter().flat_map(|rows| rows.files.iter().chain(&rows.deletes))
    }

    /// Partitions that its files are in.
    fn partitions(&self) -> usize {
        let keys = |rows: &NewRows| {
            let keys = rows.files.iter().chain(&rows.deletes).map(|file| rows.divider.key(&file.partition));
            keys.collect::<BTreeSet<_>>().len()
        };
        self.rows.as_ref().map_or(0, keys)
    }
}

/// Waits so long that others get through, and not all of them at once.
fn wait(attempt: u32) {
    let most = (25_u32 << attempt.min(6)).min(PAUSE_MS_MAX);
    let part = u32::try_from(random_id() % i64::from(most)).unwrap_or(0);
    pause(most / 2 + part / 2);
}

fn busy() -> Error {
    Error::retriable("table.busy", format!("others came first {ATTEMPTS_MAX} times in a row"))
}
