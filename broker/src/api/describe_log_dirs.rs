//! DescribeLogDirs (key 35), versions 1 to 4. KIP-113, KIP-827.
//!
//! One data directory. `offset_lag` is how far the log end is ahead of the high watermark. Sizes of the volume are not
//! told (-1, the protocol's "unknown").

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName};

use super::{RequestContext, reply};

/// Describes the data directory.
pub(super) async fn handle(ctx: &RequestContext, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    let broker = &ctx.broker;
    let wanted: Option<BTreeMap<&str, BTreeSet<i32>>> = request.topics.as_ref().map(|topics| {
        topics.iter().map(|topic| (&**topic.topic, topic.partitions.iter().copied().collect())).collect()
    });
    let mut topics: BTreeMap<String, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for partition in broker.replicas.all() {
        let asked = wanted.as_ref().is_none_or(|wanted| {
            wanted.get(&*partition.topic).is_some_and(|indexes| indexes.contains(&partition.index))
        });
        if !asked {
            continue;
        }
        let bounds = partition.bounds();
        let described = DescribeLogDirsPartition::default()
            .with_partition_index(partition.index)
            .with_partition_size(i64::try_from(partition.log().size_bytes()).unwrap_or(i64::MAX))
            .with_offset_lag((bounds.log_end.0 - bounds.high_watermark.0).max(0));
        topics.entry(partition.topic.to_string()).or_default().push(described);
    }
    let topics = topics.into_iter().map(|(name, partitions)| {
        DescribeLogDirsTopic::default().with_name(TopicName(reply::text(name))).with_partitions(partitions)
    });
    let dir = DescribeLogDirsResult::default()
        .with_log_dir(reply::text(broker.config.data_dir().display().to_string()))
        .with_topics(topics.collect())
        .with_total_bytes(-1)
        .with_usable_bytes(-1);
    DescribeLogDirsResponse::default().with_results(vec![dir])
}
