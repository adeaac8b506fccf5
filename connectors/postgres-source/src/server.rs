//! A real server: one session for SQL, one for replication, some that read rows. They are opened when they are needed, and anew when they were
//! lost.
//!
//! Rooms: [`setup`] (what has to be there before anything starts), [`table`] (columns, keys, rows), [`reader`] (chunks), [`alone`] (chunks
//! without a session for them).

mod alone;
mod reader;
pub(crate) mod setup;
pub(crate) mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use millrace_sdk::Error;
use millrace_sdk::clock::now_ms;
use millrace_sdk::postgres::{Failure, Rows, Session, Statement, Status, identifier, literal};

use self::alone::Alone;
use self::reader::Reader;
use self::table::Description;
use crate::frame;
use crate::lsn::Lsn;
use crate::settings::Settings;
use crate::snapshot::Snapshot;
use crate::tables::Key;
use crate::types::Entry;
use crate::upstream::{Division, Range, Read, Received, Upstream};

/// How values are written: [`crate::value`] reads no others.
const STYLE: &str = "SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'iso_8601'; SET TimeZone = 'UTC'; \
                     SET bytea_output = 'hex'; SET extra_float_digits = 1";
/// What queries need beyond that: rows that a policy hides are an error, and no lock is waited for until the stream breaks.
const GUARDS: &str = "SET row_security = off; SET lock_timeout = '2s'";

/// The host's word, and the server's, for one session too many.
const NO_MORE_SESSIONS: [&str; 2] = ["postgres.sessions", "sql.53300"];

/// The server that the settings name.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) settings: Settings,
    session: Option<Session>,
    stream: Option<Session>,
    readers: Vec<Reader>,
    /// What the first reader reads without a session of its own.
    alone: Option<Alone>,
    /// It could not have one, and does not ask again before another reader can.
    is_crowded: bool,
    /// Tables as they were when they were last looked at.
    pub(crate) descriptions: BTreeMap<String, Description>,
    /// Rows have been seen of which some don't fit into one answer: they are fetched one by one.
    has_large_rows: bool,
}

impl Server {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            settings: settings.clone(),
            session: None,
            stream: None,
            readers: Vec::new(),
            alone: None,
            is_crowded: false,
            descriptions: BTreeMap::new(),
            has_large_rows: false,
        }
    }

    /// Does something with the session. After a refusal it is outside of a transaction again.
    pub(crate) fn sql<T>(
        &mut self,
        work: impl FnOnce(&mut Session) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let session = match &mut self.session {
            Some(session) => session,
            none => {
                let mut session = Session::open(&self.settings.connection)?;
                session.run(&format!("{STYLE}; {GUARDS}"))?;
                none.insert(session)
            }
        };
        let result = work(session);
        let is_usable = match &result {
            Ok(_) => true,
            Err(Failure::Session(_)) => false,
            Err(Failure::Statement(_)) => session.status() == Status::Idle || session.run("ROLLBACK").is_ok(),
        };
        if !is_usable {
            self.session = None;
        }
        result
    }

    pub(crate) fn rows(&mut self, sql: &str) -> Result<Rows, Failure> {
        self.sql(|session| session.rows(sql))
    }

    pub(crate) fn query(&mut self, statement: &Statement) -> Result<Rows, Failure> {
        self.sql(|session| session.query(statement))
    }

    /// What the end of a stream means.
    fn stream_error(&self, failure: Failure) -> Error {
        let Settings { slot, publication, .. } = &self.settings;
        let code = match &failure {
            Failure::Statement(error) => error.code.as_str(),
            Failure::Session(error) => error.code.strip_prefix("sql.").unwrap_or_default(),
        };
        match code {
            // No such slot, or no such publication at the time of a change.
            "42704" if failure.to_string().contains("publication") => Error::fatal(
                "postgres.publication",
                format!(
                    "{failure}: the publication must be there, and have been there since the slot was made; if it was dropped, changes are lost: \
                     create it (CREATE PUBLICATION {} FOR TABLE ...), drop the slot (SELECT pg_drop_replication_slot({})), and \
                     reset the offsets to read the tables anew",
                    identifier(publication),
                    literal(slot)
                ),
            ),
            "42704" | "55000" => setup::lost(slot, &failure.to_string()),
            "42501" => setup::no_right(&failure),
            _ => failure.into(),
        }
    }
}

/// Whether there is no session to be had.
fn is_crowded(failure: &Failure) -> bool {
    matches!(failure, Failure::Session(error) if NO_MORE_SESSIONS.contains(&error.code.as_str()))
}

/// An answer that is not what the catalog gives.
pub(crate) fn odd(what: &str) -> Error {
    Error::fatal("postgres.protocol", format!("the server's answer about {what} can't be read; report it"))
}

impl Upstream for Server {
    fn start(&mut self, from: Lsn) -> Result<(), Error> {
        let begin = || {
            let mut session = Session::open_for_replication(&self.settings.connection)?;
            session.run(STYLE)?;
            session.copy(&format!(
                "START_REPLICATION SLOT {} LOGICAL {from} (proto_version '1', publication_names {})",
                identifier(&self.settings.slot),
                literal(&identifier(&self.settings.publication))
            ))?;
            Ok(session)
        };
        let session = begin().map_err(|failure| {
            if is_crowded(&failure) {
                // Rows can wait, the stream can't.
                self.readers.clear();
            }
            self.stream_error(failure)
        })?;
        self.stream = Some(session);
        Ok(())
    }

    fn read(&mut self, bytes_max: u32, wait_ms: u32) -> Result<Received, Error> {
        let Some(stream) = &mut self.stream else {
            return Err(Error::retriable("postgres.lost", "the stream of changes is not open"));
        };
        let chunk = stream.copy_read(bytes_max, wait_ms).map_err(|failure| self.stream_error(failure))?;
        if chunk.done {
            let message = "the server ended the stream of changes; it is shutting down";
            return Err(Error::retriable("postgres.lost", message));
        }
        Ok(Received { lens: chunk.lens, data: chunk.data })
    }

    fn confirm(&mut self, lsn: Lsn, asks: bool) -> Result<(), Error> {
        let Some(stream) = &mut self.stream else {
            return Err(Error::retriable("postgres.lost", "the stream of changes is not open"));
        };
        let status = frame::status(lsn, now_ms(), asks);
        stream.copy_write(&status).map_err(|failure| self.stream_error(failure))
    }

    fn stop(&mut self) {
        self.stream = None;
    }

    fn published(&mut self) -> Result<Vec<String>, Error> {
        let sql =
            "SELECT schemaname || '.' || tablename FROM pg_publication_tables WHERE pubname = $1 ORDER BY 1";
        let rows = self.query(&Statement::new(sql).text(self.settings.publication.as_str()))?;
        Ok(rows.iter().filter_map(|row| row.text(0).map(str::to_owned)).collect())
    }

    fn barrier(&mut self) -> Result<u64, Error> {
        let rows = self.rows("SELECT pg_current_xact_id()::text")?;
        let xid = rows.first().and_then(|row| row.text(0)?.parse().ok());
        xid.ok_or_else(|| odd("the current transaction"))
    }

    fn division(&mut self, table: &str, parts: usize) -> Result<Division, Error> {
        match self.divided(table, parts) {
            Ok(division) => Ok(division),
            // It is read in one part then, and whoever reads it says what is wrong with it.
            Err(Failure::Statement(error)) => {
                millrace_sdk::info!("table {table} is not divided: {error}");
                Ok(Division::default())
            }
            Err(failure) => Err(failure.into()),
        }
    }

    fn begin(&mut self, reader: usize, range: &Range<'_>) -> Result<bool, Error> {
        if reader == 0 && (self.settings.snapshot_max_threads <= 1 || self.is_crowded) {
            self.alone = Some(Alone::Asked(range.into()));
            return Ok(true);
        }
        if self.readers.len() <= reader {
            self.readers.resize_with(reader + 1, Reader::default);
        }
        match self.readers[reader].begin(&self.settings, range) {
            Ok(()) => {
                self.is_crowded &= reader == 0;
                Ok(true)
            }
            Err(failure) if reader == 0 && is_crowded(&failure) => {
                self.is_crowded = true;
                self.alone = Some(Alone::Asked(range.into()));
                Ok(true)
            }
            Err(failure) if is_crowded(&failure) => {
                // Those behind it are of no use either: what they read is read by the others.
                self.readers.truncate(reader);
                millrace_sdk::warn!(
                    "rows are read by {reader} sessions at once, not more, for a while: {failure}"
                );
                Ok(false)
            }
            Err(failure) => Err(failure.into()),
        }
    }

    fn next(
        &mut self,
        reader: usize,
        wait_ms: u32,
        accept: &mut dyn FnMut(&Snapshot) -> bool,
    ) -> Result<Read, Error> {
        if reader == 0
            && let Some(work) = self.alone.take()
        {
            return self.next_alone(work, accept);
        }
        let Some(known) = self.readers.get_mut(reader) else { return Ok(Read::NotYet) };
        let (read, seen) = known.next(&self.settings, wait_ms, accept)?;
        self.descriptions.extend(seen);
        Ok(read)
    }

    fn give_up(&mut self, reader: usize) {
        self.alone.take_if(|_| reader == 0);
        if let Some(reader) = self.readers.get_mut(reader) {
            reader.give_up();
        }
    }

    fn rest(&mut self) {
        self.readers.clear();
    }

    fn place(&mut self, table: &str, key: &Key, bounds: &[&Key]) -> Result<usize, Error> {
        let description = match self.descriptions.get(table) {
            Some(known) => known.clone(),
            None => self.described(table)?,
        };
        match description.place(key, bounds) {
            Some(place) => Ok(place),
            None => {
                let rows = self.rows(&description.comparison(key, bounds))?;
                let place = rows.first().and_then(|row| row.text(0)?.parse().ok());
                place.ok_or_else(|| odd("the order of keys"))
            }
        }
    }

    fn type_entry(&mut self, oid: u32) -> Result<Option<Entry>, Error> {
        let sql = "SELECT t.typtype, CASE WHEN t.typtype = 'b' AND t.typlen = -1 THEN NULLIF(t.typelem, 0) END, \
                   coalesce(e.typdelim, ','), NULLIF(t.typbasetype, 0) \
                   FROM pg_type t LEFT JOIN pg_type e ON e.oid = t.typelem WHERE t.oid = $1::oid";
        let rows = self.query(&Statement::new(sql).text(oid.to_string()))?;
        Ok(rows.first().map(|row| {
            let byte = |column: usize| row.bytes(column).and_then(|bytes| bytes.first().copied());
            let number = |column: usize| row.text(column).and_then(|text| text.parse().ok());
            Entry {
                kind: byte(0).unwrap_or(b'b'),
                element: number(1),
                delimiter: byte(2).unwrap_or(b','),
                base: number(3),
            }
        }))
    }

    fn key(&mut self, relation: u32) -> Result<Vec<String>, Error> {
        let sql = format!("{} ORDER BY k.place", table::key_of("$1::oid"));
        let rows = self.query(&Statement::new(sql).text(relation.to_string()))?;
        Ok(rows.iter().filter_map(|row| row.text(0).map(str::to_owned)).collect())
    }

    fn slot_lag(&mut self) -> Result<Option<u64>, Error> {
        let sql = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), restart_lsn)::bigint \
                   FROM pg_replication_slots WHERE slot_name = $1";
        let rows = self.query(&Statement::new(sql).text(self.settings.slot.as_str()))?;
        Ok(rows.first().and_then(|row| row.text(0)?.parse().ok()))
    }

    fn run(&mut self, sql: &str) -> Result<(), Error> {
        Ok(self.sql(|session| session.run(sql))?)
    }
}
