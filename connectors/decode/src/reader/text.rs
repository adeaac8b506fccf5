//! Files of text: plain from any byte on, compressed ones by unpacking them from their beginning and passing over what was read before.

use millrace_sdk::{Poll, PollLimits};

use super::{How, Place, Stop, is_full};
use crate::Trouble;
use crate::blob::Blob;
use crate::options::Compression;
use crate::text::take::{Took, skip, take};
use crate::text::{self, Parser, Step};
use crate::unpack::{PACKED_BYTES_MIN, Unpack};

/// Bytes asked for at once.
const READ_BYTES: usize = 4 << 20;
/// Most plain bytes that one call passes over, so that it comes back in time.
const PASS_BYTES: u64 = 256 << 20;

/// A file of text.
pub struct TextReader {
    blob: Box<dyn Blob>,
    name: String,
    /// Next byte to ask for.
    next: u64,
    packed: Vec<u8>,
    /// Bytes of `packed` that were unpacked.
    packed_done: usize,
    unpack: Unpack,
    plain: Vec<u8>,
    /// Bytes of `plain` that were read.
    plain_done: usize,
    /// Whether no more plain bytes come.
    ended: bool,
    parser: Parser,
    line_bytes_max: usize,
    /// Plain bytes to pass over before the place is reached.
    pass: u64,
    place: Place,
}

impl std::fmt::Debug for TextReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextReader")
            .field("name", &self.name)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl TextReader {
    pub(super) fn open(blob: Box<dyn Blob>, how: How<'_>, place: Place) -> Result<Self, Trouble> {
        let mut reader = Self {
            blob,
            name: how.name.to_owned(),
            next: 0,
            packed: Vec::new(),
            packed_done: 0,
            unpack: Unpack::new(how.compression),
            plain: Vec::new(),
            plain_done: 0,
            ended: false,
            parser: Parser::new(how.options, how.format)?,
            line_bytes_max: how.options.max_line.bytes(),
            pass: 0,
            place: Place::default(),
        };
        if place.offset > 0 {
            if reader.parser.needs_header() {
                reader.read_header()?;
            }
            if matches!(how.compression, Compression::Auto | Compression::None) {
                (reader.next, reader.ended) = (place.offset, false);
                reader.packed.clear();
                reader.plain.clear();
                (reader.packed_done, reader.plain_done) = (0, 0);
            } else {
                reader.pass = place.offset.saturating_sub(reader.place.offset);
            }
            reader.place = place;
        }
        Ok(reader)
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    pub(super) fn read(&mut self, limits: PollLimits, out: &mut Poll) -> Result<Stop, Trouble> {
        if self.pass > 0 && !self.pass_over()? {
            return Ok(Stop::Full);
        }
        while !is_full(limits, out) {
            let data = &self.plain[self.plain_done..];
            let at = text::Place { file: &self.name, line: self.place.record.saturating_add(1) };
            let took = match self.place.skipping {
                true => skip(data, self.ended),
                false => take(&mut self.parser, data, self.ended, self.line_bytes_max, at, out)?,
            };
            match took {
                Took::Line { bytes, lines } => self.consume(bytes, lines, false),
                Took::Part { bytes } => self.consume(bytes, 0, true),
                Took::Nothing if self.ended => return Ok(Stop::End),
                Took::Nothing => self.fill()?,
            }
        }
        Ok(Stop::Full)
    }

    fn consume(&mut self, bytes: usize, lines: u64, skipping: bool) {
        self.plain_done += bytes;
        self.place = Place {
            offset: self.place.offset.saturating_add(bytes as u64),
            record: self.place.record.saturating_add(lines),
            skipping,
        };
    }

    /// Lets the parser see the names of the columns.
    fn read_header(&mut self) -> Result<(), Trouble> {
        let mut nothing = Poll::default();
        while self.parser.needs_header() {
            let data = &self.plain[self.plain_done..];
            let at = text::Place { file: &self.name, line: self.place.record.saturating_add(1) };
            match self.parser.step(data, self.ended, at, &mut nothing)? {
                Step::Taken { bytes, lines } => self.consume(bytes, lines, false),
                Step::More if self.ended => return Ok(()),
                Step::More => self.fill()?,
            }
        }
        Ok(())
    }

    /// Passes over what was read before. False: there is more of it.
    fn pass_over(&mut self) -> Result<bool, Trouble> {
        let stop = self.pass.saturating_sub(PASS_BYTES);
        while self.pass > stop {
            let held = (self.plain.len() - self.plain_done) as u64;
            let taken = self.pass.min(held);
            self.plain_done += usize::try_from(taken).unwrap_or(0);
            self.pass -= taken;
            if self.pass == 0 {
                break;
            }
            if self.ended {
                return Err(Trouble::rotten("it is shorter than what was read of it before"));
            }
            self.fill()?;
        }
        Ok(self.pass == 0)
    }

    /// Gets more plain bytes, or notices the end.
    fn fill(&mut self) -> Result<(), Trouble> {
        self.plain.drain(..self.plain_done);
        self.plain_done = 0;
        let before = self.plain.len();
        loop {
            let last = self.next >= self.blob.size();
            let packed = &self.packed[self.packed_done..];
            if packed.len() < PACKED_BYTES_MIN && !last {
                self.load()?;
                continue;
            }
            let step = match self.unpack.step(packed, last, &mut self.plain) {
                Ok(step) => step,
                Err(damage) => {
                    // Where it is in the file, and what is in front of it.
                    let at = self.next.saturating_sub(packed.len().saturating_sub(damage.at) as u64);
                    let lines = self.place.record;
                    return Err(Trouble::Rotten(format!("byte {at}, behind line {lines}: {}", damage.why)));
                }
            };
            self.packed_done += step.taken;
            if self.plain.len() > before {
                return Ok(());
            }
            if step.more {
                continue;
            }
            match self.packed.len() - self.packed_done {
                // Where a decoder says no more, with all bytes there, it is at the end.
                0 if last => {
                    self.ended = true;
                    return Ok(());
                }
                _ if last => return Err(Trouble::rotten("bytes stand behind its end")),
                _ => self.load()?,
            }
        }
    }

    fn load(&mut self) -> Result<(), Trouble> {
        let length = usize::try_from(self.blob.size() - self.next).unwrap_or(READ_BYTES).min(READ_BYTES);
        let bytes = crate::blob::exactly(&mut *self.blob, self.next, length)?;
        self.packed.drain(..self.packed_done);
        self.packed_done = 0;
        self.packed.extend_from_slice(&bytes);
        self.next += length as u64;
        Ok(())
    }
}
