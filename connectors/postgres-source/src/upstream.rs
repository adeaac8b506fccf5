//! What the source needs of a server, so that its logic runs against a real one and against a model.

use millrace_sdk::Error;

use crate::lsn::Lsn;
use crate::name;
use crate::pgoutput::{Column, Value};
use crate::snapshot::Snapshot;
use crate::tables::Key;
use crate::types::Entry;

/// A server, with one session for replication, some that read rows and one for everything else. Each is opened anew when it was lost.
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

    /// Where a table of some size can be divided into so many parts that are read at once.
    fn division(&mut self, table: &str, parts: usize) -> Result<Division, Error>;

    /// Begins to read rows with this reader, of which there are as many as were asked for, and which is free; false: it can't be had now.
    fn begin(&mut self, reader: usize, range: &Range<'_>) -> Result<bool, Error>;

    /// What has come since, waited for at most so long. The snapshot has to be one that `accept` takes. After an error, and after what says so, the
    /// reader is free.
    fn next(
        &mut self,
        reader: usize,
        wait_ms: u32,
        accept: &mut dyn FnMut(&Snapshot) -> bool,
    ) -> Result<Read, Error>;

    /// Frees a reader in the middle of what it reads.
    fn give_up(&mut self, reader: usize);

    /// No reader is at work, and there is nothing to read: what they hold is let go.
    fn rest(&mut self);

    /// How many of these keys, which rise in the order of chunks, another one is behind.
    fn place(&mut self, table: &str, key: &Key, bounds: &[&Key]) -> Result<usize, Error>;

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
    let quoted = name::quoted(table);
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

/// Rows to read: some of those that are behind `after`, up to `upto`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range<'a> {
    pub(crate) table: &'a str,
    /// Names of the columns that both are of; none: any.
    pub(crate) key: &'a [String],
    pub(crate) after: Option<&'a Key>,
    pub(crate) upto: Option<&'a Key>,
}

/// The same, kept until it is read.
#[derive(Debug)]
pub(crate) struct Asked {
    table: String,
    key: Vec<String>,
    after: Option<Key>,
    upto: Option<Key>,
}

impl Asked {
    pub(crate) fn range(&self) -> Range<'_> {
        let Self { table, key, after, upto } = self;
        Range { table, key, after: after.as_ref(), upto: upto.as_ref() }
    }
}

impl From<&Range<'_>> for Asked {
    fn from(range: &Range<'_>) -> Self {
        Self {
            table: range.table.to_owned(),
            key: range.key.to_vec(),
            after: range.after.cloned(),
            upto: range.upto.cloned(),
        }
    }
}

/// How a table can be divided.
#[derive(Debug, Default)]
pub(crate) struct Division {
    /// Names of the key's columns.
    pub(crate) key: Vec<String>,
    /// Last keys of all parts but the last; they rise.
    pub(crate) ends: Vec<Key>,
    /// How many rows there are, about; 0 where that is not known.
    pub(crate) rows: u64,
}

/// What came of reading rows.
#[derive(Debug)]
pub(crate) enum Read {
    /// Nothing yet.
    Waiting,
    /// Rows come next.
    Begun(Begun),
    Rows(Rows),
    /// These are the last rows of the chunk. `is_last`: and of the range. The reader is free.
    End {
        rows: Rows,
        is_last: bool,
    },
    /// The snapshot was not accepted, or the table is locked, or rows come in another way next time. The reader is free.
    NotYet,
    /// The table has another key than that of the range. The reader is free.
    Changed,
    /// There is no such table. The reader is free.
    Gone,
}

/// The beginning of a chunk.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) columns: Vec<Column>,
    /// Names of the key's columns; none: the chunk is the whole table.
    pub(crate) key: Vec<String>,
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
    /// Adds rows behind these.
    pub(crate) fn extend(&mut self, more: &Self) {
        self.lens.extend_from_slice(&more.lens);
        self.data.extend_from_slice(&more.data);
    }

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
