//! The bundled connector http-sink: a request for each record, or for several.
//!
//! At least once: a record that was answered with success counts as written, and a kill before its offset is committed sends it
//! again. Each repetition has the same idempotency key, so that a server that looks at it takes the record once.
//!
//! What the answer means is told in [`verdict`]. A batch that the server refuses is halved until the record is found that it
//! does not like. Records are answered for in order: what comes behind one that has to wait is offered again.
//!
//! Rooms: [`template`] (text with parts of a record), [`request`], [`verdict`], `single` and `batch` (the two ways to send).

mod batch;
pub mod request;
pub mod settings;
mod single;
pub mod template;
#[cfg(test)]
mod tests;
pub mod verdict;

use std::time::{Duration, Instant};

use millrace_sdk::{Description, Durable, Error, Problem, RecordRef, Records, Rejected, Sink, Taken, Task};

use crate::settings::{Settings, Templates};

/// A call of `put` begins no request after this time: what is left is offered again. The host would end a call that takes a
/// minute.
const PUT_TIME: Duration = Duration::from_secs(15);

/// One task of the sink.
#[derive(Debug)]
pub struct HttpSink {
    connector: String,
    settings: Settings,
    templates: Templates,
    /// The last record that was answered for.
    last: Option<Piece>,
}

/// A record, or one of several that a transform made of it: they share its offset.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    topic: String,
    partition: i32,
    offset: i64,
    number: u32,
}

impl Sink for HttpSink {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new(
            "http-sink",
            env!("CARGO_PKG_VERSION"),
            "Sends records to an HTTP service, singly or in batches",
        )
        .settings(include_str!("settings.schema.json"))
        .key_formats(&["utf8", "bytes"])
        .value_formats(&["json", "utf8", "bytes"])
        .extra("delivery", "at-least-once")
    }

    fn validate(settings: &Settings) -> Result<Vec<Problem>, Error> {
        Ok(settings.problems())
    }

    fn open(task: &Task, settings: Settings) -> Result<Self, Error> {
        let templates = settings.open()?;
        Ok(Self { connector: task.connector.clone(), settings, templates, last: None })
    }

    fn put(&mut self, records: &Records<'_>, rejected: &mut Rejected) -> Result<Taken, Error> {
        let pieces = pieces(self.last.as_ref(), records);
        let mut put = Put { sink: self, rejected, pieces: &pieces, begun: Instant::now(), done: 0 };
        let sent = match self.settings.batch {
            Some(batch) => put.in_batches(records, batch),
            None => put.singly(records),
        };
        let done = put.done;
        if let Some(last) = done.checked_sub(1) {
            self.last = pieces.into_iter().nth(last as usize);
        }
        match sent {
            Ok(()) if done as usize == records.len() => Ok(Taken::All),
            // What was answered for counts; the rest comes again, and fails by itself if it has to.
            Ok(()) | Err(_) if done > 0 => Ok(Taken::First(done)),
            Ok(()) => Ok(Taken::All),
            Err(error) => Err(error),
        }
    }

    fn flush(&mut self) -> Result<Durable, Error> {
        // Whatever was taken has been answered.
        Ok(Durable::Everything)
    }
}

/// Every record's number among those with its offset; the first may go on what an earlier call left off.
fn pieces(last: Option<&Piece>, records: &Records<'_>) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::with_capacity(records.len());
    for RecordRef { topic, partition, offset, .. } in records {
        let before = pieces.last().or(last);
        let goes_on = before.filter(|b| b.topic == topic && (b.partition, b.offset) == (partition, offset));
        let number = goes_on.map_or(0, |before| before.number + 1);
        pieces.push(Piece { topic: topic.to_owned(), partition, offset, number });
    }
    pieces
}

impl std::fmt::Display for Piece {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.number {
            0 => write!(f, "{}", self.offset),
            number => write!(f, "{}.{number}", self.offset),
        }
    }
}

/// One call of `put`.
struct Put<'p> {
    sink: &'p HttpSink,
    rejected: &'p mut Rejected,
    pieces: &'p [Piece],
    begun: Instant,
    /// Records from the first on that are answered for.
    done: u32,
}

impl Put<'_> {
    fn piece(&self, record: &RecordRef<'_>) -> &Piece {
        &self.pieces[record.index as usize]
    }

    /// Whether no further request is to be begun.
    fn is_late(&self) -> bool {
        self.done > 0 && self.begun.elapsed() >= PUT_TIME
    }
}

millrace_sdk::export_sink!(HttpSink);
