//! What the host tells a guest that asked for something in vain.

use super::Failure;
use super::bindings::millrace::connect::types::Error;

impl Error {
    /// The same call may succeed later.
    pub(crate) fn retriable(code: &str, message: String) -> Self {
        Self::Retriable(Failure { code: code.to_owned(), message, retry_after_ms: None })
    }

    /// Nothing but a change from outside helps.
    pub(crate) fn fatal(code: &str, message: String) -> Self {
        Self::Fatal(Failure { code: code.to_owned(), message, retry_after_ms: None })
    }
}
