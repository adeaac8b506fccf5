//! Lines with a limit: what is too long is rejected with its beginning, and passed over.

use millrace_sdk::{Error, Poll};

use super::{Parser, Place, Step};

/// How much of a line that is too long goes into its rejection.
const TOO_LONG_SHOWN: usize = 1024;

/// What was taken from the front of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Took {
    /// A line, or several that are one record.
    Line {
        /// Bytes.
        bytes: usize,
        /// Lines.
        lines: u64,
    },
    /// The beginning of a line that is too long.
    Part {
        /// Bytes.
        bytes: usize,
    },
    /// The data ends within the line.
    Nothing,
}

/// Takes one line, unless it is too long.
#[inline]
pub fn take(
    parser: &mut Parser,
    data: &[u8],
    last: bool,
    bytes_max: usize,
    place: Place<'_>,
    out: &mut Poll,
) -> Result<Took, Error> {
    // What is beyond the limit need not be looked at; the two bytes more are the line's end.
    let seen = &data[..data.len().min(bytes_max.saturating_add(2))];
    match parser.step(seen, last && seen.len() == data.len(), place, out)? {
        Step::Taken { bytes, lines } => return Ok(Took::Line { bytes, lines }),
        Step::More if seen.len() == data.len() && data.len() < bytes_max.saturating_add(2) => {
            return Ok(Took::Nothing);
        }
        Step::More => {}
    }
    if parser.needs_header() {
        let message = format!("{}:1: a header of more than {bytes_max} bytes; set max_line", place.file);
        return Err(Error::fatal("line.long", message));
    }
    let what = format!("a line of more than {bytes_max} bytes (max_line)");
    let shown = &data[..TOO_LONG_SHOWN.min(data.len())];
    if let Parser::Csv(csv) = parser
        && csv.open_quote(seen)
        && let Some(end) = memchr::memchr(b'\n', seen)
    {
        // A quote that is never closed swallows what follows: give up its first line only.
        let what = format!("{what}, by a quote that is not closed");
        out.reject(&data[..end], place.reject(1, "line.long", &what));
        return Ok(Took::Line { bytes: end + 1, lines: 1 });
    }
    out.reject(shown, place.reject(1, "line.long", &what));
    Ok(skip(data, last))
}

/// Passes over the rest of a line.
pub fn skip(data: &[u8], last: bool) -> Took {
    match memchr::memchr(b'\n', data) {
        Some(end) => Took::Line { bytes: end + 1, lines: 1 },
        None if last && !data.is_empty() => Took::Line { bytes: data.len(), lines: 1 },
        None if data.is_empty() => Took::Nothing,
        None => Took::Part { bytes: data.len() },
    }
}
