//! Writes ops and positions in one transaction, and finds the rows that the server does not take.
//!
//! At first everything goes at once. If the server refuses something that is about data, it is done again in halves, each behind
//! a savepoint, until the bad rows are alone; the others are written.

use millrace_sdk::Error;
use millrace_sdk::postgres::{BatchFailure, Failure, Session, SqlError, Statement};

use crate::plan::{Op, waves};
use crate::positions::{Nexts, Positions};
use crate::rows::{Rejections, Tables};
use crate::settings::{InsertMode, Settings};
use crate::sql;

/// From so many new rows on COPY is quicker than INSERT.
const COPY_ROWS_MIN: usize = 50;
/// Most bytes of statements that go at once: a call of the host takes no more than 16 MiB.
const BATCH_BYTES_MAX: usize = 6 << 20;
/// Most statements that go together: a call of the host takes no more than 10,000.
const BATCH_STATEMENTS_MAX: usize = 5_000;

/// What the rows belong to.
pub struct Writer<'w> {
    /// Over this session.
    pub session: &'w mut Session,
    /// As the user wants it.
    pub settings: &'w Settings,
    /// Into these.
    pub tables: &'w Tables,
}

/// Why nothing was written.
pub enum Failed {
    /// The session is over, and its transaction with it.
    Lost(Error),
    /// Undone, up to where the transaction was before; another try may do better.
    Again(Error),
    /// The same, and the tables are not as they were known.
    Stale(Error),
    /// The same; the positions are not where they should be.
    Moved,
    /// The same; nothing will help.
    Stop(Error),
}

/// Why it is not done.
enum Began {
    /// Positions are not where they should be.
    Moved,
    /// A call failed.
    Failed(Failure),
}

impl From<Failure> for Began {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Writer<'_> {
    /// Writes all that the server takes; what it does not is given back. The transaction stays open; `is_open`: it was before.
    pub fn write(
        &mut self,
        positions: &Positions,
        ops: &[Op],
        nexts: &Nexts,
        is_open: bool,
    ) -> Result<Rejections, Failed> {
        let begin = if is_open { "SAVEPOINT put" } else { "BEGIN ISOLATION LEVEL READ COMMITTED" };
        let undo = if is_open { "ROLLBACK TO SAVEPOINT put" } else { "ROLLBACK" };
        let found = match self.begin(begin, positions, nexts, ops, true) {
            Err(Began::Failed(Failure::Statement(error))) if is_about_data(&error) => {
                self.undo(undo)?;
                let mut rejections = Rejections::new();
                let again = self.begin(begin, positions, nexts, &[], false);
                again.and_then(|()| Ok(self.halves(ops, &mut rejections)?)).map(|()| rejections)
            }
            begun => begun.map(|()| Rejections::new()),
        };
        match found {
            Ok(rejections) => Ok(rejections),
            Err(Began::Moved) => {
                self.undo(undo)?;
                Err(Failed::Moved)
            }
            Err(Began::Failed(Failure::Session(error))) => Err(Failed::Lost(error)),
            Err(Began::Failed(Failure::Statement(error))) => {
                self.undo(undo)?;
                let is_stale = matches!(error.code.as_str(), "42P01" | "42703" | "42804" | "42846");
                Err(match error.error() {
                    _ if is_stale => Failed::Stale(error.error()),
                    again if error.retriable => Failed::Again(again),
                    stop => Failed::Stop(stop),
                })
            }
        }
    }

    /// Begins, moves the positions, and writes these ops.
    fn begin(
        &mut self,
        begin: &str,
        positions: &Positions,
        nexts: &Nexts,
        ops: &[Op],
        may_copy: bool,
    ) -> Result<(), Began> {
        let first = vec![Statement::new(begin), positions.moved(nexts)];
        let counts = self.attempt(first, ops, may_copy)?;
        if counts.get(1) == Some(&(nexts.len() as u64)) { Ok(()) } else { Err(Began::Moved) }
    }

    fn undo(&mut self, sql: &str) -> Result<(), Failed> {
        self.session.run(sql).map_err(|failure| Failed::Lost(failure.into()))
    }

    /// Everything at once, behind these statements; the counts of the first round trip.
    fn attempt(&mut self, first: Vec<Statement>, ops: &[Op], may_copy: bool) -> Result<Vec<u64>, Failure> {
        let mode = self.settings.insert_mode;
        let newest_only = mode != InsertMode::Insert;
        let mut batch = Batch { session: &mut *self.session, bytes: 0, waiting: Vec::new(), counts: None };
        for statement in first {
            batch.add(statement)?;
        }
        for group in
            waves(ops, &self.tables.shapes, newest_only, self.settings.batch_size).into_iter().flatten()
        {
            let shape = &self.tables.shapes[group.shape];
            let table = &self.tables.tables[shape.table];
            let rows: Vec<&Op> = group.ops.iter().map(|op| &ops[*op]).collect();
            if may_copy && mode == InsertMode::Insert && !shape.delete && rows.len() >= COPY_ROWS_MIN {
                batch.send()?;
                let (sql, data) = sql::copy(table, shape, &rows);
                batch.session.copy_in(&sql, &data)?;
            } else {
                batch.add(sql::statement(mode, table, shape, &rows))?;
            }
        }
        if !ops.is_empty() {
            // What is only checked at the end would else be found when nobody knows any more which row it was.
            batch.add(Statement::new("SET CONSTRAINTS ALL IMMEDIATE"))?;
        }
        batch.send()?;
        Ok(batch.counts.unwrap_or_default())
    }

    /// The same in halves. The server is left in the state after all that it took.
    fn halves(&mut self, ops: &[Op], rejections: &mut Rejections) -> Result<(), Failure> {
        if ops.is_empty() {
            return Ok(());
        }
        match self.attempt(vec![Statement::new("SAVEPOINT part")], ops, false) {
            Ok(_) => self.session.run("RELEASE SAVEPOINT part"),
            Err(Failure::Statement(error)) if is_about_data(&error) => {
                self.session.run("ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part")?;
                if let [one] = ops {
                    rejections.insert(one.record, error.rejection());
                    return Ok(());
                }
                let (one, two) = ops.split_at(ops.len() / 2);
                self.halves(one, rejections)?;
                self.halves(two, rejections)
            }
            Err(failure) => Err(failure),
        }
    }
}

/// Statements that wait to go together.
struct Batch<'b> {
    session: &'b mut Session,
    waiting: Vec<Statement>,
    bytes: usize,
    counts: Option<Vec<u64>>,
}

impl Batch<'_> {
    fn add(&mut self, statement: Statement) -> Result<(), Failure> {
        let bytes = statement.sql.len() + statement.params.iter().flatten().map(Vec::len).sum::<usize>();
        let is_full = self.waiting.len() >= BATCH_STATEMENTS_MAX;
        if is_full || self.bytes > 0 && self.bytes + bytes > BATCH_BYTES_MAX {
            self.send()?;
        }
        self.bytes += bytes;
        self.waiting.push(statement);
        Ok(())
    }

    fn send(&mut self) -> Result<(), Failure> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        let waiting = std::mem::take(&mut self.waiting);
        let counts = self.session.batch(&waiting).map_err(|BatchFailure { failure, .. }| failure)?;
        self.counts.get_or_insert(counts);
        Ok(())
    }
}

/// Whether a refusal speaks of rows: their values (22), constraints (23, 44), keys that are twice in one statement (21), limits on their
/// size (54), what a trigger raises (P0).
fn is_about_data(error: &SqlError) -> bool {
    matches!(error.code.get(..2), Some("21" | "22" | "23" | "44" | "54" | "P0")) && !error.retriable
}
