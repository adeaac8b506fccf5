//! JSON lines: each line is one document and becomes the value as it stands. Blank lines are passed over.

use millrace_sdk::{Error, Poll};

use super::{Place, Step, line};
use crate::keys::Keys;
use crate::options::Options;

/// A parser of JSON lines.
#[derive(Debug)]
pub struct Jsonl {
    keys: Keys,
}

impl Jsonl {
    /// Looks for the fields of the key.
    pub fn new(options: &Options) -> Result<Self, Error> {
        Ok(Self { keys: Keys::new(options.key.as_ref())? })
    }

    /// Takes one line.
    pub fn step(&mut self, data: &[u8], last: bool, place: Place<'_>, out: &mut Poll) -> Step {
        let Some((line, bytes)) = line(data, last) else { return Step::More };
        let step = Step::Taken { bytes, lines: 1 };
        let line = line.trim_ascii();
        // A byte order mark may stand before the first line.
        let line = if place.line == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        if line.is_empty() {
            return step;
        }
        if let Err(error) = self.keys.find(line) {
            out.reject(line, place.reject(1, "json.syntax", &error.to_string()));
            return step;
        }
        let mut record = out.batch.record();
        self.keys.write(line, &mut record);
        record.value().extend_from_slice(line);
        record.end();
        step
    }
}
