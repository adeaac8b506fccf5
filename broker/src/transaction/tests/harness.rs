//! A coordinator with a disk and partitions that answer when they are told to.

use crate::coordinators::{KeyValue, TopicPartition, WriteId};
use crate::transaction::config::Config;
use crate::transaction::coordinator::Coordinator;
use crate::transaction::event::{Effect, End, Event, Init, Markers, NeedsId, Reply};
use crate::transaction::records;
use kafka_protocol::ResponseError;
use std::collections::VecDeque;

/// A coordinator and what is around it.
pub(super) struct Harness {
    pub(super) coordinator: Coordinator,
    pub(super) config: Config,
    pub(super) log: Vec<KeyValue>,
    pub(super) in_flight: VecDeque<(WriteId, KeyValue)>,
    pub(super) markers: VecDeque<Markers>,
    pub(super) replies: Vec<(u64, Reply)>,
    next_producer_id: i64,
}

impl Harness {
    pub(super) fn new(config: Config) -> Self {
        let mut coordinator = Coordinator::new(config.clone());
        coordinator.loaded(0);
        Self {
            coordinator,
            config,
            log: Vec::new(),
            in_flight: VecDeque::new(),
            markers: VecDeque::new(),
            replies: Vec::new(),
            next_producer_id: 1000,
        }
    }

    /// One step; producer ids are given out at once. Gives back what else there is to do.
    pub(super) fn step(&mut self, event: Event, now_ms: i64) -> Vec<Effect> {
        let effects = self.coordinator.step(event, now_ms);
        self.carry_out(effects, now_ms)
    }

    fn carry_out(&mut self, effects: Vec<Effect>, now_ms: i64) -> Vec<Effect> {
        let mut seen = Vec::new();
        for effect in effects {
            match effect.clone() {
                Effect::AllocateProducerId(token, request) => {
                    let fresh_producer_id = Some(self.next_producer_id);
                    self.next_producer_id += 1;
                    let event = match request {
                        NeedsId::Init(init) => Event::Init(token, Init { fresh_producer_id, ..init }),
                        NeedsId::End(end) => Event::End(token, End { fresh_producer_id, ..end }),
                    };
                    seen.extend(self.step(event, now_ms));
                    continue;
                }
                Effect::Reply(token, reply) => self.replies.push((token.0, reply)),
                Effect::Append(id, record) => self.in_flight.push_back((id, record)),
                Effect::WriteMarkers(markers) => self.markers.push_back(markers),
            }
            seen.push(effect);
        }
        seen
    }

    /// The disk answers the oldest append.
    pub(super) fn disk(&mut self, result: Result<(), ResponseError>, now_ms: i64) -> Vec<Effect> {
        let Some((id, record)) = self.in_flight.pop_front() else { return Vec::new() };
        if result.is_ok() {
            self.log.push(record);
        }
        self.step(Event::Written(id, result), now_ms)
    }

    /// The partitions answer the oldest markers.
    pub(super) fn partitions(&mut self, result: Result<(), ResponseError>, now_ms: i64) -> Vec<Effect> {
        let all = self.markers.front().map(|markers| markers.partitions.clone()).unwrap_or_default();
        self.all_partitions_but(if result.is_err() { all } else { Vec::new() }, now_ms)
    }

    /// All partitions but these take the oldest markers.
    pub(super) fn all_partitions_but(&mut self, untold: Vec<TopicPartition>, now_ms: i64) -> Vec<Effect> {
        let Some(Markers { transactional_id, producer, .. }) = self.markers.pop_front() else {
            return Vec::new();
        };
        self.step(Event::Marked { transactional_id, producer, untold }, now_ms)
    }

    /// A new coordinator that has read the log.
    pub(super) fn reread(&self) -> Coordinator {
        let mut coordinator = Coordinator::new(self.config.clone());
        for record in &self.log {
            coordinator.load(record.clone()).expect("our own record");
        }
        coordinator
    }

    /// As if `epoch` had been reached in many transactions.
    pub(super) fn set_epoch(&mut self, id: &str, epoch: i16) {
        let mut stored = self.coordinator.describe(id).expect("a known id").clone();
        stored.producer.epoch = epoch;
        self.log.push(records::record(id, &stored));
        self.coordinator = self.reread();
        self.coordinator.loaded(stored.updated_ms);
    }

    /// The broker dies, with what was on its way to the disk and to the partitions, and comes back.
    pub(super) fn restart(&mut self, now_ms: i64) -> Vec<Effect> {
        self.in_flight.clear();
        self.markers.clear();
        self.coordinator = self.reread();
        let effects = self.coordinator.loaded(now_ms);
        self.carry_out(effects, now_ms)
    }
}
