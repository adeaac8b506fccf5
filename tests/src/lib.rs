//! What the suites across members share: the built binary, brokers as processes, installed clients, randomness from a seed.
//!
//! A suite is a folder of this crate with its own `[[test]]` entry. Suites see the product from outside: they start
//! the binary and talk to it, and use the crates of the workspace only as a client would.

pub mod binary;
pub mod broker;
pub mod connect;
pub mod cutter;
pub mod diff;
pub mod doctor;
pub mod flow;
pub mod http;
pub mod peer;
pub mod postgres;
pub mod process;
pub mod random;
pub mod readback;
pub mod s3;
pub mod small_disk;
pub mod strikes;
pub mod tools;
pub mod topic;
pub mod worker;

pub use binary::binary;
pub use broker::Broker;
pub use cutter::Cutter;
pub use flow::Flow;
pub use postgres::Postgres;
pub use worker::Worker;
