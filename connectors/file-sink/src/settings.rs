//! The settings, as `settings.schema.json` describes them.

use std::time::Duration;

use millrace_connector_fields::Path;
use millrace_sdk::Problem;
use millrace_sdk::settings::{Size, Span};
use serde::Deserialize;

/// What names of compressed files end with.
pub const GZIP_SUFFIX: &str = ".gz";

/// Settings of one sink.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The file.
    pub path: String,
    /// How records are written; none: by the name.
    pub format: Option<Format>,
    /// How files are compressed; none: by the name.
    pub compression: Option<Compression>,
    /// When a file is finished.
    #[serde(default)]
    pub rotate: Rotate,
    /// Fields to write.
    pub columns: Option<Vec<String>>,
    /// Whether files begin with names.
    #[serde(default = "default_header")]
    pub header: bool,
    /// Between two fields.
    #[serde(default = "default_delimiter")]
    pub delimiter: char,
}

/// How records are written.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Comma-separated values, RFC 4180.
    Csv,
    /// One JSON document per line.
    Jsonl,
    /// The value as a line.
    Lines,
}

/// How files are compressed.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip
    Gzip,
}

/// When a file is finished. Nothing set: at the end of the run.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotate {
    /// Records in a file.
    pub records: Option<u64>,
    /// Size of a file.
    pub bytes: Option<Size>,
    /// Age of its first record.
    pub every: Option<Span>,
}

impl Rotate {
    /// Whether there is more than one file.
    pub fn is_set(&self) -> bool {
        self.records.is_some() || self.bytes.is_some() || self.every.is_some()
    }

    /// Whether a file is finished that has this much.
    pub fn is_due(&self, records: u64, bytes: u64, age: impl FnOnce() -> Duration) -> bool {
        self.records.is_some_and(|most| records >= most)
            || self.bytes.is_some_and(|most| bytes >= most.bytes_u64())
            || self.every.is_some_and(|most| age() >= most.duration())
    }
}

fn default_header() -> bool {
    true
}

fn default_delimiter() -> char {
    ','
}

impl Settings {
    /// How records are written.
    pub fn format(&self) -> Format {
        let plain = self.path.strip_suffix(GZIP_SUFFIX).unwrap_or(&self.path);
        self.format.unwrap_or_else(|| match plain.rsplit_once('.').map(|(_, end)| end) {
            Some("csv") => Format::Csv,
            Some("jsonl" | "ndjson") => Format::Jsonl,
            _ => Format::Lines,
        })
    }

    /// Whether files are compressed.
    pub fn is_gzip(&self) -> bool {
        self.compression.map_or_else(|| self.path.ends_with(GZIP_SUFFIX), |set| set == Compression::Gzip)
    }

    /// Checks beyond the schema.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.path.ends_with('/') {
            problems.push(Problem::error("/path", "a file, not a folder"));
        }
        if [".zst", ".zstd"].iter().any(|ending| self.path.ends_with(ending)) {
            let message = "Zstandard can't be written, and readers would take the file for it; end with .gz, or without";
            problems.push(Problem::error("/path", message));
        }
        if !self.delimiter.is_ascii() || matches!(self.delimiter, '\n' | '\r' | '"') {
            problems.push(Problem::error("/delimiter", "one ASCII character, no quote and no line break"));
        }
        if self.columns.is_some() && self.format() != Format::Csv {
            problems.push(Problem::error("/columns", "only csv has columns; set format to csv"));
        }
        for (index, column) in self.columns.iter().flatten().enumerate() {
            if let Err(error) = column.parse::<Path>() {
                problems.push(Problem::error(format!("/columns/{index}"), error.to_string()));
            }
        }
        if self.rotate.bytes.is_some_and(|bytes| bytes.bytes_u64() == 0) {
            problems.push(Problem::error("/rotate/bytes", "at least 1B"));
        }
        if self.rotate.every.is_some_and(|every| every.ms() == 0) {
            problems.push(Problem::error("/rotate/every", "at least 1ms"));
        }
        problems
    }
}
