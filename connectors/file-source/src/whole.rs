//! A file that is read as a whole and not line by line as it grows: compressed text, Avro, Parquet.
//!
//! A position knows it by its first bytes, its size, and its last bytes. A file that has more than it had, and begins the same, is read on: Avro has further blocks
//! then, compressed text further members. Parquet has its footer at the end, so that a longer one is another file. While it is followed, a file
//! is begun when nobody has written to it for a while: what is being compressed just now is not whole yet.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use millrace_connector_decode::blob::Blob;
use millrace_connector_decode::options::{Compression, Format, Options};
use millrace_connector_decode::reader::{How, Place, Reader, Stop as Read_};
use millrace_connector_decode::{Trouble, reject_rest};
use millrace_sdk::{Error, Poll, PollLimits};
use serde::{Deserialize, Serialize};

use crate::files::io_error;
use crate::position::{HEAD_BYTES, Mark, TAIL_BYTES};
use crate::settings::Settings;
use crate::track::Stop;

/// How long nobody must have written to a followed file before it is read.
pub const QUIET: Duration = Duration::from_secs(2);

/// Where reading stands in such a file; a checkpoint holds it as JSON.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Position {
    /// Its size when it was opened.
    pub size: u64,
    head: Mark,
    /// Of the bytes before that size: files of one program begin alike.
    #[serde(default)]
    tail: Mark,
    /// Behind the last record that was given out.
    pub place: Place,
    /// Whether it was read to its end.
    #[serde(default)]
    pub done: bool,
}

impl Position {
    /// From a checkpoint; none: it is not one of these.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

/// Whether a file of this name is one of these.
pub fn is_whole(options: &Options, path: &str) -> bool {
    options.format_of(path).is_typed() || options.compression_of(path) != Compression::None
}

/// One such file.
#[derive(Debug)]
pub struct Whole {
    /// The path as listed.
    pub path: String,
    position: Option<Position>,
    reader: Option<Reader>,
    /// Size and time of change when it was last found to be read.
    seen: Option<(u64, SystemTime)>,
    quiet: Duration,
    moved: bool,
    /// What the poll that is under way began with.
    before: Option<Option<Position>>,
}

impl Whole {
    /// Goes on from a position, or begins.
    pub fn new(path: &str, position: Option<Position>) -> Self {
        Self {
            path: path.to_owned(),
            position,
            reader: None,
            seen: None,
            quiet: QUIET,
            moved: false,
            before: None,
        }
    }

    /// For tests, which don't wait.
    #[cfg(test)]
    pub(crate) fn set_quiet(&mut self, quiet: Duration) {
        self.quiet = quiet;
    }

    /// Adds records until the limits are reached or the file is at its end.
    pub fn read(&mut self, settings: &Settings, limits: PollLimits, out: &mut Poll) -> Result<Stop, Error> {
        self.before.get_or_insert_with(|| self.position.clone());
        if self.reader.is_none() && !self.open(settings, out)? {
            return Ok(Stop::AtEnd);
        }
        let (Some(reader), Some(position)) = (&mut self.reader, &mut self.position) else {
            return Ok(Stop::AtEnd);
        };
        let read = reader.read(limits, out);
        self.moved |= reader.place() != position.place;
        position.place = reader.place();
        match read {
            Ok(Read_::Full) => Ok(Stop::Full),
            Ok(Read_::End) => {
                self.finish();
                Ok(Stop::AtEnd)
            }
            Err(trouble) => self.give_up(trouble, out).map(|()| Stop::AtEnd),
        }
    }

    /// Ends a poll that succeeded. Gives the position to keep, if it has changed.
    pub fn settle(&mut self) -> Option<Vec<u8>> {
        self.before = None;
        let position = self.position.as_ref().filter(|_| std::mem::take(&mut self.moved))?;
        serde_json::to_vec(position).ok()
    }

    /// Undoes a poll that failed: what it read was not given out, and is read again.
    pub fn rewind(&mut self) {
        if let Some(position) = self.before.take() {
            (self.position, self.reader, self.seen) = (position, None, None);
        }
    }

    /// Gives the file back; it is opened again when there is something to read.
    pub fn close_file(&mut self) {
        self.reader = None;
    }

    fn finish(&mut self) {
        self.reader = None;
        if let Some(position) = &mut self.position {
            position.done = true;
        }
        self.moved = true;
    }

    fn give_up(&mut self, trouble: Trouble, out: &mut Poll) -> Result<(), Error> {
        if let Trouble::Outside(error) = trouble {
            return Err(error);
        }
        reject_rest(&self.path, &trouble, out);
        self.finish();
        Ok(())
    }

    /// Opens the file, if there is something to read in it.
    fn open(&mut self, settings: &Settings, out: &mut Poll) -> Result<bool, Error> {
        let path = self.path.clone();
        let failed = |error| io_error("open", &path, error);
        let mut file = match millrace_sdk::files::open(&self.path) {
            Ok(file) => file,
            Err(error) if settings.follow && error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed(error)),
        };
        let meta = file.metadata().map_err(failed)?;
        let (size, changed) = (meta.len(), meta.modified().unwrap_or(SystemTime::UNIX_EPOCH));
        // A time that is still to come says nothing.
        if settings.follow && changed.elapsed().is_ok_and(|since| since < self.quiet) {
            return Ok(false);
        }
        let format = settings.options.format_of(&self.path);
        let is_done = self.position.as_ref().is_some_and(|position| position.done);
        if (is_done && self.seen == Some((size, changed)))
            || !self.has_more(&mut file, size, format).map_err(failed)?
        {
            self.seen = Some((size, changed));
            return Ok(false);
        }
        self.seen = Some((size, changed));
        let head = Mark::at(&mut file, 0, HEAD_BYTES as u32).map_err(failed)?;
        let from = size.saturating_sub(TAIL_BYTES as u64);
        let tail = Mark::at(&mut file, from, TAIL_BYTES as u32).map_err(failed)?;
        let place = self.position.as_ref().map_or_else(Place::default, |position| position.place);
        self.position = Some(Position { size, head, tail, place, done: false });
        let how = How {
            name: &self.path,
            format,
            compression: settings.options.compression_of(&self.path),
            options: &settings.options,
            typed: false,
        };
        match Reader::open(Box::new(Opened { file, size, path: self.path.clone() }), how, place) {
            Ok(reader) => {
                self.reader = Some(reader);
                Ok(true)
            }
            Err(trouble) => self.give_up(trouble, out).map(|()| false),
        }
    }

    /// Whether there is something to read, behind the position or in what is another file by now.
    fn has_more(&mut self, file: &mut File, size: u64, format: Format) -> io::Result<bool> {
        let Some(position) = &self.position else { return Ok(true) };
        let is_the_same = size >= position.size
            && position.head.is_at(file, 0)?
            && position.tail.is_at(file, position.size - position.tail.bytes().min(position.size))?;
        if is_the_same && size == position.size {
            return Ok(!position.done);
        }
        if !is_the_same || format == Format::Parquet {
            millrace_sdk::warn!("the file has other content than before, it is read from its start"; "file" => &self.path);
            self.position = None;
        }
        Ok(true)
    }
}

/// An open file.
#[derive(Debug)]
struct Opened {
    file: File,
    size: u64,
    path: String,
}

impl Blob for Opened {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&mut self, offset: u64, length: usize) -> Result<Bytes, Error> {
        let mut bytes = Vec::new();
        let left = self.size.saturating_sub(offset).min(length as u64);
        let read = self
            .file
            .seek(SeekFrom::Start(offset))
            .and_then(|_| Read::by_ref(&mut self.file).take(left).read_to_end(&mut bytes));
        read.map_err(|error| io_error("read", &self.path, error))?;
        Ok(bytes.into())
    }
}
