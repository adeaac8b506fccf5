//! Quotas: how much a client may produce, fetch and keep the broker busy before it is slowed down (KIP-13, 124, 219, 546, 599).
//!
//! Rooms: `entity` (whom a quota is for, and which one holds for a client), `rate` (Kafka's measure: sampled windows),
//! `bucket` (its other one: tokens), `mutation` (partitions that are created and deleted), `service` (who has used how much).
//!
//! A client over its quota is answered at once, with the time that it should wait (`throttle_time_ms`); the broker then
//! reads nothing more from that connection until the time is over. Quotas are settings in the metadata log; usage is
//! counted by each broker on its own and forgotten when it restarts, as in Kafka.

mod bucket;
pub(crate) mod entity;
mod mutation;
mod rate;
mod service;

pub(crate) use self::entity::{Entity, Kind, QuotaTable};
pub(crate) use self::mutation::Mutations;
pub(crate) use self::rate::{Rate, Windows};
pub(crate) use self::service::{Quotas, Usage, metered};
