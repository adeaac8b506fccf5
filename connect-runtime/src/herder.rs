//! Connectors that come, change and go while the worker runs, as Kafka Connect has them.
//!
//! | file | what is in it |
//! |---|---|
//! | `machine` | from what is wanted and assigned to what starts and stops: a state machine without I/O |
//! | `event` | what happens to it, and what it wants to have done |
//! | `configs`, `statuses` | what the two topics add up to |
//! | `owned`, `local` | a connector that this worker plans, a task that it runs |
//! | `request` | what people ask for, as records |
//! | `record` | the records themselves |
//! | `service`, `handle` | runs the machine; asks things of it |
//! | `log`, `writer`, `verdict` | reading and writing the topics |
//! | `runner`, `prepare` | plans, fencings and tasks; from a map to what can run |
//! | `offsets` | positions, read and changed from outside |
//! | `ownership` | who runs what, when there are several workers |
//! | `membership` | several workers: a group of Kafka's protocol divides the work |
//!
//! All state is in Kafka topics (docs/adr/0012): `connect-configs` says what is wanted, `connect-status` what is, `connect-offsets`
//! holds positions. A worker reads the first two when it starts and goes on reading; it keeps nothing of its own.

mod configs;
mod event;
pub mod handle;
mod local;
mod log;
mod machine;
pub mod membership;
pub mod offsets;
mod owned;
pub mod ownership;
mod prepare;
pub mod record;
pub mod request;
mod runner;
pub mod service;
mod statuses;
#[cfg(test)]
mod tests;
mod verdict;
mod writer;

pub use configs::{Tasks, Wanted};
