//! The bundled connector postgres-sink: rows from records, exactly once.
//!
//! The names of its settings and what they do are those of Kafka Connect's JDBC sink. What a record may look like is told in
//! [`record`], what a value becomes in [`value`].
//!
//! Exactly once: each `put` is a transaction that writes the rows and moves the positions ([`positions`]). While a rejected record
//! waits for its dead letter (which is durable before the next flush) the transaction stays open until that flush: a position
//! never passes a record that is neither written nor a dead letter. What such a transaction writes is kept, and written again when the
//! session is lost.
//!
//! Whether a COMMIT whose answer was lost has happened is asked of the positions, in a new session.
//!
//! Rooms: [`record`], [`schema`], [`value`], [`calendar`] (what is read), [`table`], [`rows`], [`plan`] (what is to be done),
//! [`sql`], [`writer`], [`positions`] (doing it); [`diagnosis`] (what `millrace doctor` is told).

pub mod calendar;
pub mod diagnosis;
pub mod plan;
pub mod positions;
pub mod record;
pub mod rows;
pub mod schema;
pub mod settings;
pub mod sql;
pub mod table;
#[cfg(test)]
mod tests;
pub mod value;
pub mod writer;

use millrace_sdk::postgres::{Session, Status};
use millrace_sdk::{
    Description, Durable, Error, Finding, Problem, Records, Rejected, Sink, Taken, Task, TopicOffset,
    TopicPartition,
};

use crate::plan::Op;
use crate::positions::{Nexts, Positions};
use crate::rows::{Rejections, Tables, Unfit};
use crate::settings::Settings;
use crate::writer::{Failed, Writer};

/// Most bytes of values that wait in an open transaction: with more, nothing is taken until the flush.
const PENDING_BYTES_MAX: usize = 16 << 20;

/// One task of the sink.
#[derive(Debug)]
pub struct PostgresSink {
    settings: Settings,
    positions: Positions,
    session: Option<Session>,
    tables: Tables,
    /// What names the table: the pipeline's topic, also for records that are retried.
    topic: Option<String>,
    retry_topic: String,
    /// What the open transaction has written; none: no transaction is open.
    pending: Option<Vec<Op>>,
    pending_bytes: usize,
}

impl Sink for PostgresSink {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new("postgres-sink", env!("CARGO_PKG_VERSION"), "Writes records to tables of PostgreSQL")
            .settings(include_str!("settings.schema.json"))
            .key_formats(&["bytes", "connect-json"])
            .value_formats(&["json", "connect-json"])
            .extra("delivery", "exactly-once")
    }

    fn validate(settings: &Settings) -> Result<Vec<Problem>, Error> {
        Ok(settings.problems())
    }

    fn diagnose(settings: &Settings, topics: &[String]) -> Result<Vec<Finding>, Error> {
        diagnosis::diagnose(settings, topics)
    }

    fn open(task: &Task, settings: Settings) -> Result<Self, Error> {
        if let Some(problem) = settings.problems().into_iter().find(|problem| !problem.warning) {
            return Err(Error::fatal("settings", format!("{}: {}", problem.path, problem.message)));
        }
        let positions = Positions::new(settings.positions(), task)?;
        let mut session = connect(&settings.connection)?;
        positions.prepare(&mut session)?;
        Ok(Self {
            settings,
            positions,
            session: Some(session),
            tables: Tables::default(),
            topic: None,
            retry_topic: format!("connect-retry-{}", task.connector),
            pending: None,
            pending_bytes: 0,
        })
    }

    fn assigned(&mut self, partitions: &[TopicPartition]) -> Result<Vec<TopicOffset>, Error> {
        let topic = partitions.iter().map(|at| &at.topic).find(|topic| **topic != self.retry_topic);
        self.topic = topic.cloned().or_else(|| self.topic.take());
        self.ensure_session()?;
        match self.session.as_mut() {
            Some(session) => self.positions.claim(session, partitions),
            None => Ok(Vec::new()),
        }
    }

    fn revoked(&mut self, partitions: &[TopicPartition]) -> Result<(), Error> {
        self.commit()?;
        self.positions.revoke(partitions);
        Ok(())
    }

    fn put(&mut self, records: &Records<'_>, rejected: &mut Rejected) -> Result<Taken, Error> {
        self.ensure_session()?;
        if self.pending_bytes > PENDING_BYTES_MAX {
            return Ok(Taken::First(0));
        }
        if self.pending.is_none() && self.tables.is_full() {
            self.tables.forget();
        }
        let (ops, nexts, mut rejections) = self.ops(records)?;
        rejections.extend(self.write(&ops, &nexts)?);
        let waits = self.pending.is_some();
        if rejections.is_empty() && !waits {
            self.positions.wrote(&nexts);
            self.commit_now()?;
            return Ok(Taken::All);
        }
        // Open until the flush, behind the dead letters.
        self.positions.wrote(&nexts);
        let pending = self.pending.get_or_insert_default();
        for op in ops.into_iter().filter(|op| !rejections.contains_key(&op.record)) {
            self.pending_bytes += op.values.iter().flatten().map(String::len).sum::<usize>();
            pending.push(op);
        }
        for record in records {
            if let Some(why) = rejections.remove(&(record.index as usize)) {
                rejected.push(&record, why);
            }
        }
        Ok(Taken::All)
    }

    fn flush(&mut self) -> Result<Durable, Error> {
        self.commit()?;
        Ok(Durable::UpTo(self.positions.durable()))
    }

    fn close(&mut self) -> Result<(), Error> {
        self.session = None;
        Ok(())
    }
}

/// A session whose COMMIT is answered when it is on disk. The host is told of positions then, and commits them to the consumer
/// group: were a partition's first row lost in a crash, reading would begin behind the records that were lost with it.
fn connect(connection: &str) -> Result<Session, Error> {
    let mut session = Session::open(connection)?;
    session.run(
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
    )?;
    Ok(session)
}

impl PostgresSink {
    /// A session, and in it the transaction that was open when the last one was lost.
    fn ensure_session(&mut self) -> Result<(), Error> {
        // In a transaction when one is meant to be open, and only then: anything else is left over from a failure.
        let expected = if self.pending.is_some() { Status::InTransaction } else { Status::Idle };
        if self.session.as_ref().is_some_and(|session| session.status() == expected) {
            return Ok(());
        }
        self.session = None;
        let mut session = connect(&self.settings.connection)?;
        let is_done = self.positions.ask(&mut session)?;
        self.session = Some(session);
        let Some(pending) = self.pending.take() else {
            self.positions.rolled_back();
            return Ok(());
        };
        if is_done {
            self.pending_bytes = 0;
            return Ok(());
        }
        let nexts = self.positions.uncommitted();
        self.positions.rolled_back();
        let written = self.write(&pending, &nexts);
        self.positions.wrote(&nexts);
        self.pending = Some(pending);
        match written {
            Ok(rejections) if rejections.is_empty() => Ok(()),
            Ok(_) => positions::anew(
                "rows that were taken before are refused after the session was lost; deciding anew",
            ),
            Err(error) => {
                self.session = None;
                if self.tables.tables.is_empty() {
                    // What waits is of tables as they were known.
                    positions::anew("the tables have changed while rows were waiting; deciding anew");
                }
                Err(error)
            }
        }
    }

    /// What is to be done for records that are not written yet, how far that is, and which are no good.
    fn ops(&mut self, records: &Records<'_>) -> Result<(Vec<Op>, Nexts, Rejections), Error> {
        let (mut ops, mut nexts, mut rejections) = (Vec::new(), Nexts::new(), Rejections::new());
        let Self { settings, positions, session, tables, topic, retry_topic, .. } = self;
        let Some(session) = session.as_mut() else {
            return Err(Error::retriable("postgres.closed", "there is no session"));
        };
        // They come in runs of one partition: topic, partition, what is written of it, and the next offset.
        let mut run = ("", -1, 0, None);
        for record in records {
            if (record.topic, record.partition) != (run.0, run.1) {
                nexts.extend(run.3.map(|next| ((run.0.to_owned(), run.1), next)));
                let written = positions.next(record.topic, record.partition)?;
                let before = nexts.get(&(record.topic.to_owned(), record.partition)).copied();
                run = (record.topic, record.partition, written, before);
            }
            if record.offset < run.2 {
                continue;
            }
            run.3 = Some(record.offset + 1);
            let named = if record.topic == retry_topic.as_str() {
                topic.as_deref().unwrap_or(record.topic)
            } else {
                record.topic
            };
            match tables.op(session, settings, &record, named) {
                Ok(op) => ops.extend(op),
                Err(Unfit::Record(why)) => {
                    rejections.insert(record.index as usize, why);
                }
                Err(Unfit::Call(error)) => return Err(error),
            }
        }
        nexts.extend(run.3.map(|next| ((run.0.to_owned(), run.1), next)));
        Ok((ops, nexts, rejections))
    }

    /// Writes in a transaction, which stays open.
    fn write(&mut self, ops: &[Op], nexts: &Nexts) -> Result<Rejections, Error> {
        if nexts.is_empty() {
            return Ok(Rejections::new());
        }
        let is_open = self.pending.is_some();
        let Some(session) = self.session.as_mut() else {
            return Err(Error::retriable("postgres.closed", "there is no session"));
        };
        let mut writer = Writer { session, settings: &self.settings, tables: &self.tables };
        writer.write(&self.positions, ops, nexts, is_open).map_err(|failed| match failed {
            Failed::Lost(error) => {
                self.session = None;
                error
            }
            Failed::Again(error) | Failed::Stop(error) => error,
            Failed::Stale(error) if !is_open => {
                self.tables.forget();
                let message = format!("{}; the tables are looked up again", error.message);
                Error::retriable(error.code, message)
            }
            Failed::Stale(error) => error,
            // Asked in a new session, the positions say whether somebody else has moved them.
            Failed::Moved => {
                self.session = None;
                Error::retriable("positions.moved", "the positions were moved by somebody else")
            }
        })
    }

    /// Commits what waits, if something does; a session that was lost meanwhile is mended first.
    fn commit(&mut self) -> Result<(), Error> {
        if self.pending.is_none() {
            return Ok(());
        }
        self.ensure_session()?;
        if self.pending.is_none() {
            return Ok(()); // it had happened
        }
        self.commit_now()
    }

    fn commit_now(&mut self) -> Result<(), Error> {
        let Some(session) = self.session.as_mut() else {
            return Err(Error::retriable("postgres.closed", "there is no session"));
        };
        if session.status() == Status::Idle {
            return Ok(()); // nothing was new
        }
        if let Err(failure) = session.run("COMMIT") {
            self.session = None; // whether it happened is asked in the next one
            return Err(failure.into());
        }
        self.positions.committed();
        self.pending = None;
        self.pending_bytes = 0;
        Ok(())
    }
}

millrace_sdk::export_sink!(PostgresSink);
