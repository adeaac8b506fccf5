//! Which changes belong into the topic while a table's rows are being read.
//!
//! A table is read in chunks, in the order of its key: of one part, or of several at once, each from its first key to its last. Each chunk is
//! read in a snapshot of its own, goes into the topic at once, and the stream goes on when no chunk is on its way. A row is then
//! told either by its chunk or by the stream:
//!
//! | a change whose key is | and that the chunk | goes into the topic |
//! |---|---|---|
//! | in a chunk that was read | didn't see | yes: it is newer than the row |
//! | in a chunk that was read | saw | no: the row has it already |
//! | behind the last chunk of its part | | no: a later chunk will see it |
//!
//! The last line is only true because a chunk is read in a snapshot that sees **every transaction that was taken from the stream so
//! far** ([`Tables::may_read_in`]). That is not so by itself: a transaction is in the log before others see it, for as long as
//! it waits for a standby. So the stream is not read on until they do. Of those that an earlier run took the
//! numbers are not known; what they have in common is that they ran before this one looked ([`Barrier`]). The same barrier keeps out
//! those that had changed a table before it was published.
//!
//! Rooms: [`table`] (the parts of a table), [`part`] (chunks, and what is kept of them).
//!
//! Invariants:
//! - Bounds rise along a part's chunks, and along a table's parts; a change is compared with them as the server orders keys.
//! - The stream has passed `Chunk::lsn` ⇒ it gives no more transactions that the chunk saw, and the chunk is settled.

pub(crate) mod part;
pub(crate) mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use millrace_sdk::Error;

pub(crate) use self::table::Table;
use crate::lsn::Lsn;
use crate::snapshot::Snapshot;

/// Tables of one source: the host takes so many checkpoints at once, and more.
pub(crate) const TABLES_MAX: usize = 20_000;
/// Most bytes of a row's key in a checkpoint; PostgreSQL's indexes hold some 2,700 after compression.
pub(crate) const KEY_BYTES_MAX: usize = 8 << 10;
/// Most bytes of a snapshot in a checkpoint, which names the transactions that were running.
const SNAPSHOT_BYTES_MAX: usize = 24 << 10;
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

/// Tells how many of these keys, which rise, another one is behind, as the server orders them.
pub(crate) type Place<'a> = dyn FnMut(&Key, &[&Key]) -> Result<usize, Error> + 'a;

/// A part of a table, by its number.
pub(crate) type PartOf = (String, usize);

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
    /// A snapshot has seen them, and what the barrier stands for; so will all that are taken after the stream went on.
    is_accepted: bool,
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
        if !table.is_read() {
            self.barrier = Barrier::Wanted;
            self.is_accepted = false;
        }
        self.is_quiet = false;
        self.all.insert(name.to_owned(), table);
    }

    /// The next part to read a chunk of, of those that are free. Tables that were begun are read to their end first, so many at once.
    pub(crate) fn next(&self, tables_max: usize, is_free: &dyn Fn(&str, usize) -> bool) -> Option<PartOf> {
        if self.is_quiet {
            return None;
        }
        let unread = || self.all.iter().filter(|(_, table)| !table.is_read());
        let begun = || unread().filter(|(name, table)| table.is_begun() || !is_free(name, 0));
        let others = unread().filter(|(name, table)| !table.is_begun() && is_free(name, 0));
        let room = tables_max.saturating_sub(begun().count());
        let parts = begun().chain(others.take(room)).flat_map(|(name, table)| {
            let parts = table.parts().iter().enumerate();
            parts.filter(|(_, part)| part.wants_chunk()).map(move |(number, _)| (name, number))
        });
        let mut parts = parts.filter(|(name, part)| is_free(name, *part));
        parts.next().map(|(name, part)| (name.clone(), part))
    }

    /// How many are not read to their end.
    pub(crate) fn left(&self) -> usize {
        if self.is_quiet { 0 } else { self.all.values().filter(|table| !table.is_read()).count() }
    }

    /// Tables whose rows are being read, with their names.
    pub(crate) fn begun(&self) -> impl Iterator<Item = (&String, &Table)> {
        let all = self.all.iter().filter(|_| !self.is_quiet);
        all.filter(|(_, table)| table.is_begun() && !table.is_read())
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
            self.is_accepted = false;
            self.taken.clear();
        } else {
            self.taken.push(xid);
        }
    }

    /// The stream has given all transactions that committed before `lsn`; which parts of tables have changed by that.
    pub(crate) fn passed(&mut self, lsn: Lsn) -> Vec<PartOf> {
        if self.is_quiet {
            return Vec::new();
        }
        let mut changed = Vec::new();
        for (name, table) in &mut self.all {
            changed.extend(table.passed(lsn).into_iter().map(|part| (name.clone(), part)));
        }
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
        self.is_accepted = false;
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
        let sees_all = is_behind && self.taken.iter().all(|xid| snapshot.sees(*xid));
        self.is_accepted |= sees_all;
        sees_all
    }

    /// No chunk is on its way, and the stream goes on. Snapshots that are taken from now on see what an earlier one saw; those that were on their way
    /// might not have.
    pub(crate) fn stream_goes_on(&mut self) {
        if std::mem::take(&mut self.is_accepted) {
            self.barrier = Barrier::Passed;
            self.taken.clear();
        }
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
