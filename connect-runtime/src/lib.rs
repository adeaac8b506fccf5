//! The connect runtime: pipelines, tasks, the component host.
//!
//! | module | what is in it |
//! |---|---|
//! | [`spec`] | YAML to deployments; errors with file, line and column |
//! | [`plan`] | what is to run, as plain data |
//! | [`herder`] | connectors that come and go while a worker runs |
//! | [`rest`] | Kafka Connect's REST API |
//! | [`loggers`] | the levels of the process's log |
//! | [`worker`] | runs a plan: source tasks, sink tasks, restarts, progress |
//! | [`component`] | loads components, runs them within limits, checks what they hand back |
//! | [`capability`] | the list of what guests may reach |
//! | [`connection`] | the list of kinds of named connections |
//! | [`convert`] | encodings of keys and values |
//! | [`doctor`] | what stands in the way of a plan, before it runs |
//! | [`rehearsal`] | transforms outside of any task: test cases, previews |
//! | [`metrics`] | what operators are told in numbers |
//! | [`trace`] | spans, and trace contexts in records |
//! | [`failure`] | classes of errors, retries, dead letters |
//! | [`redrive`] | dead letters looked at, sent again, put aside |
//! | [`offsets`] | positions of sources, as they stand in their topic |
//!
//! It speaks the Kafka protocol to its broker, through `millrace-client`, and knows no broker's code.

pub mod capability;
pub mod component;
pub mod connection;
pub mod convert;
pub mod doctor;
pub mod failure;
pub mod herder;
pub mod loggers;
pub mod metrics;
pub mod offsets;
mod percent;
pub mod plan;
pub mod redrive;
pub mod rehearsal;
pub mod rest;
pub mod spec;
pub mod trace;
pub mod worker;
