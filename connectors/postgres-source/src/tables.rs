//! Which changes belong into the topic while a table's rows are being read.
//!
//! A table is read in chunks, in the order of its key. Each chunk is read in a snapshot of its own, goes into the topic at once, and
//! the stream goes on between two chunks. A row is then told either by its chunk or by the stream:
//!
//! | a change whose key is | and that the chunk | goes into the topic |
//! |---|---|---|
//! | in a chunk that was read | didn't see | yes: it is newer than the row |
//! | in a chunk that was read | saw | no: the row has it already |
//! | behind the last chunk | | no: a later chunk will see it |
//!
//! The last line is only true because a chunk is read in a snapshot that sees **every transaction that was taken from the stream so
//! far** ([`Tables::may_read_in`]). That is not so by itself: a transaction is in the log before others see it, for as long as
//! it waits for a standby. So the stream is not read on until they do. Of those that an earlier run took the
//! numbers are not known; what they have in common is that they ran before this one looked ([`Barrier`]). The same barrier keeps out
//! those that had changed a table before it was published.
//!
//! Invariants:
//! - Bounds rise along a table's chunks; a change is compared with them as the server orders keys.
//! - The stream has passed `Chunk::lsn` ⇒ it gives no more transactions that the chunk saw, and the chunk is settled.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use millrace_sdk::Error;
use serde::{Deserialize, Serialize};

use crate::lsn::Lsn;
use crate::snapshot::Snapshot;

/// Tables of one source: the host takes so many checkpoints at once, and more.
pub(crate) const TABLES_MAX: usize = 20_000;
/// Chunks of a table that the stream has not passed yet: past that, it is not read on.
pub(crate) const UNSETTLED_MAX: usize = 16;
/// Bytes of a table's checkpoint past which it is not read on either. The host takes 64 KiB: there is room for one more chunk, with the
/// largest key, the largest snapshot and the names of the key's columns.
const CHECKPOINT_BYTES_FULL: usize = 24 << 10;
/// Most bytes of a row's key in a checkpoint; PostgreSQL's indexes hold some 2,700 after compression.
pub(crate) const KEY_BYTES_MAX: usize = 8 << 10;
/// Most bytes of a snapshot in a checkpoint, which names the transactions that were running.
const SNAPSHOT_BYTES_MAX: usize = 24 << 10;
/// Bytes of a chunk in a checkpoint besides.
const CHUNK_BYTES: usize = 64;
/// Transactions that a snapshot has to see by their numbers: past that, a new barrier stands for them.
const TAKEN_MAX: usize = 100_000;

/// Values of a row's key columns, in PostgreSQL's text format.
pub(crate) type Key = Vec<String>;

/// Bytes of a key in a checkpoint.
pub(crate) fn key_bytes(key: &Key) -> usize {
    let byte = |byte: u8| match byte {
        b'"' | b'\\' => 2,
        0..=0x1f => 6,
        _ => 1,
    };
    key.iter().map(|part| 3 + part.bytes().map(byte).sum::<usize>()).sum::<usize>() + 2
}

/// How far a table's rows have been read. It is a checkpoint.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Table {
    /// The columns that rows are ordered by; none: it was not begun, or has no key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) key: Vec<String>,
    /// The last row of a settled chunk: all changes up to it belong into the topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settled: Option<Key>,
    /// Chunks that are not settled yet, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    chunks: Vec<Chunk>,
    /// Whether all rows have been read.
    #[serde(default)]
    pub(crate) is_read: bool,
    /// Rows read so far.
    #[serde(default)]
    pub(crate) rows: u64,
}

/// A chunk in the topic.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Chunk {
    /// Its last row; none: the end of the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bound: Option<Key>,
    /// What it saw.
    snapshot: Snapshot,
    /// Transactions that it saw are before this place.
    lsn: Lsn,
}

/// What to do with a change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    /// It goes into the topic.
    Tell,
    /// It does not: the table's rows have it, or will.
    Skip,
    /// It does, and the table has to be read anew.
    Restart,
}

/// Tells whether a key is behind another, as the server orders them.
pub(crate) type Beyond<'a> = dyn FnMut(&Key, &Key) -> Result<bool, Error> + 'a;

impl Table {
    /// A table whose rows are not read: all its changes are told.
    pub(crate) fn streamed() -> Self {
        Self { is_read: true, ..Self::default() }
    }

    /// Whether there is nothing left but the stream.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_read && self.chunks.is_empty()
    }

    /// Whether another chunk may be read now.
    pub(crate) fn wants_chunk(&self) -> bool {
        !self.is_read && self.chunks.len() < UNSETTLED_MAX && self.bytes() < CHECKPOINT_BYTES_FULL
    }

    /// Bytes of its checkpoint, but for the names of the key's columns.
    fn bytes(&self) -> usize {
        let key = |key: &Option<Key>| key.as_ref().map_or(0, key_bytes);
        let chunk = |chunk: &Chunk| key(&chunk.bound) + chunk.snapshot.bytes() + CHUNK_BYTES;
        key(&self.settled) + self.chunks.iter().map(chunk).sum::<usize>()
    }

    /// The last row in the topic: the next chunk begins behind it.
    pub(crate) fn last(&self) -> Option<&Key> {
        self.chunks.last().and_then(|chunk| chunk.bound.as_ref()).or(self.settled.as_ref())
    }

    /// Whether a chunk has been read, or a part of one.
    pub(crate) fn is_begun(&self) -> bool {
        self.is_read || self.last().is_some()
    }

    /// Rows of a chunk up to `bound` are in the topic; none: all of the table.
    pub(crate) fn read(&mut self, bound: Option<Key>, rows: u64, snapshot: &Snapshot, lsn: Lsn) {
        self.rows += rows;
        self.is_read = bound.is_none();
        match self.chunks.last_mut() {
            Some(last) if last.snapshot == *snapshot => {
                last.bound = bound;
                last.lsn = last.lsn.max(lsn);
            }
            _ => self.chunks.push(Chunk { bound, snapshot: snapshot.clone(), lsn }),
        }
    }

    /// The stream has given all transactions that committed before `lsn`.
    fn passed(&mut self, lsn: Lsn) -> bool {
        let count = self.chunks.iter().take_while(|chunk| chunk.lsn <= lsn).count();
        for chunk in self.chunks.drain(..count) {
            self.settled = chunk.bound;
        }
        if count > 0 && self.is_settled() {
            self.key.clear();
            self.settled = None;
        }
        count > 0
    }

    /// What to do with a change of the row with this key.
    pub(crate) fn row(&self, xid: u32, key: &Key, beyond: &mut Beyond<'_>) -> Result<Verdict, Error> {
        if self.is_settled() {
            return Ok(Verdict::Tell);
        }
        if let Some(settled) = &self.settled
            && !beyond(key, settled)?
        {
            return Ok(Verdict::Tell);
        }
        for chunk in &self.chunks {
            let is_in = match &chunk.bound {
                Some(bound) => !beyond(key, bound)?,
                None => true,
            };
            if is_in {
                return Ok(if chunk.snapshot.sees(xid) { Verdict::Skip } else { Verdict::Tell });
            }
        }
        Ok(Verdict::Skip)
    }

    /// What to do with a TRUNCATE. If some chunks saw it and others didn't, the rows of the former would go with those of the latter.
    pub(crate) fn truncated(&self, xid: u32) -> Verdict {
        if !self.is_begun() {
            return Verdict::Skip;
        }
        let seen = self.chunks.iter().filter(|chunk| chunk.snapshot.sees(xid)).count();
        let has_others = seen < self.chunks.len() || self.settled.is_some();
        match (seen, has_others) {
            (0, _) => Verdict::Tell,
            (_, false) => Verdict::Skip,
            (_, true) => Verdict::Restart,
        }
    }
}

/// Which transactions from before this run a snapshot has to see.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Barrier {
    /// Those that began before this one are not known yet.
    #[default]
    Wanted,
    /// All up to this one.
    At(u64),
    /// They have been seen.
    Passed,
}

/// Every published table.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    all: BTreeMap<String, Table>,
    /// All of them are settled, as far as is known: transactions pass without a look at each.
    is_quiet: bool,
    barrier: Barrier,
    /// The last snapshot had no room in a checkpoint.
    is_crowded: bool,
    /// Transactions taken from the stream since the last snapshot or barrier.
    taken: Vec<u32>,
}

impl Tables {
    /// Tables of an earlier run.
    pub(crate) fn resume(all: BTreeMap<String, Table>) -> Self {
        Self { all, ..Self::default() }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Table> {
        self.all.get(name)
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Table> {
        self.is_quiet = false;
        self.all.get_mut(name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.all.keys()
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.all.remove(name);
    }

    /// Adds a table, or puts another in its place. It is read from its first row on if it is not `streamed`.
    pub(crate) fn add(&mut self, name: &str, table: Table) {
        if !table.is_read {
            self.barrier = Barrier::Wanted;
        }
        self.is_quiet = false;
        self.all.insert(name.to_owned(), table);
    }

    /// The next table to read a chunk of.
    pub(crate) fn next(&self) -> Option<&str> {
        if self.is_quiet {
            return None;
        }
        // One that was begun is read to its end first.
        let begun = self.all.iter().find(|(_, table)| !table.is_read && table.is_begun());
        let next = begun.or_else(|| self.all.iter().find(|(_, table)| !table.is_read));
        next.filter(|(_, table)| table.wants_chunk()).map(|(name, _)| name.as_str())
    }

    /// How many are not read to their end.
    pub(crate) fn left(&self) -> usize {
        if self.is_quiet { 0 } else { self.all.values().filter(|table| !table.is_read).count() }
    }

    /// Whether nothing is left but the stream.
    pub(crate) fn is_quiet(&self) -> bool {
        self.is_quiet
    }

    /// A transaction was taken from the stream.
    pub(crate) fn took(&mut self, xid: u32) {
        if self.left() == 0 {
            // Whoever is added later brings a barrier along.
            self.taken.clear();
        } else if self.taken.len() >= TAKEN_MAX {
            self.barrier = Barrier::Wanted;
            self.taken.clear();
        } else {
            self.taken.push(xid);
        }
    }

    /// The stream has given all transactions that committed before `lsn`; which tables have changed by that.
    pub(crate) fn passed(&mut self, lsn: Lsn) -> Vec<String> {
        if self.is_quiet {
            return Vec::new();
        }
        let changed = self.all.iter_mut().filter_map(|(name, table)| table.passed(lsn).then(|| name.clone()));
        let changed = changed.collect();
        self.is_quiet = self.all.values().all(Table::is_settled);
        changed
    }

    /// Whether the number of a transaction that begins now is wanted.
    pub(crate) fn wants_barrier(&self) -> bool {
        self.barrier == Barrier::Wanted && self.left() > 0
    }

    /// A transaction of this number began after all that were taken so far, and after all added tables were published.
    pub(crate) fn set_barrier(&mut self, xid: u64) {
        self.barrier = Barrier::At(xid);
        self.taken.clear();
    }

    /// Whether a chunk may be read in this snapshot. What the stream gives must not be taken between this and the chunk.
    pub(crate) fn may_read_in(&mut self, snapshot: &Snapshot) -> bool {
        self.is_crowded = snapshot.bytes() > SNAPSHOT_BYTES_MAX;
        if self.is_crowded {
            return false;
        }
        let is_behind = match self.barrier {
            Barrier::Wanted => false,
            Barrier::At(xid) => snapshot.xmin > xid,
            Barrier::Passed => true,
        };
        if !is_behind || !self.taken.iter().all(|xid| snapshot.sees(*xid)) {
            return false;
        }
        self.barrier = Barrier::Passed;
        self.taken.clear();
        true
    }

    /// What a snapshot is waited for, in words.
    pub(crate) fn awaited(&self) -> String {
        match self.barrier {
            _ if self.is_crowded => "a moment at which fewer transactions write".to_owned(),
            Barrier::At(xid) => format!("transactions up to {xid} to end"),
            _ => "transactions that wait for a standby".to_owned(),
        }
    }
}
