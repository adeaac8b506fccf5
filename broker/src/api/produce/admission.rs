//! Transactional batches wait until their partitions are known to be part of the producer's transaction (KIP-890).
//!
//! A client of the second protocol (version 12 on) leaves it to the broker to add them; an older one has added them itself,
//! which is verified unless `transaction.partition.verification.enable` is off. Only the first batch of a transaction in a
//! partition waits, and the producer's batches behind it, so that they keep their order.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use millrace_wire::batch::BatchHeader;

use super::{Placed, Refused, RequestContext, TopicEntries};
use crate::coordinators::{Producer, TopicPartition};
use crate::replica::{Partition, Write};
use crate::transaction::event::AddPartitions;
use crate::transaction::state::Protocol;
use crate::transaction::turns::Turn;

/// The version from which on the broker adds partitions to transactions.
const ADDS_PARTITIONS: i16 = 12;
/// The version from which on TRANSACTION_ABORTABLE is understood.
const KNOWS_ABORTABLE: i16 = 11;

/// The batches of a request that wait.
pub(super) struct Admission {
    transactional_id: String,
    producer: Producer,
    turn: Turn,
}

/// Whether a batch can't be appended yet.
pub(super) fn must_wait(context: &RequestContext, partition: &Partition, header: &BatchHeader) -> bool {
    let (id, epoch) = (header.producer_id, header.producer_epoch);
    header.attributes.is_transactional()
        && (context.broker.turns.is_taken(id.0) || !partition.is_verified(id, epoch))
}

impl Admission {
    /// Gets in line, if a batch of the request has to wait.
    pub(super) fn new(
        context: &RequestContext,
        transactional_id: Option<&str>,
        topics: &[TopicEntries],
    ) -> Option<Self> {
        let held = topics.iter().flat_map(|topic| &topic.entries).find_map(|entry| match &entry.state {
            Ok(Placed::Held(write)) => Some(producer_of(write)),
            _ => None,
        });
        let producer = held?;
        let turn = context.broker.turns.take(producer.id);
        Some(Self { transactional_id: transactional_id.unwrap_or_default().to_owned(), producer, turn })
    }

    /// Appends what may be appended and refuses the rest.
    pub(super) async fn resolve(mut self, context: &RequestContext, topics: &mut [TopicEntries]) {
        self.turn.comes().await;
        let (mut asked, mut questions) = (Vec::new(), Vec::new());
        for (partition, write) in topics.iter().flat_map(held) {
            let header = &write.batch.header;
            let is_ours = producer_of(write) == self.producer;
            if is_ours && !partition.is_verified(header.producer_id, header.producer_epoch) {
                asked.push(TopicPartition::new(&*partition.topic, partition.index));
                questions.push((partition.verify(header.producer_id), header.producer_epoch));
            }
        }
        let missing = if asked.is_empty() { Ok(Vec::new()) } else { self.ask(context, asked.clone()).await };
        for (name, (question, epoch)) in asked.iter().zip(questions) {
            if missing.as_ref().is_ok_and(|missing| !missing.contains(name)) {
                match context.version >= ADDS_PARTITIONS {
                    true => question.added(epoch),
                    false => question.confirm(epoch),
                }
            }
        }
        for entry in topics.iter_mut().flat_map(|topic| &mut topic.entries) {
            let Some(partition) = &entry.partition else { continue };
            let name = TopicPartition::new(&*partition.topic, partition.index);
            let refusal = match &missing {
                Err(error) if asked.contains(&name) => Some(*error),
                Ok(missing) if missing.contains(&name) => Some(ResponseError::TransactionAbortable),
                _ => None,
            };
            match &entry.state {
                Ok(Placed::Held(write)) if producer_of(write) != self.producer => {
                    let message = "the batches of one request must be of one producer".to_owned();
                    let code = ResponseError::InvalidProducerIdMapping.code();
                    entry.state = Err(Refused { code, message });
                }
                Ok(Placed::Held(_)) if refusal.is_some() => {
                    let error = refusal.unwrap_or(ResponseError::UnknownServerError);
                    entry.state = Err(self.refused(context, error, &name));
                }
                Ok(Placed::Held(_)) => {
                    let before = std::mem::replace(&mut entry.state, Err(Refused::unknown()));
                    if let Ok(Placed::Held(write)) = before {
                        entry.state = Ok(Placed::Ticket(partition.append(write)));
                    }
                }
                _ => {}
            }
        }
    }

    /// The partitions that are not part of the transaction.
    async fn ask(
        &self,
        context: &RequestContext,
        partitions: Vec<TopicPartition>,
    ) -> Result<Vec<TopicPartition>, ResponseError> {
        let adds = context.version >= ADDS_PARTITIONS;
        let add = AddPartitions {
            transactional_id: self.transactional_id.clone(),
            producer: self.producer,
            partitions,
            protocol: if adds { Protocol::Second } else { Protocol::First },
        };
        context.broker.coordinators.admit(&context.broker, add).await
    }

    /// In the words that the request's version has. What can be tried again is NOT_ENOUGH_REPLICAS for old clients: they try
    /// that again without asking for metadata.
    fn refused(&self, context: &RequestContext, error: ResponseError, name: &TopicPartition) -> Refused {
        let told = match error {
            ResponseError::ProducerFenced => ResponseError::InvalidProducerEpoch,
            ResponseError::TransactionAbortable if context.version < KNOWS_ABORTABLE => {
                ResponseError::InvalidTxnState
            }
            ResponseError::ConcurrentTransactions if context.version < ADDS_PARTITIONS => {
                ResponseError::NotEnoughReplicas
            }
            ResponseError::NotCoordinator
            | ResponseError::CoordinatorNotAvailable
            | ResponseError::CoordinatorLoadInProgress => ResponseError::NotEnoughReplicas,
            other => other,
        };
        let (id, producer) = (&self.transactional_id, self.producer);
        let message = format!(
            "{name} cannot be written in the transaction of {id:?} by producer {}, epoch {}: {error}",
            producer.id, producer.epoch
        );
        Refused { code: told.code(), message }
    }
}

fn held(topic: &TopicEntries) -> impl Iterator<Item = (&Arc<Partition>, &Write)> {
    topic.entries.iter().filter_map(|entry| match (&entry.partition, &entry.state) {
        (Some(partition), Ok(Placed::Held(write))) => Some((partition, write)),
        _ => None,
    })
}

fn producer_of(write: &Write) -> Producer {
    Producer { id: write.batch.header.producer_id.0, epoch: write.batch.header.producer_epoch.0 }
}
