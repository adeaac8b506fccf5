//! From bytes to records: what the formats of text have in common.
//!
//! A parser is given what is in memory and takes one line (or csv record) from its front. It never looks at the file: whoever
//! calls it reads on when it asks for more.
//!
//! - [`csv`]: RFC 4180 into JSON objects
//! - [`jsonl`]: a JSON document per line, as it stands
//! - lines: here
//! - [`take`]: the same with a limit, past which a line is passed over

pub mod csv;
pub mod jsonl;
pub mod take;

use memchr::memchr;
use millrace_sdk::{Error, Poll, Rejection};

use crate::options::{Format, Options};

/// Where the front of the data stands.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The file.
    pub file: &'a str,
    /// Line, from 1.
    pub line: u64,
}

impl Place<'_> {
    /// A rejection that names the place.
    pub fn reject(&self, column: usize, code: &str, what: &str) -> Rejection {
        Rejection::new(code, format!("{}:{}:{column}: {what}", self.file, self.line))
    }
}

/// What a parser did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Took so many bytes, which hold so many lines. A record was added, or rejected, or there was none (a blank line).
    Taken {
        /// Bytes.
        bytes: usize,
        /// Lines.
        lines: u64,
    },
    /// The data ends within a line.
    More,
}

/// A parser for one file.
#[derive(Debug)]
pub enum Parser {
    /// See [`csv`].
    Csv(Box<csv::Csv>),
    /// See [`jsonl`].
    Jsonl(jsonl::Jsonl),
    /// Lines as they are.
    Lines,
}

impl Parser {
    /// A parser for a file in this format, which is text.
    pub fn new(options: &Options, format: Format) -> Result<Self, Error> {
        Ok(match format {
            Format::Csv => Self::Csv(Box::new(csv::Csv::new(options)?)),
            Format::Jsonl => Self::Jsonl(jsonl::Jsonl::new(options)?),
            Format::Lines => Self::Lines,
            Format::Avro | Format::Parquet => {
                return Err(Error::fatal("format", "Avro and Parquet are not read line by line"));
            }
        })
    }

    /// Whether the first line of the file has to be read before any other.
    pub fn needs_header(&self) -> bool {
        matches!(self, Self::Csv(csv) if csv.needs_header())
    }

    /// Takes one line from the front of `data`. `last`: nothing comes after `data`, so that a line needs no end.
    pub fn step(&mut self, data: &[u8], last: bool, place: Place<'_>, out: &mut Poll) -> Result<Step, Error> {
        if data.is_empty() {
            return Ok(Step::More);
        }
        match self {
            Self::Csv(csv) => csv.step(data, last, place, out),
            Self::Jsonl(jsonl) => Ok(jsonl.step(data, last, place, out)),
            Self::Lines => {
                let Some((line, bytes)) = line(data, last) else { return Ok(Step::More) };
                out.batch.push_value(line);
                Ok(Step::Taken { bytes, lines: 1 })
            }
        }
    }
}

/// The first line without its end (`\n` or `\r\n`), and its length with it.
pub fn line(data: &[u8], last: bool) -> Option<(&[u8], usize)> {
    let (line, bytes) = match memchr(b'\n', data) {
        Some(end) => (&data[..end], end + 1),
        None if last => (data, data.len()),
        None => return None,
    };
    Some((line.strip_suffix(b"\r").unwrap_or(line), bytes))
}
