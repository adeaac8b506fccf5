//! The settings, as `settings.schema.json` describes them.

use millrace_connector_decode::options::{Format, Options, split_compression};
use millrace_sdk::Problem;
use millrace_sdk::settings::{Size, Span};
use serde::Deserialize;

/// Pause of a source that follows, unless set otherwise, in milliseconds.
const DEFAULT_POLL_MS: u32 = 30_000;
/// Shortest pause, in milliseconds.
const POLL_MS_MIN: u32 = 100;
/// Bytes of one request, unless set otherwise.
const DEFAULT_READ_BYTES: u64 = 4 << 20;
const READ_BYTES_MIN: u64 = 64 << 10;
const READ_BYTES_MAX: u64 = 16 << 20;

/// Settings of one source. (Unknown ones are refused by the schema.)
#[derive(Clone, Debug, Deserialize)]
pub struct Settings {
    /// Connection to the bucket.
    pub connection: String,
    /// Beginning of keys.
    #[serde(default)]
    pub prefix: String,
    /// End of keys.
    #[serde(default)]
    pub suffix: String,
    /// Whether to go on at the end.
    #[serde(default)]
    pub follow: bool,
    /// Pause at the end.
    #[serde(default = "default_poll_every")]
    pub poll_every: Span,
    /// How objects are told from those that were read.
    #[serde(default)]
    pub order: Order,
    /// What becomes of an object that was read.
    #[serde(default)]
    pub when_done: WhenDone,
    /// Bytes of one request.
    #[serde(default = "default_read_size")]
    pub read_size: Size,
    /// How objects are written.
    #[serde(flatten)]
    pub options: Options,
}

/// How objects are told from those that were read.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// By key and etag.
    #[default]
    Any,
    /// By the greatest key.
    Ascending,
}

/// What becomes of an object that was read.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum WhenDone {
    /// It stays.
    #[default]
    Nothing,
    /// It is deleted.
    Delete,
}

fn default_poll_every() -> Span {
    Span::from_ms(DEFAULT_POLL_MS)
}

fn default_read_size() -> Size {
    Size::from_bytes(DEFAULT_READ_BYTES)
}

impl Settings {
    /// What an object of this key holds. Sinks call JSON lines `.json`, Confluent's and this runtime's.
    pub fn format_of(&self, key: &str) -> Format {
        let is_json = split_compression(key).0.ends_with(".json");
        if self.options.format.is_none() && is_json { Format::Jsonl } else { self.options.format_of(key) }
    }

    /// Whether an object of this key, which begins with the prefix, is one to read.
    pub fn wants(&self, key: &str) -> bool {
        let below = key.get(self.prefix.len()..).unwrap_or_default();
        let is_hidden = below.split('/').any(|part| part.starts_with(['_', '.']));
        !is_hidden && !key.ends_with('/') && key.ends_with(&self.suffix)
    }

    /// Checks beyond the schema.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = self.options.problems(&self.suffix);
        if self.poll_every.ms() < POLL_MS_MIN {
            problems.push(Problem::error("/poll_every", "at least 100ms"));
        }
        if !(READ_BYTES_MIN..=READ_BYTES_MAX).contains(&self.read_size.bytes_u64()) {
            problems.push(Problem::error("/read_size", "between 64KiB and 16MiB"));
        }
        if self.when_done == WhenDone::Delete && self.order == Order::Ascending {
            let message = "with order ascending what a kill left is not looked for; leave out one of them";
            problems.push(Problem::error("/when_done", message));
        }
        problems
    }
}
