//! What goes wrong, in the classes of the contract.
//!
//! An error of the server with severity ERROR is about a statement: the session goes on. FATAL and PANIC end the session, as does
//! everything that happens to the socket.

use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::ErrorFields;

use super::wire::Broken;
use crate::component::bindings::millrace::connect::postgres::{Problem, SqlError};
use crate::component::bindings::millrace::connect::types::Error as GuestError;

/// Longest text of an error that is passed on: a server may put a whole row into one.
const TEXT_BYTES_MAX: usize = 4 << 10;

/// The session is over, and another one may do better.
pub(super) fn lost(code: &str, message: String) -> Problem {
    Problem::Session(GuestError::retriable(code, message))
}

/// The session is over, and another one would end the same.
pub(super) fn fatal(code: &str, message: String) -> Problem {
    Problem::Session(GuestError::fatal(code, message))
}

/// Words for the end of a session with the server at `place`.
pub(super) fn broken(place: &str, error: &Broken) -> Problem {
    match error {
        Broken::TooLarge(..) => fatal("postgres.result-size", format!("{place}: {error}")),
        Broken::Protocol(_) => fatal("postgres.protocol", format!("{place}: {error}")),
        Broken::Silent(_) => lost("postgres.timeout", format!("{place}: {error}")),
        Broken::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            fatal("postgres.protocol", format!("{place}: {error}"))
        }
        Broken::Io(_) | Broken::Closed => lost("postgres.lost", format!("{place}: {error}")),
    }
}

/// What the server says, and whether the session is over with it.
pub(super) struct Said {
    pub(super) error: SqlError,
    pub(super) ends: bool,
}

impl Said {
    pub(super) fn read(mut fields: ErrorFields<'_>) -> Self {
        let mut error = SqlError {
            code: String::new(),
            message: String::new(),
            detail: String::new(),
            hint: String::new(),
            schema: String::new(),
            table: String::new(),
            column: String::new(),
            data_type: String::new(),
            constraint: String::new(),
            place: String::new(),
            position: 0,
            retriable: false,
        };
        let (mut severity, mut unlocalized) = (String::new(), None);
        // Fields after one that can't be read are left out.
        while let Ok(Some(field)) = fields.next() {
            let text = clip(String::from_utf8_lossy(field.value_bytes()).into_owned());
            match field.type_() {
                b'S' => severity = text,
                b'V' => unlocalized = Some(text),
                b'C' => error.code = text,
                b'M' => error.message = text,
                b'D' => error.detail = text,
                b'H' => error.hint = text,
                b's' => error.schema = text,
                b't' => error.table = text,
                b'c' => error.column = text,
                b'd' => error.data_type = text,
                b'n' => error.constraint = text,
                b'W' => error.place = text,
                b'P' => error.position = text.parse().unwrap_or_default(),
                _ => {}
            }
        }
        error.retriable = is_retriable(&error.code);
        let ends = matches!(unlocalized.unwrap_or(severity).as_str(), "FATAL" | "PANIC");
        Self { error, ends }
    }

    /// The end of a session, or of an attempt to begin one, at `place`.
    pub(super) fn ending(&self, place: &str) -> Problem {
        let SqlError { code, message, hint, .. } = &self.error;
        let hint = if hint.is_empty() { String::new() } else { format!("; {hint}") };
        let (code, message) = (format!("sql.{code}"), format!("{place}: {message}{hint}"));
        if ends_for_good(&self.error.code) { fatal(&code, message) } else { lost(&code, message) }
    }
}

/// Whether the same transaction may succeed when it is begun anew: classes 08 (connection), 53 (short of something) and
/// those states that speak of others at work or of an operator.
fn is_retriable(code: &str) -> bool {
    matches!(code.get(..2), Some("08" | "53"))
        || matches!(
            code,
            "40001" // serialization_failure
                | "40P01" // deadlock_detected
                | "55P03" // lock_not_available
                | "55006" // object_in_use: a replication slot that somebody else still reads
                | "57014" // query_canceled: statement_timeout, or somebody
                | "57P01" | "57P02" | "57P03" // shutdown, crash, starting
                | "58030" // io_error
                | "25006" // read_only_sql_transaction: a server that is not the primary (any more)
        )
}

/// Whether a session that ended, or did not begin, with this state would do so again: credentials, names, rights.
fn ends_for_good(code: &str) -> bool {
    matches!(code.get(..2), Some("0A" | "0P" | "22" | "28" | "3D" | "3F" | "42"))
}

fn clip(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        let end = (0..=TEXT_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}
