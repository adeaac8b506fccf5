//! What the source needs of a server, so that its logic runs against a real one and against a model.

use millrace_sdk::Error;
use millrace_sdk::postgres::identifier;

use crate::lsn::Lsn;
use crate::pgoutput::{Column, Value};
use crate::snapshot::Snapshot;
use crate::tables::Key;
use crate::types::Entry;

/// A server, with one session for replication and one for everything else. Each is opened anew when it was lost.
pub(crate) trait Upstream {
    /// Begins the stream of changes: transactions that committed at `from` or later.
    fn start(&mut self, from: Lsn) -> Result<(), Error>;

    /// Messages of the stream, waited for at most so long; up to so many bytes, and one message over it.
    fn read(&mut self, bytes_max: u32, wait_ms: u32) -> Result<Received, Error>;

    /// Says that all before `lsn` is safe. `asks`: and asks where the stream is.
    fn confirm(&mut self, lsn: Lsn, asks: bool) -> Result<(), Error>;

    /// Ends the stream.
    fn stop(&mut self);

    /// The tables that are published, `schema.table`.
    fn published(&mut self) -> Result<Vec<String>, Error>;

    /// The number of a transaction that begins now.
    fn barrier(&mut self) -> Result<u64, Error>;

    /// Reads rows behind `after`, in the order of the key, in a snapshot that `accept`s.
    fn chunk(
        &mut self,
        table: &str,
        after: Option<(&[String], &Key)>,
        accept: &mut dyn FnMut(&Snapshot) -> bool,
    ) -> Result<Read, Error>;

    /// Whether a key is behind another one in the order of chunks.
    fn is_beyond(&mut self, table: &str, key: &Key, bound: &Key) -> Result<bool, Error>;

    /// What the catalog says of a type.
    fn type_entry(&mut self, oid: u32) -> Result<Option<Entry>, Error>;

    /// Columns that a table's rows are known by, in the order of their index: of its replica identity if that is an index, else of the
    /// primary key.
    fn key(&mut self, relation: u32) -> Result<Vec<String>, Error>;

    /// Bytes of log that the slot holds back.
    fn slot_lag(&mut self) -> Result<Option<u64>, Error>;

    /// Runs a statement of the user's.
    fn run(&mut self, sql: &str) -> Result<(), Error>;
}

/// A table without a key whose rows are too many to go as one piece; `most` says too many of what.
pub(crate) fn too_large_without_key(table: &str, most: &str) -> Error {
    let (schema, name) = table.split_once('.').unwrap_or(("public", table));
    let quoted = format!("{}.{}", identifier(schema), identifier(name));
    let message = format!(
        "table {table} has no primary key, so its rows have to go in one piece, and are more than {most}; run: ALTER TABLE {quoted} ADD PRIMARY KEY \
         (...); or ALTER TABLE {quoted} REPLICA IDENTITY USING INDEX ...; or leave the table out, of `tables` or of the publication; or tell \
         changes only, with `snapshot: never`"
    );
    Error::fatal("postgres.key", message)
}

/// Messages, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// Bytes of each.
    pub(crate) lens: Vec<u32>,
    pub(crate) data: Vec<u8>,
}

/// What came of an attempt to read rows.
#[derive(Debug)]
pub(crate) enum Read {
    Chunk(Chunk),
    /// The snapshot was not accepted, or the table is locked.
    NotYet,
    /// The table has another key than that of `after`.
    Changed,
    /// There is no such table.
    Gone,
}

/// Rows of a table.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) columns: Vec<Column>,
    /// Names of the key's columns; none: this is the whole table.
    pub(crate) key: Vec<String>,
    pub(crate) rows: Rows,
    /// Whether these are the last ones.
    pub(crate) is_last: bool,
    pub(crate) snapshot: Snapshot,
    /// Transactions that the snapshot saw are before this place.
    pub(crate) lsn: Lsn,
}

/// Values of rows in PostgreSQL's text format, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    /// Bytes of each value; -1: null.
    pub(crate) lens: Vec<i32>,
    pub(crate) data: Vec<u8>,
}

impl Rows {
    /// Values from here on: so many, read into `row`. The place behind them; none: what is there is not that.
    pub(crate) fn take<'a>(
        &'a self,
        (first, start): (usize, usize),
        count: usize,
        row: &mut Vec<Value<'a>>,
    ) -> Option<(usize, usize)> {
        row.clear();
        let mut at = start;
        for len in self.lens.get(first..first.checked_add(count)?)? {
            row.push(match usize::try_from(*len) {
                Ok(len) => {
                    let bytes = self.data.get(at..at.checked_add(len)?)?;
                    at += len;
                    Value::Text(std::str::from_utf8(bytes).ok()?)
                }
                Err(_) => Value::Null,
            });
        }
        Some((first + count, at))
    }
}
