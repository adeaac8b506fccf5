//! The news about a batch, shared by all its records.

use tokio::sync::watch;

use crate::error::{Error, Result};
use crate::topic::TopicPartition;

/// Where a record went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordMetadata {
    /// Partition.
    pub partition: i32,
    /// Offset; -1 if the broker recognised a duplicate whose offset it no longer knows.
    pub offset: i64,
    /// Milliseconds since 1970: the broker's if the topic uses LogAppendTime, else the record's (-1 for a batch).
    pub timestamp: i64,
}

/// What the broker said about a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ack {
    pub(super) base_offset: i64,
    pub(super) log_append_time: i64,
}

type News = Option<Result<Ack>>;

/// The sender's end.
#[derive(Debug)]
pub(super) struct Completion(watch::Sender<News>);

/// What [`super::Producer::send`] gives: wait on it, or drop it if the answer does not matter.
#[derive(Debug, Clone)]
#[must_use = "a record may fail after it was queued; wait, or flush and look at the error"]
pub struct Delivery {
    news: watch::Receiver<News>,
    tp: TopicPartition,
    /// Place of the record in its batch.
    index: i64,
    timestamp: i64,
}

impl Completion {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    pub(super) fn delivery(&self, tp: &TopicPartition, index: usize) -> Delivery {
        Delivery { news: self.0.subscribe(), tp: tp.clone(), index: index as i64, timestamp: -1 }
    }

    pub(super) fn done(&self, result: Result<Ack>) {
        self.0.send_replace(Some(result));
    }
}

impl Delivery {
    pub(super) fn at(mut self, timestamp: i64) -> Self {
        self.timestamp = timestamp;
        self
    }

    /// Waits until the record is in the log, or will not be.
    pub async fn wait(mut self) -> Result<RecordMetadata> {
        let ack = match self.news.wait_for(Option::is_some).await {
            Ok(news) => news.clone().unwrap_or(Err(Error::Closed("producer")))?,
            Err(_) => return Err(Error::Closed("producer")),
        };
        let offset = if ack.base_offset < 0 { -1 } else { ack.base_offset + self.index };
        let timestamp = if ack.log_append_time >= 0 { ack.log_append_time } else { self.timestamp };
        Ok(RecordMetadata { partition: self.tp.partition, offset, timestamp })
    }

    /// The topic and partition that were chosen.
    pub fn partition(&self) -> &TopicPartition {
        &self.tp
    }
}
