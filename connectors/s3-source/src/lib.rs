//! The bundled connector s3-source: objects of a bucket as records, once, or as they are added.
//!
//! Exactly once: where it stands, within an object, too, is committed with the records. An object is known by its key and etag; nothing is
//! written to the bucket, unless objects are to be deleted when their records are durable.
//!
//! Way of a record: [`listing`] finds objects, [`object`] reads ranges of one, the crate `decode` makes records of them, [`state`] is what survives; `diagnosis` is what
//! `millrace doctor` is told.
//! A poll works on copies of the buckets that it changes: one that fails leaves everything as it was, and the object is opened again where it stood.
//!
//! What it does not do: order by time of modification (which the capability doesn't tell), move or tag objects.

mod diagnosis;
pub mod listing;
pub mod object;
pub mod settings;
pub mod state;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use millrace_connector_decode::reader::{How, Place, Reader, Stop};
use millrace_connector_decode::{Trouble, reject_rest};
use millrace_sdk::object_store::{Meta, Refusal, Store};
use millrace_sdk::{
    Checkpoint, Description, Error, Finding, Flow, Poll, PollLimits, Problem, Source, Task, host,
};

use crate::listing::Listing;
use crate::object::{CHANGED, MISSING, Object};
use crate::settings::{Order, Settings, WhenDone};
use crate::state::{BUCKETS, Bucket, Open, bucket_of, partition, print_of, too_many};

/// How long a poll goes on with one object after the other, each of which may be small.
const TURN_TIME: Duration = Duration::from_secs(5);
/// How long one call goes on deleting objects.
const DELETE_TIME: Duration = Duration::from_secs(5);
/// Most pages of a listing that one poll asks for.
const PAGES_MAX: u32 = 20;
/// Keys that may lie behind the greatest one of each bucket before that is moved on without an object of its own.
const LAG_KEYS_MAX: usize = 1_000;

/// One task of the source.
#[derive(Debug)]
pub struct S3Source {
    settings: Settings,
    store: Store,
    task: u32,
    tasks: u32,
    typed: bool,
    /// Of this task.
    buckets: BTreeMap<u32, Bucket>,
    /// Objects that were begun before the start.
    begun: Vec<Open>,
    listing: Listing,
    current: Option<Current>,
    /// Objects whose records are durable, to be deleted.
    doomed: Vec<Meta>,
    /// Objects that will be, once their bucket is durable.
    done: Vec<Meta>,
}

/// The object that is being read.
#[derive(Debug)]
struct Current {
    meta: Meta,
    reader: Reader,
}

impl Source for S3Source {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new(
            "s3-source",
            env!("CARGO_PKG_VERSION"),
            "Reads JSON lines, CSV, lines, Avro or Parquet from a bucket of S3 or its like",
        )
        .settings(include_str!("settings.schema.json"))
        .key_formats(&["utf8", "json"])
        .value_formats(&["json", "utf8", "bytes", "connect-json"])
        .extra("delivery", "exactly-once")
    }

    fn validate(settings: &Settings) -> Result<Vec<Problem>, Error> {
        Ok(settings.problems())
    }

    fn diagnose(settings: &Settings, _topics: &[String]) -> Result<Vec<Finding>, Error> {
        Ok(diagnosis::diagnose(settings))
    }

    /// Objects are divided among tasks by the hash of their keys.
    fn plan(settings: &Settings, config: &str, max_tasks: u32) -> Result<Vec<String>, Error> {
        refuse(settings)?;
        Ok(vec![config.to_owned(); max_tasks.clamp(1, BUCKETS) as usize])
    }

    fn open(task: &Task, settings: Settings, resume: Vec<Checkpoint>) -> Result<Self, Error> {
        refuse(&settings)?;
        let tasks = task.count.max(1);
        let mut buckets = BTreeMap::new();
        for number in (0..BUCKETS).filter(|number| number % tasks == task.number) {
            buckets.insert(number, Bucket::resume(&partition(&settings.prefix, number), &resume)?);
        }
        let mut begun: Vec<Open> =
            buckets.values().filter_map(|bucket: &Bucket| bucket.open.clone()).collect();
        begun.sort_by(|a, b| b.key.cmp(&a.key));
        let mut source = Self {
            store: Store::new(settings.connection.clone()),
            settings,
            task: task.number,
            tasks,
            typed: task.value_format == "connect-json",
            buckets,
            begun,
            listing: Listing::default(),
            current: None,
            doomed: Vec::new(),
            done: Vec::new(),
        };
        source.begin_listing();
        Ok(source)
    }

    fn poll(&mut self, limits: PollLimits, out: &mut Poll) -> Result<Flow, Error> {
        self.delete()?;
        let mut turn = Turn::default();
        match self.read(limits, out, &mut turn) {
            Ok(flow) => {
                for (number, bucket) in turn.changed {
                    out.checkpoint(partition(&self.settings.prefix, number), bucket.position());
                    self.buckets.insert(number, bucket);
                }
                if turn.finished > 0 {
                    host::count("objects", turn.finished, &[]);
                }
                self.done.append(&mut turn.done);
                Ok(flow)
            }
            Err(error) => {
                self.start_over();
                Err(error)
            }
        }
    }

    fn commit(&mut self, durable: &[Checkpoint]) -> Result<(), Error> {
        if self.done.is_empty() {
            return Ok(());
        }
        let buckets: BTreeMap<&str, Bucket> = durable
            .iter()
            .filter_map(|checkpoint| {
                Some((checkpoint.partition.as_str(), Bucket::parse(&checkpoint.position)?))
            })
            .collect();
        let prefix = &self.settings.prefix;
        let (doomed, done) = std::mem::take(&mut self.done).into_iter().partition(|object: &Meta| {
            let bucket = buckets.get(partition(prefix, bucket_of(&object.key)).as_str());
            bucket.is_some_and(|bucket| bucket.has(object))
        });
        self.done = done;
        self.doomed.extend::<Vec<Meta>>(doomed);
        Ok(())
    }

    fn close(&mut self) -> Result<(), Error> {
        self.delete()
    }
}

/// What a poll does, until it is known to have succeeded.
#[derive(Default)]
struct Turn {
    changed: BTreeMap<u32, Bucket>,
    done: Vec<Meta>,
    finished: u64,
}

fn refuse(settings: &Settings) -> Result<(), Error> {
    match settings.problems().into_iter().find(|problem| !problem.warning) {
        Some(problem) => Err(Error::fatal("settings", format!("{}: {}", problem.path, problem.message))),
        None => Ok(()),
    }
}

impl S3Source {
    /// Reads object after object. Gives what comes after this poll.
    fn read(&mut self, limits: PollLimits, out: &mut Poll, turn: &mut Turn) -> Result<Flow, Error> {
        let (mut pages, begun) = (0, Instant::now());
        loop {
            let Some(current) = &mut self.current else {
                if begun.elapsed() > TURN_TIME {
                    return Ok(Flow::More);
                }
                if let Some(open) = self.begun.pop() {
                    self.open_object(open, out, turn)?;
                } else if let Some(object) = self.listing.take() {
                    self.look_at(object, out, turn)?;
                } else if pages >= PAGES_MAX {
                    return Ok(Flow::More);
                } else {
                    pages += 1;
                    let (task, tasks) = (self.task, self.tasks);
                    let is_mine = |key: &str| bucket_of(key) % tasks == task;
                    if !self.listing.next_page(&self.store, &self.settings, is_mine)? {
                        return self.end_listing(turn);
                    }
                }
                continue;
            };
            match current.reader.read(limits, out) {
                Ok(Stop::Full) => {
                    let open = Open { place: current.reader.place(), ..Open::new(current.meta.clone()) };
                    let bucket = self.bucket(bucket_of(&open.key), turn);
                    bucket.open = Some(open);
                    return Ok(Flow::More);
                }
                Ok(Stop::End) => {
                    let meta = current.meta.clone();
                    self.finish(meta, false, turn);
                }
                Err(trouble) => {
                    let (meta, place) = (current.meta.clone(), current.reader.place());
                    self.give_up(meta, place, trouble, out, turn)?;
                }
            }
            if out.batch.len() >= limits.records || out.batch.data_len() >= limits.bytes as usize {
                return Ok(Flow::More);
            }
        }
    }

    /// A copy of a bucket, to be changed.
    fn bucket<'t>(&self, number: u32, turn: &'t mut Turn) -> &'t mut Bucket {
        turn.changed.entry(number).or_insert_with(|| self.buckets.get(&number).cloned().unwrap_or_default())
    }

    /// An object that was listed: read already, or to be read.
    fn look_at(&mut self, object: Meta, out: &mut Poll, turn: &mut Turn) -> Result<(), Error> {
        let number = bucket_of(&object.key);
        let bucket = turn.changed.get(&number).or_else(|| self.buckets.get(&number));
        if bucket.is_some_and(|bucket| bucket.has(&object)) {
            // A kill may have come between its last record and its end.
            let is_durable = self
                .buckets
                .get(&number)
                .is_some_and(|bucket| bucket.has(&object) && !bucket.damaged.contains(&print_of(&object)));
            let is_known = self.done.iter().chain(&turn.done).any(|known| known.key == object.key);
            if self.settings.when_done == WhenDone::Delete && is_durable && !is_known {
                self.doomed.push(object);
            }
            return Ok(());
        }
        if bucket.is_some_and(Bucket::is_full) {
            // The end of the listing says whether there is room.
            self.listing.left = true;
            return Ok(());
        }
        self.open_object(Open::new(object), out, turn)
    }

    fn open_object(&mut self, open: Open, out: &mut Poll, turn: &mut Turn) -> Result<(), Error> {
        let (meta, place) = (open.meta(), open.place);
        let how = How {
            name: &open.key,
            format: self.settings.format_of(&open.key),
            compression: self.settings.options.compression_of(&open.key),
            options: &self.settings.options,
            typed: self.typed,
        };
        if self.typed && !how.format.is_typed() {
            let message = format!(
                "{}: text has no types for value_format to make a schema of; give it a `schema`, or `use_latest_version: true`",
                open.key
            );
            return Err(Error::fatal("s3.types", message));
        }
        let blob = Object::new(self.store.clone(), meta.clone(), self.settings.read_size.bytes());
        match Reader::open(Box::new(blob), how, place) {
            Ok(reader) => {
                self.current = Some(Current { meta, reader });
                Ok(())
            }
            Err(trouble) => self.give_up(meta, place, trouble, out, turn),
        }
    }

    fn finish(&mut self, meta: Meta, damaged: bool, turn: &mut Turn) {
        self.current = None;
        let ascending = self.settings.order == Order::Ascending;
        self.bucket(bucket_of(&meta.key), turn).finish(&meta, ascending, damaged);
        turn.finished += 1;
        millrace_sdk::debug!("an object was read"; "key" => &meta.key);
        // What could not be read is nowhere else.
        if self.settings.when_done == WhenDone::Delete && !damaged {
            turn.done.push(meta);
        }
    }

    /// An object can't be read on.
    fn give_up(
        &mut self,
        meta: Meta,
        place: Place,
        trouble: Trouble,
        out: &mut Poll,
        turn: &mut Turn,
    ) -> Result<(), Error> {
        self.current = None;
        match trouble {
            Trouble::Rotten(_) | Trouble::Unsupported(_) => {
                reject_rest(&meta.key, &trouble, out);
                self.finish(meta, true, turn);
                Ok(())
            }
            Trouble::Outside(error) if error.code == MISSING => {
                if place == Place::default() {
                    millrace_sdk::debug!("an object went before it was read"; "key" => &meta.key);
                } else {
                    millrace_sdk::warn!("an object was removed while it was read: its first records are in the topic";
                        "key" => &meta.key, "records" => place.record);
                }
                self.bucket(bucket_of(&meta.key), turn).open = None;
                Ok(())
            }
            Trouble::Outside(error) if error.code == CHANGED => {
                if place != Place::default() {
                    millrace_sdk::warn!("an object was replaced while it was read: the new one is read from its start";
                        "key" => &meta.key, "records" => place.record);
                }
                self.bucket(bucket_of(&meta.key), turn).open = None;
                match self.store.head(&meta.key) {
                    Ok(now) => self.listing.put_first(now),
                    Err(Refusal::Missing(_)) => {}
                    Err(refusal) => return Err(refusal.into()),
                }
                Ok(())
            }
            Trouble::Outside(error) => Err(error),
        }
    }

    fn begin_listing(&mut self) {
        // Behind the key that all buckets are behind of.
        let after = match self.settings.order {
            Order::Any => None,
            Order::Ascending => self.buckets.values().map(|bucket| bucket.after.clone()).min().flatten(),
        };
        self.listing = Listing::from(after);
    }

    /// All objects were looked at.
    fn end_listing(&mut self, turn: &mut Turn) -> Result<Flow, Error> {
        match self.settings.order {
            // What is not there any more need not be remembered.
            Order::Any => {
                let mut forgot = false;
                for (number, bucket) in &self.buckets {
                    if turn.changed.get(number).unwrap_or(bucket).has_gone(&self.listing.seen) {
                        forgot = true;
                        let bucket = turn.changed.entry(*number).or_insert_with(|| bucket.clone());
                        bucket.forget(&self.listing.seen);
                    }
                }
                if self.listing.left {
                    if !forgot {
                        return Err(too_many());
                    }
                    self.begin_listing();
                    return Ok(Flow::More);
                }
            }
            Order::Ascending if self.listing.keys > LAG_KEYS_MAX => {
                let Some(after) = self.listing.after().map(str::to_owned) else { return Ok(self.rest()) };
                for number in self.buckets.keys().copied().collect::<Vec<_>>() {
                    self.bucket(number, turn).move_to(&after);
                }
            }
            Order::Ascending => {}
        }
        let flow = self.rest();
        if self.settings.follow {
            // From what this poll makes of the buckets, which is not theirs yet: the next listing may begin a little too early.
            self.begin_listing();
        }
        Ok(flow)
    }

    fn rest(&self) -> Flow {
        if self.settings.follow { Flow::Idle(self.settings.poll_every.ms()) } else { Flow::End }
    }

    /// After a poll that failed: from what was kept before it.
    fn start_over(&mut self) {
        self.current = None;
        self.begun = self.buckets.values().filter_map(|bucket| bucket.open.clone()).collect();
        self.begun.sort_by(|a, b| b.key.cmp(&a.key));
        self.begin_listing();
    }

    /// Deletes what is durable, if it is still what was read.
    fn delete(&mut self) -> Result<(), Error> {
        let (mut gone, begun) = (BTreeSet::new(), Instant::now());
        while begun.elapsed() < DELETE_TIME
            && let Some(object) = self.doomed.last().cloned()
        {
            match self.store.head(&object.key) {
                Ok(now) if print_of(&now) == print_of(&object) && gone.insert(object.key.clone()) => {
                    self.store.delete(&object.key)?;
                }
                Ok(_) | Err(Refusal::Missing(_)) => {}
                Err(refusal) => return Err(refusal.into()),
            }
            self.doomed.pop();
        }
        Ok(())
    }
}

millrace_sdk::export_source!(S3Source);
