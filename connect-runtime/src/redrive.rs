//! Dead letters that are looked at, sent again, or put aside (docs/adr/0017).
//!
//! ```text
//! dead letter topic ── DeadLetters: scan, choose ──┬─> connect-retry-<connector> ── Inbox ──> task: transforms, sink or topic
//!                                                  └─> connect-offsets: handled         └──> place in connect-retry-…: its group
//!                                                  one transaction                           one transaction (source)
//! ```
//!
//! | file | what is in it |
//! |---|---|
//! | `letter` | what the headers of a dead letter tell |
//! | `marks` | which letters of a partition are handled |
//! | `desk`, `work` | for operators: what waits; retry and discard |
//! | `scan` | reading a dead letter topic up to its end |
//! | `choice`, `seen` | which letters are meant; which are copies |
//! | `inbox` | for tasks: the retried records |
//!
//! Invariants:
//! - A letter is marked as handled in the transaction that copies it to the connector's retry topic, or in none.
//! - Of two operators at one connector the later one fences the earlier: both use one transactional id.
//! - Records of a retry topic are deleted only after the place behind them was committed to the connector's group.

mod choice;
mod desk;
pub(crate) mod inbox;
mod letter;
mod marks;
mod scan;
mod seen;
mod work;

pub use choice::{Choice, RecordPlace};
pub use desk::{Action, DeadLetters, Error, Handled, Heap};
pub use letter::{Header, Letter};
pub use scan::Found;

/// Beginning of the names of retry topics.
pub(crate) const RETRY_TOPIC_PREFIX: &str = "connect-retry-";

/// The topic that brings dead letters back to a connector.
#[must_use]
pub fn retry_topic(connector: &str) -> String {
    format!("{RETRY_TOPIC_PREFIX}{connector}")
}
