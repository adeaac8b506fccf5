//! The ends of a topic's partitions, and places before them.

use std::collections::BTreeMap;

use millrace_client::{Admin, Client, Consumer, OffsetSpec, Position, TopicPartition};

use crate::exit::Failure;
use crate::topic;

/// Places by partition.
pub(crate) type Places = BTreeMap<TopicPartition, i64>;

/// All partitions of a topic that is there. The admin's question creates none, as a consumer's own would.
pub(crate) async fn partitions(client: &Client, name: &str) -> Result<Vec<TopicPartition>, Failure> {
    let described = Admin::new(client).describe_topics(&[name]).await.map_err(Failure::client)?;
    let info = described.get(name).filter(|info| info.error.is_none());
    let info = info.ok_or_else(|| Failure::Runtime(topic::missing(name)))?;
    let count = i32::try_from(info.partitions.len()).unwrap_or(i32::MAX);
    Ok((0..count).map(|partition| TopicPartition::new(name, partition)).collect())
}

/// Where to begin for the last `count` records of each partition, and where those that have any end.
pub(crate) async fn before_end(
    consumer: &Consumer,
    partitions: &[TopicPartition],
    count: i64,
) -> Result<(BTreeMap<TopicPartition, Position>, Places), Failure> {
    let first = offsets(consumer, partitions, OffsetSpec::Earliest).await?;
    let mut ends = offsets(consumer, partitions, OffsetSpec::Latest).await?;
    ends.retain(|tp, end| first.get(tp).is_none_or(|first| first < end));
    let back = |(tp, end): (&TopicPartition, &i64)| {
        let first = first.get(tp).copied().unwrap_or(0);
        (tp.clone(), Position::Offset(end.saturating_sub(count).max(first)))
    };
    Ok((ends.iter().map(back).collect(), ends))
}

async fn offsets(
    consumer: &Consumer,
    partitions: &[TopicPartition],
    spec: OffsetSpec,
) -> Result<Places, Failure> {
    let wanted = partitions.iter().map(|tp| (tp.clone(), spec)).collect();
    let listed = consumer.list_offsets(&wanted).await.map_err(Failure::client)?;
    Ok(listed.into_iter().filter_map(|(tp, listed)| Some((tp, listed.offset?))).collect())
}
