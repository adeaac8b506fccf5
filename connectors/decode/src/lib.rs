//! Files as records: what sources read, whatever they read it from. The counterpart of the crate beside it, which writes them.
//!
//! A [`reader::Reader`] goes through one file, a [`blob::Blob`] that can be read from any place: text line by line ([`text`]), also compressed
//! ([`unpack`]), Avro block by block ([`avro`]), Parquet by row groups ([`parquet`]). It stands at a [`reader::Place`] from which another one goes on.
//! Rows of files with columns become JSON ([`row`]), with Kafka Connect's schema beside it where the topic has a use for types.
//!
//! What is read is not trusted: everything that a file says of sizes has a limit, a rotten file ends in a rejection that names the place, and
//! nothing panics. It deliberately opens nothing, lists nothing, and remembers nothing: that is the connectors' part.

pub mod avro;
pub mod blob;
pub mod block;
pub mod hash;
pub mod json;
pub mod keys;
pub mod options;
pub mod parquet;
pub mod reader;
pub mod row;
#[cfg(test)]
mod tests;
pub mod text;
pub mod unpack;

use millrace_sdk::{Error, Poll, Rejection};

/// Why a file can't be read on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It could not be had: the same may succeed later, or the task has to stop.
    Outside(Error),
    /// What stands in it is not what it should be. Reading it again gives the same.
    Rotten(String),
    /// It may be whole, and is not read here: what it is, and what could be read instead.
    Unsupported(String),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Outside(error)
    }
}

impl Trouble {
    /// What stands in the file is not what it should be.
    pub fn rotten(why: impl Into<String>) -> Self {
        Self::Rotten(why.into())
    }
}

/// Gives back what is left of a file that can't be read on, in place of a record; nothing if it could not be had.
pub fn reject_rest(name: &str, trouble: &Trouble, out: &mut Poll) {
    if let Some(rejection) = rejection(name, trouble) {
        out.reject(name.as_bytes(), rejection);
    }
}

/// What is said of a file that can't be read on. The ways out come with it: what the host proposes for single records leaves out more here.
fn rejection(name: &str, trouble: &Trouble) -> Option<Rejection> {
    Some(match trouble {
        Trouble::Outside(_) => return None,
        Trouble::Rotten(why) => Rejection::new(
            "file.damaged",
            format!(
                "{name}: {why}; put a whole one in its place or take it away: errors.tolerance all leaves out the rest of it"
            ),
        ),
        Trouble::Unsupported(why) => Rejection::new(
            "file.unsupported",
            format!(
                "{name}: {why}; write it anew or take it away: errors.tolerance all leaves out the whole of it"
            ),
        ),
    })
}
