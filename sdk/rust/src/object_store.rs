//! Objects of a bucket, over a connection that the pipeline grants by name.
//!
//! A setting with `"x-connection": "s3"` in the schema names the connection; the host knows the bucket, signs requests, and puts
//! the connection's prefix before keys. What a store says no to is a [`Refusal`]: `?` makes it an [`Error`] of the right class
//! where it is nothing that the caller expects. Nothing is repeated on the way.
//!
//! Natively calls go to [`crate::testing::object_store`].

pub mod probe;

use crate::bindings::object_store::millrace::connect::object_store as wit;
use crate::error::Error;

pub use wit::{
    Attributes, ByteRange, Change, Condition, Listing, Meta, NewObject, NewUpload, Object, Part, Upload,
    Uploads, Whole,
};

/// Most changes of one call of the host.
const CHANGES_MAX: usize = 10_000;

/// Most entries that one list gives.
pub const ENTRIES_MAX: u32 = 1000;
/// Smallest size of a part that is not the last one.
pub const PART_BYTES_MIN: usize = 5 << 20;
/// Most parts of an upload.
pub const PARTS_MAX: usize = 10_000;

/// Why a call has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such object, or no such upload (any more).
    Missing(String),
    /// The object is there already, or is another one by now.
    Precondition(String),
    /// The credentials don't allow it.
    Denied(String),
    /// Anything else.
    Failed(Error),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Missing(why) => Self::fatal("s3.missing", why),
            Refusal::Precondition(why) => Self::fatal("s3.precondition", why),
            Refusal::Denied(why) => Self::fatal("s3.denied", why),
            Refusal::Failed(error) => error,
        }
    }
}

impl From<wit::Refusal> for Refusal {
    fn from(refusal: wit::Refusal) -> Self {
        match refusal {
            wit::Refusal::Missing(why) => Self::Missing(why),
            wit::Refusal::Precondition(why) => Self::Precondition(why),
            wit::Refusal::Denied(why) => Self::Denied(why),
            wit::Refusal::Failed(error) => Self::Failed(error.into()),
        }
    }
}

/// A bucket, by the name of its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    connection: String,
}

impl Store {
    /// The bucket of this connection. Asks for nothing yet.
    pub fn new(connection: impl Into<String>) -> Self {
        Self { connection: connection.into() }
    }

    /// A whole object of at most `bytes_max` bytes; 0: as many as the connection's `response_max`.
    pub fn get(&self, key: &str, bytes_max: u32) -> Result<Object, Refusal> {
        imports::get(&self.connection, key, None, bytes_max)
    }

    /// A range of an object; what is behind its end is left out.
    pub fn get_range(&self, key: &str, range: ByteRange) -> Result<Object, Refusal> {
        imports::get(&self.connection, key, Some(range), 0)
    }

    /// What is known of an object without its bytes.
    pub fn head(&self, key: &str) -> Result<Meta, Refusal> {
        imports::head(&self.connection, key)
    }

    /// Objects whose keys begin with `prefix`, behind the key `after`.
    pub fn list(&self, prefix: &str, after: Option<&str>, max: u32) -> Result<Listing, Refusal> {
        let page = imports::list(&self.connection, prefix, after, max)?;
        // Whoever reads on from the last key would take such a page for the end, and what is behind it for gone.
        if page.more && page.objects.is_empty() {
            let message = format!("the list of {prefix} has more, and an empty page");
            return Err(Refusal::Failed(Error::retriable("s3.list", message)));
        }
        Ok(page)
    }

    /// Unfinished uploads to keys that begin with `prefix`, behind the upload `after`.
    pub fn uploads(&self, prefix: &str, after: Option<&Upload>, max: u32) -> Result<Uploads, Refusal> {
        imports::uploads(&self.connection, prefix, after, max)
    }

    /// Does all of it, several at once and in no order; the answers have the order of the changes. Bodies together: 16 MiB at
    /// most.
    pub fn apply(&self, changes: &[Change]) -> Vec<Result<String, Refusal>> {
        // The host does so many at once.
        changes.chunks(CHANGES_MAX).flat_map(|some| imports::apply(&self.connection, some)).collect()
    }

    /// Does one change.
    pub fn apply_one(&self, change: Change) -> Result<String, Refusal> {
        let nothing = || Refusal::Failed(Error::fatal("s3.answer", "a change came back without an answer"));
        self.apply(&[change]).pop().unwrap_or_else(|| Err(nothing()))
    }

    /// Writes an object; gives back its etag.
    pub fn put(&self, key: &str, body: impl Into<Vec<u8>>, condition: Condition) -> Result<String, Refusal> {
        let attributes = Attributes { content_type: None, content_encoding: None };
        self.apply_one(Change::Put(NewObject {
            key: key.to_owned(),
            body: body.into(),
            condition,
            attributes,
        }))
    }

    /// Deletes an object, if it is there.
    pub fn delete(&self, key: &str) -> Result<(), Refusal> {
        self.apply_one(Change::Delete(key.to_owned())).map(drop)
    }
}

#[cfg(target_family = "wasm")]
mod imports {
    use super::{ByteRange, Change, Listing, Meta, Object, Refusal, Upload, Uploads, wit};

    pub(super) fn get(
        connection: &str,
        key: &str,
        range: Option<ByteRange>,
        bytes_max: u32,
    ) -> Result<Object, Refusal> {
        Ok(wit::get(connection, key, range, bytes_max)?)
    }

    pub(super) fn head(connection: &str, key: &str) -> Result<Meta, Refusal> {
        Ok(wit::head(connection, key)?)
    }

    pub(super) fn list(
        connection: &str,
        prefix: &str,
        after: Option<&str>,
        max: u32,
    ) -> Result<Listing, Refusal> {
        Ok(wit::list(connection, prefix, after, max)?)
    }

    pub(super) fn uploads(
        connection: &str,
        prefix: &str,
        after: Option<&Upload>,
        max: u32,
    ) -> Result<Uploads, Refusal> {
        Ok(wit::list_uploads(connection, prefix, after, max)?)
    }

    pub(super) fn apply(connection: &str, changes: &[Change]) -> Vec<Result<String, Refusal>> {
        wit::apply(connection, changes).into_iter().map(|answer| Ok(answer?)).collect()
    }
}

#[cfg(not(target_family = "wasm"))]
mod imports {
    use super::{ByteRange, Change, Listing, Meta, Object, Refusal, Upload, Uploads};
    use crate::testing::object_store::bucket;

    pub(super) fn get(
        _connection: &str,
        key: &str,
        range: Option<ByteRange>,
        _bytes_max: u32,
    ) -> Result<Object, Refusal> {
        bucket().get(key, range)
    }

    pub(super) fn head(_connection: &str, key: &str) -> Result<Meta, Refusal> {
        bucket().head(key)
    }

    pub(super) fn list(
        _connection: &str,
        prefix: &str,
        after: Option<&str>,
        max: u32,
    ) -> Result<Listing, Refusal> {
        bucket().list(prefix, after, max)
    }

    pub(super) fn uploads(
        _connection: &str,
        prefix: &str,
        after: Option<&Upload>,
        max: u32,
    ) -> Result<Uploads, Refusal> {
        bucket().list_uploads(prefix, after, max)
    }

    pub(super) fn apply(_connection: &str, changes: &[Change]) -> Vec<Result<String, Refusal>> {
        changes.iter().map(|change| bucket().change(change)).collect()
    }
}
