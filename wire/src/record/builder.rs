//! Builds a batch: records are appended to one buffer which has room for the header in front.

use std::mem;

use bytes::Bytes;

use super::Error;
use crate::batch::{Attributes, BatchHeader, HEADER_LEN, LENGTH_END, TimestampType, seal};
use crate::compression::Compression;
use crate::ids::{LeaderEpoch, NO_SEQUENCE, Offset, ProducerEpoch, ProducerId};
use crate::varint;

/// What a batch says besides its records.
#[derive(Debug, Clone, Copy, Default)]
pub struct BatchOptions {
    /// Codec that [`BatchBuilder::build`] applies.
    pub compression: Compression,
    /// Level of the codec, if it has levels; none is its default. See [`Compression::compress_at`].
    pub level: Option<i32>,
    /// Identity of an idempotent producer.
    pub producer: Option<ProducerStamp>,
    /// Whether the batch belongs to a transaction.
    pub transactional: bool,
    /// Whether it holds control records.
    pub control: bool,
    /// Bytes to reserve at once; the buffer grows past it when it must.
    pub capacity: usize,
}

/// Identity and place of an idempotent producer's batch (KIP-98).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerStamp {
    /// The producer.
    pub id: ProducerId,
    /// Its generation.
    pub epoch: ProducerEpoch,
    /// Sequence number of the batch's first record.
    pub base_sequence: i32,
}

/// A batch under construction.
///
/// Invariant: `buffer` begins with [`HEADER_LEN`] bytes kept for the header and never exceeds what `batch length`
/// can say.
#[derive(Debug)]
pub struct BatchBuilder {
    options: BatchOptions,
    buffer: Vec<u8>,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

/// Longest batch that the 32-bit length field can describe.
const MAX_BATCH: usize = i32::MAX as usize;

impl BatchBuilder {
    /// An empty batch.
    pub fn new(options: BatchOptions) -> Self {
        let mut buffer = Vec::with_capacity(options.capacity.max(HEADER_LEN));
        buffer.resize(HEADER_LEN, 0);
        Self { options, buffer, count: 0, base_timestamp: 0, max_timestamp: -1 }
    }

    /// Appends a record. `timestamp` counts milliseconds since 1970.
    ///
    /// Refuses only what the format cannot hold: a batch of more than 2 GiB or 2^31 records.
    #[inline]
    pub fn push<'a, H>(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: H,
    ) -> Result<(), Error>
    where
        H: IntoIterator<Item = (&'a [u8], Option<&'a [u8]>), IntoIter: Clone>,
    {
        let headers = headers.into_iter();
        let base_timestamp = if self.count == 0 { timestamp } else { self.base_timestamp };
        let delta = timestamp.wrapping_sub(base_timestamp);
        let body = body_size(delta, self.count, key, value, headers.clone());
        let size = body + varint::len_u64((body as u64) << 1);
        if size > MAX_BATCH - self.buffer.len().min(MAX_BATCH) || self.count == i32::MAX {
            return Err(Error::TooLarge { record_bytes: size, batch_bytes: self.buffer.len() });
        }
        self.base_timestamp = base_timestamp;
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let start = self.buffer.len();
        self.buffer.reserve(size);
        write_record(&mut self.buffer, body, (delta, self.count), key, value, headers);
        debug_assert_eq!(self.buffer.len() - start, size);
        self.count += 1;
        Ok(())
    }

    /// Records so far.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is no record yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the batch so far, header included, before compression.
    pub fn size_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Milliseconds since 1970 of the latest record, or -1.
    pub fn max_timestamp(&self) -> i64 {
        self.max_timestamp
    }

    /// The options it was made with.
    pub fn options(&self) -> &BatchOptions {
        &self.options
    }

    /// Sets the producer's identity, which is often known only when the batch is about to be sent.
    pub fn set_producer(&mut self, producer: Option<ProducerStamp>, transactional: bool) {
        self.options.producer = producer;
        self.options.transactional = transactional;
    }

    /// Replaces the codec that [`Self::build`] applies.
    pub fn set_compression(&mut self, compression: Compression) {
        self.options.compression = compression;
    }

    /// Compresses, writes the header with its CRC and gives the finished batch. An empty builder gives a batch with
    /// no records, which brokers refuse: check [`Self::is_empty`] first.
    pub fn build(mut self, base_offset: Offset) -> Result<Bytes, Error> {
        let mut batch = mem::take(&mut self.buffer);
        let codec = self.options.compression;
        if codec != Compression::None {
            let mut packed = Vec::with_capacity(HEADER_LEN + batch.len() / 2);
            packed.resize(HEADER_LEN, 0);
            codec
                .compress_at(self.options.level, &batch[HEADER_LEN..], &mut packed)
                .map_err(|source| Error::Compression { base_offset: base_offset.0, source })?;
            batch = packed;
        }
        let header = self.header(base_offset, batch.len());
        seal(&mut batch, &header);
        Ok(Bytes::from(batch))
    }

    fn header(&self, base_offset: Offset, size: usize) -> BatchHeader {
        let attributes = Attributes::default()
            .with_compression(self.options.compression)
            .with_timestamp_type(TimestampType::Create)
            .with_transactional(self.options.transactional)
            .with_control(self.options.control);
        let producer = self.options.producer;
        BatchHeader {
            base_offset,
            // `push` keeps the batch below 2 GiB; a codec's overhead on such a batch saturates and is refused by
            // whoever reads the length.
            batch_length: i32::try_from(size - LENGTH_END).unwrap_or(i32::MAX),
            partition_leader_epoch: LeaderEpoch::NONE,
            crc: 0,
            attributes,
            last_offset_delta: (self.count - 1).max(0),
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: producer.map_or(ProducerId::NONE, |p| p.id),
            producer_epoch: producer.map_or(ProducerEpoch::NONE, |p| p.epoch),
            base_sequence: producer.map_or(NO_SEQUENCE, |p| p.base_sequence),
            record_count: self.count,
        }
    }
}

/// Most bytes that [`BatchBuilder::push`] would add for a record, whatever the batch holds already.
pub fn record_size<'a, H>(key: Option<&[u8]>, value: Option<&[u8]>, headers: H) -> usize
where
    H: IntoIterator<Item = (&'a [u8], Option<&'a [u8]>), IntoIter: Clone>,
{
    varint::MAX_LEN_32 + body_size(i64::MIN, i32::MAX, key, value, headers.into_iter())
}

/// Appends a record whose fields have `body` bytes; `deltas` are those of its time and its offset.
pub(super) fn write_record<'a>(
    out: &mut Vec<u8>,
    body: usize,
    deltas: (i64, i32),
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + Clone,
) {
    varint::write_u64(out, (body as u64) << 1);
    out.push(0); // attributes: no bit is defined
    varint::write_i64(out, deltas.0);
    varint::write_i32(out, deltas.1);
    put_bytes(out, key);
    put_bytes(out, value);
    varint::write_u64(out, (headers.clone().count() as u64) << 1);
    for (name, value) in headers {
        put_bytes(out, Some(name));
        put_bytes(out, value);
    }
}

pub(super) fn body_size<'a>(
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
) -> usize {
    let mut size = 1
        + varint::len_i64(timestamp_delta)
        + varint::len_i32(offset_delta)
        + bytes_size(key)
        + bytes_size(value);
    let mut count = 0u64;
    for (name, value) in headers {
        size += bytes_size(Some(name)) + bytes_size(value);
        count += 1;
    }
    size + varint::len_u64(count << 1)
}

fn bytes_size(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint::len_u64((bytes.len() as u64) << 1) + bytes.len())
}

#[inline]
fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => out.push(1), // zigzag -1
        Some(bytes) => {
            varint::write_u64(out, (bytes.len() as u64) << 1);
            out.extend_from_slice(bytes);
        }
    }
}
