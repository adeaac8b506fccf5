//! One file from a place on, whatever its format.

mod text;

use millrace_sdk::{Poll, PollLimits};
use serde::{Deserialize, Serialize};

use self::text::TextReader;
use crate::Trouble;
use crate::avro::AvroReader;
use crate::blob::Blob;
use crate::options::{Compression, Format, Options};
use crate::parquet::ParquetReader;

/// Where a reader stands: behind the last record that it gave.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Text: plain bytes that were read. Avro: where the block begins; 0: the first one. Parquet: the row group.
    pub offset: u64,
    /// Text: lines that were read. Avro, Parquet: records of the block or row group that were read.
    pub record: u64,
    /// Whether it lies within a line that is too long and is being passed over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skipping: bool,
}

/// Why reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The limits of the poll are reached, or enough was done for one call.
    Full,
    /// The file is at its end.
    End,
}

/// How one file is read.
#[derive(Clone, Copy, Debug)]
pub struct How<'a> {
    /// Its name, for messages.
    pub name: &'a str,
    /// What it is.
    pub format: Format,
    /// How it is compressed as a whole.
    pub compression: Compression,
    /// What the user said.
    pub options: &'a Options,
    /// Whether records have Kafka Connect's schema beside them.
    pub typed: bool,
}

/// A reader of one file.
#[derive(Debug)]
pub enum Reader {
    /// Lines
    Text(Box<TextReader>),
    /// Avro
    Avro(Box<AvroReader>),
    /// Parquet
    Parquet(Box<ParquetReader>),
}

impl Reader {
    /// Goes on from a place, or begins.
    pub fn open(blob: Box<dyn Blob>, how: How<'_>, place: Place) -> Result<Self, Trouble> {
        Ok(match how.format {
            Format::Csv | Format::Jsonl | Format::Lines => {
                Self::Text(Box::new(TextReader::open(blob, how, place)?))
            }
            Format::Avro => Self::Avro(Box::new(AvroReader::open(blob, how, place)?)),
            Format::Parquet => Self::Parquet(Box::new(ParquetReader::open(blob, how, place)?)),
        })
    }

    /// Adds records until the limits are reached or the file is at its end. After an error it can't be used any more; what was added before it
    /// is behind [`Self::place`].
    pub fn read(&mut self, limits: PollLimits, out: &mut Poll) -> Result<Stop, Trouble> {
        match self {
            Self::Text(reader) => reader.read(limits, out),
            Self::Avro(reader) => reader.read(limits, out),
            Self::Parquet(reader) => reader.read(limits, out),
        }
    }

    /// Where it stands.
    pub fn place(&self) -> Place {
        match self {
            Self::Text(reader) => reader.place(),
            Self::Avro(reader) => reader.place(),
            Self::Parquet(reader) => reader.place(),
        }
    }
}

/// Whether a poll has all that it asked for.
pub(crate) fn is_full(limits: PollLimits, out: &Poll) -> bool {
    out.batch.len() >= limits.records || out.batch.data_len() >= limits.bytes as usize
}
