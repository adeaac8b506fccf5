//! Checks a message's every length against the bytes that are there, before the crate `kafka-protocol` decodes it.
//!
//! The crate's decoders reserve memory for as many elements as an array claims, so four hostile bytes would abort the
//! process. Here a message is walked over by a table of its fields (`requests.schema`): each string, byte string and array must
//! fit into what is left, the number of elements is limited, and the walk must end where the message ends. What passes
//! can be decoded with memory in proportion to its own size.
//!
//! The walk reads lengths only. That strings are UTF-8 and that numbers make sense is the decoder's and the handler's
//! business.

mod header;
mod schema;
#[cfg(test)]
mod tests;
mod walk;

use std::sync::LazyLock;

pub use self::header::{RequestHeader, request_header};
use self::schema::Messages;

/// Most array elements and unknown tagged fields that one request may hold, over all its arrays. The largest real ones name each partition of a
/// large cluster once.
pub const MAX_REQUEST_ELEMENTS: usize = 1 << 18;
/// Most array elements that one response may hold, over all its arrays.
pub const MAX_RESPONSE_ELEMENTS: usize = 1 << 20;

/// Why a message must not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No table entry.
    #[error("api key {0} is not known")]
    UnknownApi(i16),
    /// No such version in the table.
    #[error("{message} has no version {version}; known are {min} to {max}")]
    UnsupportedVersion {
        /// Name of the API.
        message: &'static str,
        /// What was asked for.
        version: i16,
        /// First version in the table.
        min: i16,
        /// Last version in the table.
        max: i16,
    },
    /// The message says something about itself that is not true.
    #[error("{message} v{version} is malformed: {field} at byte {at}: {what}")]
    Malformed {
        /// Name of the API.
        message: &'static str,
        /// Version of the message.
        version: i16,
        /// Name of the field.
        field: &'static str,
        /// Where in the message the walk stopped.
        at: usize,
        /// What is wrong there.
        what: Fault,
    },
    /// Bytes follow the last field.
    #[error("{message} v{version} has {extra} bytes after its last field")]
    TrailingBytes {
        /// Name of the API.
        message: &'static str,
        /// Version of the message.
        version: i16,
        /// How many.
        extra: usize,
    },
    /// The request header is cut off or its client id is longer than the frame.
    #[error("request header is malformed: {0}")]
    Header(Fault),
}

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A field of fixed size is cut off.
    #[error("{need} bytes needed, {have} left")]
    Truncated {
        /// Size of the field.
        need: usize,
        /// Bytes left.
        have: usize,
    },
    /// A length or count goes past the end.
    #[error("a length of {len} with {have} bytes left")]
    Length {
        /// What the message claims.
        len: i64,
        /// Bytes left.
        have: usize,
    },
    /// Null where the protocol allows none.
    #[error("null is not allowed")]
    Null,
    /// A variable-length integer that does not end or does not fit.
    #[error("{0}")]
    Varint(#[from] crate::varint::Error),
    /// More elements than any honest message has.
    #[error("more than {0} array elements in one message")]
    TooManyElements(usize),
    /// A tagged field whose content does not have the size it claims.
    #[error("tagged field of {size} bytes holds {used}")]
    TagSize {
        /// What the message claims.
        size: usize,
        /// What the field's content takes.
        used: usize,
    },
    /// The byte before an optional struct is neither 1 nor -1.
    #[error("presence marker {0}")]
    Presence(i8),
}

/// What group members tell each other inside JoinGroup and SyncGroup; opaque to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Embedded {
    /// `ConsumerProtocolSubscription`, after its version number.
    Subscription,
    /// `ConsumerProtocolAssignment`, after its version number.
    Assignment,
}

/// Checks a request body (what follows the header); gives the number of bytes after its last field.
///
/// Such bytes are passed over, as Apache Kafka does: librdkafka's Metadata request for all topics has three of them.
pub fn request(api_key: i16, version: i16, body: &[u8]) -> Result<usize, Error> {
    REQUESTS.walk(api_key, version, body, MAX_REQUEST_ELEMENTS, None)
}

/// Checks a response body (what follows the header).
pub fn response(api_key: i16, version: i16, body: &[u8]) -> Result<(), Error> {
    RESPONSES.check(api_key, version, body, MAX_RESPONSE_ELEMENTS)
}

/// Tells `on_error_code` every error code that stands in a response body, 0 for none included.
///
/// # Errors
/// As for [`response`]; codes up to the fault have been told.
pub fn error_codes(
    api_key: i16,
    version: i16,
    body: &[u8],
    on_error_code: &mut dyn FnMut(i16),
) -> Result<(), Error> {
    RESPONSES.walk(api_key, version, body, MAX_RESPONSE_ELEMENTS, Some(on_error_code)).map(|_| ())
}

/// What the protocol calls a request, for messages; "unknown" if it is not in the table.
pub fn api_name(api_key: i16) -> &'static str {
    REQUESTS.get(api_key).map_or("unknown", |message| message.name)
}

/// Checks an embedded message of the consumer protocol (what follows its version number); gives the number of bytes after
/// its last field. Newer versions append fields, which older members pass over.
pub fn embedded(kind: Embedded, version: i16, body: &[u8]) -> Result<usize, Error> {
    let key = match kind {
        Embedded::Subscription => 0,
        Embedded::Assignment => 1,
    };
    EMBEDDED.walk(key, version, body, MAX_REQUEST_ELEMENTS, None)
}

static REQUESTS: LazyLock<Messages> =
    LazyLock::new(|| Messages::parse(include_str!("guard/requests.schema")));
static RESPONSES: LazyLock<Messages> =
    LazyLock::new(|| Messages::parse(include_str!("guard/responses.schema")));
static EMBEDDED: LazyLock<Messages> =
    LazyLock::new(|| Messages::parse(include_str!("guard/embedded.schema")));

impl Messages {
    /// Nothing may follow the message.
    fn check(&self, key: i16, version: i16, body: &[u8], max_elements: usize) -> Result<(), Error> {
        match self.walk(key, version, body, max_elements, None)? {
            0 => Ok(()),
            extra => {
                let message = self.get(key).map_or("message", |message| message.name);
                Err(Error::TrailingBytes { message, version, extra })
            }
        }
    }

    fn walk(
        &self,
        key: i16,
        version: i16,
        body: &[u8],
        max_elements: usize,
        on_error_code: Option<&mut dyn FnMut(i16)>,
    ) -> Result<usize, Error> {
        let message = self.get(key).ok_or(Error::UnknownApi(key))?;
        if !message.versions.contains(&version) {
            let (min, max) = (*message.versions.start(), *message.versions.end());
            return Err(Error::UnsupportedVersion { message: message.name, version, min, max });
        }
        walk::walk(message, version, body, max_elements, on_error_code)
    }
}
