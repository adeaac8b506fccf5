//! Values as lines, or as rows.
//!
//! - JSON lines: the value as it stands, checked to be one document; line breaks between its parts become spaces. Null is `null`.
//! - lines: the value as it stands; one with a line break in it is rejected. Null is an empty line.
//! - csv: see [`Csv`]
//! - avro, parquet: see [`Rows`]

use memchr::memchr2;
use millrace_connector_encode::content::Added;
use millrace_connector_encode::text::csv::Csv;
use millrace_connector_encode::text::push_on_one_line;
use millrace_connector_fields::{Fields, document};
use millrace_sdk::{Error, Rejection};

use crate::rows::Rows;
use crate::settings::{Format, Settings};

/// Writes records in one format.
#[derive(Debug)]
pub enum Encoder {
    /// JSON lines.
    Jsonl {
        /// Looks for nothing: a walk through the document to see that it is one.
        check: Fields,
    },
    /// Values as they are.
    Lines,
    /// Fields of JSON objects.
    Csv(Box<Csv>),
    /// JSON objects with their types.
    Rows(Box<Rows>),
}

impl Encoder {
    /// As the settings say; `columns` if they are known from before.
    pub fn new(settings: &Settings, columns: Option<Vec<String>>) -> Result<Self, Error> {
        Ok(match settings.format() {
            Format::Jsonl => Self::Jsonl { check: Fields::new(&[]) },
            Format::Lines => Self::Lines,
            Format::Csv => {
                let delimiter = u8::try_from(settings.delimiter).unwrap_or(b',');
                let csv = Csv::new(settings.columns.clone().or(columns), delimiter, settings.header);
                Self::Csv(Box::new(csv.map_err(|why| Error::fatal("settings", format!("/columns: {why}")))?))
            }
            Format::Avro | Format::Parquet => Self::Rows(Box::new(Rows::new(settings)?)),
        })
    }

    /// Appends one record. `first`: it begins a file. After a rejection, and when it wants another file, nothing was added.
    pub fn encode(
        &mut self,
        value: Option<&[u8]>,
        first: bool,
        out: &mut Vec<u8>,
    ) -> Result<Result<Added, Rejection>, Error> {
        if let Self::Rows(rows) = self {
            return rows.encode(value, out);
        }
        Ok(self.line(value, first, out).map(|()| Added::Yes))
    }

    fn line(&mut self, value: Option<&[u8]>, first: bool, out: &mut Vec<u8>) -> Result<(), Rejection> {
        match self {
            Self::Jsonl { check } => {
                let value = value.unwrap_or(b"null");
                document(value)
                    .and_then(|text| check.find(text, &mut Vec::new()))
                    .map_err(|error| Rejection::new("json.syntax", error.to_string()))?;
                push_on_one_line(out, value);
            }
            Self::Lines => {
                let value = value.unwrap_or_default();
                if memchr2(b'\n', b'\r', value).is_some() {
                    let message = "a value with a line break cannot be one line; set format to jsonl";
                    return Err(Rejection::new("line.break", message));
                }
                out.extend_from_slice(value);
                out.push(b'\n');
            }
            Self::Csv(csv) => csv.encode(value, first, out)?,
            Self::Rows(_) => {}
        }
        Ok(())
    }

    /// Bytes of records that it holds back.
    pub fn pending(&self) -> usize {
        if let Self::Rows(rows) = self { rows.pending() } else { 0 }
    }

    /// Ends a file: appends what is left of it.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        if let Self::Rows(rows) = self { rows.finish(out) } else { Ok(()) }
    }

    /// The columns, once they are known.
    pub fn columns(&self) -> Option<&[String]> {
        match self {
            Self::Csv(csv) => csv.columns(),
            _ => None,
        }
    }
}
