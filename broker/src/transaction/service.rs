//! Runs the transaction coordinator's machine in a [shard](crate::coordinators::shard): producer ids from the controller,
//! markers to the partitions.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use millrace_wire::batch::RawBatch;
use millrace_wire::ids::{ProducerEpoch, ProducerId};
use millrace_wire::record::ControlKind;
use tokio::task::JoinSet;

use super::coordinator::Coordinator;
use super::event::{Effect, End, Event, Init, Markers, NeedsId, Reply};
use crate::coordinators::batch::{Loaded, read};
use crate::coordinators::machine::{Append, Machine, Output, Task};
use crate::coordinators::{Producer, Token, TopicPartition, WriteId};
use crate::group;
use crate::internal_topic::InternalTopic;
use crate::replica;
use crate::shared::Shared;

pub(crate) use crate::group::event::Marker;

/// The epoch that stands in markers: that of this partition's leader, which is always the first on a single node.
const COORDINATOR_EPOCH: i32 = 0;

/// What the machine wants beside appends.
pub(crate) enum Other {
    /// A producer id for a request.
    ProducerId(Token, NeedsId),
    /// The end of a transaction told to its partitions.
    Markers(Markers),
}

impl Machine for Coordinator {
    type Event = Event;
    type Reply = Reply;
    type Other = Other;

    const TOPIC: InternalTopic = InternalTopic::TransactionState;

    fn load(&mut self, batch: &RawBatch) {
        let Some(Loaded::Records(records, _)) = read(Self::TOPIC, batch) else { return };
        for record in records {
            if let Err(error) = Self::load(self, record) {
                let offset = batch.header.base_offset.0;
                tracing::warn!(offset, %error, "a record of __transaction_state is left out");
            }
        }
    }

    fn loaded(&mut self, now_ms: i64) -> Vec<Output<Self>> {
        Self::loaded(self, now_ms).into_iter().map(output).collect()
    }

    fn step(&mut self, event: Event, now_ms: i64) -> Vec<Output<Self>> {
        Self::step(self, event, now_ms).into_iter().map(output).collect()
    }

    fn next_deadline(&self) -> Option<i64> {
        Self::next_deadline(self)
    }

    fn clock_was_set(&mut self, by_ms: i64) {
        self.timers.shift(by_ms);
    }

    fn tick() -> Event {
        Event::Tick
    }

    fn written(id: WriteId, result: Result<(), ResponseError>) -> Event {
        Event::Written(id, result)
    }

    fn perform(other: Other, shared: Arc<Shared>) -> Task<Event> {
        match other {
            Other::ProducerId(token, request) => Box::pin(allocate(shared, token, request)),
            Other::Markers(markers) => Box::pin(write_markers(shared, markers)),
        }
    }
}

fn output(effect: Effect) -> Output<Coordinator> {
    match effect {
        Effect::Reply(token, reply) => Output::Reply(token, reply),
        Effect::Append(id, record) => Output::Append(id, Append::Records(vec![record], None)),
        Effect::AllocateProducerId(token, request) => Output::Other(Other::ProducerId(token, request)),
        Effect::WriteMarkers(markers) => Output::Other(Other::Markers(markers)),
    }
}

async fn allocate(shared: Arc<Shared>, token: Token, request: NeedsId) -> Event {
    match (shared.next_producer_id().await, request) {
        (Ok(id), NeedsId::Init(init)) => Event::Init(token, Init { fresh_producer_id: Some(id.0), ..init }),
        (Ok(id), NeedsId::End(end)) => Event::End(token, End { fresh_producer_id: Some(id.0), ..end }),
        (Err(error), request) => Event::NoProducerId(token, request, error),
    }
}

/// Tells all partitions at once. Those that are gone with their topic need not be told; one whose log is not to be had
/// just now must be, or its readers would wait for the end of this transaction for ever.
async fn write_markers(shared: Arc<Shared>, markers: Markers) -> Event {
    let Markers { transactional_id, producer, commit, partitions } = markers;
    let mut tasks = JoinSet::new();
    let mut untold = BTreeSet::new();
    for partition in partitions {
        let found = shared.replicas.partition(&partition.topic, partition.partition);
        if !matches!(found, Err(replica::Error::UnknownPartition { .. })) {
            untold.insert(partition.clone());
            let shared = shared.clone();
            tasks.spawn(async move {
                let told = write_marker(shared, &partition, producer, commit).await;
                told.is_ok().then_some(partition)
            });
        }
    }
    while let Some(told) = tasks.join_next().await {
        if let Ok(Some(partition)) = told {
            untold.remove(&partition);
        }
    }
    let untold = untold.into_iter().collect();
    Event::Marked { transactional_id, producer, untold }
}

/// Tells one partition; an end that it knows of already is as good.
async fn write_marker(
    shared: Arc<Shared>,
    partition: &TopicPartition,
    producer: Producer,
    commit: bool,
) -> Result<(), ResponseError> {
    let marker = Marker { producer, coordinator_epoch: COORDINATOR_EPOCH, commit };
    let result = write_one_marker(&shared, partition, marker).await;
    match result {
        // Somebody else writes there with a later epoch, so this transaction has ended there before.
        Err(ResponseError::InvalidProducerEpoch) => {
            tracing::warn!(%partition, producer_id = producer.id, epoch = producer.epoch, "a marker came too late");
            Ok(())
        }
        Err(error) => {
            tracing::warn!(%partition, producer_id = producer.id, %error, "a marker was not written, trying again");
            Err(error)
        }
        Ok(()) => Ok(()),
    }
}

/// Writes a marker to a partition and waits until it is durable.
///
/// # Errors
/// The partition is not here, or its log refuses; the wire's code.
pub(crate) async fn write_one_marker(
    shared: &Arc<Shared>,
    partition: &TopicPartition,
    marker: Marker,
) -> Result<(), ResponseError> {
    let Marker { producer, coordinator_epoch, commit } = marker;
    if partition.topic == InternalTopic::ConsumerOffsets.name() {
        return end_offsets(shared, partition.partition, marker).await;
    }
    let kind = if commit { ControlKind::Commit } else { ControlKind::Abort };
    let (id, epoch) = (ProducerId(producer.id), ProducerEpoch(producer.epoch));
    shared.write_marker(&partition.topic, partition.partition, kind, coordinator_epoch, id, epoch).await
}

/// The group coordinator writes the marker into its own partition, so that it applies the offsets in order.
async fn end_offsets(shared: &Arc<Shared>, partition: i32, marker: Marker) -> Result<(), ResponseError> {
    let groups = shared.coordinators.groups.at(shared, partition)?;
    match groups.ask(move |token| group::event::Event::Marker(token, marker)).await? {
        group::event::Reply::Done(result) => result,
        _ => Err(ResponseError::UnknownServerError),
    }
}
