//! Finds the fields of one record. One pass, no copies: a field is a range of the input.

use memchr::memchr;

use crate::json::is_escaped;

/// One field of the record that was scanned last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    start: u32,
    end: u32,
    /// Whether quotes within are doubled.
    doubled: bool,
    /// Whether JSON needs escapes for it.
    escaped: bool,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scan {
    /// A record of so many bytes, its end included.
    Record {
        /// Bytes.
        bytes: usize,
        /// Whether a field was quoted, and may hold line breaks.
        quoted: bool,
    },
    /// The data ends within the record.
    More,
    /// No record, and why.
    Bad {
        /// Index of the byte that is wrong.
        at: usize,
        /// What is wrong with it.
        what: &'static str,
    },
}

const PLAIN: u8 = 0;
const ESCAPED: u8 = 1;
const DELIMITER: u8 = 2;
const NEWLINE: u8 = 3;

/// Cuts records into fields.
#[derive(Debug)]
pub(super) struct Scanner {
    delimiter: u8,
    quote: u8,
    class: [u8; 256],
    fields: Vec<Field>,
}

impl Scanner {
    /// With these two characters.
    pub(super) fn new(delimiter: u8, quote: u8) -> Self {
        let mut class = [PLAIN; 256];
        for byte in 0..=255u8 {
            if is_escaped(byte) {
                class[usize::from(byte)] = ESCAPED;
            }
        }
        class[usize::from(delimiter)] = DELIMITER;
        class[usize::from(b'\n')] = NEWLINE;
        Self { delimiter, quote, class, fields: Vec::new() }
    }

    /// The fields of the record that [`Self::record`] found.
    pub(super) fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The text of a field, with quotes still doubled where [`Self::is_doubled`] says so.
    pub(super) fn raw<'d>(&self, data: &'d [u8], field: &Field) -> &'d [u8] {
        &data[field.start as usize..field.end as usize]
    }

    /// Calls `each` with the pieces that make up a field's text.
    pub(super) fn pieces<'d>(&self, data: &'d [u8], field: &Field, mut each: impl FnMut(&'d [u8])) {
        let mut rest = self.raw(data, field);
        if field.doubled {
            while let Some(at) = memchr(self.quote, rest) {
                each(&rest[..=at]);
                rest = rest.get(at + 2..).unwrap_or_default();
            }
        }
        each(rest);
    }

    /// The fields as texts.
    pub(super) fn texts(&self, data: &[u8]) -> Vec<String> {
        let text = |field| {
            let mut text = Vec::new();
            self.pieces(data, field, |piece| text.extend_from_slice(piece));
            String::from_utf8_lossy(&text).into_owned()
        };
        self.fields.iter().map(text).collect()
    }

    /// Scans one record from the front of `data`; `last`: nothing comes after it.
    pub(super) fn record(&mut self, data: &[u8], last: bool) -> Scan {
        self.fields.clear();
        let mut at = 0;
        let mut any_quoted = false;
        loop {
            // At the start of a field, which may be empty.
            let ended = if data.get(at) == Some(&self.quote) {
                any_quoted = true;
                self.quoted(data, at, last)
            } else {
                self.unquoted(data, at, last)
            };
            match ended {
                Ended::Field(next) => at = next,
                Ended::Record(bytes) => return Scan::Record { bytes, quoted: any_quoted },
                Ended::More => return Scan::More,
                Ended::Bad(at, what) => return Scan::Bad { at, what },
            }
        }
    }

    #[inline]
    fn unquoted(&mut self, data: &[u8], start: usize, last: bool) -> Ended {
        let mut escaped = false;
        for (at, &byte) in data.iter().enumerate().skip(start) {
            match self.class[usize::from(byte)] {
                PLAIN => {}
                DELIMITER => {
                    self.push(start, at, escaped);
                    return Ended::Field(at + 1);
                }
                NEWLINE => {
                    let cr = at > start && data[at - 1] == b'\r';
                    self.push(start, at - usize::from(cr), escaped);
                    return Ended::Record(at + 1);
                }
                _ => escaped = true,
            }
        }
        if !last {
            return Ended::More;
        }
        let cr = data.len() > start && data.ends_with(b"\r");
        self.push(start, data.len() - usize::from(cr), escaped);
        Ended::Record(data.len())
    }

    fn push(&mut self, start: usize, end: usize, escaped: bool) {
        self.fields.push(Field { start: start as u32, end: end as u32, doubled: false, escaped });
    }

    fn quoted(&mut self, data: &[u8], open: usize, last: bool) -> Ended {
        let start = open + 1;
        let (mut at, mut doubled) = (start, false);
        let end = loop {
            let Some(found) = memchr(self.quote, &data[at..]) else {
                return if last { Ended::Bad(open, "a quote that is never closed") } else { Ended::More };
            };
            let quote = at + found;
            match data.get(quote + 1) {
                Some(next) if *next == self.quote => {
                    doubled = true;
                    at = quote + 2;
                }
                None if !last => return Ended::More,
                _ => break quote,
            }
        };
        self.fields.push(Field { start: start as u32, end: end as u32, doubled, escaped: true });
        match data[end + 1..] {
            [] => Ended::Record(data.len()),
            [byte, ..] if byte == self.delimiter => Ended::Field(end + 2),
            [b'\n', ..] => Ended::Record(end + 2),
            [b'\r', b'\n', ..] => Ended::Record(end + 3),
            [b'\r'] if last => Ended::Record(end + 2),
            [b'\r'] => Ended::More,
            _ => Ended::Bad(
                end + 1,
                "text after a closing quote; a quote within a quoted field is written twice",
            ),
        }
    }
}

/// How a field ended.
enum Ended {
    /// Another one begins here.
    Field(usize),
    /// With the record, which has so many bytes.
    Record(usize),
    More,
    Bad(usize, &'static str),
}

impl Field {
    /// Whether JSON needs escapes for it.
    pub(super) fn is_escaped(&self) -> bool {
        self.escaped
    }

    /// Whether its text stands in the input as it is.
    pub(super) fn is_doubled(&self) -> bool {
        self.doubled
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }
}
