//! Why something did not work, in the three classes that the contract knows.
//!
//! An [`Error`] is about a call as a whole: retriable (the host repeats the call) or fatal (the task stops). A [`Rejection`]
//! is about one record, which then goes the way that the pipeline's `errors` say. Choosing right matters more than the
//! message: a target that is out of reach must never reject records, it would flood the dead letter topic.

use std::fmt;
use std::time::Duration;

use crate::bindings::connector::millrace::connect::types;

/// What the host does about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Repeat the call later.
    Retriable,
    /// Stop the task.
    Fatal,
}

/// A call that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What the host does about it.
    pub kind: ErrorKind,
    /// Stable, for machines: `file.missing`.
    pub code: String,
    /// For people: lower case, names the thing, the place and the way out.
    pub message: String,
    /// Earliest time for the next try.
    pub retry_after: Option<Duration>,
}

impl Error {
    /// The same call may succeed later. The connector must be able to take the repetition.
    pub fn retriable(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Retriable, code: code.into(), message: message.into(), retry_after: None }
    }

    /// Nothing but a change from outside helps.
    pub fn fatal(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Fatal, code: code.into(), message: message.into(), retry_after: None }
    }

    /// Asks the host not to try again earlier.
    #[must_use]
    pub fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for Error {}

impl From<types::Error> for Error {
    fn from(error: types::Error) -> Self {
        let (kind, failure) = match error {
            types::Error::Retriable(failure) => (ErrorKind::Retriable, failure),
            types::Error::Fatal(failure) => (ErrorKind::Fatal, failure),
        };
        let retry_after = failure.retry_after_ms.map(|ms| Duration::from_millis(u64::from(ms)));
        Self { kind, code: failure.code, message: failure.message, retry_after }
    }
}

impl From<Error> for types::Error {
    fn from(error: Error) -> Self {
        let failure = types::Failure {
            code: error.code,
            message: error.message,
            retry_after_ms: error.retry_after.map(|wait| u32::try_from(wait.as_millis()).unwrap_or(u32::MAX)),
        };
        match error.kind {
            ErrorKind::Retriable => types::Error::Retriable(failure),
            ErrorKind::Fatal => types::Error::Fatal(failure),
        }
    }
}

/// One record that cannot be processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Stable, for machines: `json.syntax`.
    pub code: String,
    /// For people; the host adds topic, partition and offset.
    pub message: String,
}

impl Rejection {
    /// Says what is wrong with the record.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for Rejection {}
