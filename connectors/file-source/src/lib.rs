//! The bundled connector file-source: csv, JSON lines or plain lines, once or as they grow; gzip, Zstandard, Avro and Parquet.
//!
//! Exactly once: a position names a file by its content and the offset behind the last record given out, and the host commits
//! it with the records. A last line without its end counts in a bounded read; in a followed file it waits for the rest.
//!
//! Way of a record: [`files`] lists, a [`track`] reads one file through its rotations by a [`reader`], the crate
//! beside it makes records of the bytes, [`position`] is what survives.
//!
//! Files that are compressed or have columns are read by [`whole`] instead.
//!
//! What it does not do: subfolders of `folder`, other encodings than UTF-8 (plain lines may be anything).

pub mod files;
pub mod position;
pub mod reader;
pub mod rotate;
pub mod settings;
#[cfg(test)]
mod tests;
pub mod track;
pub mod whole;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use millrace_connector_decode::hash::fnv1a;
use millrace_connector_decode::options::split_compression;
use millrace_sdk::{Checkpoint, Description, Error, Finding, Flow, Poll, PollLimits, Problem, Source, Task};

use crate::position::Position;
use crate::settings::Settings;
use crate::track::{Stop, Track};
use crate::whole::{Whole, is_whole};

/// How often a followed folder is listed.
const LIST_EVERY: Duration = Duration::from_secs(1);
/// Most files that are held open at their end. With more, each is closed and opened again at the next poll.
const OPEN_FILES_MAX: usize = 128;

/// One task of the source.
#[derive(Debug)]
pub struct FileSource {
    settings: Settings,
    task: u32,
    tasks: u32,
    /// In the order in which they are read.
    tracks: Vec<Reads>,
    /// The track to read next.
    next: usize,
    resume: BTreeMap<String, Kept>,
    listed: Instant,
}

/// Where reading stood.
#[derive(Clone, Debug)]
enum Kept {
    Text(Position),
    Whole(whole::Position),
}

/// A file that is read.
#[derive(Debug)]
enum Reads {
    /// Line by line, through its rotations.
    Track(Box<Track>),
    /// As a whole.
    Whole(Box<Whole>),
}

impl Reads {
    fn path(&self) -> &str {
        match self {
            Self::Track(track) => &track.path,
            Self::Whole(whole) => &whole.path,
        }
    }

    fn read(&mut self, settings: &Settings, limits: PollLimits, out: &mut Poll) -> Result<Stop, Error> {
        match self {
            Self::Track(track) => track.read(settings, limits, out),
            Self::Whole(whole) => whole.read(settings, limits, out),
        }
    }

    fn settle(&mut self) -> Option<Vec<u8>> {
        match self {
            Self::Track(track) => track.settle(),
            Self::Whole(whole) => whole.settle(),
        }
    }

    fn rewind(&mut self) {
        match self {
            Self::Track(track) => track.rewind(),
            Self::Whole(whole) => whole.rewind(),
        }
    }

    fn close_file(&mut self) {
        match self {
            Self::Track(track) => track.close_file(),
            Self::Whole(whole) => whole.close_file(),
        }
    }
}

impl Source for FileSource {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new(
            "file-source",
            env!("CARGO_PKG_VERSION"),
            "Reads csv, JSON lines, plain lines, Avro or Parquet from files",
        )
        .settings(include_str!("settings.schema.json"))
        .key_formats(&["utf8", "json"])
        .value_formats(&["json", "utf8", "bytes"])
        .extra("delivery", "exactly-once")
    }

    fn validate(settings: &Settings) -> Result<Vec<Problem>, Error> {
        Ok(settings.problems())
    }

    fn diagnose(settings: &Settings, _topics: &[String]) -> Result<Vec<Finding>, Error> {
        Ok(files::looked_at(settings))
    }

    /// One file is one task. Several are dealt out: by size if that is all there will be, by name if more may come.
    fn plan(settings: &Settings, config: &str, max_tasks: u32) -> Result<Vec<String>, Error> {
        if let Some(problem) = settings.problems().into_iter().find(|problem| !problem.warning) {
            return Err(Error::fatal("settings", format!("{}: {}", problem.path, problem.message)));
        }
        if settings.path.is_some() {
            return Ok(vec![config.to_owned()]);
        }
        if settings.follow {
            return Ok(vec![config.to_owned(); max_tasks.max(1) as usize]);
        }
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(config).map_err(|error| Error::fatal("settings", error.to_string()))?;
        let shares = deal(files::list(settings)?, max_tasks.max(1) as usize);
        let with = |files: Vec<String>| {
            let mut object = object.clone();
            object.insert("assigned".to_owned(), files.into());
            serde_json::Value::Object(object).to_string()
        };
        Ok(shares.into_iter().map(with).collect())
    }

    fn open(task: &Task, settings: Settings, resume: Vec<Checkpoint>) -> Result<Self, Error> {
        let mut positions = BTreeMap::new();
        for known in resume {
            let text = || Position::parse(&known.position).map(Kept::Text);
            let position = text().or_else(|| whole::Position::parse(&known.position).map(Kept::Whole));
            let position = position.ok_or_else(|| other_position(&known.partition))?;
            positions.insert(known.partition, position);
        }
        let mut source = Self {
            settings,
            task: task.number,
            tasks: task.count.max(1),
            tracks: Vec::new(),
            next: 0,
            resume: positions,
            listed: Instant::now(),
        };
        source.list()?;
        Ok(source)
    }

    fn poll(&mut self, limits: PollLimits, out: &mut Poll) -> Result<Flow, Error> {
        if self.settings.follow && self.settings.path.is_none() && self.listed.elapsed() >= LIST_EVERY {
            self.list()?;
        }
        let next = self.next;
        let full = match self.read(limits, out) {
            Ok(full) => full,
            Err(error) => {
                self.next = next;
                self.tracks.iter_mut().for_each(Reads::rewind);
                return Err(error);
            }
        };
        for track in &mut self.tracks {
            if let Some(position) = track.settle() {
                out.checkpoint(track.path(), position);
            }
        }
        Ok(match (full, self.settings.follow) {
            (true, _) => Flow::More,
            (false, true) => Flow::Idle(self.settings.poll_every.ms()),
            (false, false) => Flow::End,
        })
    }
}

impl FileSource {
    /// Reads track after track, going on where the last poll stopped. True: the limits are reached.
    fn read(&mut self, limits: PollLimits, out: &mut Poll) -> Result<bool, Error> {
        let hold = self.settings.follow && self.tracks.len() <= OPEN_FILES_MAX;
        for _ in 0..self.tracks.len() {
            let at = self.next % self.tracks.len();
            let track = &mut self.tracks[at];
            if track.read(&self.settings, limits, out)? == Stop::Full {
                return Ok(true);
            }
            if !hold {
                track.close_file();
            }
            self.next = at + 1;
        }
        Ok(false)
    }

    /// Starts a track for each file of this task that has none.
    fn list(&mut self) -> Result<(), Error> {
        let settings = &self.settings;
        let mut paths = match &settings.assigned {
            Some(assigned) => assigned.clone(),
            None => files::list(settings)?,
        };
        if settings.follow && settings.path.is_none() {
            paths = without_rotations(paths, self.resume.keys());
            let tasks = u64::from(self.tasks);
            paths.retain(|path| fnv1a(path.as_bytes()) % tasks == u64::from(self.task));
        }
        for path in paths {
            if self.tracks.iter().any(|track| track.path() == path) {
                continue;
            }
            let resume = self.resume.get(&path).cloned();
            self.tracks.push(match (is_whole(&settings.options, &path), resume) {
                (true, None) => Reads::Whole(Box::new(Whole::new(&path, None))),
                (true, Some(Kept::Whole(position))) => {
                    Reads::Whole(Box::new(Whole::new(&path, Some(position))))
                }
                (false, Some(Kept::Whole(_))) | (true, Some(Kept::Text(_))) => {
                    return Err(other_position(&path));
                }
                (false, resume) => {
                    let position = resume.and_then(|kept| match kept {
                        Kept::Text(position) => Some(position),
                        Kept::Whole(_) => None,
                    });
                    let with_rotations = settings.path.is_none();
                    Reads::Track(Box::new(Track::new(&path, position, settings.follow, with_rotations)?))
                }
            });
        }
        self.listed = Instant::now();
        Ok(())
    }
}

fn other_position(partition: &str) -> Error {
    let message = format!("the position of {partition} is of another version or format; reset it");
    Error::fatal("position", message)
}

/// Takes out files that are rotations of another one: its track reads them, and has read those that are compressed by now.
fn without_rotations<'a>(paths: Vec<String>, known: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut bases = paths.clone();
    bases.extend(known.cloned());
    let is_rotated = |path: &String| {
        let (folder, name) = rotate::split(split_compression(path).0);
        bases
            .iter()
            .map(|base| rotate::split(base))
            .any(|base| base.0 == folder && rotate::is_rotation(base.1, name))
    };
    paths.into_iter().filter(|path| !is_rotated(path)).collect()
}

/// Deals files out to at most `tasks` tasks, the largest first, each to the task that has the least.
fn deal(files: Vec<String>, tasks: usize) -> Vec<Vec<String>> {
    let size = |file: &String| std::fs::metadata(file).map_or(0, |meta| meta.len());
    let mut sized: Vec<(u64, String)> = files.into_iter().map(|file| (size(&file), file)).collect();
    sized.sort_by(|(a, a_name), (b, b_name)| b.cmp(a).then_with(|| a_name.cmp(b_name)));
    let mut shares: Vec<(u64, Vec<String>)> = vec![(0, Vec::new()); tasks.min(sized.len())];
    for (size, file) in sized {
        if let Some(share) = shares.iter_mut().min_by_key(|(total, files)| (*total, files.len())) {
            share.0 += size;
            share.1.push(file);
        }
    }
    let sort = |(_, mut files): (u64, Vec<String>)| {
        files.sort();
        files
    };
    shares.into_iter().map(sort).collect()
}

millrace_sdk::export_source!(FileSource);
