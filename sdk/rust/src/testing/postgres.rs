//! A database for native tests: a function that sessions ask.

use std::cell::{Cell, RefCell};

use crate::error::Error;
use crate::postgres::{BatchFailure, Chunk, Failure, Rows, Statement, Status};

/// What a session wants.
#[derive(Debug)]
pub enum Call<'a> {
    /// To begin, over this connection; for replication or not.
    Open(&'a str, bool),
    /// Statements whose rows nobody wants.
    Run(&'a str),
    /// A statement and its rows.
    Rows(&'a str),
    /// Statements, whose rows are asked for later.
    Send(&'a str),
    /// A statement with parameters, alone or of a batch.
    Query(&'a Statement),
    /// A COPY.
    Copy(&'a str),
    /// Data for it.
    Write(&'a [u8]),
    /// Data of it.
    Read,
    /// Its end; true: aborted.
    Finish(bool),
    /// The session is dropped.
    Close,
}

/// What the database says.
#[derive(Clone, Debug, Default)]
pub enum Answer {
    /// Done.
    #[default]
    Done,
    /// So many rows were changed.
    Count(u64),
    /// These are the rows.
    Rows(Rows),
    /// This comes from a COPY.
    Chunk(Chunk),
}

type Handler = Box<dyn FnMut(Call<'_>) -> Result<Answer, Failure>>;

thread_local! {
    static HANDLER: RefCell<Option<Handler>> = const { RefCell::new(None) };
}

/// Answers all sessions of this thread from now on.
pub fn serve(handler: impl FnMut(Call<'_>) -> Result<Answer, Failure> + 'static) {
    HANDLER.with(|slot| *slot.borrow_mut() = Some(Box::new(handler)));
}

fn answer(call: Call<'_>) -> Result<Answer, Failure> {
    HANDLER.with(|slot| match slot.borrow_mut().as_mut() {
        Some(handler) => handler(call),
        None => {
            let message = "nobody answers in this test; call testing::postgres::serve";
            Err(Failure::Session(Error::fatal("postgres.denied", message)))
        }
    })
}

/// A session that knows its status by the words of its statements and what became of them.
#[derive(Debug)]
pub(crate) struct Session {
    status: Cell<Status>,
    /// What became of the statements that were sent.
    sent: Option<Result<Answer, Failure>>,
}

pub(crate) fn open(connection: &str, replication: bool) -> Result<Session, Failure> {
    answer(Call::Open(connection, replication))
        .map(|_| Session { status: Cell::new(Status::Idle), sent: None })
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = answer(Call::Close);
    }
}

impl Session {
    pub(crate) fn status(&self) -> Status {
        self.status.get()
    }

    fn ask(&self, sql: &str, call: Call<'_>) -> Result<Answer, Failure> {
        let answer = answer(call);
        let status = match &answer {
            Err(Failure::Session(_)) => Status::Closed,
            Err(Failure::Statement(_)) if self.status.get() == Status::InTransaction => Status::Failed,
            Err(Failure::Statement(_)) => self.status.get(),
            Ok(_) if sql.starts_with("BEGIN") || sql.starts_with("ROLLBACK TO") => Status::InTransaction,
            Ok(_) if sql.starts_with("COMMIT") || sql.starts_with("ROLLBACK") => Status::Idle,
            Ok(_) => self.status.get(),
        };
        self.status.set(status);
        answer
    }

    pub(crate) fn parameter(&self, _name: &str) -> Option<String> {
        None
    }

    pub(crate) fn run(&mut self, sql: &str) -> Result<(), Failure> {
        self.ask(sql, Call::Run(sql)).map(|_| ())
    }

    pub(crate) fn rows_of(&mut self, sql: &str) -> Result<Rows, Failure> {
        self.ask(sql, Call::Rows(sql)).map(rows)
    }

    pub(crate) fn send(&mut self, sql: &str) -> Result<(), Failure> {
        self.sent = Some(self.ask(sql, Call::Send(sql)));
        Ok(())
    }

    pub(crate) fn receive(&mut self, _wait_ms: u32) -> Result<Option<Rows>, Failure> {
        self.sent.take().unwrap_or(Ok(Answer::Done)).map(|answer| Some(rows(answer)))
    }

    pub(crate) fn query(&mut self, statement: &Statement) -> Result<Rows, Failure> {
        self.ask(&statement.sql, Call::Query(statement)).map(rows)
    }

    pub(crate) fn batch(&mut self, statements: &[Statement]) -> Result<Vec<u64>, BatchFailure> {
        let one = |(index, statement): (usize, &Statement)| match self
            .ask(&statement.sql, Call::Query(statement))
        {
            Ok(answer) => Ok(count(&answer)),
            Err(failure) => Err(BatchFailure { index, failure }),
        };
        statements.iter().enumerate().map(one).collect()
    }

    pub(crate) fn copy(&mut self, sql: &str) -> Result<(), Failure> {
        answer(Call::Copy(sql)).map(|_| ())
    }

    pub(crate) fn copy_write(&mut self, data: &[u8]) -> Result<(), Failure> {
        answer(Call::Write(data)).map(|_| ())
    }

    pub(crate) fn copy_read(&mut self, _bytes_max: u32, _wait_ms: u32) -> Result<Chunk, Failure> {
        match answer(Call::Read)? {
            Answer::Chunk(chunk) => Ok(chunk),
            _ => Ok(Chunk::default()),
        }
    }

    pub(crate) fn copy_finish(&mut self) -> Result<u64, Failure> {
        answer(Call::Finish(false)).map(|answer| count(&answer))
    }

    pub(crate) fn copy_abort(&mut self, _reason: &str) -> Result<(), Failure> {
        answer(Call::Finish(true)).map(|_| ())
    }
}

fn rows(answer: Answer) -> Rows {
    match answer {
        Answer::Rows(rows) => rows,
        _ => Rows::default(),
    }
}

fn count(answer: &Answer) -> u64 {
    match answer {
        Answer::Count(count) => *count,
        Answer::Rows(rows) => rows.len() as u64,
        _ => 0,
    }
}
