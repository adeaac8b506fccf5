//! Rows of tables, chunk by chunk, between two pieces of the stream.
//!
//! Several readers may be at work at once, each with a chunk of its own, of one table or of several. While one is, the stream stands: it must not
//! get ahead of a chunk's snapshot. So they work in rounds: when a round has lasted for [`ROUND_MS`], chunks that are under
//! way are read to their end, and the stream goes on before the next round. What a reader asks for is on its way while rows that came earlier,
//! here or from another reader, become records.

use millrace_sdk::{BatchBuilder, Error, Poll, PollLimits, host};

use super::{AWAITED_LOG_MS, Pull, SNAPSHOT_PAUSE_MS, is_full};
use crate::envelope::{Change, Op, Origin};
use crate::lsn::Lsn;
use crate::shape::Shape;
use crate::snapshot::Snapshot;
use crate::tables::{KEY_BYTES_MAX, PartOf, Table, key_bytes};
use crate::upstream::{Begun, Range, Read, Rows, Upstream, too_large_without_key};

/// Most bytes and records of a table without a key, which go as one batch: the host takes 64 MiB, and 2^20.
const WHOLE_BYTES_MAX: usize = 48 << 20;
const WHOLE_RECORDS_MAX: u32 = 1_000_000;
/// How long chunks are begun before the stream goes on, if there are several readers. One reader's rounds are of one chunk.
pub(super) const ROUND_MS: i64 = 500;
/// Parts of a table for each reader: they don't all end at the same time.
const PARTS_PER_READER: usize = 4;
/// How often it is told how far tables are, and of how many tables in numbers: a task has room for some series.
const PROGRESS_EVERY_MS: i64 = 10_000;
const TABLES_SHOWN_MAX: usize = 64;
/// How long one reader is waited for when none has anything.
const READER_WAIT_MS: u32 = 5;
/// How long a poll waits for chunks to be read to their end; the host ends one of a minute.
const CHUNKS_WAIT_MS: i64 = 10_000;
/// How long it is until readers that could not be had are asked for again.
const READERS_EVERY_MS: i64 = 60_000;

/// A chunk on its way into the topic.
#[derive(Debug)]
pub(super) struct Chunk {
    part: PartOf,
    /// None: its snapshot has not come yet.
    head: Option<Head>,
    /// Rows that have come, and the next of them: place of its first value, and of that one's bytes.
    rows: Rows,
    next: (usize, usize),
    /// The last rows have come; true: they are the last of the part.
    end: Option<bool>,
}

/// What its rows have in common.
#[derive(Debug)]
struct Head {
    shape: Shape,
    snapshot: Snapshot,
    lsn: Lsn,
    /// When it was read.
    ts_ms: i64,
}

impl Chunk {
    fn has_rows(&self) -> bool {
        self.next.0 < self.rows.lens.len()
    }

    /// Whether its last rows have not come: its transaction is open.
    fn is_open(&self) -> bool {
        self.end.is_none()
    }

    /// Adds rows that have come.
    fn add(&mut self, rows: Rows) {
        if self.has_rows() {
            self.rows.extend(&rows);
        } else {
            (self.rows, self.next) = (rows, (0, 0));
        }
    }

    /// Without a key there is no place in the table to go on from: it is one piece.
    fn is_whole(&self) -> bool {
        self.head.as_ref().is_some_and(|head| head.shape.key.is_empty())
    }

    /// Whether it has rows to give, or an end.
    fn is_ready(&self) -> bool {
        self.end.is_some() || (self.has_rows() && !self.is_whole())
    }
}

impl<U: Upstream> Pull<U> {
    /// Gives rows of chunks that are read, and begins others; whether that goes on, and the stream has to stand.
    pub(super) fn read_rows(&mut self, limits: PollLimits, out: &mut Poll, now: i64) -> Result<bool, Error> {
        let stands = self.read_chunks(limits, out, now);
        if stands.is_err() {
            // Nobody knows when the next poll is.
            for reader in 0..self.readers.len() {
                if self.readers[reader].as_ref().is_some_and(Chunk::is_open) {
                    self.release(reader);
                }
            }
        }
        stands
    }

    /// Each chunk is read to its end before the poll is: its transaction must not be open, with its locks, for as long as what is
    /// downstream takes. What does not fit into the poll waits in memory.
    fn read_chunks(&mut self, limits: PollLimits, out: &mut Poll, now: i64) -> Result<bool, Error> {
        self.begin_chunks(now)?;
        let mut wait_ms = 0;
        loop {
            self.hear(wait_ms, now)?;
            let has_given = self.emit_all(limits, out, now)?;
            let is_open = self.readers.iter().flatten().any(Chunk::is_open);
            if !is_open || (self.clock)() - now >= CHUNKS_WAIT_MS {
                return Ok(self.is_reading());
            }
            wait_ms = if has_given && !is_full(out, limits) { 0 } else { READER_WAIT_MS };
        }
    }

    /// Whether a chunk is on its way.
    pub(super) fn is_reading(&self) -> bool {
        self.readers.iter().any(Option::is_some)
    }

    /// The table is not published any more, or begun anew: its chunks are not worth anything.
    pub(super) fn drop_chunks(&mut self, table: &str) {
        for (reader, slot) in self.readers.iter_mut().enumerate() {
            if slot.take_if(|chunk| chunk.part.0 == table).is_some_and(|chunk| chunk.end.is_none()) {
                self.upstream.give_up(reader);
            }
        }
    }

    /// The next part that no reader reads.
    pub(super) fn next_part(&self) -> Option<PartOf> {
        let is_free = |table: &str, part: usize| {
            let mut read = self.readers.iter().flatten().map(|chunk| &chunk.part);
            !read.any(|(of, number)| of == table && *number == part)
        };
        self.tables.next(self.readers.len(), &is_free)
    }

    pub(super) fn begin_chunks(&mut self, now: i64) -> Result<(), Error> {
        if !self.is_reading() {
            if now >= self.readers_due {
                self.readers.resize_with(self.settings.snapshot_max_threads.max(1), || None);
            }
            self.round_over = now + if self.readers.len() > 1 { self.round_ms } else { 0 };
        } else if now >= self.round_over {
            return Ok(());
        }
        for reader in 0..self.readers.len() {
            if now < self.rows_due {
                break;
            }
            if self.readers[reader].is_none() && !self.begin_chunk(reader, now)? {
                break;
            }
        }
        Ok(())
    }

    /// Lets a reader begin; false: there is nothing for it.
    fn begin_chunk(&mut self, reader: usize, now: i64) -> Result<bool, Error> {
        let Some(of) = self.next_part() else { return Ok(false) };
        if self.tables.wants_barrier() {
            let xid = self.upstream.barrier()?;
            self.tables.set_barrier(xid);
        }
        let (name, number) = &of;
        self.divide(name)?;
        let Some((part, before)) = self.tables.get(name).and_then(|table| table.part(*number)) else {
            return Ok(false);
        };
        let range =
            Range { table: name, key: &part.key, after: part.last().or(before), upto: part.upto.as_ref() };
        if !self.upstream.begin(reader, &range)? {
            // The others do it alone. What those behind it have read and not given is read again.
            for behind in reader.max(1)..self.readers.len() {
                self.release(behind);
            }
            self.readers.truncate(reader.max(1));
            self.readers_due = now + READERS_EVERY_MS;
            return Ok(false);
        }
        self.has_rested = false;
        self.readers[reader] =
            Some(Chunk { part: of, head: None, rows: Rows::default(), next: (0, 0), end: None });
        Ok(true)
    }

    /// Divides a table that is new, if several readers can have a part of it.
    fn divide(&mut self, name: &str) -> Result<(), Error> {
        let is_new = |table: &&Table| !table.is_begun() && table.parts().len() == 1;
        if self.tables.get(name).filter(is_new).is_none_or(|table| table.rows_expected().is_some()) {
            return Ok(());
        }
        let most = if self.readers.len() > 1 { self.readers.len() * PARTS_PER_READER } else { 1 };
        let division = self.upstream.division(name, most)?;
        if let Some(table) = self.tables.get_mut(name) {
            table.divide(&division.key, division.ends, Some(division.rows));
        }
        self.mark(name);
        Ok(())
    }

    /// Takes in what readers have, each one piece. Where nobody has anything, one is waited for.
    fn hear(&mut self, wait_ms: u32, now: i64) -> Result<(), Error> {
        let mut wait_ms = wait_ms;
        for reader in 0..self.readers.len() {
            if !self.readers[reader].as_ref().is_some_and(Chunk::is_open) {
                continue;
            }
            let tables = &mut self.tables;
            let came = self.upstream.next(reader, wait_ms, &mut |snapshot| tables.may_read_in(snapshot));
            wait_ms = 0;
            let came = came.inspect_err(|_| self.readers[reader] = None)?;
            self.take_read(reader, came, now)?;
        }
        Ok(())
    }

    fn take_read(&mut self, reader: usize, came: Read, now: i64) -> Result<(), Error> {
        let Some(chunk) = &mut self.readers[reader] else { return Ok(()) };
        match came {
            Read::Waiting => {}
            Read::Begun(begun) => self.head(reader, begun, now)?,
            Read::Rows(rows) => chunk.add(rows),
            Read::End { rows, is_last } => {
                chunk.add(rows);
                chunk.end = Some(is_last);
            }
            Read::NotYet => {
                let name = chunk.part.0.clone();
                self.readers[reader] = None;
                self.rows_due = now + SNAPSHOT_PAUSE_MS;
                let since = *self.awaited_since.get_or_insert(now);
                if now - since >= AWAITED_LOG_MS {
                    self.awaited_since = Some(now);
                    let awaited = self.tables.awaited();
                    millrace_sdk::info!("rows of {name} wait for {awaited}, or for a lock of the table");
                }
            }
            Read::Changed => {
                let name = chunk.part.0.clone();
                self.readers[reader] = None;
                self.restart(&name, "its key has changed");
            }
            Read::Gone => {
                let name = chunk.part.0.clone();
                self.readers[reader] = None;
                millrace_sdk::info!("table {name} is not there any more");
                self.replace(&name, Table::streamed());
            }
        }
        Ok(())
    }

    /// The chunk's snapshot has come.
    fn head(&mut self, reader: usize, begun: Begun, now: i64) -> Result<(), Error> {
        let Begun { columns, key, snapshot, lsn } = begun;
        self.awaited_since = None;
        // Of whole tables one at a time is gathered: each may be large. The other one's turn comes when the stream has gone on.
        if key.is_empty() && self.readers.iter().flatten().any(Chunk::is_whole) {
            self.release(reader);
            self.round_over = now;
            return Ok(());
        }
        for column in &columns {
            let learned = self.learn(column.type_oid);
            learned.inspect_err(|_| self.release(reader))?;
        }
        let Some(chunk) = &mut self.readers[reader] else { return Ok(()) };
        let name = chunk.part.0.as_str();
        let parts = name.split_once('.').unwrap_or(("", name));
        let shape = Shape::new(&self.settings, &self.types, parts, &columns, &key);
        if let Some(table) = self.tables.get_mut(name) {
            table.order_by(&shape.key_names());
        }
        chunk.head = Some(Head { shape, snapshot, lsn, ts_ms: now });
        Ok(())
    }

    /// Frees a reader whose chunk is not read on.
    pub(super) fn release(&mut self, reader: usize) {
        if self.readers[reader].take().is_some_and(|chunk| chunk.end.is_none()) {
            self.upstream.give_up(reader);
        }
    }

    /// Gives rows of every reader that has some; whether it gave any, or an end.
    fn emit_all(&mut self, limits: PollLimits, out: &mut Poll, now: i64) -> Result<bool, Error> {
        let mut has_any = false;
        // One after the other is the first, so that nobody is kept waiting by the others.
        let (count, first) = (self.readers.len(), self.turn);
        self.turn = first.wrapping_add(1);
        for reader in (0..count).map(|number| first.wrapping_add(number) % count) {
            let Some(chunk) = self.readers[reader].take_if(|chunk| chunk.is_ready()) else { continue };
            // A whole table goes alone.
            if is_full(out, limits) || (chunk.is_whole() && !out.batch.is_empty()) {
                self.readers[reader] = Some(chunk);
                continue;
            }
            has_any = true;
            self.emit(reader, chunk, limits, out)?;
        }
        self.tell_progress(now);
        Ok(has_any)
    }

    fn emit(
        &mut self,
        reader: usize,
        mut chunk: Chunk,
        limits: PollLimits,
        out: &mut Poll,
    ) -> Result<(), Error> {
        let is_whole = chunk.is_whole();
        let Chunk { part: of, head: Some(head), rows, next, end } = &mut chunk else { return Ok(()) };
        let (Head { shape, snapshot, lsn, ts_ms }, name) = (head, of.0.as_str());
        let origin = Origin { ts_ms: *ts_ms, lsn: *lsn, transaction: None };
        let (mut count, mut last, mut refused) = (0, None, None);
        let mut row = Vec::new();
        while next.0 < rows.lens.len() && (is_whole || count == 0 || !is_full(out, limits)) {
            let Some(behind) = rows.take(*next, shape.columns.len(), &mut row) else {
                let message = format!("rows of {name} are not as they should be; report it");
                refused = Some(Error::fatal("postgres.protocol", message));
                break;
            };
            let key = shape.key_of(&row);
            if let Some(bytes) = key.as_ref().map(key_bytes).filter(|bytes| *bytes > KEY_BYTES_MAX) {
                let message = format!(
                    "a row of {name} has a key of {bytes} bytes, and a checkpoint holds {KEY_BYTES_MAX}; give the table another REPLICA IDENTITY, \
                     or leave it out"
                );
                refused = Some(Error::fatal("postgres.key", message));
                break;
            }
            last = key;
            let change = Change { op: Op::Read, before: None, after: Some(&row) };
            self.writer.write(&mut out.batch, shape, change, &origin, *ts_ms);
            (*next, count) = (behind, count + 1);
            if is_whole && (out.batch.data_len() > WHOLE_BYTES_MAX || out.batch.len() > WHOLE_RECORDS_MAX) {
                // It goes alone, so that there is nothing else in the batch. Part of a table must not become durable.
                out.batch = BatchBuilder::default();
                let most = format!("{} MiB or {WHOLE_RECORDS_MAX} records", WHOLE_BYTES_MAX >> 20);
                return Err(too_large_without_key(name, &most));
            }
        }
        let is_over = refused.is_none() && next.0 >= rows.lens.len();
        let ends = end.filter(|_| is_over);
        if (count > 0 || ends.is_some())
            && let Some(part) = self.tables.get_mut(name).and_then(|table| table.part_mut(of.1))
        {
            let bound = if ends == Some(true) { None } else { last.or_else(|| part.last().cloned()) };
            if bound.is_some() || ends == Some(true) {
                part.read(bound, count, snapshot, *lsn);
            }
            host::count("snapshot_rows", count, &[]);
            self.dirty.insert(of.clone());
            if ends == Some(true) {
                self.tell_end(name);
            }
        }
        if let Some(error) = refused {
            if end.is_none() {
                self.upstream.give_up(reader);
            }
            return Err(error);
        }
        if ends.is_none() {
            self.readers[reader] = Some(chunk);
        }
        Ok(())
    }

    /// How far tables are that are being read.
    fn tell_progress(&mut self, now: i64) {
        if now < self.progress_due {
            return;
        }
        for (name, table) in self.tables.begun() {
            self.progress_due = now + PROGRESS_EVERY_MS;
            let (rows, expected) = (table.rows(), table.rows_expected().unwrap_or_default());
            let parts = table.parts();
            let read = parts.iter().filter(|part| part.is_read).count();
            millrace_sdk::info!(
                "rows of {name} so far: {rows} of about {expected}; parts: {read} of {}",
                parts.len()
            );
            if self.shown.len() < TABLES_SHOWN_MAX && !self.shown.contains(name) {
                self.shown.insert(name.clone());
            }
            if self.shown.contains(name) {
                host::gauge("snapshot_table_rows", rows as f64, &[("table", name)]);
                host::gauge("snapshot_table_rows_expected", expected as f64, &[("table", name)]);
            }
        }
    }

    /// A part was read to its end: it may be the table's last.
    fn tell_end(&mut self, name: &str) {
        let Some(table) = self.tables.get(name).filter(|table| table.is_read()) else { return };
        let rows = table.rows();
        let left = self.tables.left();
        if self.shown.contains(name) {
            host::gauge("snapshot_table_rows", rows as f64, &[("table", name)]);
        }
        millrace_sdk::info!("the rows of {name} are read: {rows}; tables left: {left}");
        host::gauge("snapshot_tables_left", left as f64, &[]);
    }
}
