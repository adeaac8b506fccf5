//! What the broker answers, frame by frame: every point of Kafka's behaviour that clients rely on, through the same
//! bytes that they send. Runs on a simulated disk and a paused clock.

// A test fails by panicking.
#![allow(clippy::unwrap_used)]

mod administration;
mod compaction;
mod connection;
mod consumer_groups;
mod failing_disk;
mod fetch;
mod fetch_sessions;
mod group_settings;
mod groups;
mod metadata;
mod offsets;
mod produce;
mod quotas;
mod round_trips;
mod settings;
mod storage;
mod support;
mod topic_settings;
mod topics;
mod transactions;
mod transactions_v2;
mod versions;
