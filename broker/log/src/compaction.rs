//! Log compaction: of each key only the newest record stays, as Apache Kafka's log cleaner does it.
//!
//! A round over a log has two passes. The first reads the part that was not compacted yet (the dirty part) and notes the
//! newest offset of each key. The second writes all segments up to where the first one came anew, group by group, and
//! leaves out what the rules say; each group then takes the place of its segments in one step that survives a kill (see
//! `log/replace.rs`).
//!
//! The rules:
//! - never the active segment, nothing at or above the last stable offset, nothing younger than `min.compaction.lag.ms`;
//! - a record stays if its key has no newer one; without a key it goes;
//! - a tombstone (a null value) stays for `delete.retention.ms` after the first round that met it: the time is written
//!   into its batch as the delete horizon (KIP-534), so that every reader in time hears of the deletion;
//! - records of aborted transactions go at once; the marker of a transaction stays until none of its data is left, and then
//!   for `delete.retention.ms` more;
//! - the last batch of each producer that the log remembers stays, without records if need be, because it has the
//!   producer's last sequence; so does the last batch of each group, so that segments go on following one another
//!   without a gap: recovery takes a gap for a loss.
//!
//! Offsets, times, leader epochs, sequences and codecs of what stays are unchanged.
//!
//! Rooms: `plan` (which part of a log), `offset_map` (newest offset by key, in bounded memory), `transactions` (what may
//! be left out of them), `filter` (one batch). `log/compact.rs` puts them to work on a log.

use millrace_wire::ids::Offset;

use crate::error::Error;

pub(crate) mod filter;
pub(crate) mod offset_map;
pub(crate) mod plan;
pub(crate) mod transactions;

pub(crate) use filter::{Cleaned, Filter};
pub(crate) use offset_map::OffsetMap;
pub use plan::CompactionRange;
pub(crate) use transactions::CleanedTransactions;

/// What compaction works with; used for one log after the other.
#[derive(Debug)]
pub struct Cleaner {
    pub(crate) map: OffsetMap,
}

impl Cleaner {
    /// A cleaner that remembers as many keys as fit into `dedupe_buffer_bytes` (`log.cleaner.dedupe.buffer.size`), filled
    /// to `load_factor` (`log.cleaner.io.buffer.load.factor`). A log with more dirty keys takes several rounds. The memory
    /// is taken as it is needed.
    pub fn new(dedupe_buffer_bytes: usize, load_factor: f64) -> Self {
        Self { map: OffsetMap::new(dedupe_buffer_bytes, load_factor) }
    }
}

/// Who compacts is asked now and then whether to go on, with the bytes read or written since: the place to keep
/// `log.cleaner.io.max.bytes.per.second`.
pub trait Pace {
    /// Some bytes were read or written. `false` ends the round; what it has done so far counts.
    fn spent(&mut self, bytes: u64) -> bool;
}

impl<F: FnMut(u64) -> bool> Pace for F {
    fn spent(&mut self, bytes: u64) -> bool {
        self(bytes)
    }
}

/// What a round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactionReport {
    /// Below this offset the log is compacted.
    pub clean_end: Offset,
    /// Keys that were noted.
    pub keys: usize,
    /// Bytes of segments that were written anew.
    pub bytes_before: u64,
    /// What they have now.
    pub bytes_after: u64,
    /// Segments that were written anew.
    pub segments_before: usize,
    /// How many they are now.
    pub segments_after: usize,
}

/// Why a round did not come to its end. The log is as whole as before, partly compacted.
#[derive(Debug, thiserror::Error)]
pub enum CompactionError {
    /// [`Pace::spent`] said no.
    #[error("stopped on request")]
    Stopped,
    /// Segments were deleted or cut by somebody else meanwhile.
    #[error("segments were deleted or cut meanwhile")]
    Overtaken,
    /// The disk refused, or what is on it is corrupt.
    #[error("{0}")]
    Log(#[from] Error),
}
