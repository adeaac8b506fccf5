//! One file through time: its name, the files that carry it on, and the position.
//!
//! A track is what a checkpoint's partition names. Read in order are: what is left of files that rotation moved away, then the
//! file that has the name now. Invariant: `position` is the place behind the last record that was given out, in `queue[0]`.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use millrace_connector_decode::text::take::{Took, skip, take};
use millrace_connector_decode::text::{Parser, Place, Step};
use millrace_sdk::{Error, Poll, PollLimits};

use crate::files::io_error;
use crate::position::Position;
use crate::reader::Reader;
use crate::rotate;
use crate::settings::Settings;

/// How long a rotated file must be quiet before the next one is begun: a writer may hold it open a little longer.
pub const ROTATION_GRACE: Duration = Duration::from_secs(2);

/// Why reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The limits of the poll are reached.
    Full,
    /// Nothing more for now, or ever.
    AtEnd,
}

/// One file through time.
#[derive(Debug)]
pub struct Track {
    /// The path as listed.
    pub path: String,
    position: Position,
    queue: VecDeque<String>,
    open: Option<Open>,
    /// When the file being read was last seen to grow, once its name was taken by another.
    quiet_since: Option<Instant>,
    grace: Duration,
    /// Whether there is something to write into a checkpoint.
    moved: bool,
    /// The end of the file before, as long as nothing of the one being read is consumed. At offset 0 a position doesn't know
    /// its file; from this one, a restart finds it whatever it is called by then.
    behind: Option<Position>,
    /// What the poll that is under way began with.
    before: Option<Before>,
}

#[derive(Debug)]
struct Before {
    position: Position,
    queue: VecDeque<String>,
    behind: Option<Position>,
}

#[derive(Debug)]
struct Open {
    reader: Reader,
    parser: Parser,
}

impl Track {
    /// Goes on from a position, or begins. `whole`: with the rotations that lie there already.
    pub fn new(path: &str, resume: Option<Position>, follow: bool, whole: bool) -> Result<Self, Error> {
        let mut track = Self {
            path: path.to_owned(),
            position: Position::start(path),
            queue: VecDeque::from([path.to_owned()]),
            open: None,
            quiet_since: None,
            grace: ROTATION_GRACE,
            moved: false,
            behind: None,
            before: None,
        };
        match resume {
            Some(position) => track.position = position,
            None if whole && follow => {
                for earlier in rotate::rotations(path)?.into_iter().rev() {
                    track.position = Position::start(&earlier);
                    track.queue.push_front(earlier);
                }
                track.quiet_since = Some(Instant::now());
            }
            None => {}
        }
        Ok(track)
    }

    /// For tests, which don't wait.
    #[cfg(test)]
    pub(crate) fn set_grace(&mut self, grace: Duration) {
        self.grace = grace;
    }

    /// Looks for the file of `position` among its neighbours, and queues it with what came after. False: it is gone.
    fn follow_rotation(&mut self, position: &Position) -> Result<bool, Error> {
        let found = rotate::successors(&self.path, position)?;
        let Some(first) = found.first() else { return Ok(false) };
        millrace_sdk::info!("the file was rotated"; "file" => &self.path, "now" => first);
        self.position = position.in_file(first);
        self.queue = found.into_iter().chain([self.path.clone()]).collect();
        self.open = None;
        self.quiet_since = Some(Instant::now());
        self.moved = true;
        Ok(true)
    }

    /// Adds records until the limits are reached or the files are at their end.
    pub fn read(&mut self, settings: &Settings, limits: PollLimits, out: &mut Poll) -> Result<Stop, Error> {
        self.before.get_or_insert_with(|| Before {
            position: self.position.clone(),
            queue: self.queue.clone(),
            behind: self.behind.clone(),
        });
        loop {
            if !self.open_next(settings)? {
                return Ok(Stop::AtEnd);
            }
            // A file that its name left behind ends where it ends; so does one that is not followed.
            let last = !settings.follow || (self.queue.len() > 1 && self.is_quiet());
            match self.read_open(settings, limits, last, out)? {
                Some(Stop::Full) => return Ok(Stop::Full),
                Some(Stop::AtEnd) => {}
                None => {
                    // What was read of it may be elsewhere by now, and it has to be found out what this is.
                    self.open = None;
                    continue;
                }
            }
            if last && self.queue.len() > 1 {
                if !self.name_came_back()? {
                    self.next_file();
                }
                continue;
            }
            if !settings.follow || !self.look_around()? {
                return Ok(Stop::AtEnd);
            }
        }
    }

    /// Ends a poll that succeeded. Gives the position to keep, if it has changed.
    pub fn settle(&mut self) -> Option<Vec<u8>> {
        self.before = None;
        std::mem::take(&mut self.moved).then(|| self.behind.as_ref().unwrap_or(&self.position).to_bytes())
    }

    /// Undoes a poll that failed: what it read was not given out, and is read again.
    pub fn rewind(&mut self) {
        if let Some(Before { position, queue, behind }) = self.before.take() {
            (self.position, self.queue, self.behind) = (position, queue, behind);
            self.open = None;
        }
    }

    /// Gives the file back; it is opened again when there is something to read.
    pub fn close_file(&mut self) {
        self.open = None;
    }

    fn next_file(&mut self) {
        self.queue.pop_front();
        self.quiet_since = (self.queue.len() > 1).then(Instant::now);
        if self.position.offset > 0 {
            self.behind = Some(self.position.clone());
        }
        self.begin();
    }

    /// Goes to the start of the file at the front.
    fn begin(&mut self) {
        self.open = None;
        self.position = Position::start(&self.queue[0]);
        self.moved = true;
    }

    /// Whether a file that seemed moved out of reach has its name (again). Then it is followed on, not read anew.
    fn name_came_back(&mut self) -> Result<bool, Error> {
        let Some(open) = self.open.as_ref().filter(|_| self.queue[0] == self.queue[1]) else {
            return Ok(false);
        };
        if self.is_renamed(&open.reader).map_err(|error| io_error("read", &self.path, error))? {
            return Ok(false);
        }
        self.queue.pop_front();
        self.quiet_since = None;
        Ok(true)
    }

    /// Whether the file at the front gets no more lines: a later one exists, or its writer has been silent.
    fn is_quiet(&self) -> bool {
        self.queue.len() > 2 || self.quiet_since.is_some_and(|since| since.elapsed() >= self.grace)
    }

    /// Opens the front of the queue. False: a followed file that is not there (yet).
    fn open_next(&mut self, settings: &Settings) -> Result<bool, Error> {
        if self.open.is_some() {
            return Ok(true);
        }
        if self.position.offset > 0 && !self.find_again(settings.follow)? {
            return Ok(false);
        }
        let path = &self.queue[0];
        let reader = match Reader::open(path, self.position.offset) {
            Ok(reader) => reader,
            Err(error) if settings.follow && error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(io_error("open", path, error)),
        };
        let mut parser = Parser::new(&settings.options, settings.options.format_of(&self.path))?;
        if self.position.offset > 0 && parser.needs_header() {
            read_header(&mut parser, path)?;
        }
        self.open = Some(Open { reader, parser });
        Ok(true)
    }

    /// Makes sure that the file at the front is the one the position speaks of. False: it is to come.
    fn find_again(&mut self, follow: bool) -> Result<bool, Error> {
        let path = self.queue[0].clone();
        if self.position.matches(&path).map_err(|error| io_error("read", &path, error))? {
            self.position.file = path;
            return Ok(true);
        }
        if follow && self.follow_rotation(&self.position.clone())? {
            return Ok(true);
        }
        if std::fs::metadata(&path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            // Followed: between a rotation and the first line of the next file. Otherwise opening it says what is wrong.
            return Ok(!follow);
        }
        millrace_sdk::warn!("the file has other content than before, it is read from its start";
            "file" => &path, "offset" => self.position.offset);
        self.behind = None;
        self.begin();
        Ok(true)
    }

    /// None: the file has other content than it had, under the same name.
    fn read_open(
        &mut self,
        settings: &Settings,
        limits: PollLimits,
        last: bool,
        out: &mut Poll,
    ) -> Result<Option<Stop>, Error> {
        let Some(open) = &mut self.open else { return Ok(Some(Stop::AtEnd)) };
        let file = self.queue[0].as_str();
        let (mut line, mut skipping) = (self.position.line, self.position.skipping);
        let from = open.reader.offset();
        let mut at_end = false;
        let stop = loop {
            if out.batch.len() >= limits.records || out.batch.data_len() >= limits.bytes as usize {
                break Some(Stop::Full);
            }
            let data = open.reader.unread();
            let place = Place { file, line: line + 1 };
            let step = if skipping {
                skip(data, at_end && last)
            } else {
                take(&mut open.parser, data, at_end && last, settings.options.max_line.bytes(), place, out)?
            };
            match step {
                Took::Line { bytes, lines } => {
                    open.reader.consume(bytes);
                    line += lines;
                    skipping = false;
                }
                Took::Part { bytes } => {
                    open.reader.consume(bytes);
                    skipping = true;
                }
                Took::Nothing if at_end => break Some(Stop::AtEnd),
                Took::Nothing => match open.reader.fill().map_err(|error| io_error("read", file, error))? {
                    Some(bytes) => at_end = bytes == 0,
                    None => break None,
                },
            }
        };
        if open.reader.offset() != from {
            self.position = Position::of(file, &open.reader, line, skipping);
            self.behind = None;
            self.moved = true;
            if self.quiet_since.is_some() {
                self.quiet_since = Some(Instant::now());
            }
        }
        Ok(stop)
    }

    /// At the end of a followed file: whether its name means another file by now. True: there is something to read.
    fn look_around(&mut self) -> Result<bool, Error> {
        let Some(open) = &self.open else { return Ok(false) };
        let io = |error| io_error("read", &self.path, error);
        if self.queue.len() > 1 {
            // Waiting for a rotated file to be quiet.
            return Ok(false);
        }
        // Of a file that nothing is consumed of, the line that has no end yet may be given up as well.
        let held =
            if self.position.offset == 0 { open.reader.unread().len() as u64 } else { self.position.offset };
        let truncated = open.reader.file_len().map_err(io)? < held;
        let renamed = !truncated && self.is_renamed(&open.reader).map_err(io)?;
        if !truncated && !renamed {
            return Ok(false);
        }
        if self.follow_rotation(&self.position.clone())? {
            return Ok(true);
        }
        if truncated {
            millrace_sdk::warn!("the file was truncated, it is read from its start"; "file" => &self.path);
            self.behind = None;
            self.begin();
            return Ok(true);
        }
        // Moved away, out of reach by name, but still open: read on until it is quiet.
        self.queue.push_back(self.path.clone());
        self.quiet_since = Some(Instant::now());
        Ok(false)
    }

    /// Whether the name means another file than the open one.
    fn is_renamed(&self, reader: &Reader) -> io::Result<bool> {
        match std::fs::metadata(&self.path) {
            Ok(_) if self.position.offset > 0 => Ok(!self.position.matches(&self.path)?),
            Ok(_) if !reader.unread().is_empty() => {
                Ok(!Position::seen(&self.path, reader).matches(&self.path)?)
            }
            // No bytes to know it by. The open file is asked after the name: if they are one, both have grown by now.
            Ok(named) => Ok(named.len() > 0 && reader.file_len()? == 0),
            // Renamed, and nothing new yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Lets a parser that starts in the middle of a file see the names of the columns.
fn read_header(parser: &mut Parser, path: &str) -> Result<(), Error> {
    let mut reader = Reader::open(path, 0).map_err(|error| io_error("open", path, error))?;
    let mut nothing = Poll::default();
    let (mut last, mut line) = (false, 1);
    while parser.needs_header() {
        match parser.step(reader.unread(), last, Place { file: path, line }, &mut nothing)? {
            Step::Taken { bytes, lines } => {
                reader.consume(bytes);
                line += lines;
            }
            Step::More if last => return Ok(()),
            Step::More => {
                let filled = reader.fill().map_err(|error| io_error("read", path, error))?;
                last = filled.unwrap_or(0) == 0;
            }
        }
    }
    Ok(())
}
