//! Records as rows of files: what sinks write, whatever they write it to.
//!
//! JSON documents become JSON lines, CSV rows ([`text`]), or typed rows ([`datum`]) of Avro ([`avro`]) and Parquet files ([`parquet`]), by a
//! schema that comes with them, from the settings, or from themselves ([`types`]); [`content`] is all of that for one file. Encoders append
//! to a buffer and do no I/O.

pub mod avro;
pub mod content;
pub mod datum;
pub mod json;
pub mod parquet;
#[cfg(test)]
mod tests;
pub mod text;
pub mod types;
pub mod zstd;

/// How blocks and pages are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    /// Not at all.
    #[default]
    None,
    /// gzip, or deflate where a format calls it so.
    Gzip,
    /// Snappy
    Snappy,
    /// Zstandard, but in Parquet
    Zstd,
}
