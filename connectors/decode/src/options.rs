//! What connectors let their users say of files: settings that all readers of files share, under the same names.

use std::collections::BTreeMap;

use millrace_sdk::settings::Size;
use millrace_sdk::{Error, Problem};
use serde::Deserialize;

/// Most bytes of a line unless set otherwise: what a topic takes by default (`message.max.bytes`).
const DEFAULT_LINE_BYTES_MAX: u64 = 1 << 20;
/// Most that can be set: a guest's memory is limited, too.
const LINE_BYTES_MAX: u64 = 64 << 20;

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
    /// Avro object container files.
    Avro,
    /// Parquet
    Parquet,
}

impl Format {
    /// What a name without the suffix of a compression says.
    pub fn of_name(name: &str) -> Option<Self> {
        match name.rsplit_once('.')?.1 {
            "csv" => Some(Self::Csv),
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "avro" => Some(Self::Avro),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }

    /// Whether the file itself says what its columns are, and compresses them.
    pub fn is_typed(self) -> bool {
        matches!(self, Self::Avro | Self::Parquet)
    }
}

/// How a file of text is compressed as a whole.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// As the name's suffix says: `.gz`, `.zst`.
    #[default]
    Auto,
    /// Not at all.
    None,
    /// gzip, in one member or several
    Gzip,
    /// Zstandard, in one frame or several
    Zstd,
}

/// A name without the suffix that says how it is compressed, and what that says.
pub fn split_compression(name: &str) -> (&str, Compression) {
    match name.rsplit_once('.') {
        Some((front, "gz" | "gzip")) => (front, Compression::Gzip),
        Some((front, "zst" | "zstd")) => (front, Compression::Zstd),
        _ => (name, Compression::None),
    }
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
    /// The first line. (`false` is refused by [`Options::problems`]: there would be no names.)
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

/// How files are read, to be flattened into a connector's settings.
#[derive(Clone, Debug, Deserialize)]
pub struct Options {
    /// How the files are written; none: by their names.
    pub format: Option<Format>,
    /// How they are compressed.
    #[serde(default)]
    pub compression: Compression,
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

impl Options {
    /// What a file of this name holds.
    pub fn format_of(&self, name: &str) -> Format {
        let plain = split_compression(name).0;
        self.format.or_else(|| Format::of_name(plain)).unwrap_or(Format::Lines)
    }

    /// How a file of this name is compressed as a whole. Avro and Parquet compress their own blocks.
    pub fn compression_of(&self, name: &str) -> Compression {
        match self.compression {
            _ if self.format_of(name).is_typed() => Compression::None,
            Compression::Auto => split_compression(name).1,
            set => set,
        }
    }

    /// Delimiter and quote as bytes; both were checked to be ASCII.
    pub fn delimiter_and_quote(&self) -> Result<(u8, u8), Error> {
        match (u8::try_from(self.delimiter), u8::try_from(self.quote)) {
            (Ok(delimiter), Ok(quote)) if delimiter < 0x80 && quote < 0x80 => Ok((delimiter, quote)),
            _ => Err(Error::fatal("settings", "/delimiter and /quote: one ASCII character each")),
        }
    }

    /// Checks beyond the schema. `name`: of the files, as far as it is known.
    pub fn problems(&self, name: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
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
        if self.header == Header::Line(false) {
            problems.push(Problem::error("/header", "columns need names; give them as a list"));
        }
        let is_known = self.format.is_some() || !name.is_empty();
        if self.key.is_some() && is_known && self.format_of(name) == Format::Lines {
            problems.push(Problem::error("/key", "plain lines have no fields; set format to csv or jsonl"));
        }
        if let (Header::Names(names), Some(key)) = (&self.header, &self.key) {
            for field in key.fields().iter().filter(|field| !names.contains(field)) {
                problems.push(Problem::error("/key", format!("{field} is not a column of /header")));
            }
        }
        let is_packed = matches!(self.compression, Compression::Gzip | Compression::Zstd);
        if is_packed && is_known && self.format_of(name).is_typed() {
            let message =
                "Avro and Parquet files say themselves how their blocks are compressed; leave it out";
            problems.push(Problem::error("/compression", message));
        }
        problems
    }
}
