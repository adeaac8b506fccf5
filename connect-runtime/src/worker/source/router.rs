//! From columns to batches per topic and partition, in one pass and without an allocation per record.
//!
//! A record with a key goes where Kafka's Java client sends it; one without a key goes to the current partition of its topic,
//! which changes when that partition's batch is full, so that batches fill up.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_client::partitioner::partition_for_key;
use millrace_wire::record::{BatchBuilder, BatchOptions};

use crate::component::batch::RecordView;

/// Bytes at which a batch is closed, before a record that would go beyond. Kafka takes batches of a little over 1 MiB by default;
/// a record that is larger by itself gets its own batch.
pub(crate) const BATCH_BYTES: usize = 512 << 10;

/// Topics that are remembered between two takings. Routing by the hour has more in the end.
const TOPICS_MAX: usize = 1_000;

/// Batches under construction.
#[derive(Debug, Default)]
pub(crate) struct Router {
    topics: BTreeMap<Arc<str>, Topic>,
    full: Vec<Routed>,
    size_bytes: usize,
}

/// A batch with its destination.
#[derive(Debug)]
pub(crate) struct Routed {
    pub topic: Arc<str>,
    pub partition: i32,
    pub batch: BatchBuilder,
}

#[derive(Debug)]
struct Topic {
    /// One slot per partition.
    open: Vec<Option<BatchBuilder>>,
    current: usize,
}

/// A record can't be routed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Error {
    /// The guest chose a partition that the topic doesn't have.
    #[error("partition {partition} was chosen for topic {topic}, which has {count}")]
    NoSuchPartition { topic: String, partition: i32, count: usize },
    /// The record is too large for a batch.
    #[error("a record for topic {topic} does not fit a batch: {reason}")]
    Record { topic: String, reason: String },
}

impl Router {
    /// Whether the number of partitions of `topic` is known.
    pub(crate) fn knows(&self, topic: &str) -> bool {
        self.topics.contains_key(topic)
    }

    /// Makes the number of partitions of `topic` known; more than 0.
    pub(crate) fn learn(&mut self, topic: &str, partitions: i32) {
        let count = usize::try_from(partitions).unwrap_or(0).max(1);
        let open = (0..count).map(|_| None).collect();
        self.topics.insert(topic.into(), Topic { open, current: 0 });
    }

    /// Adds a record of a topic that is known.
    pub(crate) fn push(&mut self, topic: &str, record: &RecordView<'_>, now_ms: i64) -> Result<(), Error> {
        let Some((name, entry)) =
            self.topics.get_key_value(topic).map(|(name, _)| Arc::clone(name)).and_then(|name| {
                let entry = self.topics.get_mut(topic)?;
                Some((name, entry))
            })
        else {
            return Err(Error::NoSuchPartition { topic: topic.to_owned(), partition: 0, count: 0 });
        };
        let mut partition = entry.partition(topic, record)?;
        let has_no_room = |open: &BatchBuilder| open.size_bytes() + record.size_bytes() > BATCH_BYTES;
        if let Some(batch) = entry.open[partition].take_if(|open| has_no_room(open)) {
            self.full.push(Routed { topic: Arc::clone(&name), partition: partition as i32, batch });
            entry.turn(partition);
            partition = entry.partition(topic, record)?;
        }
        let batch = entry.open[partition].get_or_insert_with(|| BatchBuilder::new(BatchOptions::default()));
        let before = batch.size_bytes();
        batch
            .push(record.timestamp_ms.unwrap_or(now_ms), record.key, record.value, record.headers)
            .map_err(|error| Error::Record { topic: topic.to_owned(), reason: error.to_string() })?;
        self.size_bytes += batch.size_bytes() - before;
        if batch.size_bytes() >= BATCH_BYTES {
            entry.turn(partition);
            if let Some(batch) = entry.open[partition].take() {
                self.full.push(Routed { topic: name, partition: partition as i32, batch });
            }
        }
        Ok(())
    }

    /// Bytes that wait.
    pub(crate) fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// Everything that waits, in order per partition.
    pub(crate) fn take(&mut self) -> Vec<Routed> {
        self.size_bytes = 0;
        let mut routed = std::mem::take(&mut self.full);
        for (topic, entry) in &mut self.topics {
            for (partition, open) in entry.open.iter_mut().enumerate() {
                if let Some(batch) = open.take() {
                    routed.push(Routed { topic: Arc::clone(topic), partition: partition as i32, batch });
                }
            }
        }
        if self.topics.len() > TOPICS_MAX {
            // Nothing waits in them; those that are still written to are learned again.
            self.topics.clear();
        }
        routed
    }
}

impl Topic {
    /// Where a record goes.
    fn partition(&self, topic: &str, record: &RecordView<'_>) -> Result<usize, Error> {
        let count = self.open.len();
        match (record.partition, record.key) {
            (Some(partition), _) => usize::try_from(partition)
                .ok()
                .filter(|p| *p < count)
                .ok_or_else(|| Error::NoSuchPartition { topic: topic.to_owned(), partition, count }),
            (None, Some(key)) => Ok(partition_for_key(key, count as i32) as usize),
            (None, None) => Ok(self.current),
        }
    }

    /// A batch of this partition is full: records without a key go on to the next.
    fn turn(&mut self, partition: usize) {
        if partition == self.current {
            self.current = (self.current + 1) % self.open.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record<'a>(key: Option<&'a [u8]>, value: &'a [u8]) -> RecordView<'a> {
        RecordView { key, value: Some(value), ..RecordView::default() }
    }

    #[test]
    fn keys_go_where_the_java_client_sends_them() {
        let mut router = Router::default();
        router.learn("t", 3);
        for key in [&b"21"[..], b"foobar", b"a-little-bit-long-string", b"21"] {
            router.push("t", &record(Some(key), b"v"), 7).unwrap();
        }
        for routed in router.take() {
            let wanted = [&b"21"[..], b"foobar", b"a-little-bit-long-string", b"21"];
            let count = wanted.iter().filter(|key| partition_for_key(key, 3) == routed.partition).count();
            assert_eq!(routed.batch.len(), count);
        }
        assert_eq!(router.size_bytes(), 0);
    }

    #[test]
    fn records_without_a_key_fill_one_batch_after_another() {
        let mut router = Router::default();
        router.learn("t", 2);
        let value = vec![b'x'; 1 << 10];
        for _ in 0..3 * (BATCH_BYTES >> 10) {
            router.push("t", &record(None, &value), 7).unwrap();
        }
        let partitions: Vec<i32> = router.take().iter().map(|routed| routed.partition).collect();
        assert_eq!(partitions[..3], [0, 1, 0]);
    }

    #[test]
    fn a_large_record_does_not_make_a_batch_too_large() {
        let mut router = Router::default();
        router.learn("t", 1);
        let (small, large) = (vec![b'x'; BATCH_BYTES - 1024], vec![b'y'; BATCH_BYTES + 1024]);
        for value in [&small, &large, &small, &large] {
            router.push("t", &record(None, value), 7).unwrap();
        }
        let sizes: Vec<usize> = router.take().iter().map(|routed| routed.batch.size_bytes()).collect();
        assert_eq!(sizes.len(), 4, "{sizes:?}");
        assert!(sizes.iter().all(|size| *size < 2 * BATCH_BYTES), "{sizes:?}");
    }

    #[test]
    fn many_topics_are_not_remembered_for_ever() {
        let mut router = Router::default();
        for number in 0..=TOPICS_MAX {
            let topic = format!("t{number}");
            router.learn(&topic, 1);
            router.push(&topic, &record(None, b"v"), 7).unwrap();
        }
        assert_eq!(router.take().len(), TOPICS_MAX + 1);
        assert!(!router.knows("t0"));
        assert!(router.take().is_empty());
    }

    #[test]
    fn a_partition_that_is_not_there_is_refused() {
        let mut router = Router::default();
        router.learn("t", 2);
        let record = RecordView { partition: Some(2), ..record(None, b"v") };
        let error = router.push("t", &record, 7).unwrap_err();
        assert_eq!(error.to_string(), "partition 2 was chosen for topic t, which has 2");
    }
}
