//! The bundled connector iceberg-sink: records into tables of Apache Iceberg, exactly once.
//!
//! Rows become Parquet files in a bucket; a commit makes a snapshot of them, which readers see as a whole, and in the same step moves the
//! positions of the topic's partitions, which are properties of the table. So a kill at any step neither loses nor doubles a record, and
//! several tasks, or several connectors, can write one table.
//!
//! Rows are added; or upserted: then each takes the place of the one with its key, in the same commit, by files of deletes.
//!
//! Rooms: [`rows`] (records into rows), [`change`] (what records say of rows that have keys), [`key`] (which columns are those), `upsert` (what rows take the
//! place of), [`schema`] (the table's columns, and how they change), [`partition`] (how rows are divided), [`mod@file`]
//! (data files in the making), [`manifest`] and [`metadata`] (what the format keeps of them), [`catalog`] (which metadata is the table's),
//! [`commit`] (the steps that survive a kill), [`small`] (files that could be one), [`expire`] (what old snapshots leave), [`fence`] (who may commit, and
//! from where), [`store`] (a bucket or a folder), `writer` and `shelf` (which rows are in which file), [`diagnosis`] (what `millrace doctor` is told).

pub mod catalog;
pub mod change;
pub mod commit;
pub mod diagnosis;
pub mod expire;
pub mod fence;
pub mod file;
pub mod key;
pub mod manifest;
pub mod metadata;
pub mod partition;
pub mod place;
pub mod rows;
pub mod schema;
pub mod settings;
mod shelf;
pub mod single;
pub mod small;
pub mod store;
#[cfg(test)]
mod tests;
mod upsert;
mod widen;
mod writer;

use millrace_connector_encode::content::NullValues;
use millrace_connector_encode::types::Schema;
use millrace_sdk::clock::{now_ms, patiently};
use millrace_sdk::{
    Description, Durable, Error, Finding, Problem, RecordRef, Records, Rejected, Rejection, Sink, Taken,
    Task, TopicOffset, TopicPartition,
};

use crate::change::{Change, Changes};
use crate::commit::{Intent, Session, Upkeep};
use crate::fence::Fence;
use crate::key::Key;
use crate::rows::{Reader, Value};
use crate::settings::Settings;
use crate::shelf::Making;
use crate::store::Store;
use crate::writer::Writer;

/// One task of the sink.
#[derive(Debug)]
pub struct IcebergSink {
    settings: Settings,
    store: Store,
    reader: Reader,
    /// Where rows have keys.
    changes: Option<Changes>,
    session: Session,
    /// None: there is no table yet, or its columns are looked at anew.
    writer: Option<Writer>,
    /// One for each partition.
    lanes: Vec<Lane>,
    /// The number of the next data file.
    next_file: u64,
    committed_ms: i64,
}

/// One partition of the topic.
#[derive(Debug)]
struct Lane {
    topic: String,
    partition: i32,
    /// Behind what was taken.
    next: Option<i64>,
    /// Behind what was taken before this batch.
    start: Option<i64>,
}

/// What a record is, before any of its batch is taken.
enum Read<'a> {
    /// A row, and what the record's key says, if that is the row's.
    Row(Value<'a>, Option<Value<'a>>),
    /// The row that this names is gone.
    Gone(Value<'a>),
    Nothing,
    Rejected(Rejection),
}

impl Sink for IcebergSink {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new(
            "iceberg-sink",
            env!("CARGO_PKG_VERSION"),
            "Writes records to tables of Apache Iceberg",
        )
        .settings(include_str!("settings.schema.json"))
        .key_formats(&["bytes", "connect-json"])
        .value_formats(&["json", "connect-json"])
        .extra("delivery", "exactly-once")
    }

    fn validate(settings: &Settings) -> Result<Vec<Problem>, Error> {
        Ok(settings.problems())
    }

    fn diagnose(settings: &Settings, _topics: &[String]) -> Result<Vec<Finding>, Error> {
        diagnosis::diagnose(settings)
    }

    fn open(task: &Task, settings: Settings) -> Result<Self, Error> {
        let wrong = |pointer: &str, why: &str| Error::fatal("settings", format!("{pointer}: {why}"));
        if let Some(problem) = settings.problems().into_iter().find(|problem| !problem.warning) {
            return Err(wrong(&problem.path, &problem.message));
        }
        let schema: Option<Schema> = settings.fields().transpose().map_err(|why| wrong("/schema", &why))?;
        let warehouse = settings.warehouse().map_err(|why| wrong("/warehouse", &why))?;
        let fence = Fence::new(task);
        let store =
            Store::of(&settings, &format!("{}/{}", settings.names().join("/"), fence.instance.scratch()));
        let catalog = catalog::of(&settings, &store, &warehouse);
        let properties = settings.properties();
        let upkeep = Upkeep {
            expire_snapshots: settings.expire_snapshots,
            merge_files: settings.merge_files,
            properties,
            told: None,
        };
        let session = Session::new(store.clone(), warehouse, catalog, fence, upkeep);
        let changes = settings.upserts().then(|| Changes::new(Reader::new(schema.clone())));
        Ok(Self {
            settings,
            store,
            reader: Reader::new(schema),
            changes,
            session,
            writer: None,
            lanes: Vec::new(),
            next_file: 0,
            committed_ms: now_ms(),
        })
    }

    fn assigned(&mut self, partitions: &[TopicPartition]) -> Result<Vec<TopicOffset>, Error> {
        // What others hold is as it was; what is read anew is not.
        patiently(|| self.commit())?;
        patiently(|| self.session.reload())?;
        if let Some(metadata) = self.session.metadata() {
            widen::check_division(&self.settings, metadata)?;
            Key::of(&self.settings, metadata)?;
            self.session.claim(partitions)?;
        } else if !self.settings.auto_create {
            let message = format!("there is no table {}; make it, or set auto_create", self.settings.table);
            return Err(Error::fatal("table.missing", message));
        } else {
            self.session.sweep_unfinished()?;
        }
        let mut held = Vec::new();
        for of in partitions {
            let next = self.session.fence.held.get(&(of.topic.clone(), of.partition)).copied().flatten();
            if let Some(offset) = next {
                held.push(TopicOffset { topic: of.topic.clone(), partition: of.partition, offset });
            }
            self.lanes.retain(|lane| (&lane.topic, lane.partition) != (&of.topic, of.partition));
            self.lanes.push(Lane { topic: of.topic.clone(), partition: of.partition, next, start: next });
        }
        Ok(held)
    }

    fn revoked(&mut self, partitions: &[TopicPartition]) -> Result<(), Error> {
        patiently(|| self.commit())?;
        for of in partitions {
            self.lanes.retain(|lane| (&lane.topic, lane.partition) != (&of.topic, of.partition));
            self.session.fence.held.remove(&(of.topic.clone(), of.partition));
        }
        Ok(())
    }

    fn put(&mut self, records: &Records<'_>, rejected: &mut Rejected) -> Result<Taken, Error> {
        // Everything that asks the store comes before the first record is taken: what fails there can be repeated.
        self.session.settle()?;
        if self.writer.as_ref().is_some_and(Writer::has_many_keys) {
            self.commit()?;
        }
        let read: Vec<Read<'_>> = records.iter().map(|record| self.read(&record)).collect();
        widen::fit(self, &read)?;
        if let Some(writer) = &mut self.writer {
            writer.relieve(&self.store, &self.settings)?;
        }
        for lane in &mut self.lanes {
            lane.start = lane.next;
        }
        let mut before = ("", -1, -1);
        for (record, read) in records.iter().zip(read) {
            let is_piece = before == (record.topic, record.partition, record.offset);
            before = (record.topic, record.partition, record.offset);
            let most = self.settings.buffer.bytes();
            let is_full =
                self.writer.as_ref().is_some_and(|writer| writer.held() >= most || writer.has_many_keys());
            if !is_piece && record.index > 0 && is_full {
                return Ok(Taken::First(record.index));
            }
            if let Err(why) = self.take(&record, read)? {
                rejected.push(&record, why);
            }
        }
        Ok(Taken::All)
    }

    fn flush(&mut self) -> Result<Durable, Error> {
        let since = now_ms() - self.committed_ms;
        // A clock that was set back must not put off commits for as long.
        let is_due = !(0..i64::from(self.settings.commit_interval.ms())).contains(&since)
            || self.writer.as_ref().is_some_and(Writer::is_full);
        if is_due || self.session.is_pending() {
            self.commit()?;
        }
        if is_due || self.session.is_rewriting() {
            self.merge_files()?;
        }
        let held =
            self.session.fence.held.iter().map(|((topic, partition), offset)| (topic, *partition, *offset));
        // Without a table no row was taken: what was refused or passed over is done with, and the consumer group holds the positions.
        let taken = self.lanes.iter().map(|lane| (&lane.topic, lane.partition, lane.next));
        let of = |(topic, partition, offset): (&String, i32, Option<i64>)| {
            Some(TopicOffset { topic: topic.clone(), partition, offset: offset? })
        };
        Ok(Durable::UpTo(match self.session.metadata() {
            Some(_) => held.filter_map(of).collect(),
            None => taken.filter_map(of).collect(),
        }))
    }

    fn close(&mut self) -> Result<(), Error> {
        patiently(|| self.commit())
    }
}

impl IcebergSink {
    fn read<'a>(&mut self, record: &RecordRef<'a>) -> Read<'a> {
        if let Some(changes) = &mut self.changes {
            return match changes.read(record, &mut self.reader, &self.settings) {
                Ok(Change::Row(value, key)) => Read::Row(value, key),
                Ok(Change::Gone(key)) => Read::Gone(key),
                Ok(Change::Nothing) => Read::Nothing,
                Err(why) => Read::Rejected(why),
            };
        }
        let value = match (record.value, self.settings.behavior_on_null_values) {
            (Some(value), _) => value,
            (None, NullValues::Ignore) => return Read::Nothing,
            (None, NullValues::Fail) => {
                return Read::Rejected(Rejection::new("iceberg.null", NullValues::MISSING));
            }
        };
        self.reader.read(value).map_or_else(Read::Rejected, |value| Read::Row(value, None))
    }

    /// Takes a record, whatever becomes of it.
    fn take(&mut self, record: &RecordRef<'_>, read: Read<'_>) -> Result<Result<(), Rejection>, Error> {
        let is_its =
            |lane: &&mut Lane| (lane.topic.as_str(), lane.partition) == (record.topic, record.partition);
        let Some(lane) = self.lanes.iter_mut().find(is_its) else {
            let (topic, partition) = (record.topic, record.partition);
            let message = format!("a record of {topic} partition {partition}, which was not assigned");
            return Err(Error::fatal("iceberg.partition", message));
        };
        // The host may begin before what is held.
        if lane.start.is_some_and(|start| record.offset < start) {
            return Ok(Ok(()));
        }
        let next = record.offset + 1;
        let mut making = Making::new(&self.session, &self.settings, &mut self.next_file);
        let taken = match (read, &mut self.writer) {
            (Read::Rejected(why), _) => Err(why),
            // Without a table there is nothing to delete.
            (Read::Nothing, _) | (Read::Gone(_), None) => Ok(()),
            (Read::Gone(key), Some(writer)) => writer.delete(&key, &mut making)?,
            (Read::Row(..), None) => {
                Err(rows::misfit("no record of its batch shows what columns the table should have"))
            }
            (Read::Row(value, key), Some(writer)) => match writer.row(&value, key.as_ref()) {
                Err(why) => Err(why),
                Ok(row) => {
                    writer.push(&row, &mut making)?;
                    Ok(())
                }
            },
        };
        lane.next = Some(next);
        Ok(taken)
    }

    /// Makes a snapshot of all that was taken.
    fn commit(&mut self) -> Result<(), Error> {
        self.session.settle()?;
        if self.session.is_rewriting() {
            // A commit says that all files with earlier numbers are in the table, or are no more.
            self.merge_files()?;
        }
        let held = &self.session.fence.held;
        let positions: std::collections::BTreeMap<_, _> = self
            .lanes
            .iter()
            .filter_map(|lane| Some(((lane.topic.clone(), lane.partition), lane.next?)))
            .filter(|(of, next)| held.get(of).copied().flatten() != Some(*next))
            .collect();
        // Without a table there is nothing to commit to.
        if positions.is_empty() || self.session.metadata().is_none() {
            self.committed_ms = now_ms();
            return Ok(());
        }
        let rows = match &mut self.writer {
            Some(writer) => {
                let mut making = Making::new(&self.session, &self.settings, &mut self.next_file);
                writer.finish(&self.store, &mut making)?
            }
            None => None,
        };
        self.session.intend(Intent { rows, replaced: None, positions, numbers: self.next_file });
        self.session.settle()?;
        self.committed_ms = now_ms();
        self.session.tidy()
    }

    /// Merges small data files, if it is wanted and time. Between two commits: no file is growing.
    fn merge_files(&mut self) -> Result<(), Error> {
        let Some(writer) = self.writer.as_ref().filter(|_| self.settings.merge_files) else { return Ok(()) };
        let target = self.settings.target_file_size.bytes_u64();
        self.session.rewrite(writer, target, &mut self.next_file)?;
        self.session.tidy()
    }
}

millrace_sdk::export_sink!(IcebergSink);
