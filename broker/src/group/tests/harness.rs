//! A coordinator with a disk that answers when it is told to, and the log that grew meanwhile.

use crate::controller::Image;
use crate::coordinators::{KeyValue, Producer, WriteId};
use crate::group::config::Config;
use crate::group::coordinator::Coordinator;
use crate::group::event::{Effect, Event, Reply};
use kafka_protocol::ResponseError;
use std::collections::VecDeque;
use std::sync::Arc;

/// What stands in the log.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    /// A batch of records.
    Batch(Vec<KeyValue>, Option<Producer>),
    /// The end of a transaction.
    Marker(Producer, bool),
}

/// A coordinator, its disk and its log.
pub(super) struct Harness {
    pub(super) coordinator: Coordinator,
    pub(super) config: Config,
    pub(super) log: Vec<Entry>,
    pub(super) in_flight: VecDeque<(WriteId, Entry)>,
    pub(super) replies: Vec<(u64, Reply)>,
    image: Arc<Image>,
}

impl Harness {
    pub(super) fn new(config: Config) -> Self {
        let mut coordinator = Coordinator::new(config.clone());
        coordinator.loaded(0);
        let (log, in_flight, replies) = (Vec::new(), VecDeque::new(), Vec::new());
        Self { coordinator, config, log, in_flight, replies, image: Arc::default() }
    }

    /// There are other topics now.
    pub(super) fn learn(&mut self, image: Image) {
        self.image = Arc::new(image);
        self.coordinator.learn(self.image.clone());
    }

    /// One step; effects are kept and also given back.
    pub(super) fn step(&mut self, event: Event, now_ms: i64) -> Vec<Effect> {
        let effects = self.coordinator.step(event, now_ms);
        for effect in &effects {
            match effect.clone() {
                Effect::Reply(token, reply) => self.replies.push((token.0, reply)),
                Effect::Append { id, records, producer } => {
                    self.in_flight.push_back((id, Entry::Batch(records, producer)));
                }
                Effect::AppendMarker { id, producer, commit, .. } => {
                    self.in_flight.push_back((id, Entry::Marker(producer, commit)));
                }
            }
        }
        effects
    }

    /// The disk answers the oldest append.
    pub(super) fn disk(&mut self, result: Result<(), ResponseError>, now_ms: i64) -> Vec<Effect> {
        let Some((id, entry)) = self.in_flight.pop_front() else { return Vec::new() };
        if result.is_ok() {
            self.log.push(entry);
        }
        self.step(Event::Written(id, result), now_ms)
    }

    /// A new coordinator that has read the log.
    pub(super) fn reread(&self, now_ms: i64) -> Coordinator {
        let mut coordinator = Coordinator::new(self.config.clone());
        for entry in &self.log {
            match entry {
                Entry::Batch(records, producer) => {
                    for record in records {
                        coordinator.load(record.clone(), *producer).expect("our own record");
                    }
                }
                Entry::Marker(producer, commit) => coordinator.load_marker(*producer, *commit),
            }
        }
        coordinator.learn(self.image.clone());
        coordinator.loaded(now_ms);
        coordinator
    }

    /// The broker dies, with what was on its way to the disk, and comes back.
    pub(super) fn restart(&mut self, now_ms: i64) {
        self.in_flight.clear();
        self.coordinator = self.reread(now_ms);
    }
}
