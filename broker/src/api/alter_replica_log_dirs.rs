//! AlterReplicaLogDirs (key 34), versions 1 and 2. KIP-113.
//!
//! There is one data directory. A partition is in it already, so moving it there succeeds at once; any other directory
//! is LOG_DIR_NOT_FOUND.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use kafka_protocol::messages::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse};

use super::RequestContext;

/// Says of each partition whether it is where it is wanted.
pub(super) async fn handle(
    ctx: &RequestContext,
    request: AlterReplicaLogDirsRequest,
) -> AlterReplicaLogDirsResponse {
    let broker = &ctx.broker;
    let own = broker.config.data_dir();
    let results = request.dirs.into_iter().flat_map(|dir| {
        let is_own = std::path::Path::new(dir.path.as_str()) == own;
        dir.topics.into_iter().map(move |topic| {
            let partitions = topic.partitions.iter().map(|index| {
                let code = match broker.replicas.partition(&topic.name, *index) {
                    _ if !is_own => ResponseError::LogDirNotFound.code(),
                    Ok(_) => 0,
                    Err(error) => error.response().code(),
                };
                AlterReplicaLogDirPartitionResult::default()
                    .with_partition_index(*index)
                    .with_error_code(code)
            });
            let partitions = partitions.collect();
            AlterReplicaLogDirTopicResult::default().with_topic_name(topic.name).with_partitions(partitions)
        })
    });
    AlterReplicaLogDirsResponse::default().with_results(results.collect())
}
