//! The bundled connector file-sink: JSON lines, csv or plain lines, compressed or not, Avro and Parquet, exactly once.
//!
//! What a reader of the folder sees: finished files only. A file is finished by rotation (`rotate`), or when the run ends; until
//! then it grows under a hidden name. Without rotation there is one file: a later run that has more records adds them to a copy
//! and puts that in its place, and one that has none leaves it alone. So a visible file never has half a line, and never a
//! record that might come again. Avro and Parquet always come as several files.
//!
//! What a kill leaves behind: at most uncommitted bytes at the end of the hidden file, which the next start cuts off; of Avro and
//! Parquet the hidden file, which it removes. The positions of the records lie with the file ([`state`]), so it does not matter what
//! the consumer group knows.
//!
//! Fence: the state holds the highest generation. A task checks it before it writes, and stops when it was replaced. What that
//! cannot exclude is a process that is frozen between the check and the write for as long as its successor takes to start:
//! WASI has no file locks.
//!
//! Rooms: [`names`], [`state`], [`store`] (the steps that survive a kill), [`encode`] (records into bytes), [`rows`] (of formats with
//! types).

pub mod encode;
mod fault;
pub mod names;
pub mod rows;
pub mod settings;
pub mod state;
pub mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;

use millrace_connector_encode::Codec;
use millrace_connector_encode::content::{Added, NullValues};
use millrace_sdk::{
    Description, Durable, Error, Problem, RecordRef, Records, Rejected, Rejection, Sink, Taken, Task,
    TopicOffset, TopicPartition,
};

use crate::encode::Encoder;
use crate::names::Names;
use crate::settings::{Rotate, Settings};
use crate::store::{Form, Store};

/// One task of the sink.
#[derive(Debug)]
pub struct FileSink {
    settings: Settings,
    rotate: Rotate,
    store: Store,
    encoder: Encoder,
    assigned: BTreeSet<(String, i32)>,
    /// Whether the next record begins an empty file.
    first: bool,
}

impl Sink for FileSink {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new(
            "file-sink",
            env!("CARGO_PKG_VERSION"),
            "Writes JSON lines, csv, plain lines, Avro or Parquet to files",
        )
        .settings(include_str!("settings.schema.json"))
        .key_formats(&["bytes"])
        .value_formats(&["json", "utf8", "bytes"])
        .extra("delivery", "exactly-once")
    }

    fn validate(settings: &Settings) -> Result<Vec<Problem>, Error> {
        Ok(settings.problems())
    }

    fn open(task: &Task, settings: Settings) -> Result<Self, Error> {
        if let Some(problem) = settings.problems().into_iter().find(|problem| !problem.warning) {
            return Err(Error::fatal("settings", format!("{}: {}", problem.path, problem.message)));
        }
        let rotate = settings.rotate();
        let is_whole = settings.is_whole();
        let packing = if is_whole { Codec::None } else { settings.codec() };
        let form = Form { rotates: rotate.is_set(), is_whole, packing };
        let store = Store::open(Names::new(&settings.path, form.rotates, task.count), task, form)?;
        let encoder = Encoder::new(&settings, store.columns().map(<[String]>::to_vec))?;
        let first = store.is_empty();
        Ok(Self { settings, rotate, store, encoder, assigned: BTreeSet::new(), first })
    }

    fn assigned(&mut self, partitions: &[TopicPartition]) -> Result<Vec<TopicOffset>, Error> {
        let all = self.store.all_offsets()?;
        let mut held = Vec::new();
        for TopicPartition { topic, partition } in partitions {
            self.assigned.insert((topic.clone(), *partition));
            if let Some(&offset) = all.get(topic).and_then(|offsets| offsets.get(partition)) {
                self.store.advance(topic, *partition, offset);
                held.push(TopicOffset { topic: topic.clone(), partition: *partition, offset });
            }
        }
        Ok(held)
    }

    fn revoked(&mut self, partitions: &[TopicPartition]) -> Result<(), Error> {
        // What was taken is in the file for good, so its position has to be, too, before the next owner asks for it.
        self.store.settle()?;
        if self.settings.is_whole() {
            self.publish()?
        } else {
            self.store.commit().map(drop)?
        }
        for TopicPartition { topic, partition } in partitions {
            self.assigned.remove(&(topic.clone(), *partition));
        }
        Ok(())
    }

    fn put(&mut self, records: &Records<'_>, rejected: &mut Rejected) -> Result<Taken, Error> {
        self.rotate_if_due()?;
        self.store.relieve()?;
        // Topic, partition and next offset of the records at hand; they come in runs of one partition.
        let mut run = ("", -1, 0);
        // What the files hold already of the run's partition.
        let mut held = 0;
        let mut taken = Taken::All;
        for record in records {
            if (record.topic, record.partition) != (run.0, run.1) {
                self.store.advance(run.0, run.1, run.2);
                held = self.store.next_offset(record.topic, record.partition);
                run = (record.topic, record.partition, held);
            }
            if record.offset < held {
                continue;
            }
            // A transform made several of one record: they share its offset, and have to stand or fall together.
            let is_piece = record.offset < run.2;
            match self.take(&record, is_piece)? {
                Ok(true) => {}
                // The rest comes again.
                Ok(false) => {
                    taken = Taken::First(record.index);
                    break;
                }
                Err(why) => rejected.push(&record, why),
            }
            run.2 = record.offset + 1;
        }
        self.store.advance(run.0, run.1, run.2);
        self.store.set_columns(self.encoder.columns());
        Ok(taken)
    }

    fn flush(&mut self) -> Result<Durable, Error> {
        self.rotate_if_due()?;
        let mut safe = self.store.commit()?;
        safe.retain(|at| self.assigned.contains(&(at.topic.clone(), at.partition)));
        Ok(Durable::UpTo(safe))
    }

    fn close(&mut self) -> Result<(), Error> {
        self.store.settle()?;
        self.publish()
    }
}

impl FileSink {
    /// Takes a record; false: not in this batch. Files are changed between batches only, where a failure can be repeated.
    fn take(&mut self, record: &RecordRef<'_>, is_piece: bool) -> Result<Result<bool, Rejection>, Error> {
        if record.value.is_none() && self.settings.behavior_on_null_values == Some(NullValues::Ignore) {
            return Ok(Ok(true));
        }
        if !is_piece && (!self.store.has_part() || self.is_due()) {
            if record.index > 0 {
                return Ok(Ok(false));
            }
            self.begin()?;
        }
        let mut added = self.encode(record)?;
        if let Ok(Added::WantsAnother) = added {
            if is_piece {
                let message = "a transform made records with different schemas of one, for one file";
                return Ok(Err(Rejection::new("schema.pieces", message)));
            }
            if record.index > 0 {
                return Ok(Ok(false));
            }
            self.begin()?;
            added = self.encode(record)?;
        }
        if added.is_ok() {
            self.first = false;
            self.store.count_record();
        }
        Ok(added.map(|_| true))
    }

    fn encode(&mut self, record: &RecordRef<'_>) -> Result<Result<Added, Rejection>, Error> {
        self.encoder.encode(record.value, self.first, &mut self.store.buffer)
    }

    /// Begins a file; what grew before is finished.
    fn begin(&mut self) -> Result<(), Error> {
        self.publish()?;
        self.first = self.store.begin()?;
        Ok(())
    }

    /// Finishes the file that grows, if there is one.
    fn publish(&mut self) -> Result<(), Error> {
        if !self.store.is_closing() {
            self.encoder.finish(&mut self.store.buffer)?;
        }
        self.store.publish()
    }

    fn is_due(&self) -> bool {
        self.store.is_due(&self.rotate, self.encoder.pending())
    }

    fn rotate_if_due(&mut self) -> Result<(), Error> {
        self.store.settle()?;
        if self.is_due() { self.publish() } else { Ok(()) }
    }
}

/// An error of the system about a file.
fn fail(what: &str, path: &str, error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::NotFound {
        let message = format!("cannot {what} {path}: {error}; is its folder there, and granted?");
        return Error::fatal("file.missing", message);
    }
    millrace_sdk::files::failure(what, path, &error)
}

millrace_sdk::export_sink!(FileSink);
