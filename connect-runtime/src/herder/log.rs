//! Reading a topic of state from its first record on, for as long as the worker runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_client::{
    Admin, Client, Consumer, ConsumerConfig, Error, Isolation, OffsetReset, OffsetSpec, Polled, Position,
    TopicPartition,
};
use millrace_wire::record::RecordRef;

/// How long one wait for records takes at most.
const POLL_WAIT: Duration = Duration::from_millis(500);
/// Pause after the cluster could not be read.
const PAUSE: Duration = Duration::from_secs(1);
/// Bytes that the consumer may hold.
const BUFFER_BYTES: usize = 4 << 20;

/// A topic that is read from its beginning.
pub(super) struct Log {
    client: Client,
    topic: Arc<str>,
    consumer: Consumer,
    partitions: Vec<TopicPartition>,
    /// The ends when reading began; none: they were reached.
    ends: Option<BTreeMap<TopicPartition, i64>>,
}

impl Log {
    /// Begins to read.
    pub(super) async fn open(client: &Client, topic: &str) -> Result<Self, Error> {
        let config = ConsumerConfig {
            isolation: Isolation::ReadCommitted,
            auto_offset_reset: OffsetReset::Earliest,
            auto_commit_interval: None,
            buffer_bytes: BUFFER_BYTES,
            ..ConsumerConfig::default()
        };
        let mut consumer = Consumer::start(client, config).await?;
        let count = consumer.partition_count(topic).await?;
        let topic: Arc<str> = topic.into();
        let partitions: Vec<_> = (0..count).map(|at| TopicPartition::new(Arc::clone(&topic), at)).collect();
        let ends = ends(client, &partitions).await?;
        consumer.assign(partitions.iter().map(|tp| (tp.clone(), Position::Earliest)).collect())?;
        Ok(Self { client: client.clone(), topic, consumer, partitions, ends: Some(ends) })
    }

    /// Waits for records and hands them to `take`, in the order of each partition. Comes back now and then without any.
    pub(super) async fn poll(&mut self, mut take: impl FnMut(&RecordRef<'_>)) {
        match self.consumer.poll(POLL_WAIT).await {
            Ok(Polled::Records(fetched)) => {
                for fetched in &fetched {
                    if let Err(error) = fetched.for_each(|record| take(&record)) {
                        tracing::error!(topic = &*self.topic, %error, "a batch can't be read and is passed over");
                    }
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(topic = &*self.topic, %error, "the topic can't be read now");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// The next record of partition 0.
    pub(super) fn position(&self) -> i64 {
        self.partitions.first().and_then(|tp| self.consumer.position(tp)).unwrap_or(0)
    }

    /// Whether everything was read that was there when reading began. Says so once.
    pub(super) fn has_caught_up(&mut self) -> bool {
        let Some(ends) = &self.ends else { return false };
        let position = |tp: &TopicPartition| self.consumer.position(tp).unwrap_or(0);
        let caught_up = ends.iter().all(|(tp, end)| position(tp) >= *end);
        if caught_up {
            self.ends = None;
        }
        caught_up
    }

    /// Something that finds out the end of partition 0 later, while this goes on reading.
    pub(super) fn end(&self) -> End {
        let partition = TopicPartition::new(Arc::clone(&self.topic), 0);
        End { client: self.client.clone(), partition }
    }
}

/// See [`Log::end`].
#[derive(Clone, Debug)]
pub(super) struct End {
    client: Client,
    partition: TopicPartition,
}

impl End {
    /// The end now, of all data.
    pub(super) async fn offset(&self) -> Result<i64, Error> {
        let ends = ends(&self.client, std::slice::from_ref(&self.partition)).await?;
        Ok(ends.into_values().next().unwrap_or(0))
    }
}

/// The ends of all data: what is committed there is read once they are reached.
async fn ends(
    client: &Client,
    partitions: &[TopicPartition],
) -> Result<BTreeMap<TopicPartition, i64>, Error> {
    let wanted = partitions.iter().map(|tp| (tp.clone(), OffsetSpec::Latest)).collect();
    let ends = Admin::new(client).list_offsets(&wanted, Isolation::ReadUncommitted).await?;
    Ok(ends.into_iter().map(|(tp, end)| (tp, end.offset.unwrap_or(0))).collect())
}
