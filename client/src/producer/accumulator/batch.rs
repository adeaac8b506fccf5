//! One batch on its way from the application to the log.

use bytes::Bytes;
use millrace_wire::batch::RawBatch;
use millrace_wire::ids::Offset;
use millrace_wire::record::{self, BatchBuilder, ProducerStamp};
use tokio::time::Instant;

use super::super::delivery::{Completion, Delivery};
use crate::error::{Error, Result};
use crate::topic::TopicPartition;
use std::sync::Arc;

#[derive(Debug)]
pub(in crate::producer) struct Batch {
    pub(super) id: u64,
    pub(in crate::producer) tp: TopicPartition,
    payload: Payload,
    pub(super) count: usize,
    /// Bytes of `buffer.memory` that it holds.
    pub(super) reserved: usize,
    pub(super) completion: Completion,
    pub(super) created_at: Instant,
    /// Nothing more is added.
    pub(super) is_sealed: bool,
    /// Sequence number of its first record, once it was taken.
    pub(super) sequence: Option<i32>,
    /// Its place among the batches that got numbers.
    pub(super) ordinal: u64,
    /// An attempt ended without an answer: it may be in the log.
    pub(super) in_doubt: bool,
    pub(in crate::producer) attempts: u32,
}

#[derive(Debug)]
enum Payload {
    Building(Box<BatchBuilder>),
    Built(RawBatch),
    /// Only between the two.
    Gone,
}

impl Batch {
    pub(super) fn open(id: u64, tp: TopicPartition, builder: BatchBuilder) -> Self {
        Self {
            id,
            tp,
            count: builder.len(),
            payload: Payload::Building(Box::new(builder)),
            reserved: 0,
            completion: Completion::new(),
            created_at: Instant::now(),
            is_sealed: false,
            sequence: None,
            ordinal: 0,
            in_doubt: false,
            attempts: 0,
        }
    }

    pub(super) fn sealed(id: u64, tp: TopicPartition, builder: BatchBuilder, size: usize) -> Self {
        Self { is_sealed: true, reserved: size, ..Self::open(id, tp, builder) }
    }

    /// A batch of finished bytes.
    #[cfg(test)]
    pub(in crate::producer) fn finished(tp: TopicPartition, bytes: Bytes) -> Self {
        let builder = BatchBuilder::new(Default::default());
        let built = builder.build(Offset(0)).unwrap();
        let header = RawBatch::parse(&built).unwrap().header;
        Self {
            payload: Payload::Built(RawBatch { header, bytes }),
            ..Self::open(0, tp, BatchBuilder::new(Default::default()))
        }
    }

    /// Bytes so far, if more may be added.
    pub(super) fn open_size(&self) -> Option<usize> {
        match &self.payload {
            Payload::Building(builder) if !self.is_sealed => Some(builder.size_bytes()),
            _ => None,
        }
    }

    /// Appends a record; says whether the batch is full now.
    pub(super) fn push(
        &mut self,
        size: usize,
        batch_size: usize,
        append: impl FnOnce(&mut BatchBuilder) -> std::result::Result<(), record::Error>,
    ) -> Result<(Delivery, bool)> {
        let Payload::Building(builder) = &mut self.payload else {
            return Err(Error::Closed("batch"));
        };
        append(builder)
            .map_err(|source| Error::Record { subject: self.tp.to_string(), source: Arc::new(source) })?;
        let delivery = self.completion.delivery(&self.tp, self.count);
        self.count += 1;
        self.reserved += size;
        self.is_sealed = builder.size_bytes() >= batch_size;
        Ok((delivery, self.is_sealed))
    }

    pub(super) fn delivery(&self) -> Delivery {
        self.completion.delivery(&self.tp, 0)
    }

    /// Bytes in a request.
    pub(super) fn size(&self) -> usize {
        match &self.payload {
            Payload::Building(builder) => builder.size_bytes(),
            Payload::Built(batch) => batch.bytes.len(),
            Payload::Gone => 0,
        }
    }

    /// Says under which identity and number it goes out.
    pub(super) fn stamp(&mut self, stamp: ProducerStamp, transactional: bool) {
        self.attempts += 1;
        match &mut self.payload {
            Payload::Building(builder) => builder.set_producer(Some(stamp), transactional),
            Payload::Built(batch) => {
                let header = &batch.header;
                let same = (header.producer_id, header.producer_epoch, header.base_sequence)
                    == (stamp.id, stamp.epoch, stamp.base_sequence);
                if !same {
                    *batch = batch.with_producer(stamp);
                }
            }
            Payload::Gone => {}
        }
    }

    /// Compresses and seals it, if that has not been done. Not under the accumulator's lock: it takes time.
    pub(in crate::producer) fn build(&mut self) -> Result<()> {
        let failed = |source: Arc<record::Error>| Error::Record { subject: self.tp.to_string(), source };
        self.payload = match std::mem::replace(&mut self.payload, Payload::Gone) {
            Payload::Building(builder) => {
                let bytes = builder.build(Offset(0)).map_err(|source| failed(Arc::new(source)))?;
                let batch = RawBatch::parse(&bytes).map_err(|error| Error::malformed("here", error))?;
                Payload::Built(batch)
            }
            done => done,
        };
        Ok(())
    }

    /// What goes on the wire; empty until it was built.
    pub(in crate::producer) fn bytes(&self) -> Bytes {
        match &self.payload {
            Payload::Built(batch) => batch.bytes.clone(),
            _ => Bytes::new(),
        }
    }

    pub(super) fn in_doubt_error(&self, reason: &str) -> Error {
        Error::InDoubt { subject: self.tp.to_string(), count: self.count, reason: reason.to_owned() }
    }
}
