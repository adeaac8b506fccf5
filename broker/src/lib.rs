//! The broker: Kafka's protocol over durable logs.
//!
//! A frame's way: [`net`](crate) reads it > `api` finds its handler > `replica` appends or reads, `controller` decides
//! about topics, the coordinators about groups and transactions > the answer goes out in the order of the requests.
//!
//! Rooms:
//! - `broker`: start and stop; `shared`: what handlers see; `env`: where time, randomness and the disk come from;
//!   `descriptors`: who may have how many of them
//! - `config`: settings with Kafka's names
//! - `net`: sockets, frames, order, limits
//! - `api`: THE table of requests; one file per request under `api/`
//! - `replica`: partitions: the single writer, group commit, high watermark
//! - `purgatory`: requests that wait
//! - `fetch_session`: what clients that fetch much need not say again
//! - `controller`: topics, settings, ids; the metadata log in KRaft's format
//! - `group`, `transaction`: the two coordinators as state machines; `coordinators` runs them; `internal_topic`: what they
//!   write to
//! - `quota`: who has used how much, and how long they are to wait
//! - `housekeeping`: retention, flushing, checkpoints, metadata snapshots; `reopening`: logs that have failed
//! - `loggers`: levels of the log, changed from outside
//! - `metrics`: what is counted, under which names; `observe`: who asks for it over HTTP, and whether the broker is well
//!
//! Invariants:
//! - nothing is acknowledged (`acks=all`) or shown to a consumer before it is durable, unless the topic relaxes that;
//! - the high watermark and the last stable offset never move back for a reader;
//! - no length from a socket is trusted, no queue is without a limit, no input panics;
//! - requests of a connection take effect, and are answered, in their order.
//!
//! Deliberately absent: signals and command lines (the CLI's), replication, TLS and SASL (later issues).

mod api;
mod blocking;
mod broker;
mod cleaner;
mod config;
mod controller;
mod coordinators;
mod descriptors;
mod env;
mod error;
mod fetch_session;
mod group;
mod housekeeping;
mod internal_topic;
mod loggers;
mod metrics;
mod net;
mod observe;
mod purgatory;
mod quota;
mod reopening;
mod replica;
mod shared;
mod transaction;

pub use broker::{Broker, BrokerHandle};
pub use config::{Address, Config, Error as ConfigError};
pub use descriptors::Descriptors;
pub use env::{Clock, Env, Random};
pub use error::Error;
pub use loggers::{LOG_LEVELS, Loggers, ROOT_LOGGER};
pub use metrics::MoreMetrics;
