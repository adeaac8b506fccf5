//! A session that reads rows, chunk by chunk, and does so while others do the same: each question is sent, and its answer is taken when it
//! is there.
//!
//! ```text
//! begin ─> lock, snapshot, description ─> cursor and first rows ─> more rows ─> ... ─> commit
//! ```
//!
//! When rows are given, those behind them are on their way already. Whoever asks goes on to the end before it does anything that takes long.

use millrace_sdk::Error;
use millrace_sdk::postgres::{Failure, Rows as Answer, Session, Status};

use super::table::{Description, Fetch, begin, declare, not_begun, refused};
use super::{GUARDS, STYLE};
use crate::settings::Settings;
use crate::snapshot::Snapshot;
use crate::upstream::{Asked, Range, Read, Rows};

/// A transaction that nobody reads on must not hold locks, nor rows that are gone, for as long as what is downstream stands. The loss of a session costs
/// a chunk.
const IDLE_GUARD: &str = "SET idle_in_transaction_session_timeout = '60s'";

/// A reader.
#[derive(Debug, Default)]
pub(super) struct Reader {
    session: Option<Session>,
    work: Option<Work>,
    /// Rows have been seen of which some don't fit into one answer: they are fetched one by one.
    has_large_rows: bool,
}

/// What a reader is at.
#[derive(Debug)]
struct Work {
    asked: Asked,
    /// None: it waits for its snapshot.
    fetch: Option<Fetch>,
    /// There is no key, and the chunk is the whole table.
    is_whole: bool,
}

impl Reader {
    /// Begins to read; the description of the table comes with the snapshot.
    pub(super) fn begin(&mut self, settings: &Settings, range: &Range<'_>) -> Result<(), Failure> {
        let session = match &mut self.session {
            Some(session) => session,
            none => {
                let mut session = Session::open(&settings.connection)?;
                session.run(&format!("{STYLE}; {GUARDS}; {IDLE_GUARD}"))?;
                none.insert(session)
            }
        };
        let query = Description::query(range.table, &settings.publication);
        if let Err(failure) = session.send(&format!("{}; {query}", begin(range.table))) {
            self.session = None;
            return Err(failure);
        }
        self.work = Some(Work { asked: range.into(), fetch: None, is_whole: false });
        Ok(())
    }

    /// See [`crate::upstream::Upstream::next`]; with the table as it is seen in the snapshot, when that has come.
    pub(super) fn next(
        &mut self,
        settings: &Settings,
        wait_ms: u32,
        accept: &mut dyn FnMut(&Snapshot) -> bool,
    ) -> Result<(Read, Option<(String, Description)>), Error> {
        let (Some(session), Some(mut work)) = (&mut self.session, self.work.take()) else {
            return Err(Error::retriable("postgres.lost", "the session that reads rows is not open"));
        };
        let came = match session.receive(wait_ms) {
            Ok(None) => {
                self.work = Some(work);
                return Ok((Read::Waiting, None));
            }
            Ok(Some(came)) => Ok(came),
            Err(failure) => Err(failure),
        };
        let result = match &mut work.fetch {
            None => self.see(settings, &mut work, came, accept),
            Some(_) => self.take(settings, &mut work, came).map(|read| (read, None)),
        };
        if matches!(&result, Ok((Read::Begun(_) | Read::Rows(_), _))) {
            self.work = Some(work);
        } else {
            self.rest();
        }
        result
    }

    /// The snapshot has come.
    fn see(
        &mut self,
        settings: &Settings,
        work: &mut Work,
        came: Result<Answer, Failure>,
        accept: &mut dyn FnMut(&Snapshot) -> bool,
    ) -> Result<(Read, Option<(String, Description)>), Error> {
        let range = work.asked.range();
        let answer = match came {
            Ok(answer) => answer,
            Err(failure) => return not_begun(range.table, failure).map(|why_not| (why_not, None)),
        };
        let (description, begun) = match Description::for_rows(&answer, &range, accept)? {
            Ok(seen) => seen,
            Err(why_not) => return Ok((why_not, None)),
        };
        work.is_whole = begun.key.is_empty();
        let rows_max = (!work.is_whole).then_some(settings.chunk_rows);
        let select = description.select(range.table, range.after, range.upto, rows_max);
        let fetch = work.fetch.insert(Fetch::new(self.has_large_rows, settings.snapshot_max_threads));
        let sql = format!("{}; {}", declare(&select), fetch.sql());
        self.send(&sql).map_err(|failure| refused(range.table, failure))?;
        Ok((Read::Begun(begun), Some((range.table.to_owned(), description))))
    }

    /// Rows have come.
    fn take(
        &mut self,
        settings: &Settings,
        work: &mut Work,
        came: Result<Answer, Failure>,
    ) -> Result<Read, Error> {
        let table = work.asked.range().table;
        let Some(fetch) = &mut work.fetch else { return Ok(Read::Waiting) };
        let answer = match came {
            Ok(answer) => answer,
            // The session is over. What it gave before stays; the rest comes one by one, in the next one.
            Err(failure) if fetch.is_too_large(&failure) => {
                self.has_large_rows = true;
                return Ok(Read::NotYet);
            }
            Err(failure) => return Err(refused(table, failure)),
        };
        let mut rows = Rows::default();
        let is_at_end = fetch.took(&answer, &mut rows);
        if is_at_end || fetch.is_full(table, work.is_whole)? {
            let is_last = is_at_end && (work.is_whole || fetch.count < settings.chunk_rows as usize);
            return Ok(Read::End { rows, is_last });
        }
        let sql = fetch.sql();
        self.send(&sql).map_err(|failure| refused(table, failure))?;
        Ok(Read::Rows(rows))
    }

    fn send(&mut self, sql: &str) -> Result<(), Failure> {
        match &mut self.session {
            Some(session) => session.send(sql),
            None => Ok(()),
        }
    }

    /// Frees the reader in the middle of what it reads: an answer may be on its way, so the session ends.
    pub(super) fn give_up(&mut self) {
        (self.session, self.work) = (None, None);
    }

    /// The chunk is over: its transaction ends. Nothing was written, so it does not matter how.
    fn rest(&mut self) {
        self.session.take_if(|session| match session.status() {
            Status::Idle => false,
            Status::InTransaction | Status::Failed => session.run("ROLLBACK").is_err(),
            Status::Copying | Status::Closed => true,
        });
    }
}
