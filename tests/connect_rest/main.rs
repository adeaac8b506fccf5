//! `millrace connect` over its REST API: an existing Python client for Kafka Connect drives it, the command line does, and each path
//! is asked of a real Kafka Connect worker, too, and must be answered alike.
//!
//! What is answered otherwise on purpose stands in `differences.rs`, with the reason; a difference that is listed and not found
//! fails the suite as one that is found and not listed.

mod alike;
mod cli;
mod command_line;
mod dead_letters;
mod differences;
mod hangs;
mod python;
mod upgrade;
