//! Runs the group coordinator's machine in a [shard](crate::coordinators::shard).

use std::convert::Infallible;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use millrace_wire::batch::RawBatch;

use super::coordinator::Coordinator;
use super::event::{Effect, Event, Reply};
use crate::controller::Image;
use crate::coordinators::WriteId;
use crate::coordinators::batch::{Loaded, read};
use crate::coordinators::machine::{Append, Machine, Output, Task};
use crate::internal_topic::InternalTopic;
use crate::shared::Shared;

impl Machine for Coordinator {
    type Event = Event;
    type Reply = Reply;
    type Other = Infallible;

    const TOPIC: InternalTopic = InternalTopic::ConsumerOffsets;

    fn load(&mut self, batch: &RawBatch) {
        match read(Self::TOPIC, batch) {
            Some(Loaded::Records(records, producer)) => {
                for record in records {
                    if let Err(error) = Self::load(self, record, producer) {
                        let offset = batch.header.base_offset.0;
                        tracing::warn!(offset, %error, "a record of __consumer_offsets is left out");
                    }
                }
            }
            Some(Loaded::Marker(producer, commit)) => self.load_marker(producer, commit),
            None => {}
        }
    }

    fn loaded(&mut self, now_ms: i64) -> Vec<Output<Self>> {
        Self::loaded(self, now_ms);
        Vec::new()
    }

    fn learn(&mut self, image: Arc<Image>) {
        Self::learn(self, image);
    }

    fn step(&mut self, event: Event, now_ms: i64) -> Vec<Output<Self>> {
        Self::step(self, event, now_ms).into_iter().map(output).collect()
    }

    fn next_deadline(&self) -> Option<i64> {
        Self::next_deadline(self)
    }

    fn clock_was_set(&mut self, by_ms: i64) {
        self.cx.timers.shift(by_ms);
    }

    fn tick() -> Event {
        Event::Tick
    }

    fn written(id: WriteId, result: Result<(), ResponseError>) -> Event {
        Event::Written(id, result)
    }

    fn perform(other: Infallible, _shared: Arc<Shared>) -> Task<Event> {
        match other {}
    }
}

fn output(effect: Effect) -> Output<Coordinator> {
    match effect {
        Effect::Reply(token, reply) => Output::Reply(token, reply),
        Effect::Append { id, records, producer } => Output::Append(id, Append::Records(records, producer)),
        Effect::AppendMarker { id, producer, coordinator_epoch, commit } => {
            Output::Append(id, Append::Marker { producer, coordinator_epoch, commit })
        }
    }
}
