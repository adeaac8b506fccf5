//! Rows of tables, chunk by chunk, between two pieces of the stream.

use millrace_sdk::{BatchBuilder, Error, Poll, PollLimits, host};

use super::{AWAITED_LOG_MS, Pull, SNAPSHOT_PAUSE_MS, is_full};
use crate::envelope::{Change, Op, Origin};
use crate::shape::Shape;
use crate::tables::{KEY_BYTES_MAX, Table, key_bytes};
use crate::upstream::{Chunk, Read, Upstream, too_large_without_key};

/// Most bytes and records of a table without a key, which go as one batch: the host takes 64 MiB, and 2^20.
const WHOLE_BYTES_MAX: usize = 48 << 20;
const WHOLE_RECORDS_MAX: u32 = 1_000_000;

/// A chunk on its way into the topic.
#[derive(Debug)]
pub(super) struct Emission {
    table: String,
    shape: Shape,
    chunk: Chunk,
    /// When it was read.
    ts_ms: i64,
    /// The next row: place of its first value, and of that one's bytes.
    next: (usize, usize),
}

impl<U: Upstream> Pull<U> {
    /// Gives rows of the chunk that was read, or of another one; whether there is more to read now.
    pub(super) fn read_rows(&mut self, limits: PollLimits, out: &mut Poll, now: i64) -> Result<bool, Error> {
        if self.emission.is_none() && now >= self.rows_due {
            self.begin_chunk(now)?;
        }
        if let Some(emission) = self.emission.take() {
            self.emit(emission, limits, out)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// The table is not published any more, or begun anew: its chunk is not worth anything.
    pub(super) fn drop_emission(&mut self, table: &str) {
        self.emission.take_if(|emission| emission.table == table);
    }

    fn begin_chunk(&mut self, now: i64) -> Result<(), Error> {
        let Some(name) = self.tables.next().map(str::to_owned) else {
            return Ok(());
        };
        if self.tables.wants_barrier() {
            let xid = self.upstream.barrier()?;
            self.tables.set_barrier(xid);
        }
        let table = self.tables.get(&name).cloned().unwrap_or_default();
        let after = table.last().map(|last| (table.key.as_slice(), last));
        let tables = &mut self.tables;
        let read = self.upstream.chunk(&name, after, &mut |snapshot| tables.may_read_in(snapshot))?;
        match read {
            Read::Chunk(chunk) => {
                self.awaited_since = None;
                for column in &chunk.columns {
                    self.learn(column.type_oid)?;
                }
                let parts = name.split_once('.').unwrap_or(("", &name));
                let shape = Shape::new(&self.settings, &self.types, parts, &chunk.columns, &chunk.key);
                if let Some(table) = self.tables.get_mut(&name) {
                    table.key = shape.key_names();
                }
                self.emission = Some(Emission { table: name, shape, chunk, ts_ms: now, next: (0, 0) });
            }
            Read::NotYet => {
                self.rows_due = now + SNAPSHOT_PAUSE_MS;
                let since = *self.awaited_since.get_or_insert(now);
                if now - since >= AWAITED_LOG_MS {
                    self.awaited_since = Some(now);
                    let awaited = self.tables.awaited();
                    millrace_sdk::info!("rows of {name} wait for {awaited}, or for a lock of the table");
                }
            }
            Read::Changed => self.restart(&name, "its key has changed"),
            Read::Gone => {
                millrace_sdk::info!("table {name} is not there any more");
                self.tables.add(&name, Table::streamed());
                self.dirty.insert(name);
            }
        }
        Ok(())
    }

    fn emit(&mut self, mut emission: Emission, limits: PollLimits, out: &mut Poll) -> Result<(), Error> {
        let Emission { table: name, shape, chunk, ts_ms, next } = &mut emission;
        let origin = Origin { ts_ms: *ts_ms, lsn: chunk.lsn, transaction: None };
        // Without a key there is no place in the table to go on from: it is one piece.
        let is_whole = shape.key.is_empty();
        if is_whole && !chunk.is_last {
            let message = format!("a part of {name} has no key to go on from; report it");
            return Err(Error::fatal("postgres.protocol", message));
        }
        let (mut count, mut last, mut refused) = (0, None, None);
        let mut row = Vec::new();
        while next.0 < chunk.rows.lens.len() && (is_whole || count == 0 || !is_full(out, limits)) {
            let Some(behind) = chunk.rows.take(*next, shape.columns.len(), &mut row) else {
                let message = format!("rows of {name} are not as they should be; report it");
                return Err(Error::fatal("postgres.protocol", message));
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
                // Rows come first in a poll, so that there is nothing else in it. Part of a table must not become durable.
                out.batch = BatchBuilder::default();
                let most = format!("{} MiB or {WHOLE_RECORDS_MAX} records", WHOLE_BYTES_MAX >> 20);
                return Err(too_large_without_key(name, &most));
            }
        }
        let is_over = next.0 >= chunk.rows.lens.len();
        if (count > 0 || is_over)
            && let Some(table) = self.tables.get_mut(name.as_str())
        {
            let bound = if is_over && chunk.is_last { None } else { last.or_else(|| table.last().cloned()) };
            table.read(bound, count, &chunk.snapshot, chunk.lsn);
            host::count("snapshot_rows", count, &[]);
            self.dirty.insert(name.clone());
            if table.is_read {
                let rows = table.rows;
                let left = self.tables.left();
                millrace_sdk::info!("the rows of {name} are read: {rows}; tables left: {left}");
                host::gauge("snapshot_tables_left", left as f64, &[]);
            }
        }
        if !is_over {
            self.emission = Some(emission);
        }
        refused.map_or(Ok(()), Err)
    }
}
