//! Which producers may write transactional batches to a partition (KIP-890).
//!
//! Before the first batch of a transaction is written, the transaction's coordinator has to say that the partition is part
//! of it. Else a late batch could open a transaction that nobody ends, and read_committed consumers would wait for ever. An
//! answer that was overtaken by a marker is worth nothing: it spoke of the transaction that the marker has ended. So a
//! partition remembers whom it asks about, and a marker makes it forget.
//!
//! Nothing of this is stored. After a restart the next batch of each open transaction is looked up once more.

use std::collections::HashMap;
use std::sync::Arc;

use millrace_wire::batch::BatchHeader;
use millrace_wire::ids::{ProducerEpoch, ProducerId};

use super::Partition;

/// By producer. Bounded by the open transactions, whose markers remove them, and by the requests being looked up.
#[derive(Debug, Default)]
pub(super) struct Verifications {
    producers: HashMap<ProducerId, State>,
    next: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The coordinator is being asked.
    Asked(u64),
    /// It says that the partition is part of the transaction.
    Verified(ProducerEpoch),
}

impl Verifications {
    /// Whether a batch may be written: that of a verified producer, or any that is not transactional.
    pub(super) fn allow(&self, header: &BatchHeader) -> bool {
        !header.attributes.is_transactional()
            || header.attributes.is_control()
            || self.is_verified(header.producer_id, header.producer_epoch)
    }

    /// Notes what is written: a marker ends what was verified.
    pub(super) fn note(&mut self, header: &BatchHeader) {
        if header.attributes.is_control() && header.has_producer() {
            self.producers.remove(&header.producer_id);
        }
    }

    fn is_verified(&self, id: ProducerId, epoch: ProducerEpoch) -> bool {
        self.producers.get(&id) == Some(&State::Verified(epoch))
    }
}

/// A question to the coordinator that is under way. Dropping it forgets the question.
pub(crate) struct Verification {
    partition: Arc<Partition>,
    producer: ProducerId,
    number: u64,
}

impl Partition {
    /// Whether the producer's transaction is known to include this partition.
    pub(crate) fn is_verified(&self, id: ProducerId, epoch: ProducerEpoch) -> bool {
        self.writer.lock().verifications.is_verified(id, epoch)
    }

    /// To be called before the coordinator is asked.
    pub(crate) fn verify(self: &Arc<Self>, producer: ProducerId) -> Verification {
        let verifications = &mut self.writer.lock().verifications;
        verifications.next += 1;
        let number = verifications.next;
        verifications.producers.insert(producer, State::Asked(number));
        Verification { partition: self.clone(), producer, number }
    }
}

impl Verification {
    /// The coordinator has said that the partition is part of the transaction. No marker came since the question, or else
    /// this changes nothing.
    pub(crate) fn confirm(self, epoch: ProducerEpoch) {
        let producers = &mut self.partition.writer.lock().verifications.producers;
        if producers.get(&self.producer) == Some(&State::Asked(self.number)) {
            producers.insert(self.producer, State::Verified(epoch));
        }
    }

    /// The coordinator has added the partition, by the second protocol. A marker that came since the question was that of the
    /// transaction before, whose end the coordinator has waited for; and one that ends this transaction already bars its
    /// epoch, so that the log itself refuses what is late.
    pub(crate) fn added(self, epoch: ProducerEpoch) {
        let producers = &mut self.partition.writer.lock().verifications.producers;
        producers.insert(self.producer, State::Verified(epoch));
    }
}

impl Drop for Verification {
    fn drop(&mut self) {
        let producers = &mut self.partition.writer.lock().verifications.producers;
        if producers.get(&self.producer) == Some(&State::Asked(self.number)) {
            producers.remove(&self.producer);
        }
    }
}
