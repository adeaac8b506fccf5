//! The settings, as `settings.schema.json` describes them.

use std::collections::BTreeMap;

use millrace_sdk::settings::{Size, Span};
use millrace_sdk::{Error, Problem};
use serde::Deserialize;

/// Most bytes of a line unless set otherwise: what a topic takes by default (`message.max.bytes`).
const DEFAULT_LINE_BYTES_MAX: u64 = 1 << 20;
/// Most that can be set: a guest's memory is limited, too.
const LINE_BYTES_MAX: u64 = 64 << 20;
/// Pause of a source that follows, unless set otherwise, in milliseconds.
const DEFAULT_POLL_MS: u32 = 500;

/// Settings of one source.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// One file.
    pub path: Option<String>,
    /// All files of a folder.
    pub folder: Option<String>,
    /// All files that match.
    pub glob: Option<String>,
    /// How the files are written; none: by their names.
    pub format: Option<Format>,
    /// Whether to go on at the end.
    #[serde(default)]
    pub follow: bool,
    /// Pause at the end.
    #[serde(default = "default_poll_every")]
    pub poll_every: Span,
    /// What becomes the key.
    pub key: Option<Key>,
    /// Where the names of columns come from.
    #[serde(default)]
    pub header: Header,
    /// Between two fields.
    #[serde(default = "default_delimiter")]
    pub delimiter: char,
    /// Around fields.
    #[serde(default = "default_quote")]
    pub quote: char,
    /// Columns that are not text.
    #[serde(default)]
    pub types: BTreeMap<String, Type>,
    /// Whether an empty field is null.
    #[serde(default)]
    pub empty_as_null: bool,
    /// Most bytes of a line.
    #[serde(default = "default_max_line")]
    pub max_line: Size,
    /// Set by `plan`, not by users: the files of this task.
    pub assigned: Option<Vec<String>>,
}

/// How a file is written.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Comma-separated values, RFC 4180.
    Csv,
    /// One JSON document per line.
    Jsonl,
    /// Anything, line by line.
    Lines,
}

/// What becomes the key.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(untagged)]
pub enum Key {
    /// The text of one field.
    Field(String),
    /// A JSON object of several.
    Fields(Vec<String>),
}

impl Key {
    /// Names of the fields.
    pub fn fields(&self) -> &[String] {
        match self {
            Self::Field(field) => std::slice::from_ref(field),
            Self::Fields(fields) => fields,
        }
    }
}

/// Where the names of columns come from.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(untagged)]
pub enum Header {
    /// The first line. (`false` is refused by [`Settings::problems`]: there would be no names.)
    Line(bool),
    /// Here they are.
    Names(Vec<String>),
}

impl Default for Header {
    fn default() -> Self {
        Self::Line(true)
    }
}

/// What a column holds.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// A JSON number, with the digits as they are.
    Number,
    /// `true` or `false`.
    Boolean,
    /// Anything.
    Text,
}

fn default_poll_every() -> Span {
    Span::from_ms(DEFAULT_POLL_MS)
}

fn default_delimiter() -> char {
    ','
}

fn default_quote() -> char {
    '"'
}

fn default_max_line() -> Size {
    Size::from_bytes(DEFAULT_LINE_BYTES_MAX)
}

impl Settings {
    /// What a file of this name holds.
    pub fn format_of(&self, path: &str) -> Format {
        self.format.unwrap_or_else(|| match path.rsplit_once('.').map(|(_, end)| end) {
            Some("csv") => Format::Csv,
            Some("jsonl" | "ndjson") => Format::Jsonl,
            _ => Format::Lines,
        })
    }

    /// Delimiter and quote as bytes; both were checked to be ASCII.
    pub fn delimiter_and_quote(&self) -> Result<(u8, u8), Error> {
        match (u8::try_from(self.delimiter), u8::try_from(self.quote)) {
            (Ok(delimiter), Ok(quote)) if delimiter < 0x80 && quote < 0x80 => Ok((delimiter, quote)),
            _ => Err(Error::fatal("settings", "/delimiter and /quote: one ASCII character each")),
        }
    }

    /// Checks beyond the schema.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let given = [&self.path, &self.folder, &self.glob].into_iter().flatten().count();
        if given != 1 {
            problems.push(Problem::error("", "one of path, folder and glob says which files to read"));
        }
        if self.glob.as_ref().is_some_and(|glob| glob.contains("**")) {
            problems.push(Problem::error("/glob", "** is not supported; write one * per folder"));
        }
        if !self.delimiter.is_ascii() || self.delimiter == '\n' || self.delimiter == '\r' {
            problems.push(Problem::error("/delimiter", "one ASCII character that does not end a line"));
        }
        if !self.quote.is_ascii() || self.quote == self.delimiter || self.quote == '\n' || self.quote == '\r'
        {
            problems.push(Problem::error("/quote", "one ASCII character that is not the delimiter"));
        }
        if !(64..=LINE_BYTES_MAX).contains(&self.max_line.bytes_u64()) {
            problems.push(Problem::error("/max_line", "between 64B and 64MiB"));
        }
        if self.poll_every.ms() < 10 {
            problems.push(Problem::error("/poll_every", "at least 10ms"));
        }
        if self.header == Header::Line(false) {
            problems.push(Problem::error("/header", "columns need names; give them as a list"));
        }
        let name = self.path.as_ref().or(self.glob.as_ref()).cloned().unwrap_or_default();
        if self.key.is_some() && !name.is_empty() && self.format_of(&name) == Format::Lines {
            problems.push(Problem::error("/key", "plain lines have no fields; set format to csv or jsonl"));
        }
        if let (Header::Names(names), Some(key)) = (&self.header, &self.key) {
            for field in key.fields().iter().filter(|field| !names.contains(field)) {
                problems.push(Problem::error("/key", format!("{field} is not a column of /header")));
            }
        }
        problems
    }
}
