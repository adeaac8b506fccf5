//! Reading a topic partition by partition, up to what is committed now.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_client::{
    Admin, Client, Consumer, ConsumerConfig, Error, FetchedPartition, Isolation, OffsetReset, OffsetSpec,
    Polled, Position, TopicPartition,
};
use millrace_wire::record::RecordRef;

use super::letter::Letter;

/// How long one wait for the broker may take.
const POLL_WAIT: Duration = Duration::from_millis(100);
/// How long nothing may come before the end is reached.
const STALL_LIMIT: Duration = Duration::from_secs(60);
/// Bytes that the consumer may hold.
const BUFFER_BYTES: usize = 16 << 20;

/// A dead letter where it is.
#[derive(Clone, Debug)]
pub struct Found<'a> {
    /// The dead letter topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Timestamp of the record, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Key of the record.
    pub key: Option<&'a [u8]>,
    /// Value of the record.
    pub value: Option<&'a [u8]>,
    /// What the headers tell.
    pub letter: Letter<'a>,
}

impl<'a> Found<'a> {
    /// A record, if it is a dead letter.
    pub(super) fn parse(topic: &'a str, partition: i32, record: &RecordRef<'a>) -> Option<Self> {
        let letter = Letter::parse(record.headers)?;
        let RecordRef { offset, timestamp: timestamp_ms, key, value, .. } = *record;
        Some(Self { topic, partition, offset, timestamp_ms, key, value, letter })
    }
}

/// The committed records of a topic, as they are when the scan begins.
pub(super) struct Scan {
    /// The topic's id; nil where the cluster has none.
    pub(super) topic_id: String,
    /// Where each partition ends.
    ends: BTreeMap<TopicPartition, i64>,
    consumer: Consumer,
}

impl Scan {
    /// Finds the ends; none: the topic is not there.
    pub(super) async fn open(client: &Client, topic: &str) -> Result<Option<Self>, Error> {
        let described = Admin::new(client).describe_topics(&[topic]).await?;
        let Some(info) = described.get(topic).filter(|info| !info.partitions.is_empty()) else {
            return Ok(None);
        };
        let count = i32::try_from(info.partitions.len()).unwrap_or(i32::MAX);
        let config = ConsumerConfig {
            isolation: Isolation::ReadCommitted,
            auto_offset_reset: OffsetReset::Earliest,
            buffer_bytes: BUFFER_BYTES,
            ..ConsumerConfig::default()
        };
        let consumer = Consumer::start(client, config).await?;
        let wanted = (0..count).map(|at| (TopicPartition::new(topic, at), OffsetSpec::Latest)).collect();
        let ends = consumer.list_offsets(&wanted).await?;
        let ends = ends.into_iter().filter_map(|(tp, end)| Some((tp, end.offset?))).collect();
        Ok(Some(Self { topic_id: info.id.to_string(), ends, consumer }))
    }

    /// The partitions.
    pub(super) fn partitions(&self) -> Vec<TopicPartition> {
        self.ends.keys().cloned().collect()
    }

    /// Begins to read a partition; none: from its first record.
    pub(super) fn begin(&mut self, tp: &TopicPartition, from: Option<i64>) -> Result<(), Error> {
        let from = from.map_or(Position::Earliest, Position::Offset);
        self.consumer.assign(BTreeMap::from([(tp.clone(), from)]))
    }

    /// The next records of the partition; none: its end is reached. Those from the end on are not to be looked at.
    pub(super) async fn next(
        &mut self,
        tp: &TopicPartition,
    ) -> Result<Option<(Vec<FetchedPartition>, i64)>, Error> {
        let end = self.ends.get(tp).copied().unwrap_or(0);
        let started = tokio::time::Instant::now();
        while end > 0 && self.consumer.position(tp).is_none_or(|position| position < end) {
            if let Polled::Records(fetched) = self.consumer.poll(POLL_WAIT).await? {
                return Ok(Some((fetched, end)));
            }
            if started.elapsed() > STALL_LIMIT {
                let what = format!("reading {tp} up to offset {end}");
                return Err(Error::Timeout { what, after_ms: STALL_LIMIT.as_millis() });
            }
        }
        Ok(None)
    }

    pub(super) async fn close(self) -> Result<(), Error> {
        self.consumer.close().await
    }
}
