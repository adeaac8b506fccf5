//! The settings, as `settings.schema.json` describes them.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_connector_fields::Path;
use millrace_sdk::Problem;
use millrace_sdk::settings::Span;
use serde::Deserialize;

use crate::time;

/// Shortest pause between two rounds.
const POLL_EVERY_MIN: Duration = Duration::from_millis(100);
/// Shortest window.
const STEP_MIN: Duration = Duration::from_secs(1);

/// Settings of one source.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Connection that is read from.
    pub connection: String,
    /// Path behind its URL.
    #[serde(default)]
    pub url: String,
    /// Parameters of the query.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// Headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Where the records are; none: the response.
    pub records: Option<String>,
    /// Fields of the key.
    pub key: Option<Key>,
    /// How to come to the next page.
    pub paging: Option<Paging>,
    /// A field that only grows.
    pub position: Option<Position>,
    /// A span of time per round.
    pub window: Option<Window>,
    /// Whether to ask for changes only.
    #[serde(default)]
    pub conditional: bool,
    /// Pause between rounds; none: one round.
    pub poll_every: Option<Span>,
    /// Time between requests.
    #[serde(default = "nothing")]
    pub min_interval: Span,
}

/// One field or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Key {
    /// Its text.
    One(String),
    /// An object of them.
    Several(Vec<String>),
}

impl Key {
    /// The paths, as they are written.
    pub fn paths(&self) -> Vec<&str> {
        match self {
            Self::One(path) => vec![path],
            Self::Several(paths) => paths.iter().map(String::as_str).collect(),
        }
    }
}

/// How to come to the next page.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Paging {
    /// The header Link; always true.
    Link(bool),
    /// A URL in the response.
    Next(String),
    /// A word in the response.
    Cursor {
        /// Path in the response.
        path: String,
        /// Parameter that takes it.
        param: String,
    },
    /// Records to pass over.
    Offset {
        /// Parameter of the offset.
        #[serde(default = "offset")]
        param: String,
        /// Parameter of the limit.
        #[serde(default = "limit")]
        limit_param: String,
        /// Records of a page.
        limit: u64,
    },
    /// The number of the page.
    Page {
        /// Parameter of the number.
        #[serde(default = "page")]
        param: String,
        /// The first one.
        #[serde(default = "first")]
        first: u64,
    },
}

/// A field that only grows.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Path in a record.
    pub field: String,
    /// Parameter that takes the greatest value.
    pub param: String,
    /// Its first value.
    pub start: Option<String>,
}

/// A span of time per round.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Parameter of its first moment.
    pub from: String,
    /// Parameter of the moment behind its last.
    pub to: String,
    /// Where the first one begins.
    pub start: String,
    /// How long each is.
    pub step: Span,
    /// How long ago it must have ended.
    #[serde(default = "nothing")]
    pub lag: Span,
    /// How moments are written.
    #[serde(default)]
    pub format: time::Format,
}

fn nothing() -> Span {
    Span::from_ms(0)
}

fn offset() -> String {
    "offset".to_owned()
}

fn limit() -> String {
    "limit".to_owned()
}

fn page() -> String {
    "page".to_owned()
}

fn first() -> u64 {
    1
}

impl Settings {
    /// Checks beyond the schema.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut path = |pointer: String, text: &str| {
            if let Err(error) = text.parse::<Path>() {
                problems.push(Problem::error(pointer, error.to_string()));
            }
        };
        if let Some(records) = &self.records {
            path("/records".into(), records);
        }
        for (at, key) in self.key.iter().flat_map(Key::paths).enumerate() {
            let pointer =
                if matches!(self.key, Some(Key::One(_))) { "/key".into() } else { format!("/key/{at}") };
            path(pointer, key);
        }
        match &self.paging {
            Some(Paging::Next(next)) => path("/paging/next".into(), next),
            Some(Paging::Cursor { path: cursor, .. }) => path("/paging/cursor/path".into(), cursor),
            _ => {}
        }
        if let Some(position) = &self.position {
            path("/position/field".into(), &position.field);
        }
        if self.url.contains('#') {
            problems.push(Problem::error("/url", "a URL to ask for has no #"));
        }
        if self.poll_every.is_some_and(|every| every.duration() < POLL_EVERY_MIN) {
            problems.push(Problem::error("/poll_every", "at least 100ms"));
        }
        if let Some(window) = &self.window {
            if time::parse(&window.start).is_none() {
                problems.push(Problem::error(
                    "/window/start",
                    "no moment such as 2026-01-01 or 2026-01-01T06:00:00Z",
                ));
            }
            if window.step.duration() < STEP_MIN {
                problems.push(Problem::error("/window/step", "at least 1s"));
            }
            if self.position.is_some() {
                problems.push(Problem::error(
                    "/position",
                    "a window says already what is asked for; keep one of them",
                ));
            }
            if self.conditional {
                problems.push(Problem::error("/conditional", "each window is asked for once; leave it out"));
            }
        }
        if self.conditional && self.paging.is_some() && self.position.is_none() {
            let message = "with pages, only the first would be asked for changes; leave out one of them";
            problems.push(Problem::error("/conditional", message));
        }
        problems
    }
}
