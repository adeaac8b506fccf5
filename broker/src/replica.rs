//! The partitions that this node keeps: who may append, what is durable, what readers may see.
//!
//! Rooms: `partition` (one partition led here: log, leader epoch, high watermark), `append` (the single writer and its
//! queue), `flush` (group commit and relaxed syncing), `recompress` (`compression.type`), `verification` (who may
//! write transactional batches), `manager` (all partitions of this node, following the metadata), `error` (what a partition
//! answers instead).
//!
//! How a record becomes visible, on one node: it is appended to the log (in the page cache), the log is synced, the high
//! watermark moves up to what is durable, and everyone who waits for that is woken. With `flush.messages` above 1 the
//! high watermark follows the append instead and the sync comes later, which is Kafka's behaviour on one replica.

pub(crate) mod append;
pub(crate) mod error;
pub(crate) mod flush;
pub(crate) mod manager;
pub(crate) mod partition;
pub(crate) mod recompress;
#[cfg(test)]
mod tests;
pub(crate) mod verification;

pub(crate) use append::{Appended, Ticket, Write};
pub(crate) use error::Error;
pub(crate) use manager::Replicas;
pub(crate) use partition::Partition;
