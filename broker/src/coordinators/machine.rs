//! What a state machine must be so that a [shard](super::shard) can run it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use millrace_wire::batch::RawBatch;

use super::{KeyValue, Producer, Token, WriteId};
use crate::controller::Image;
use crate::internal_topic::InternalTopic;
use crate::shared::Shared;

/// Work outside the machine that ends with an event.
pub(crate) type Task<E> = Pin<Box<dyn Future<Output = E> + Send>>;

/// What a machine wants to have done.
pub(crate) enum Output<M: Machine> {
    /// Answer a request.
    Reply(Token, M::Reply),
    /// Append to the machine's partition and report once that is durable, in the order of the appends.
    Append(WriteId, Append),
    /// Something else, beside the appends.
    Other(M::Other),
}

/// What is appended to an internal topic.
#[derive(Debug)]
pub(crate) enum Append {
    /// Records, perhaps as part of a producer's transaction.
    Records(Vec<KeyValue>, Option<Producer>),
    /// The end of a producer's transaction.
    Marker {
        /// Whose.
        producer: Producer,
        /// The epoch of the transaction coordinator.
        coordinator_epoch: i32,
        /// Commit or abort.
        commit: bool,
    },
}

/// A coordinator's state machine over one partition of an internal topic.
pub(crate) trait Machine: Sized + Send + 'static {
    /// What happens to it.
    type Event: Send + 'static;
    /// What it answers.
    type Reply: Send + 'static;
    /// What it wants beside appends.
    type Other: Send + 'static;

    /// Where it keeps its records.
    const TOPIC: InternalTopic;

    /// Applies a batch of its log, in the log's order.
    fn load(&mut self, batch: &RawBatch);
    /// The log is read to its end.
    fn loaded(&mut self, now_ms: i64) -> Vec<Output<Self>>;
    /// Takes notice of the newest metadata, before each step.
    fn learn(&mut self, _image: Arc<Image>) {}
    /// One step.
    fn step(&mut self, event: Self::Event, now_ms: i64) -> Vec<Output<Self>>;
    /// When it wants to be woken, in milliseconds since 1970.
    fn next_deadline(&self) -> Option<i64>;
    /// The wall clock was set: deadlines are spans of time, which that changes nothing about.
    fn clock_was_set(&mut self, by_ms: i64);
    /// The event of being woken.
    fn tick() -> Self::Event;
    /// The event of an append that was answered.
    fn written(id: WriteId, result: Result<(), ResponseError>) -> Self::Event;
    /// The work that `other` stands for.
    fn perform(other: Self::Other, shared: Arc<Shared>) -> Task<Self::Event>;
}
