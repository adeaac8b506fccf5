//! The files beside a segment that say where things are in it, in Apache Kafka's formats.
//!
//! - [`OffsetEntry`] (`.index`, 8 bytes): the last offset of a batch, relative to the segment's base, and the byte
//!   where that batch begins;
//! - [`TimeEntry`] (`.timeindex`, 12 bytes): the newest timestamp so far, and the relative last offset of the
//!   batch that has it;
//! - [`AbortedTxn`] (`.txnindex`, 34 bytes): a transaction that was aborted in this segment.
//!
//! All can be built again from the segment: they are written when it suits and are trusted only below the
//! recovery point.

mod aborted;
mod sparse;

pub(crate) use aborted::AbortedIndex;
pub use aborted::AbortedTxn;
pub(crate) use sparse::{IndexEntry, OffsetEntry, SparseIndex, TimeEntry};
