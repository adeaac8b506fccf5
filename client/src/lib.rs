//! A Kafka client in plain async Rust: idempotent and transactional producer, consumer with groups, admin.
//!
//! It speaks the protocol of Apache Kafka to any broker that does, over any [`Transport`]. Batches are built once and
//! read in place; every queue and buffer has a limit; every wait has one too.
//!
//! ```text
//! Client ─┬─> Producer   send(record) > accumulator > sender > Produce, transactions
//!         ├─> Consumer   Fetch > prefetched batches > poll(); group membership, offsets
//!         ├─> GroupMember  membership in a group with a protocol of the application's own
//!         └─> Admin      topics, configs, groups, offsets
//!               each over its own Cluster: connections by broker, metadata, coordinators
//! ```
//!
//! Deliberately absent: callbacks, background threads (tasks on the caller's runtime do the work), interceptors and
//! serializers (records are bytes).

pub mod admin;
mod backoff;
mod client;
mod cluster;
mod connection;
pub mod consumer;
pub mod error;
mod group;
mod offsets;
pub mod partitioner;
pub mod producer;
mod topic;
pub mod transport;

pub use kafka_protocol::ResponseError;

pub use self::admin::{Admin, FeatureChange, NewTopic};
pub use self::backoff::{Backoff, BackoffConfig, Random};
pub use self::client::{Client, ClientConfig};
pub use self::cluster::{Broker, Metadata, PartitionInfo, TopicInfo};
pub use self::consumer::{
    Assignor, Consumer, ConsumerConfig, FetchedPartition, OffsetReset, Polled, Position,
};
pub use self::error::{Error, Result};
pub use self::group::{GroupConfig, GroupMember, GroupProtocol, Round, RoundMember, Vitals};
pub use self::offsets::{GroupMetadata, Isolation, ListedOffset, OffsetAndMetadata, OffsetSpec};
pub use self::producer::{Delivery, ProduceRecord, Producer, ProducerConfig, RecordMetadata};
pub use self::topic::TopicPartition;
pub use self::transport::{TcpTransport, Transport};
