//! The transaction coordinator (KIP-98, KIP-890): producer epochs, transactions over many partitions, and who is fenced.
//!
//! A transactional id belongs to one partition of `__transaction_state`; the broker that leads it coordinates. A
//! transaction is decided by one durable record, `PrepareCommit` or `PrepareAbort`: the client is answered then, and the
//! markers that tell each partition follow, again and again until they are all written, also after a crash.
//!
//! | room | what is in it |
//! |---|---|
//! | [`config`] | settings and limits |
//! | [`event`] | what comes in and goes out |
//! | [`state`] | one transactional id: its states and what is stored of it |
//! | [`coordinator`] | `step(event, now) -> effects` |
//! | [`init`] | InitProducerId: epochs, fencing, recovery of a producer (KIP-360) |
//! | [`end`] | from Ongoing to Complete: EndTxn, timeouts, markers |
//! | [`turns`] | the order of a producer's writes while its partitions are looked up |
//! | [`records`], [`replay`] | Kafka's format of `__transaction_state`, written and read again |
//! | [`service`] | carries out the effects |
//! | [`query`] | what can be asked without changing anything |
//!
//! Two protocols are served side by side. By the first an epoch lasts until a producer is replaced; by the second, which
//! clients speak when the cluster's `transaction.version` is 2, every end of a transaction begins the next epoch.

pub(crate) mod config;
pub(crate) mod coordinator;
pub(crate) mod end;
pub(crate) mod event;
pub(crate) mod init;
pub(crate) mod query;
pub(crate) mod records;
pub(crate) mod replay;
pub(crate) mod service;
pub(crate) mod state;
pub(crate) mod turns;

pub(crate) use config::Config;

#[cfg(test)]
mod tests;
