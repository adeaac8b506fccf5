//! Workers as processes, and their REST API: ours (`millrace`), Kafka Connect's (`kafka`), a request to either (`rest`).

pub mod kafka;
pub mod millrace;
pub mod rest;
