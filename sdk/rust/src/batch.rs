//! Records in flat columns, read as an iterator and written by a builder.
//!
//! Nothing here allocates per record: a [`RecordRef`] borrows from the columns, and a [`BatchBuilder`] appends to them. That
//! is what keeps a record's way through the sandbox short: a list of records would cost an allocation per field.
//!
//! - `read`: [`Records`], checked once as a whole, then iterated without checks that could fail
//! - `build`: [`BatchBuilder`] and [`RecordWriter`]

mod build;
mod read;
#[cfg(test)]
mod tests;

pub use build::{BatchBuilder, RecordWriter};
pub use read::{HeaderList, HeaderRef, Headers, Iter, RecordRef, Records};
