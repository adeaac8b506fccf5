//! Settings of a producer, with Kafka's names and defaults where Kafka has the thing.

use std::time::Duration;

use millrace_wire::compression::Compression;

use crate::error::{Error, Result};

/// How a producer behaves. `acks` is always `all` and idempotence always on.
#[derive(Debug, Clone)]
pub struct ProducerConfig {
    /// `linger.ms`: how long a batch that is not full waits for more.
    pub linger: Duration,
    /// `batch.size`: bytes at which a batch is full, before compression.
    pub batch_size: usize,
    /// `buffer.memory`: bytes of all records that are not answered yet; `send` waits past it.
    pub buffer_memory: usize,
    /// `max.block.ms`: how long `send` waits for memory or metadata.
    pub max_block: Duration,
    /// `compression.type`
    pub compression: Compression,
    /// `max.request.size`: most bytes of one request; also of one record.
    pub max_request_size: usize,
    /// `max.in.flight.requests.per.connection`; brokers remember five batches per producer, so 1 to 5.
    pub max_in_flight: usize,
    /// `delivery.timeout.ms`: when a batch is given up, counted from its first record.
    pub delivery_timeout: Duration,
    /// `transactional.id`
    pub transactional_id: Option<String>,
    /// `transaction.timeout.ms`: when the broker aborts a transaction that was left open.
    pub transaction_timeout: Duration,
}

/// Batches that a broker remembers per producer and partition to tell duplicates.
const MAX_IN_FLIGHT: usize = 5;
/// Lengths on the wire have 31 bits.
const MAX_BYTES: usize = i32::MAX as usize;

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            linger: Duration::from_millis(5),
            batch_size: 16 * 1024,
            buffer_memory: 32 * 1024 * 1024,
            max_block: Duration::from_secs(60),
            compression: Compression::None,
            max_request_size: 1024 * 1024,
            max_in_flight: MAX_IN_FLIGHT,
            delivery_timeout: Duration::from_secs(120),
            transactional_id: None,
            transaction_timeout: Duration::from_secs(60),
        }
    }
}

impl ProducerConfig {
    pub(super) fn check(&self) -> Result<()> {
        let refuse = |name, value: String, expected| Err(Error::Config { name, value, expected });
        if !(1..=MAX_IN_FLIGHT).contains(&self.max_in_flight) {
            let value = self.max_in_flight.to_string();
            return refuse("max.in.flight.requests.per.connection", value, "expected 1 to 5");
        }
        if self.max_request_size == 0 || self.max_request_size > MAX_BYTES {
            return refuse("max.request.size", self.max_request_size.to_string(), "expected 1 to 2147483647");
        }
        if self.buffer_memory == 0 || self.buffer_memory > MAX_BYTES {
            return refuse("buffer.memory", self.buffer_memory.to_string(), "expected 1 to 2147483647");
        }
        if self.transactional_id.as_deref() == Some("") {
            return refuse("transactional.id", String::new(), "expected a name or nothing");
        }
        Ok(())
    }
}
