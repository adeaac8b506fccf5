//! The client against a real broker: Apache Kafka if `MILLRACE_TEST_BOOTSTRAP` says where, else our own.

// A test says what it expects by failing; helpers here are part of tests, which clippy cannot know.
#![allow(clippy::unwrap_used)]

mod admin;
mod consume;
mod faults;
mod groups;
mod members;
mod produce;
mod support;
mod transactions;
