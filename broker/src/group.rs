//! The group coordinator: classic groups (consumers', Kafka Connect's, anybody's) and the consumer groups of KIP-848, with
//! their committed offsets.
//!
//! A group belongs to one partition of `__consumer_offsets`; the broker that leads the partition coordinates the group.
//! Each such partition has a state machine ([`coordinator::Coordinator`]) and a service that carries out its effects.
//!
//! | room | what is in it |
//! |---|---|
//! | [`config`] | settings and limits |
//! | [`event`] | what comes in and goes out: events, effects, replies |
//! | [`coordinator`] | `step(event, now) -> effects`; [`context`] is what all transitions share |
//! | [`classic`], [`member`] | a group and its members |
//! | [`join`], [`rebalance`], [`sync`], [`liveness`] | the four acts of group membership |
//! | [`consumer`] | consumer groups of KIP-848, in rooms of their own |
//! | [`commit`], [`offsets`], [`removal`], [`subscription`] | committed offsets, from their commit to their end |
//! | [`records`], [`replay`] | Kafka's format of `__consumer_offsets`, written and read again |
//! | [`service`] | carries out the effects |
//! | [`query`] | what can be asked without changing anything |
//!
//! The rules are those of Apache Kafka 4: KIP-62 (session and rebalance timeouts), KIP-211 (offset expiry), KIP-345
//! (static members), KIP-394 (member id required), KIP-447 (stable offsets), KIP-814 (static leader). KIP-848 is
//! followed in [`consumer`].

pub(crate) mod classic;
pub(crate) mod commit;
pub(crate) mod config;
pub(crate) mod consumer;
pub(crate) mod context;
pub(crate) mod coordinator;
pub(crate) mod event;
pub(crate) mod join;
pub(crate) mod liveness;
pub(crate) mod member;
pub(crate) mod offsets;
pub(crate) mod query;
pub(crate) mod rebalance;
pub(crate) mod records;
pub(crate) mod removal;
pub(crate) mod replay;
pub(crate) mod service;
pub(crate) mod subscription;
pub(crate) mod sync;

pub(crate) use config::Config;

#[cfg(test)]
mod tests;
