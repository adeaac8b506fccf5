//! The mode query: rows behind a cursor, asked for again and again, where the role may not replicate.
//!
//! A cursor (a number of a sequence, a time) rises as rows are written, but not as they become visible: a transaction may take its value
//! first and commit last. So a round has two steps (ADR 29):
//! 1. the greatest cursor that is seen becomes the bound of the round; then the transactions that are open are noted;
//! 2. when all of those are over, rows up to the bound are read. Whoever began later takes values behind it, so that no row can appear
//!    up to it any more.
//!
//! A row and the place behind it are one transaction of the topic. After an error a new round begins: it costs a wait, and no row.
//!
//! Rooms: [`check`] (which cursors are safe), [`position`] (checkpoints), [`server`] (a real server).

pub(crate) mod check;
pub(crate) mod position;
mod server;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use millrace_sdk::clock::now_ms;
use millrace_sdk::{Error, Flow, Poll, PollLimits, host};

use crate::envelope::{Change, Op, Origin, Writer};
use crate::pgoutput::{Column, Value};
use crate::pull::is_full;
use crate::settings::Settings;
use crate::shape::Shape;
use crate::tables::{KEY_BYTES_MAX, Key, key_bytes};
use crate::types::{Entry, Types};
use crate::upstream::Rows;

/// Between two looks at the transactions that are waited for, and at a table that is locked.
const WAIT_MS: u32 = 50;
/// How often a wait is worth a line in the log.
const AWAITED_LOG_MS: i64 = 30_000;

/// What is asked of a server.
pub(crate) trait Store {
    /// The greatest cursor among the rows behind `after` that are seen now; none: there are none.
    fn greatest(&mut self, table: &str, after: Option<&Key>) -> Result<Option<Key>, Error>;

    /// Transactions of others that are open, whatever they have done so far; never is a name given twice.
    fn open_transactions(&mut self) -> Result<BTreeSet<String>, Error>;

    /// Rows behind `after` and up to `upto`, in the order of the cursor; none: not now.
    fn rows(&mut self, table: &str, after: Option<&Key>, upto: &Key) -> Result<Option<Batch>, Error>;

    /// What the catalog says of a type.
    fn type_entry(&mut self, oid: u32) -> Result<Option<Entry>, Error>;
}

/// Rows of a table.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) columns: Vec<Column>,
    /// Names of the primary key's columns.
    pub(crate) key: Vec<String>,
    pub(crate) rows: Rows,
    /// Whether these are the last ones up to the bound.
    pub(crate) is_last: bool,
}

/// Cursors by table.
type Bounds = BTreeMap<String, Key>;

/// How far a round is.
#[derive(Debug)]
enum Round {
    /// It begins then, milliseconds since 1970.
    Due(i64),
    /// The transactions that were open when the bounds were seen are not over.
    Waiting { bounds: Bounds, open: BTreeSet<String>, since: i64 },
    /// Rows up to the bounds are final. A table whose rows are read is taken out.
    Reading { bounds: Bounds },
    /// It was the only one.
    Over,
}

/// Rows on their way into the topic.
#[derive(Debug)]
struct Emission {
    table: String,
    shape: Shape,
    /// Places of the cursor's columns.
    cursor: Vec<usize>,
    batch: Batch,
    /// When they were read.
    ts_ms: i64,
    /// The next row: place of its first value, and of that one's bytes.
    next: (usize, usize),
}

/// The source's only task in this mode.
#[derive(Debug)]
pub(crate) struct Query<S> {
    store: S,
    settings: Settings,
    writer: Writer,
    /// Milliseconds since 1970, from the system or a test.
    clock: fn() -> i64,
    types: Types,
    /// The cursor of the last row in the topic, by table.
    positions: Bounds,
    round: Round,
    emission: Option<Emission>,
}

impl<S: Store> Query<S> {
    /// A task that goes on from `positions`.
    pub(crate) fn new(store: S, settings: Settings, database: &str, positions: Bounds) -> Self {
        Self {
            store,
            writer: Writer::new(&settings, database),
            settings,
            clock: now_ms,
            types: Types::default(),
            positions,
            round: Round::Due(i64::MIN),
            emission: None,
        }
    }

    /// See [`millrace_sdk::Source::poll`].
    pub(crate) fn poll(&mut self, limits: PollLimits, out: &mut Poll) -> Result<Flow, Error> {
        let now = (self.clock)();
        while self.emission.is_none() {
            // What fails leaves a new round.
            let round = std::mem::replace(&mut self.round, Round::Due(now));
            let (round, pause) = match round {
                Round::Due(at) if now < at => {
                    let left = u32::try_from(at - now).unwrap_or(u32::MAX);
                    (Round::Due(at), Some(Flow::Idle(left)))
                }
                Round::Due(_) => self.begin(now)?,
                Round::Waiting { bounds, open, since } => self.wait(bounds, open, since, now)?,
                Round::Reading { bounds } => self.read(bounds, now)?,
                Round::Over => (Round::Over, Some(Flow::End)),
            };
            self.round = round;
            if let Some(pause) = pause {
                return Ok(pause);
            }
        }
        if let Some(emission) = self.emission.take() {
            self.emit(emission, limits, out)?;
        }
        Ok(Flow::More)
    }

    /// Sees how far there is something to read, and then who may still write there.
    fn begin(&mut self, now: i64) -> Result<(Round, Option<Flow>), Error> {
        let mut bounds = Bounds::new();
        for table in self.settings.cursors.keys() {
            if let Some(greatest) = self.store.greatest(table, self.positions.get(table))? {
                if let Some(value) = greatest.first().filter(|value| is_endless(value)) {
                    let message = format!(
                        "table {table} has a row whose cursor is {value}: nothing comes behind it; correct the row, or choose another cursor"
                    );
                    return Err(Error::fatal("postgres.cursor", message));
                }
                bounds.insert(table.clone(), greatest);
            }
        }
        if bounds.is_empty() {
            return Ok(self.rest(now));
        }
        let open = self.store.open_transactions()?;
        Ok((Round::Waiting { bounds, open, since: now }, None))
    }

    fn wait(
        &mut self,
        bounds: Bounds,
        mut open: BTreeSet<String>,
        mut since: i64,
        now: i64,
    ) -> Result<(Round, Option<Flow>), Error> {
        if !open.is_empty() {
            let still = self.store.open_transactions()?;
            open.retain(|transaction| still.contains(transaction));
        }
        if open.is_empty() {
            return Ok((Round::Reading { bounds }, None));
        }
        if now - since >= AWAITED_LOG_MS {
            since = now;
            let named: Vec<&str> = open.iter().take(5).map(String::as_str).collect();
            millrace_sdk::info!(
                "rows wait for {} transactions to end that may have written before them, such as {}",
                open.len(),
                named.join(", ")
            );
        }
        Ok((Round::Waiting { bounds, open, since }, Some(Flow::Idle(WAIT_MS))))
    }

    fn read(&mut self, bounds: Bounds, now: i64) -> Result<(Round, Option<Flow>), Error> {
        let Some((table, upto)) = bounds.first_key_value() else {
            return Ok(self.rest(now));
        };
        let Some(batch) = self.store.rows(table, self.positions.get(table), upto)? else {
            return Ok((Round::Reading { bounds }, Some(Flow::Idle(WAIT_MS))));
        };
        for column in &batch.columns {
            while let Some(missing) = self.types.missing(column.type_oid) {
                let entry = self.store.type_entry(missing)?;
                self.types.learn(missing, entry);
            }
        }
        let names = table.split_once('.').unwrap_or(("", table));
        let shape = Shape::new(&self.settings, &self.types, names, &batch.columns, &batch.key);
        let place = |name: &String| shape.columns.iter().position(|column| column.name == *name);
        let cursor = self.settings.cursors[table].iter().map(place).collect::<Option<Vec<usize>>>();
        let cursor = cursor.ok_or_else(|| odd_rows(table))?;
        let table = table.clone();
        self.emission = Some(Emission { table, shape, cursor, batch, ts_ms: now, next: (0, 0) });
        Ok((Round::Reading { bounds }, None))
    }

    /// Between two rounds, or behind the last one.
    fn rest(&self, now: i64) -> (Round, Option<Flow>) {
        match self.settings.poll_every {
            Some(every) => (Round::Due(now + i64::from(every.ms())), Some(Flow::Idle(every.ms()))),
            None => (Round::Over, Some(Flow::End)),
        }
    }

    fn emit(&mut self, mut emission: Emission, limits: PollLimits, out: &mut Poll) -> Result<(), Error> {
        let Emission { table, shape, cursor, batch, ts_ms, next } = &mut emission;
        let origin = Origin { ts_ms: *ts_ms, ..Origin::default() };
        let (mut count, mut last) = (0, None);
        let mut row = Vec::new();
        while next.0 < batch.rows.lens.len() && (count == 0 || !is_full(out, limits)) {
            let behind =
                batch.rows.take(*next, shape.columns.len(), &mut row).ok_or_else(|| odd_rows(table))?;
            let text = |place: &usize| match row.get(*place) {
                Some(Value::Text(text)) => Some((*text).to_owned()),
                _ => None,
            };
            let at = cursor.iter().map(text).collect::<Option<Key>>().ok_or_else(|| odd_rows(table))?;
            if key_bytes(&at) > KEY_BYTES_MAX {
                let message = format!(
                    "a row of {table} has a cursor of {} bytes, and a checkpoint holds {KEY_BYTES_MAX}; choose another cursor",
                    key_bytes(&at)
                );
                return Err(Error::fatal("postgres.cursor", message));
            }
            let change = Change { op: Op::Read, before: None, after: Some(&row) };
            self.writer.write(&mut out.batch, shape, change, &origin, *ts_ms);
            (*next, count, last) = (behind, count + 1, Some(at));
        }
        if let Some(last) = last {
            let columns = &self.settings.cursors[table.as_str()];
            out.checkpoint(position::partition(table), position::written(columns, &last));
            self.positions.insert(table.clone(), last);
            host::count("query_rows", count, &[]);
        }
        if next.0 < batch.rows.lens.len() {
            self.emission = Some(emission);
        } else if batch.is_last
            && let Round::Reading { bounds } = &mut self.round
        {
            bounds.remove(table.as_str());
        }
        Ok(())
    }
}

/// Values that nothing comes behind.
fn is_endless(value: &str) -> bool {
    matches!(value, "infinity" | "Infinity" | "NaN")
}

fn odd_rows(table: &str) -> Error {
    Error::fatal("postgres.protocol", format!("rows of {table} are not as they should be; report it"))
}
