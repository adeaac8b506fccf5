//! The settings, as `settings.schema.json` describes them. Names are those of Confluent's S3 sink where it has the thing.

use std::time::Duration;

use millrace_connector_encode::Codec;
use millrace_connector_encode::content::{Format, NullValues};
use millrace_connector_encode::types::{Schema, avro};
use millrace_connector_fields::Path;
use millrace_sdk::Problem;
use millrace_sdk::object_store::PART_BYTES_MIN;
use millrace_sdk::settings::{Size, Span};
use serde::Deserialize;

use crate::partition::Partitioner;

/// Largest part: bodies of one call of the host have 16 MiB together.
pub const PART_BYTES_MAX: usize = 15 << 20;

/// Settings of one sink.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Connection to the bucket.
    pub connection: String,
    /// What objects are.
    pub format: Format,
    /// How they are compressed.
    pub compression: Option<Compression>,
    /// Columns, as an Avro schema.
    pub schema: Option<String>,
    /// Fields of csv.
    pub columns: Option<Vec<String>>,
    /// Whether csv begins with names.
    #[serde(default = "default_header")]
    pub header: bool,
    /// Between two fields of csv.
    #[serde(default = "default_delimiter")]
    pub delimiter: char,
    /// Beginning of keys.
    #[serde(default = "default_topics_dir")]
    pub topics_dir: String,
    /// Folders.
    #[serde(default)]
    pub partitioner: PartitionerKind,
    /// Fields that make folders.
    #[serde(default)]
    pub partition_field_name: Vec<String>,
    /// Pattern of times that make folders.
    #[serde(default = "default_path_format")]
    pub path_format: String,
    /// Of those times.
    #[serde(default = "default_timezone")]
    pub timezone: String,
    /// Which timestamp counts.
    #[serde(default)]
    pub timestamp_extractor: Extractor,
    /// Where it stands.
    #[serde(default = "default_timestamp_field")]
    pub timestamp_field: String,
    /// Records in an object.
    #[serde(default = "default_flush_size")]
    pub flush_size: u64,
    /// Size of an object.
    #[serde(default = "default_rotate_bytes")]
    pub rotate_bytes: Size,
    /// Time that an object covers.
    pub rotate_interval: Option<Span>,
    /// Clock times at which objects end.
    #[serde(default = "default_schedule")]
    pub rotate_schedule_interval: Span,
    /// Quiet after which an object ends.
    pub rotate_idle: Option<Span>,
    /// Size of parts.
    #[serde(default = "default_part_size")]
    pub s3_part_size: Size,
    /// Most bytes held.
    #[serde(default = "default_buffer")]
    pub buffer: Size,
    /// Records without a value.
    #[serde(default)]
    pub behavior_on_null_values: NullValues,
}

/// How they are compressed.
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

/// Which folders there are.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum PartitionerKind {
    /// By Kafka's partition.
    #[default]
    Default,
    /// By fields.
    Field,
    /// By time.
    Time,
}

/// Which timestamp counts.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Extractor {
    /// When it is written.
    Wallclock,
    /// The record's own.
    #[default]
    Record,
    /// A field's.
    Field,
}

fn default_header() -> bool {
    true
}

fn default_delimiter() -> char {
    ','
}

fn default_topics_dir() -> String {
    "topics".to_owned()
}

fn default_path_format() -> String {
    "'year'=yyyy/'month'=MM/'day'=dd/'hour'=HH".to_owned()
}

fn default_timezone() -> String {
    "UTC".to_owned()
}

fn default_timestamp_field() -> String {
    "timestamp".to_owned()
}

fn default_flush_size() -> u64 {
    100_000
}

fn default_rotate_bytes() -> Size {
    Size::from_bytes(128 << 20)
}

fn default_schedule() -> Span {
    Span::from_ms(600_000)
}

fn default_part_size() -> Size {
    Size::from_bytes(8 << 20)
}

fn default_buffer() -> Size {
    Size::from_bytes(64 << 20)
}

impl Settings {
    /// How blocks, pages or the whole are compressed.
    pub fn codec(&self) -> Codec {
        match (self.compression, self.format) {
            (Some(Compression::Gzip), _) => Codec::Gzip,
            (Some(Compression::Zstd), _) => Codec::Zstd,
            (Some(Compression::Snappy), _) | (None, Format::Parquet) => Codec::Snappy,
            (Some(Compression::None), _) | (None, _) => Codec::None,
        }
    }

    /// What keys end with.
    pub fn extension(&self) -> &'static str {
        match (self.format, self.codec()) {
            (Format::Json, Codec::Gzip) => "json.gz",
            (Format::Json, Codec::Zstd) => "json.zst",
            (Format::Json, _) => "json",
            (Format::Csv, Codec::Gzip) => "csv.gz",
            (Format::Csv, Codec::Zstd) => "csv.zst",
            (Format::Csv, _) => "csv",
            (Format::Avro, _) => "avro",
            (Format::Parquet, Codec::Snappy) => "snappy.parquet",
            (Format::Parquet, Codec::Gzip) => "gz.parquet",
            (Format::Parquet, Codec::None | Codec::Zstd) => "parquet",
        }
    }

    /// The type of objects.
    pub fn content_type(&self) -> &'static str {
        match (self.format, self.codec()) {
            (Format::Json | Format::Csv, Codec::Gzip) => "application/gzip",
            (Format::Json | Format::Csv, Codec::Zstd) => "application/zstd",
            (Format::Json, _) => "application/x-ndjson",
            (Format::Csv, _) => "text/csv",
            (Format::Avro, _) => "application/vnd.apache.avro",
            (Format::Parquet, _) => "application/vnd.apache.parquet",
        }
    }

    /// The columns of `schema`.
    pub fn columns_of_schema(&self) -> Option<Result<Schema, String>> {
        self.schema.as_deref().map(avro::read)
    }

    /// The clock's interval; none: there is no schedule.
    pub fn schedule(&self) -> Option<Duration> {
        Some(self.rotate_schedule_interval.duration()).filter(|every| !every.is_zero())
    }

    /// Checks beyond the schema.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |path: &str, message: &str| problems.push(Problem::error(path, message));
        let is_text = matches!(self.format, Format::Json | Format::Csv);
        if is_text && self.compression == Some(Compression::Snappy) {
            wrong("/compression", "text is compressed by gzip or zstd; snappy is for avro and parquet");
        }
        if self.format == Format::Parquet && self.compression == Some(Compression::Zstd) {
            wrong("/compression", "zstd can't be written in parquet; snappy and gzip can");
        }
        if is_text && self.schema.is_some() {
            wrong("/schema", "only avro and parquet have columns with types");
        }
        if let Some(Err(why)) = self.columns_of_schema() {
            wrong("/schema", &why);
        }
        if self.columns.is_some() && self.format != Format::Csv {
            wrong("/columns", "only csv has them; avro and parquet have schema");
        }
        if !self.delimiter.is_ascii() || matches!(self.delimiter, '\n' | '\r' | '"') {
            wrong("/delimiter", "one ASCII character, no quote and no line break");
        }
        let dir = &self.topics_dir;
        if dir.starts_with('/')
            || dir.ends_with('/')
            || dir.split('/').any(|part| matches!(part, "" | "." | ".."))
        {
            wrong(
                "/topics_dir",
                "a beginning of keys such as topics or raw/topics, without slashes at its ends",
            );
        }
        match (self.partitioner, self.partition_field_name.is_empty()) {
            (PartitionerKind::Field, true) => {
                wrong("/partition_field_name", "the partitioner `field` needs fields")
            }
            (PartitionerKind::Field, false) | (_, true) => {}
            (_, false) => wrong("/partition_field_name", "only the partitioner `field` has them"),
        }
        if let Err((pointer, why)) = Partitioner::new(self) {
            wrong(&pointer, &why);
        }
        let part = self.s3_part_size.bytes();
        if !(PART_BYTES_MIN..=PART_BYTES_MAX).contains(&part) {
            wrong("/s3_part_size", "5MiB to 15MiB");
        }
        if self.buffer.bytes() < part {
            wrong("/buffer", "at least a part, s3_part_size");
        }
        for (pointer, is_zero) in [
            ("/rotate_bytes", self.rotate_bytes.bytes_u64() == 0),
            ("/rotate_interval", self.rotate_interval.is_some_and(|every| every.ms() == 0)),
            ("/rotate_idle", self.rotate_idle.is_some_and(|idle| idle.ms() == 0)),
        ] {
            if is_zero {
                wrong(pointer, "more than zero");
            }
        }
        for (at, column) in self.columns.iter().flatten().enumerate() {
            if let Err(error) = column.parse::<Path>() {
                problems.push(Problem::error(format!("/columns/{at}"), error.to_string()));
            }
        }
        problems
    }
}
