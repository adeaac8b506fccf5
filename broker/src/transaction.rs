//! The transaction coordinator (KIP-98): producer epochs, transactions over many partitions, and who is fenced.
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
//! | [`records`], [`replay`] | Kafka's format of `__transaction_state`, written and read again |
//! | [`service`] | carries out the effects |
//! | [`query`] | what can be asked without changing anything |
//!
//! The second protocol (KIP-890, an epoch per transaction) is not served yet and `transaction.version` is not
//! advertised; the stored format has room for it.

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

pub(crate) use config::Config;

#[cfg(test)]
mod tests;
