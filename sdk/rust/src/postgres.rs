//! PostgreSQL over a connection that the pipeline grants by name.
//!
//! A setting with `"x-connection": "postgres"` in the schema names the connection; the host knows where it leads, logs in, and
//! bounds time, sessions and sizes. Values are text, as the server writes and reads it, so that every type goes through unharmed.
//!
//! A call fails with a [`Failure`]: the session is over, or the server refused a statement. `?` makes the right [`Error`](crate::Error) of
//! it where the difference does not matter.
//!
//! ```no_run
//! use millrace_sdk::postgres::{Session, Statement, identifier};
//! # fn example() -> Result<(), millrace_sdk::Error> {
//! let mut session = Session::open("shop")?;
//! let sql = format!("SELECT id, total FROM {} WHERE total > $1::numeric", identifier("Orders"));
//! let rows = session.query(&Statement::new(sql).text("12.50"))?;
//! for row in rows.iter() {
//!     let (id, total) = (row.text(0), row.text(1)); // None: null
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Natively sessions lead to [`crate::testing::postgres`].

mod failure;
mod rows;

pub use failure::{Failure, SqlError};
pub use rows::{Column, Row, Rows};

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Outside of a transaction.
    Idle,
    /// In a transaction.
    InTransaction,
    /// In a transaction that failed.
    Failed,
    /// In a COPY.
    Copying,
    /// Over.
    Closed,
}

/// A statement with parameters `$1`, `$2`, ..., which take their types from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statement {
    /// The statement.
    pub sql: String,
    /// Text of each parameter; none: null.
    pub params: Vec<Option<Vec<u8>>>,
}

impl Statement {
    /// Without parameters yet.
    pub fn new(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), params: Vec::new() }
    }

    /// The next parameter.
    #[must_use]
    pub fn text(mut self, value: impl Into<Vec<u8>>) -> Self {
        self.params.push(Some(value.into()));
        self
    }

    /// The next parameter, which may be null.
    #[must_use]
    pub fn nullable(mut self, value: Option<impl Into<Vec<u8>>>) -> Self {
        self.params.push(value.map(Into::into));
        self
    }
}

/// A statement of a batch that failed; those before it are undone with it, unless they were committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchFailure {
    /// Which one, from 0.
    pub index: usize,
    /// Why.
    pub failure: Failure,
}

/// Data of a COPY, or of a replication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// Bytes of each message: of a row, as a rule.
    pub lens: Vec<u32>,
    /// The messages.
    pub data: Vec<u8>,
    /// The server is at its end.
    pub done: bool,
}

impl Chunk {
    /// Message by message.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.data.as_slice();
        self.lens.iter().map_while(move |length| {
            let message;
            (message, rest) = rest.split_at_checked(*length as usize)?;
            Some(message)
        })
    }
}

/// A backend of the server. Dropped, it ends, and what was not committed is rolled back.
#[derive(Debug)]
pub struct Session(imports::Session);

impl Session {
    /// Over the connection of this name.
    pub fn open(connection: &str) -> Result<Self, Failure> {
        imports::open(connection, false).map(Self)
    }

    /// The same, speaking the replication protocol: no [`Session::query`], no [`Session::batch`].
    pub fn open_for_replication(connection: &str) -> Result<Self, Failure> {
        imports::open(connection, true).map(Self)
    }

    /// Where it stands.
    pub fn status(&self) -> Status {
        self.0.status()
    }

    /// What the server reported of itself, such as `server_version`.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.0.parameter(name)
    }

    /// Statements without parameters, with semicolons between them, in one round trip and, without BEGIN, one transaction.
    pub fn run(&mut self, sql: &str) -> Result<(), Failure> {
        self.0.run(sql)
    }

    /// One statement without parameters, and its rows.
    pub fn rows(&mut self, sql: &str) -> Result<Rows, Failure> {
        self.0.rows_of(sql)
    }

    /// Sends statements without parameters, as [`Session::run`] takes them, and does not wait: what comes is taken in meanwhile. Until
    /// [`Session::receive`] has given the answer, the session takes no other call.
    pub fn send(&mut self, sql: &str) -> Result<(), Failure> {
        self.0.send(sql)
    }

    /// The answer to what was sent, waited for at most so long: rows of the last statement that gives any. None: not yet.
    pub fn receive(&mut self, wait_ms: u32) -> Result<Option<Rows>, Failure> {
        self.0.receive(wait_ms)
    }

    /// One statement with parameters, and its rows.
    pub fn query(&mut self, statement: &Statement) -> Result<Rows, Failure> {
        self.0.query(statement)
    }

    /// Several statements in one round trip and, without BEGIN, one transaction; how many rows each of them changed.
    pub fn batch(&mut self, statements: &[Statement]) -> Result<Vec<u64>, BatchFailure> {
        self.0.batch(statements)
    }

    /// `COPY ... FROM STDIN` with all its data; how many rows that were. Large data goes in several messages.
    pub fn copy_in(&mut self, sql: &str, data: &[u8]) -> Result<u64, Failure> {
        self.copy(sql)?;
        for part in data.chunks(COPY_BYTES) {
            self.copy_write(part)?;
        }
        self.copy_finish()
    }

    /// Begins a COPY, or a replication.
    pub fn copy(&mut self, sql: &str) -> Result<(), Failure> {
        self.0.copy(sql)
    }

    /// Sends data of a COPY. A replication takes one message.
    pub fn copy_write(&mut self, data: &[u8]) -> Result<(), Failure> {
        self.0.copy_write(data)
    }

    /// What the server sends: waits up to `wait_ms` for something, then gives what is there, some `bytes_max` of it.
    pub fn copy_read(&mut self, bytes_max: u32, wait_ms: u32) -> Result<Chunk, Failure> {
        self.0.copy_read(bytes_max, wait_ms)
    }

    /// Ends what is written; how many rows that were.
    pub fn copy_finish(&mut self) -> Result<u64, Failure> {
        self.0.copy_finish()
    }

    /// Ends what is written so that nothing of it remains; another COPY, or a replication, ends the session.
    pub fn copy_abort(&mut self, reason: &str) -> Result<(), Failure> {
        self.0.copy_abort(reason)
    }
}

/// Bytes of a message of [`Session::copy_in`].
const COPY_BYTES: usize = 4 << 20;

/// A name as SQL writes it, whatever it holds: `"Orders"`.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as SQL writes it: `'it''s'`. For statements that take no parameters.
pub fn literal(text: &str) -> String {
    // With a backslash in it the form that means the same under every setting.
    if text.contains('\\') {
        return format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"));
    }
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(target_family = "wasm")]
mod imports {
    use super::{BatchFailure, Chunk, Column, Failure, Rows, SqlError, Statement, Status};
    use crate::bindings::postgres::millrace::connect::postgres as host;

    pub(super) type Handle = host::Session;

    #[derive(Debug)]
    pub(super) struct Session(Handle);

    pub(super) fn open(connection: &str, replication: bool) -> Result<Session, Failure> {
        let mode = if replication { host::Mode::Replication } else { host::Mode::Plain };
        Ok(Session(Handle::open(connection, mode).map_err(failure)?))
    }

    fn failure(problem: host::Problem) -> Failure {
        match problem {
            host::Problem::Session(error) => Failure::Session(error.into()),
            host::Problem::Statement(error) => Failure::Statement(Box::new(SqlError {
                code: error.code,
                message: error.message,
                detail: error.detail,
                hint: error.hint,
                schema: error.schema,
                table: error.table,
                column: error.column,
                data_type: error.data_type,
                constraint: error.constraint,
                place: error.place,
                position: error.position,
                retriable: error.retriable,
            })),
        }
    }

    fn rows(rows: host::Rows) -> Rows {
        let column = |column: host::Column| Column {
            name: column.name,
            type_oid: column.type_oid,
            type_modifier: column.type_modifier,
        };
        Rows::new(rows.columns.into_iter().map(column).collect(), rows.lens, rows.data, rows.tag)
    }

    fn lowered(statement: &Statement) -> host::Statement {
        host::Statement { sql: statement.sql.clone(), params: statement.params.clone() }
    }

    impl Session {
        pub(super) fn status(&self) -> Status {
            match self.0.status() {
                host::Status::Idle => Status::Idle,
                host::Status::InTransaction => Status::InTransaction,
                host::Status::Failed => Status::Failed,
                host::Status::Copying => Status::Copying,
                host::Status::Closed => Status::Closed,
            }
        }

        pub(super) fn parameter(&self, name: &str) -> Option<String> {
            self.0.parameter(name)
        }

        pub(super) fn run(&mut self, sql: &str) -> Result<(), Failure> {
            self.0.run(sql).map_err(failure)
        }

        pub(super) fn rows_of(&mut self, sql: &str) -> Result<Rows, Failure> {
            self.0.rows_of(sql).map(rows).map_err(failure)
        }

        pub(super) fn send(&mut self, sql: &str) -> Result<(), Failure> {
            self.0.send(sql).map_err(failure)
        }

        pub(super) fn receive(&mut self, wait_ms: u32) -> Result<Option<Rows>, Failure> {
            self.0.receive(wait_ms).map(|came| came.map(rows)).map_err(failure)
        }

        pub(super) fn query(&mut self, statement: &Statement) -> Result<Rows, Failure> {
            self.0.query(&lowered(statement)).map(rows).map_err(failure)
        }

        pub(super) fn batch(&mut self, statements: &[Statement]) -> Result<Vec<u64>, BatchFailure> {
            let statements: Vec<_> = statements.iter().map(lowered).collect();
            self.0.batch(&statements).map_err(|failed| BatchFailure {
                index: failed.index as usize,
                failure: failure(failed.problem),
            })
        }

        pub(super) fn copy(&mut self, sql: &str) -> Result<(), Failure> {
            self.0.copy(sql).map_err(failure)
        }

        pub(super) fn copy_write(&mut self, data: &[u8]) -> Result<(), Failure> {
            self.0.copy_write(data).map_err(failure)
        }

        pub(super) fn copy_read(&mut self, bytes_max: u32, wait_ms: u32) -> Result<Chunk, Failure> {
            let host::Chunk { lens, data, done } = self.0.copy_read(bytes_max, wait_ms).map_err(failure)?;
            Ok(Chunk { lens, data, done })
        }

        pub(super) fn copy_finish(&mut self) -> Result<u64, Failure> {
            self.0.copy_finish().map_err(failure)
        }

        pub(super) fn copy_abort(&mut self, reason: &str) -> Result<(), Failure> {
            self.0.copy_abort(reason).map_err(failure)
        }
    }
}

#[cfg(not(target_family = "wasm"))]
use crate::testing::postgres as imports;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_are_quoted() {
        assert_eq!(identifier(r#"a "b" c"#), r#""a ""b"" c""#);
        assert_eq!((literal("it's"), literal(r"a\'b")), ("'it''s'".to_owned(), r"E'a\\''b'".to_owned()));
    }

    #[test]
    fn chunks_are_read_message_by_message() {
        let chunk = Chunk { lens: vec![1, 0, 2, 9], data: b"abc".to_vec(), done: false };
        assert_eq!(chunk.iter().collect::<Vec<_>>(), [b"a".as_slice(), b"", b"bc"]);
    }
}
