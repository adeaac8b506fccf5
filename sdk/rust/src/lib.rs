//! Write Millrace connectors in Rust.
//!
//! A connector is a type that implements [`Source`], [`Sink`] or [`Transform`], and one line that exports it:
//!
//! ```no_run
//! use millrace_sdk::{Description, Error, Output, RecordRef, Rejection, Task, Transform};
//!
//! /// Drops records without a key.
//! struct Keyed;
//!
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Settings {}
//!
//! impl Transform for Keyed {
//!     type Settings = Settings;
//!
//!     fn describe() -> Description {
//!         Description::new("keyed", "0.1.0", "Drops records without a key")
//!             .settings(r#"{ "type": "object", "properties": {}, "additionalProperties": false }"#)
//!     }
//!     fn open(_task: &Task, _settings: Settings) -> Result<Self, Error> {
//!         Ok(Keyed)
//!     }
//!     fn apply(&mut self, record: &RecordRef<'_>, out: &mut Output<'_>) -> Result<(), Rejection> {
//!         if record.key.is_some() {
//!             out.keep(record);
//!         }
//!         Ok(())
//!     }
//! }
//!
//! millrace_sdk::export_transform!(Keyed);
//! # fn main() {}
//! ```
//!
//! Built as a `cdylib` for `wasm32-wasip2`, the result is a component that a pipeline names by path.
//!
//! Rooms:
//! - [`connector`]: the traits and what they are given
//! - [`batch`]: the flat columns, as [`Records`] to read and [`BatchBuilder`] to write
//! - [`mod@error`]: retriable, fatal, and rejected records
//! - [`settings`]: JSON settings into the author's struct
//! - [`clock`]: the time of day, waiting, trying again
//! - [`host`]: log, metrics, waiting
//! - [`files`]: a folder's names
//! - [`http`]: requests over a connection that the pipeline grants
//! - [`postgres`]: sessions of a database over a connection that the pipeline grants
//! - [`object_store`]: objects of a bucket, likewise
//! - [`http_listener`]: requests that others send, likewise
//! - [`schemas`]: schemas of a registry, likewise
//! - [`testing`]: run a connector's logic natively, without a sandbox
//! - `bindings`, `export`: the joint to WebAssembly; authors need neither

/// The guide's example is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/CONNECTORS.md")]
struct Guide;

pub mod batch;
#[doc(hidden)]
pub mod bindings;
pub mod calendar;
pub mod clock;
pub mod connector;
pub mod error;
#[doc(hidden)]
pub mod export;
pub mod files;
pub mod host;
pub mod http;
pub mod http_listener;
pub mod object_store;
pub mod postgres;
pub mod schemas;
pub mod settings;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use batch::{BatchBuilder, HeaderList, HeaderRef, Headers, RecordRef, RecordWriter, Records};
pub use bindings::connector::millrace::connect::types::{
    Checkpoint, RecordBatch, TopicOffset, TopicPartition,
};
pub use connector::{
    Description, Durable, Finding, Flow, Health, Output, Poll, PollLimits, Problem, Rejected, Sink, Source,
    Taken, Task, Transform,
};
pub use error::{Error, ErrorKind, Rejection};
