//! The controller: which brokers, topics, partitions, settings and producer ids there are.
//!
//! Rooms: `record` (the metadata log's records, in KRaft's format), `image` (what the records add up to), `step`
//! (commands to records: the decisions, without clock, disk or randomness of its own), `feature` (what the cluster agrees
//! to be able to do), `topic_name` (what a topic may be called), `metadata_log` (the log on disk, with its `snapshot`s),
//! `service` (the one who runs commands: decide, append, sync, apply, publish).
//!
//! The metadata log is the truth: it lies in `__cluster_metadata-0`, in the format that Apache's
//! `kafka-dump-log --cluster-metadata-decoder` reads. Nothing is answered before its records are durable, and the image
//! is nothing but the log replayed, or a snapshot of it and the rest replayed. With more than one node, the same commands and records go through a quorum; here
//! the quorum is this node.

pub(crate) mod feature;
pub(crate) mod image;
pub(crate) mod metadata_log;
pub(crate) mod record;
pub(crate) mod service;
mod snapshot;
pub(crate) mod step;
#[cfg(test)]
mod tests;
pub(crate) mod topic_name;

pub(crate) use image::{Image, PartitionImage, TopicImage};
pub(crate) use service::Controller;
pub(crate) use step::{Command, NewTopic, Refusal, Reply};
