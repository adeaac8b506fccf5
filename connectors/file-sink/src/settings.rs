//! The settings, as `settings.schema.json` describes them.

use std::time::Duration;

use millrace_connector_encode::Codec;
use millrace_connector_encode::content::NullValues;
use millrace_connector_encode::types::{Schema, avro};
use millrace_connector_fields::Path;
use millrace_sdk::Problem;
use millrace_sdk::settings::{Size, Span};
use serde::Deserialize;

/// What names of files end with that are compressed as a whole.
const PACKED: [(&str, Codec); 3] = [(".gz", Codec::Gzip), (".zst", Codec::Zstd), (".zstd", Codec::Zstd)];
/// Of Avro and Parquet, unless `rotate` is set: size of a file, as s3-sink has it.
const ROWS_BYTES: Size = Size::from_bytes(128 << 20);
/// And its age.
const ROWS_AGE: Span = Span::from_ms(600_000);

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
    /// Columns, as an Avro schema.
    pub schema: Option<String>,
    /// Records without a value.
    pub behavior_on_null_values: Option<NullValues>,
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
    /// Avro object container files.
    Avro,
    /// Parquet
    Parquet,
}

impl Format {
    /// Whether a file is none before its end, so that nothing can be added to it.
    fn is_whole(self) -> bool {
        matches!(self, Self::Avro | Self::Parquet)
    }
}

/// How files are compressed.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip
    Gzip,
    /// Snappy
    Snappy,
    /// Zstandard
    Zstd,
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

/// A name without what says that the whole is compressed, and how it is.
pub fn unpacked(name: &str) -> (&str, Codec) {
    let packed = PACKED.iter().find_map(|(suffix, codec)| Some((name.strip_suffix(suffix)?, *codec)));
    packed.unwrap_or((name, Codec::None))
}

impl Settings {
    /// How records are written.
    pub fn format(&self) -> Format {
        self.format.or_else(|| self.format_of_name()).unwrap_or(Format::Lines)
    }

    /// What readers take files for by their name.
    fn format_of_name(&self) -> Option<Format> {
        match unpacked(&self.path).0.rsplit_once('.')?.1 {
            "csv" => Some(Format::Csv),
            "jsonl" | "ndjson" => Some(Format::Jsonl),
            "avro" => Some(Format::Avro),
            "parquet" => Some(Format::Parquet),
            _ => None,
        }
    }

    /// Whether a file is none before its end.
    pub fn is_whole(&self) -> bool {
        self.format().is_whole()
    }

    /// How blocks, pages, or the whole of a text are compressed.
    pub fn codec(&self) -> Codec {
        match (self.compression, self.format()) {
            (Some(Compression::None), _) => Codec::None,
            (Some(Compression::Gzip), _) => Codec::Gzip,
            (Some(Compression::Snappy), _) | (None, Format::Parquet) => Codec::Snappy,
            (Some(Compression::Zstd), _) => Codec::Zstd,
            (None, Format::Avro) => Codec::None,
            (None, _) => unpacked(&self.path).1,
        }
    }

    /// When a file is finished.
    pub fn rotate(&self) -> Rotate {
        if self.is_whole() && !self.rotate.is_set() {
            Rotate { records: None, bytes: Some(ROWS_BYTES), every: Some(ROWS_AGE) }
        } else {
            self.rotate
        }
    }

    /// The columns of `schema`.
    pub fn columns_of_schema(&self) -> Option<Result<Schema, String>> {
        self.schema.as_deref().map(avro::read)
    }

    /// Checks beyond the schema.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.path.ends_with('/') {
            problems.push(Problem::error("/path", "a file, not a folder"));
        }
        problems.extend(self.problems_of_rows());
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
    /// What fits text only, or rows only.
    fn problems_of_rows(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |path: &str, message: &str| problems.push(Problem::error(path, message));
        let packed_as = unpacked(&self.path).1;
        if let Some(named) = self.format_of_name()
            && named != self.format()
            && (named.is_whole() || self.is_whole())
        {
            wrong(
                "/path",
                "readers take it for another format by its name: leave out format, or end as it does",
            );
        }
        if self.is_whole() {
            if packed_as != Codec::None {
                wrong(
                    "/path",
                    "avro and parquet are compressed inside, see compression; end with .avro or .parquet",
                );
            }
            if self.format() == Format::Parquet && self.compression == Some(Compression::Zstd) {
                wrong("/compression", "zstd can't be written in parquet; snappy and gzip can");
            }
            if let Some(Err(why)) = self.columns_of_schema() {
                wrong("/schema", &why);
            }
        } else {
            if packed_as != Codec::None && self.codec() != packed_as {
                wrong(
                    "/path",
                    "readers take it for compressed by its name, and otherwise than compression says; end without .gz or .zst, or leave out compression",
                );
            }
            if self.compression == Some(Compression::Snappy) {
                wrong("/compression", "text is compressed by gzip or zstd; snappy is for avro and parquet");
            }
            if self.schema.is_some() {
                wrong("/schema", "only avro and parquet have columns with types");
            }
            if self.behavior_on_null_values.is_some() {
                wrong("/behavior_on_null_values", "only avro and parquet have no place for them");
            }
        }
        problems
    }
}
