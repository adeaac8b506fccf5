//! The task: the stream of changes, and between two pieces of it the rows of tables that are read.
//!
//! A poll does a bit of both. What it gives and the checkpoints that go with it are one transaction, and the state in memory
//! moves with each whole change or row: an error in the middle of a poll is kept until the next one, so that nothing that was taken is
//! dropped.
//!
//! Rooms: [`changes`] (the stream), [`rows`] (chunks of tables).

mod changes;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use millrace_sdk::clock::now_ms;
use millrace_sdk::{Error, Flow, Poll, PollLimits, host};

use self::changes::Transaction;
use self::rows::{Chunk, ROUND_MS};
use crate::envelope::Writer;
use crate::lsn::Lsn;
use crate::position::{self, Position, STREAM};
use crate::settings::{LagAction, Settings, SnapshotMode};
use crate::shape::Shape;
use crate::tables::{PartOf, TABLES_MAX, Table, Tables};
use crate::types::{Type, Types};
use crate::upstream::{Received, Upstream};

/// Bytes asked of the stream at once.
const READ_BYTES: u32 = 1 << 20;
/// Longest time between two words to the server about how far everything is safe; it ends a stream after 60 s without.
const STATUS_EVERY_MS: i64 = 5_000;
/// The same while a chunk waits for the stream to pass it.
const STATUS_EVERY_READING_MS: i64 = 100;
/// How long to wait for a snapshot that sees what it has to.
const SNAPSHOT_PAUSE_MS: i64 = 20;
/// How often a wait for a snapshot is worth a line in the log.
const AWAITED_LOG_MS: i64 = 30_000;
/// The pause after which the host asks again when there is nothing now: the host commits what it has.
const IDLE_MS: u32 = 10;

/// The source's only task.
#[derive(Debug)]
pub(crate) struct Pull<U> {
    pub(crate) upstream: U,
    settings: Settings,
    writer: Writer,
    /// Milliseconds since 1970, from the system or a test.
    clock: fn() -> i64,

    // What is kept.
    position: Position,
    tables: Tables,
    /// As it was in the last checkpoint.
    kept: Option<Position>,
    /// Parts of tables that have changed since their last checkpoint.
    dirty: BTreeSet<PartOf>,

    // The stream.
    is_streaming: bool,
    received: Received,
    /// Messages and bytes of `received` that were taken.
    taken: (usize, usize),
    transaction: Option<Transaction>,
    shapes: BTreeMap<u32, Rc<Shape>>,
    types: Types,
    /// All before it is durable.
    confirmed: Lsn,

    /// Who reads rows, and the chunks that are on their way.
    readers: Vec<Option<Chunk>>,
    /// When those that could not be had are asked for again.
    readers_due: i64,
    /// Whose rows come first.
    turn: usize,
    round_ms: i64,
    /// No chunk is begun from here on before the stream goes on.
    round_over: i64,
    rows_due: i64,
    /// Nothing was left to read, and readers let go what they held.
    has_rested: bool,
    awaited_since: Option<i64>,
    progress_due: i64,
    /// Tables whose progress is shown in numbers.
    shown: BTreeSet<String>,

    status_due: i64,
    refresh_due: i64,
    heartbeat_due: i64,
    /// This poll has given checkpoints.
    has_given: bool,
    /// What went wrong behind what the last poll gave.
    deferred: Option<Error>,
}

impl<U: Upstream> Pull<U> {
    /// A task that goes on from `position`.
    pub(crate) fn new(
        upstream: U,
        settings: Settings,
        database: &str,
        position: Position,
        tables: BTreeMap<String, Table>,
    ) -> Self {
        Self {
            upstream,
            writer: Writer::new(&settings, database),
            readers: (0..settings.snapshot_max_threads.max(1)).map(|_| None).collect(),
            readers_due: i64::MIN,
            turn: 0,
            round_ms: ROUND_MS,
            round_over: i64::MIN,
            settings,
            clock: now_ms,
            confirmed: position.lsn,
            position,
            tables: Tables::resume(tables),
            kept: None,
            dirty: BTreeSet::new(),
            is_streaming: false,
            received: Received::default(),
            taken: (0, 0),
            transaction: None,
            shapes: BTreeMap::new(),
            types: Types::default(),
            rows_due: i64::MIN,
            has_rested: false,
            awaited_since: None,
            progress_due: i64::MIN,
            shown: BTreeSet::new(),
            status_due: i64::MIN,
            refresh_due: i64::MIN,
            heartbeat_due: i64::MIN,
            has_given: false,
            deferred: None,
        }
    }

    /// See [`millrace_sdk::Source::poll`].
    pub(crate) fn poll(&mut self, limits: PollLimits, out: &mut Poll) -> Result<Flow, Error> {
        if let Some(error) = self.deferred.take() {
            return Err(error);
        }
        self.has_given = false;
        match self.step(limits, out) {
            Ok(flow) => {
                self.checkpoint(out, false);
                Ok(flow)
            }
            Err(error) if out.batch.is_empty() && !self.has_given => Err(error),
            Err(error) => {
                self.deferred = Some(error);
                self.checkpoint(out, false);
                Ok(Flow::More)
            }
        }
    }

    /// All before `lsn` is durable.
    pub(crate) fn confirm(&mut self, lsn: Lsn) {
        if lsn > self.confirmed {
            self.confirmed = lsn;
            self.status_due = self.status_due.min((self.clock)() + i64::from(IDLE_MS));
        }
    }

    /// The task ends: the server is told how far everything is safe, if it listens.
    pub(crate) fn close(&mut self) {
        if self.is_streaming {
            let _ = self.upstream.confirm(self.confirmed, false);
            self.stop();
        }
    }

    fn step(&mut self, limits: PollLimits, out: &mut Poll) -> Result<Flow, Error> {
        let now = (self.clock)();
        if now >= self.refresh_due {
            self.refresh()?;
            self.refresh_due = now + i64::from(self.settings.refresh.ms());
        }
        if !self.is_streaming {
            self.upstream.start(self.position.lsn)?;
            self.is_streaming = true;
            // So that a first run is known to have begun, and the slot to be ours.
            self.checkpoint(out, true);
        }
        if now >= self.heartbeat_due {
            self.heartbeat_due = now + i64::from(self.settings.heartbeat.ms());
            self.checkpoint(out, true);
            if let Some(sql) = &self.settings.heartbeat_query {
                self.upstream.run(sql)?;
            }
        }
        self.tell_status(now)?;
        let stands = self.read_rows(limits, out, now)?;
        // While a chunk is on its way, the stream stands: it must not get ahead of the chunk's snapshot.
        if stands || is_full(out, limits) {
            return Ok(Flow::More);
        }
        self.tables.stream_goes_on();
        if self.tables.left() == 0 && !self.has_rested {
            self.upstream.rest();
            self.has_rested = true;
        }
        let has_rows = !out.batch.is_empty();
        let wait_ms = if has_rows { 0 } else { self.wait_ms(limits.wait_ms, now) };
        let has_more = self.take_changes(limits, out, wait_ms)?;
        Ok(if has_rows || has_more { Flow::More } else { Flow::Idle(IDLE_MS) })
    }

    /// How long the stream may be waited for.
    fn wait_ms(&self, most: u32, now: i64) -> u32 {
        let rows_due = if self.next_part().is_some() { self.rows_due } else { i64::MAX };
        let due = self.status_due.min(self.refresh_due).min(self.heartbeat_due).min(rows_due);
        u32::try_from(due.saturating_sub(now).max(1)).unwrap_or(u32::MAX).min(most)
    }

    fn tell_status(&mut self, now: i64) -> Result<(), Error> {
        if now < self.status_due {
            return Ok(());
        }
        let every = if self.tables.is_quiet() { STATUS_EVERY_MS } else { STATUS_EVERY_READING_MS };
        self.status_due = now + every;
        let told = self.upstream.confirm(self.confirmed, true);
        self.unless_lost(told)
    }

    /// After an error of the stream it has to be begun anew.
    fn unless_lost<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        if result.is_err() {
            self.stop();
        }
        result
    }

    fn stop(&mut self) {
        self.upstream.stop();
        self.is_streaming = false;
        self.received = Received::default();
        self.taken = (0, 0);
        self.transaction = None;
        self.shapes.clear();
    }

    /// Adds checkpoints if there are records, or if `always` and something has moved.
    fn checkpoint(&mut self, out: &mut Poll, always: bool) {
        let has_moved = self.kept.as_ref() != Some(&self.position) || !self.dirty.is_empty();
        if out.batch.is_empty() && !(always && has_moved) {
            return;
        }
        self.kept = Some(self.position.clone());
        self.has_given = true;
        out.checkpoint(STREAM, position::written(&self.position));
        for of in std::mem::take(&mut self.dirty) {
            let part = self.tables.get(&of.0).and_then(|table| table.parts().get(of.1));
            out.checkpoint(position::partition(&of), part.map(position::written).unwrap_or_default());
        }
    }

    /// Looks at what is published, and at the slot.
    fn refresh(&mut self) -> Result<(), Error> {
        let published: BTreeSet<String> =
            self.upstream.published()?.into_iter().filter(|table| self.settings.wants(table)).collect();
        if published.len() > TABLES_MAX {
            let message = format!(
                "publication {} has {} tables, and a source reads at most {TABLES_MAX}; name some of them in `tables`, and give the others to \
                 another source",
                self.settings.publication,
                published.len()
            );
            return Err(Error::fatal("postgres.tables", message));
        }
        for table in &published {
            if self.tables.get(table).is_none() {
                self.add(table);
            }
        }
        let gone: Vec<String> =
            self.tables.names().filter(|table| !published.contains(*table)).cloned().collect();
        for table in gone {
            // If it comes back, it has missed changes: it is read anew then.
            millrace_sdk::info!("table {table} is not published any more");
            self.mark(&table);
            self.tables.remove(&table);
            self.drop_chunks(&table);
        }
        let left = self.tables.left();
        host::gauge("snapshot_tables_left", left as f64, &[]);
        if let Some(lag) = self.upstream.slot_lag()? {
            host::gauge("slot_lag_bytes", lag as f64, &[]);
            self.alarm(lag)?;
        }
        Ok(())
    }

    fn alarm(&self, lag: u64) -> Result<(), Error> {
        let Some(most) = self.settings.slot_lag_max.filter(|most| lag > most.bytes_u64()) else {
            return Ok(());
        };
        let message = format!(
            "slot {} holds back {lag} bytes of the server's log, more than `slot_lag_max` ({} bytes); if the pipeline keeps up, \
             look for a long transaction; `heartbeat_query` helps if other databases of the server are busy",
            self.settings.slot,
            most.bytes_u64()
        );
        match self.settings.slot_lag_action {
            LagAction::Fail => Err(Error::fatal("postgres.lag", message)),
            LagAction::Warn => {
                millrace_sdk::warn!("{message}");
                Ok(())
            }
        }
    }

    /// A table that is new to this source.
    fn add(&mut self, name: &str) {
        let table = match self.settings.snapshot {
            SnapshotMode::Initial => Table::default(),
            SnapshotMode::Never => Table::streamed(),
        };
        millrace_sdk::info!(
            "table {name} is published: {}",
            if table.is_read() { "changes only" } else { "its rows are read" }
        );
        self.replace(name, table);
    }

    /// Reads a table from its first row on.
    fn restart(&mut self, name: &str, why: &str) {
        millrace_sdk::info!("table {name} is read anew: {why}");
        self.replace(name, Table::default());
    }

    /// Puts a table in the place of the one of that name, if there is one.
    fn replace(&mut self, name: &str, table: Table) {
        self.mark(name);
        self.drop_chunks(name);
        self.tables.add(name, table);
        self.mark(name);
    }

    /// All of a table's parts go into the next checkpoint.
    fn mark(&mut self, name: &str) {
        let parts = self.tables.get(name).map_or(0, |table| table.parts().len());
        self.dirty.extend((0..parts).map(|part| (name.to_owned(), part)));
    }

    /// Learns all that is needed to write values of this type.
    fn learn(&mut self, oid: u32) -> Result<(), Error> {
        while let Some(missing) = self.types.missing(oid) {
            let entry = self.upstream.type_entry(missing)?;
            self.types.learn(missing, entry);
        }
        Ok(())
    }
}

/// Whether a poll has given what it may.
pub(crate) fn is_full(out: &Poll, limits: PollLimits) -> bool {
    out.batch.len() >= limits.records || out.batch.data_len() >= limits.bytes as usize
}

/// Kinds of columns in words, for the log.
fn kinds(shape: &Shape) -> Vec<(&str, &Type)> {
    shape.columns.iter().map(|column| (column.name.as_str(), &column.kind)).collect()
}
