//! The bundled connector s3-sink: JSON lines, CSV, Avro and Parquet in a bucket, exactly once.
//!
//! Records become objects `topics_dir/TOPIC/FOLDERS/TOPIC+PARTITION+OFFSET.EXTENSION`, named and rotated as Confluent's S3 sink does it.
//! An object is seen when it is whole. What a kill leaves behind is completed or swept away by the next start, whatever the partitioner
//! and the rotation, the wall clock's included: see [`lane`] for the protocol.
//!
//! Memory: all files of a task share one budget (`buffer`). Past it the largest file gives: a part is uploaded, or, if it is too small
//! for one, it is finished early.
//!
//! Rooms: [`partition`] (folders), [`mod@file`] (an object in the making), [`lane`] (a partition), [`commit`] (the steps that survive a kill),
//! [`state`] (what is committed). What goes into an object is made by the crate `encode`.

pub mod commit;
pub mod file;
pub mod lane;
pub mod partition;
pub mod settings;
pub mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use millrace_connector_encode::content::{Added, Kind, NullValues, Options, Value};
use millrace_sdk::clock::{now_ms, patiently};
use millrace_sdk::object_store::probe::{self, Needs};
use millrace_sdk::object_store::{Change, Store};
use millrace_sdk::{
    Description, Durable, Error, Finding, Problem, RecordRef, Records, Rejected, Rejection, Sink, Taken,
    Task, TopicOffset, TopicPartition,
};

use crate::file::File;
use crate::lane::{Lane, file_key};
use crate::partition::{Partitioner, Place};
use crate::settings::Settings;

/// Most folders that a partition's state says something of: past it all of its files are finished, and the position says it all.
const FOLDERS_MAX: usize = if cfg!(test) { 20 } else { 10_000 };
/// Longest key: stores take 1,024 bytes, of which the connection's prefix has some.
const KEY_BYTES_MAX: usize = 960;
/// Files that are written out at once when there is no room for more, and how long one call goes on with that.
const RELIEVED_MAX: usize = 500;
const RELIEVE_MS_MAX: i64 = 15_000;

/// One task of the sink.
#[derive(Debug)]
pub struct S3Sink {
    settings: Settings,
    task: Task,
    store: Store,
    partitioner: Partitioner,
    kind: Kind,
    /// One for each partition.
    lanes: Vec<Lane>,
}

impl Sink for S3Sink {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new(
            "s3-sink",
            env!("CARGO_PKG_VERSION"),
            "Writes JSON lines, CSV, Avro or Parquet to a bucket of S3 or its like",
        )
        .settings(include_str!("settings.schema.json"))
        .key_formats(&["bytes"])
        .value_formats(&["json"])
        .extra("delivery", "exactly-once")
    }

    fn validate(settings: &Settings) -> Result<Vec<Problem>, Error> {
        Ok(settings.problems())
    }

    fn diagnose(settings: &Settings, topics: &[String]) -> Result<Vec<Finding>, Error> {
        let needs = Needs { writes: true, uploads: true, ..Needs::default() };
        let store = Store::new(settings.connection.as_str());
        let prefixes = topics.iter().map(|topic| format!("{}/{topic}/", settings.topics_dir));
        Ok(prefixes.flat_map(|prefix| probe::tried(&store, &prefix, needs)).collect())
    }

    fn open(task: &Task, settings: Settings) -> Result<Self, Error> {
        let wrong = |pointer: &str, why: &str| Error::fatal("settings", format!("{pointer}: {why}"));
        if let Some(problem) = settings.problems().into_iter().find(|problem| !problem.warning) {
            return Err(wrong(&problem.path, &problem.message));
        }
        let partitioner = Partitioner::new(&settings).map_err(|(pointer, why)| wrong(&pointer, &why))?;
        let columns = settings.columns_of_schema().transpose();
        let options = columns.map(|schema| Options {
            format: settings.format,
            codec: settings.codec(),
            schema,
            columns: settings.columns.clone(),
            delimiter: u8::try_from(settings.delimiter).unwrap_or(b','),
            header: settings.header,
        });
        let kind = options.and_then(Kind::new).map_err(|why| wrong("/schema", &why))?;
        let store = Store::new(settings.connection.clone());
        Ok(Self { settings, task: task.clone(), store, partitioner, kind, lanes: Vec::new() })
    }

    fn assigned(&mut self, partitions: &[TopicPartition]) -> Result<Vec<TopicOffset>, Error> {
        let mut held = Vec::new();
        let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for of in partitions {
            let fingerprint = self.partitioner.fingerprint();
            let lane = commit::claim(&self.store, &self.settings, &self.task, fingerprint, of)?;
            if let Some(offset) = lane.next {
                held.push(TopicOffset { topic: of.topic.clone(), partition: of.partition, offset });
            }
            self.lanes.retain(|known| (&known.topic, known.partition) != (&of.topic, of.partition));
            self.lanes.push(lane);
            topics.entry(&of.topic).or_default().push(of.partition);
        }
        for (topic, partitions) in topics {
            patiently(|| commit::sweep(&self.store, &self.settings, topic, &partitions))?;
        }
        Ok(held)
    }

    fn revoked(&mut self, partitions: &[TopicPartition]) -> Result<(), Error> {
        let goes = |lane: &Lane| {
            partitions.iter().any(|of| (&of.topic, of.partition) == (&lane.topic, lane.partition))
        };
        for lane in self.lanes.iter_mut().filter(|lane| goes(lane)) {
            lane.close(&self.kind, |_| true)?;
        }
        self.settle_all()?;
        self.lanes.retain(|lane| !goes(lane));
        Ok(())
    }

    fn put(&mut self, records: &Records<'_>, rejected: &mut Rejected) -> Result<Taken, Error> {
        // Files are committed and uploaded between batches only, where a failure can be repeated.
        self.close_full()?;
        self.settle(false)?;
        self.relieve()?;
        let now = now_ms();
        let mut held: usize = self.lanes.iter().map(Lane::held_bytes).sum();
        let Self { settings, partitioner, kind, lanes, .. } = self;
        let mut batch = Batch { settings, partitioner, kind, now, before: ("", -1, -1), start: None };
        let mut at = 0;
        for record in records {
            let is_its =
                |lane: &Lane| (lane.topic.as_str(), lane.partition) == (record.topic, record.partition);
            // They come in runs of one partition.
            if lanes.get(at).is_none_or(|lane| !is_its(lane)) {
                at = lanes.iter().position(is_its).ok_or_else(|| {
                    let (topic, partition) = (record.topic, record.partition);
                    Error::fatal(
                        "s3.partition",
                        format!("a record of {topic} partition {partition}, which was not assigned"),
                    )
                })?;
            }
            let lane = &mut lanes[at];
            let is_piece = batch.before == (record.topic, record.partition, record.offset);
            if !is_piece && record.index > 0 && held >= batch.settings.buffer.bytes() {
                return Ok(Taken::First(record.index));
            }
            match batch.take(lane, &record, is_piece)? {
                Ok(grown) => held += grown,
                Err(why) => rejected.push(&record, why),
            }
        }
        Ok(Taken::All)
    }

    fn flush(&mut self) -> Result<Durable, Error> {
        self.close_full()?;
        let now = now_ms();
        let by_wallclock = self.settings.timestamp_extractor == settings::Extractor::Wallclock;
        for lane in &mut self.lanes {
            lane.close(&self.kind, |file| {
                file.is_due(now, &self.settings) || (by_wallclock && file.ends_before(now, &self.settings))
            })?;
        }
        self.settle(true)?;
        let position = |lane: &Lane| {
            let offset = lane.held.state.position?;
            Some(TopicOffset { topic: lane.topic.clone(), partition: lane.partition, offset })
        };
        Ok(Durable::UpTo(self.lanes.iter().filter_map(position).collect()))
    }

    fn close(&mut self) -> Result<(), Error> {
        for lane in &mut self.lanes {
            lane.close(&self.kind, |_| true)?;
        }
        self.settle_all()
    }
}

impl S3Sink {
    fn close_full(&mut self) -> Result<(), Error> {
        for lane in &mut self.lanes {
            let crowded = lane.done.len() >= FOLDERS_MAX;
            lane.close(&self.kind, |file| crowded || file.is_full(&self.settings))?;
        }
        Ok(())
    }

    fn settle(&mut self, even_nothing: bool) -> Result<(), Error> {
        let mut lanes: Vec<&mut Lane> = self.lanes.iter_mut().collect();
        let fingerprint = self.partitioner.fingerprint();
        let settled =
            commit::settle(&self.store, &self.settings, &self.task, fingerprint, even_nothing, &mut lanes);
        if settled.as_ref().is_err_and(|error| error.code == state::FENCED) {
            // Nobody will ever commit these; the new owner has looked for them already.
            let uploads = self.lanes.iter().flat_map(Lane::uncommitted);
            let aborts: Vec<Change> = uploads.map(Change::AbortUpload).collect();
            let _best_effort = commit::abort(&self.store, &aborts);
        }
        settled
    }

    /// Commits and completes all that is closed, and says then that it is done.
    fn settle_all(&mut self) -> Result<(), Error> {
        patiently(|| self.settle(true))?;
        patiently(|| self.settle(true))
    }

    /// Makes room, down to half of the budget: the largest files give first, many at a time. What one call has no time for the next one does.
    fn relieve(&mut self) -> Result<(), Error> {
        let held = |sink: &Self| sink.lanes.iter().map(Lane::held_bytes).sum::<usize>();
        let most = self.settings.buffer.bytes();
        if held(self) < most {
            return Ok(());
        }
        let since = now_ms();
        while held(self) > most / 2 && (0..RELIEVE_MS_MAX).contains(&(now_ms() - since)) {
            let mut wanted = held(self) - most / 2;
            let files = self.lanes.iter().enumerate().flat_map(|(at, lane)| {
                lane.open.iter().map(move |(path, file)| (file.content.held(), at, path.clone()))
            });
            let mut files: Vec<(usize, usize, String)> = files.collect();
            files.sort_unstable_by_key(|(held, ..)| std::cmp::Reverse(*held));
            if files.is_empty() {
                break;
            }
            for (held, at, path) in files.into_iter().take(RELIEVED_MAX) {
                if wanted == 0 {
                    break;
                }
                let lane = &mut self.lanes[at];
                let Some(file) = lane.open.get_mut(&path) else { continue };
                file.content.relieve(&self.kind)?;
                if file.content.out.len() < self.settings.s3_part_size.bytes() {
                    lane.close_one(&self.kind, &path)?;
                }
                wanted = wanted.saturating_sub(held);
            }
            self.settle(false)?;
        }
        Ok(())
    }
}

/// One call of `put`.
struct Batch<'s, 'r> {
    settings: &'s Settings,
    partitioner: &'s mut Partitioner,
    kind: &'s mut Kind,
    now: i64,
    /// The record before: topic, partition, offset.
    before: (&'r str, i32, i64),
    /// What its lane had taken when its run of records began.
    start: Option<i64>,
}

impl<'r> Batch<'_, 'r> {
    /// Takes a record; gives back by how much memory grew.
    fn take(
        &mut self,
        lane: &mut Lane,
        record: &RecordRef<'r>,
        is_piece: bool,
    ) -> Result<Result<usize, Rejection>, Error> {
        if (self.before.0, self.before.1) != (record.topic, record.partition) {
            self.start = lane.next;
        }
        self.before = (record.topic, record.partition, record.offset);
        // The host may begin before what is held.
        if self.start.is_some_and(|start| record.offset < start) {
            return Ok(Ok(0));
        }
        // Its place is behind it, whatever becomes of it, and only then: `first` of a file is not yet behind.
        let taken = self.add(lane, record, is_piece);
        lane.next = Some(record.offset + 1);
        taken
    }

    fn add(
        &mut self,
        lane: &mut Lane,
        record: &RecordRef<'r>,
        is_piece: bool,
    ) -> Result<Result<usize, Rejection>, Error> {
        let Some(value) = record.value else {
            return Ok(match self.settings.behavior_on_null_values {
                NullValues::Ignore => Ok(0),
                NullValues::Fail => Err(Rejection::new("s3.null", NullValues::MISSING)),
            });
        };
        let placed = Value::read(value).and_then(|value| {
            let place =
                self.partitioner.place(record.partition, value.payload, record.timestamp, self.now)?;
            Ok((value, place))
        });
        let (value, place) = match placed {
            Ok(placed) => placed,
            Err(why) => return Ok(Err(why)),
        };
        if lane.has(&place.path, record.offset) {
            return Ok(Ok(0));
        }
        let before = lane.held_of(&place.path);
        if !is_piece {
            let ends =
                |file: &File| file.is_full(self.settings) || file.ends_before(place.timestamp, self.settings);
            if lane.open.get(&place.path).is_some_and(ends) {
                lane.close_one(self.kind, &place.path)?;
            }
            // By the wall clock, a folder that was left is not come back to.
            if self.partitioner.is_of_the_moment() && !lane.open.contains_key(&place.path) {
                lane.close(self.kind, |_| true)?;
            }
        }
        let added = match lane.open.get_mut(&place.path) {
            Some(file) => file.content.add(self.kind, &value)?,
            None => Ok(Added::WantsAnother),
        };
        match added {
            Ok(Added::Yes) => {}
            Ok(Added::WantsAnother) if is_piece && lane.ends_at(&place.path, record.offset) => {
                let message = "a transform made records with different schemas of one, for one folder";
                return Ok(Err(Rejection::new("schema.pieces", message)));
            }
            Ok(Added::WantsAnother) => {
                let mut file = match self.begin(lane, record, &place, &value) {
                    Ok(file) => file,
                    Err(why) => return Ok(Err(why)),
                };
                if let Err(why) = file.content.add(self.kind, &value)? {
                    return Ok(Err(why));
                }
                lane.close_one(self.kind, &place.path)?;
                lane.open.insert(place.path.clone(), file);
            }
            Err(why) => return Ok(Err(why)),
        }
        if let Some(file) = lane.open.get_mut(&place.path) {
            file.records += 1;
            file.end = record.offset + 1;
            file.touched_ms = self.now;
        }
        Ok(Ok(lane.held_of(&place.path).saturating_sub(before)))
    }

    fn begin(
        &mut self,
        lane: &Lane,
        record: &RecordRef<'r>,
        place: &Place,
        value: &Value<'_>,
    ) -> Result<File, Rejection> {
        let key = file_key(self.settings, &lane.topic, lane.partition, &place.path, record.offset);
        // As long as it is with any offset: what fits once fits always.
        let longest = file_key(self.settings, &lane.topic, lane.partition, &place.path, i64::MAX).len();
        if longest > KEY_BYTES_MAX {
            let message = format!(
                "its object's key would have up to {longest} bytes; at most {KEY_BYTES_MAX} fit behind the connection's prefix"
            );
            return Err(Rejection::new("s3.path", message));
        }
        Ok(File {
            key,
            content: self.kind.begin(value)?,
            first: record.offset,
            end: record.offset + 1,
            records: 0,
            begun_ms: self.now,
            touched_ms: self.now,
            timestamp: place.timestamp,
            upload: None,
            parts: Vec::new(),
            uploaded_bytes: 0,
        })
    }
}

millrace_sdk::export_sink!(S3Sink);
