//! Comma-separated values (RFC 4180) into JSON objects.
//!
//! Fields may be quoted, and then hold delimiters, doubled quotes and line breaks. Lines end with `\n` or `\r\n`; empty lines are
//! passed over. A record must have as many fields as there are columns. Text after a closing quote is an error, not a guess.
//! After an error reading goes on at the next line.

mod columns;
mod scan;
#[cfg(test)]
mod tests;

use memchr::memchr;
use millrace_sdk::{Error, Poll};

use self::columns::Columns;
use self::scan::{Scan, Scanner};
use super::{Place, Step};
use crate::options::{Header, Options};

/// A parser of csv.
#[derive(Debug)]
pub struct Csv {
    scanner: Scanner,
    /// None: the header has not been read yet.
    columns: Option<Columns>,
    options: Options,
}

impl Csv {
    /// Reads the names of the columns from the file, unless the options have them.
    pub fn new(options: &Options) -> Result<Self, Error> {
        let (delimiter, quote) = options.delimiter_and_quote()?;
        let columns = match &options.header {
            Header::Names(names) => Some(Columns::new(names.clone(), options, "/header")?),
            Header::Line(_) => None,
        };
        Ok(Self { scanner: Scanner::new(delimiter, quote), columns, options: options.clone() })
    }

    /// Whether the names of the columns are still to be read.
    pub fn needs_header(&self) -> bool {
        self.columns.is_none()
    }

    /// Takes one record.
    pub fn step(&mut self, data: &[u8], last: bool, place: Place<'_>, out: &mut Poll) -> Result<Step, Error> {
        // A byte order mark may stand before the first line.
        let skip = if place.line == 1 && data.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        let data = &data[skip..];
        match data {
            [] => return Ok(Step::Taken { bytes: skip, lines: 0 }),
            [b'\n', ..] => return Ok(Step::Taken { bytes: skip + 1, lines: 1 }),
            [b'\r', b'\n', ..] => return Ok(Step::Taken { bytes: skip + 2, lines: 1 }),
            _ => {}
        }
        let (bytes, lines) = match self.scanner.record(data, last) {
            Scan::More => return Ok(Step::More),
            Scan::Record { bytes, quoted: false } => (bytes, 1),
            Scan::Record { bytes, quoted: true } => (bytes, count_lines(&data[..bytes], last)),
            Scan::Bad { at, what } => {
                if self.columns.is_none() {
                    let why = place.reject(at + 1, "csv.quote", what);
                    return Err(Error::fatal(why.code, why.message));
                }
                return Ok(self.bad_line(skip, data, at, what, place, out));
            }
        };
        let step = Step::Taken { bytes: skip + bytes, lines };
        let record = &data[..bytes];
        if let Err(error) = std::str::from_utf8(record) {
            let why =
                place.reject(error.valid_up_to() + 1, "csv.utf8", "text that is not UTF-8; convert the file");
            out.reject(trim_end(record), why);
            return Ok(step);
        }
        match &self.columns {
            None => {
                let names = self.scanner.texts(record);
                self.columns = Some(Columns::new(names, &self.options, place.file)?);
            }
            Some(columns) => {
                if let Err((code, what)) = columns.write(record, &self.scanner, out) {
                    out.reject(trim_end(record), place.reject(1, code, &what));
                }
            }
        }
        Ok(step)
    }

    /// Rejects the first line alone, since a quote that is not closed would take all that follows with it.
    fn bad_line(
        &self,
        skip: usize,
        data: &[u8],
        at: usize,
        what: &str,
        place: Place<'_>,
        out: &mut Poll,
    ) -> Step {
        let bytes = memchr(b'\n', data).map_or(data.len(), |end| end + 1);
        let before = &data[..at.min(data.len())];
        let line = place.line + memchr::memchr_iter(b'\n', before).count() as u64;
        let column = at - before.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1) + 1;
        out.reject(trim_end(&data[..bytes]), Place { line, ..place }.reject(column, "csv.quote", what));
        Step::Taken { bytes: skip + bytes, lines: 1 }
    }

    /// What a record that grew too long begins with, if it is a quote that was never closed.
    pub fn open_quote(&mut self, data: &[u8]) -> bool {
        matches!(self.scanner.record(data, true), Scan::Bad { .. })
    }
}

fn count_lines(record: &[u8], last: bool) -> u64 {
    let ends = memchr::memchr_iter(b'\n', record).count() as u64;
    if last && !record.ends_with(b"\n") { ends + 1 } else { ends }
}

fn trim_end(record: &[u8]) -> &[u8] {
    let record = record.strip_suffix(b"\n").unwrap_or(record);
    record.strip_suffix(b"\r").unwrap_or(record)
}
