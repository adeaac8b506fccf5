//! One partition on disk, in Apache Kafka's own format: segments, indexes, producer state, recovery.
//!
//! A [`Log`] appends batches of records as opaque bytes, makes them durable, and gives them back by offset. It knows no
//! network, no runtime and no clock: calls are synchronous, the time is an argument, and the disk is a seam
//! ([`disk::Disk`]) behind which a simulated one can stand.
//!
//! Invariants, each with a test that would notice:
//! - a record below the durable end is there after any power cut, unchanged;
//! - offsets ascend without being given twice, whatever fails;
//! - the producers' state rebuilt from the files is the one that was live;
//! - Apache Kafka's `kafka-dump-log` reads every file.
//!
//! Rooms:
//! - [`disk`]: the seam, the real and the simulated disk
//! - [`log`]: the log itself
//! - [`manager`]: all logs of a data directory, its lock and its checkpoints
//! - `piece`: record bytes in memory or in their file
//! - `files`: how many files may be open, and which of them are
//! - `compaction`: what stays of a log when only the newest record of each key counts
//! - `segment`, `index`, `producer`, `epochs`, `cache`: what a log is made of
//! - [`checkpoint`], [`partition_metadata`]: the small files
//! - [`verify`]: a scrub of a directory that is not in use
//!
//! Deliberately absent: replication, high watermarks beyond taking note of one, any network.

pub mod checkpoint;
pub mod disk;
pub mod log;
pub mod manager;
pub mod partition_metadata;
pub mod verify;

mod cache;
mod compaction;
mod config;
mod epochs;
mod error;
mod files;
mod index;
mod piece;
mod producer;
mod segment;
mod topic_partition;

pub use cache::CacheBudget;
pub use compaction::{Cleaner, CompactionError, CompactionRange, CompactionReport, Pace};
pub use config::{CorruptionPolicy, LogConfig};
pub use error::{AppendError, Error};
pub use files::FileBudget;
pub use index::AbortedTxn;
pub use log::{AppendInfo, AppendRequest, Log, OpenOptions, ReadResult, RecoveryReport, TimestampOffset};
pub use manager::{Dirty, LogManager, ManagerOptions};
pub use piece::{FileSlice, Piece};
pub use producer::{ActiveProducer, AppendOrigin};
pub use segment::scan::{Scanner, Step};
pub use topic_partition::{NotAPartition, TopicPartition};
