//! The bundled connector webhook-source: requests that others send become records.
//!
//! A sender is answered once its records are durable in the topic, and not before: who got no answer, or 503, sends again. A
//! request whose answer was lost on the way is therefore there twice; `key_header` lets readers tell.
//!
//! A body that is no record (not the JSON that was asked for) is the sender's mistake: 400 says so, and nothing is written.

pub mod settings;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use millrace_connector_fields::{Fields, Found, Path, document};
use millrace_sdk::http_listener::{Answer, Listener, Request};
use millrace_sdk::{Checkpoint, Description, Error, Flow, Poll, PollLimits, Problem, Source, Task};
use serde_json::value::RawValue;

use crate::settings::{Format, Settings};

/// Largest record: with its place and the like it goes into one of the topic's, of 1 MiB.
const RECORD_BYTES_MAX: usize = (1 << 20) - (16 << 10);
/// What a header costs besides its name and value, at most.
const HEADER_BYTES: usize = 16;
/// Most records of a request.
const RECORDS_MAX: usize = 100_000;
/// How long to wait for requests while others wait for their answer.
const WAIT_BETWEEN_MS: u32 = 5;

/// The source's only task.
#[derive(Debug)]
pub struct WebhookSource {
    settings: Settings,
    key: Option<Fields>,
    listener: Listener,
    /// Requests whose records are on their way, in order.
    unanswered: VecDeque<u64>,
}

/// A request that makes no records.
struct Refused {
    status: u16,
    why: String,
}

impl Refused {
    fn new(status: u16, why: impl Into<String>) -> Self {
        Self { status, why: why.into() }
    }
}

impl Source for WebhookSource {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new(
            "webhook-source",
            env!("CARGO_PKG_VERSION"),
            "Takes HTTP requests, and answers them when their records are durable",
        )
        .settings(include_str!("settings.schema.json"))
        .key_formats(&["utf8"])
        .value_formats(&["json", "utf8", "bytes"])
        .extra("delivery", "at-least-once")
    }

    fn validate(settings: &Settings) -> Result<Vec<Problem>, Error> {
        Ok(settings.problems())
    }

    fn open(_task: &Task, settings: Settings, _resume: Vec<Checkpoint>) -> Result<Self, Error> {
        if let Some(problem) = settings.problems().into_iter().next() {
            return Err(Error::fatal("settings", format!("{}: {}", problem.path, problem.message)));
        }
        let path = settings.key.as_deref().map(str::parse::<Path>).transpose();
        let key = path.map_err(|error| Error::fatal("settings", format!("/key: {error}")))?;
        let key = key.map(|path| Fields::new(&[path]));
        let listener = Listener::open(&settings.connection)?;
        Ok(Self { settings, key, listener, unanswered: VecDeque::new() })
    }

    fn poll(&mut self, limits: PollLimits, out: &mut Poll) -> Result<Flow, Error> {
        let wait = if self.unanswered.is_empty() { limits.wait_ms } else { WAIT_BETWEEN_MS };
        let mut answers = Vec::new();
        for request in self.listener.take(limits.records, limits.bytes, wait) {
            let before = out.batch.len();
            match self.records(&request, out) {
                Err(Refused { status, why }) => answers.push(Answer::new(request.id, status, why)),
                Ok(()) if out.batch.len() == before => {
                    answers.push(Answer::new(request.id, self.settings.status, ""));
                }
                Ok(()) => self.unanswered.push_back(request.id),
            }
        }
        self.listener.answer(answers);
        if let (Some(last), false) = (self.unanswered.back(), out.batch.is_empty()) {
            out.checkpoint(&self.settings.connection, last.to_string());
        }
        Ok(Flow::Idle(0))
    }

    fn commit(&mut self, done: &[Checkpoint]) -> Result<(), Error> {
        let position = |done: &Checkpoint| std::str::from_utf8(&done.position).ok()?.parse::<u64>().ok();
        let Some(until) = done.iter().filter_map(position).max() else { return Ok(()) };
        let count = self.unanswered.partition_point(|id| *id <= until);
        let status = self.settings.status;
        self.listener.answer(self.unanswered.drain(..count).map(|id| Answer::new(id, status, "")).collect());
        Ok(())
    }
}

impl WebhookSource {
    /// Adds the records of a request: all of them, or none.
    fn records(&self, request: &Request, out: &mut Poll) -> Result<(), Refused> {
        let settings = &self.settings;
        if let Some(path) = settings.path.as_deref().filter(|path| *path != request.path) {
            return Err(Refused::new(404, format!("nothing is taken here; it is at {path}")));
        }
        if !settings.methods.contains(&request.method) {
            return Err(Refused::new(405, format!("taken are: {}", settings.methods.join(", "))));
        }
        match settings.format {
            Format::Bytes => {
                self.check_size(request, &request.body, None)?;
                self.record(request, &request.body, None, out);
            }
            Format::Text => match std::str::from_utf8(&request.body) {
                Ok(text) => {
                    self.check_size(request, text.as_bytes(), None)?;
                    self.record(request, text.as_bytes(), None, out);
                }
                Err(error) => return Err(Refused::new(400, format!("the body is no UTF-8: {error}"))),
            },
            Format::Json => {
                let not_json = |error: &dyn std::fmt::Display| {
                    Refused::new(400, format!("the body is no JSON document: {error}"))
                };
                let text = document(&request.body).map_err(|error| not_json(&error))?.trim();
                let whole: &RawValue = serde_json::from_str(text).map_err(|error| not_json(&error))?;
                let records = if settings.split && text.starts_with('[') {
                    serde_json::from_str(text).map_err(|error| not_json(&error))?
                } else {
                    vec![whole]
                };
                let keys: Result<Vec<_>, _> = records.iter().map(|record| self.key(record.get())).collect();
                let keys = keys.map_err(|error| not_json(&error))?;
                if records.len() > RECORDS_MAX {
                    let why = format!("{} records; at most {RECORDS_MAX} are taken at once", records.len());
                    return Err(Refused::new(413, why));
                }
                for (record, key) in records.iter().zip(&keys) {
                    self.check_size(request, record.get().as_bytes(), key.as_deref())?;
                }
                for (record, key) in records.iter().zip(keys) {
                    self.record(request, record.get().as_bytes(), key, out);
                }
            }
        }
        Ok(())
    }

    /// The text of the key's field.
    fn key(&self, record: &str) -> Result<Option<String>, millrace_connector_fields::NotJson> {
        let Some(fields) = &self.key else { return Ok(None) };
        let mut found: Vec<Found> = Vec::new();
        fields.find(record, &mut found)?;
        Ok(found.last().and_then(|found| match &record[found.value.clone()] {
            "null" => None,
            text if text.starts_with('"') => serde_json::from_str(text).ok(),
            other => Some(other.to_owned()),
        }))
    }

    /// Refuses what no topic takes, while its sender can still be told.
    fn check_size(&self, request: &Request, value: &[u8], key: Option<&str>) -> Result<(), Refused> {
        let header = |name: &String| request.header(&name.to_ascii_lowercase()).map_or(0, str::len);
        let headers = self.settings.headers.iter().map(|name| name.len() + header(name) + HEADER_BYTES);
        let key = key.map_or_else(|| self.settings.key_header.as_ref().map_or(0, header), str::len);
        let bytes = value.len() + key + headers.sum::<usize>();
        if bytes <= RECORD_BYTES_MAX {
            return Ok(());
        }
        Err(Refused::new(413, format!("a record of {bytes} bytes; at most {RECORD_BYTES_MAX} are taken")))
    }

    fn record(&self, request: &Request, value: &[u8], key: Option<String>, out: &mut Poll) {
        let header = |name: &str| request.header(&name.to_ascii_lowercase());
        let settings = &self.settings;
        let mut record = out.batch.record();
        if let Some(key) = key.as_deref().or_else(|| header(settings.key_header.as_deref()?)) {
            record.key(key.as_bytes());
        }
        record.value().extend_from_slice(value);
        for name in &settings.headers {
            if let Some(value) = header(name) {
                record.header(&name.to_ascii_lowercase(), Some(value.as_bytes()));
            }
        }
        record.timestamp(request.received);
        record.end();
    }
}

millrace_sdk::export_source!(WebhookSource);
