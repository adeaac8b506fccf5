//! OffsetDelete (key 47), version 0. KIP-496.
//!
//! Takes single committed offsets away, except of topics that members of the group subscribe to
//! (GROUP_SUBSCRIBED_TO_TOPIC).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use super::RequestContext;
use crate::coordinators::TopicPartition;
use crate::group::event::{Event, Reply};

/// Deletes committed offsets.
pub(super) async fn handle(ctx: &RequestContext, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let image = ctx.broker.image();
    let exists = |name: &str, index: i32| {
        let partitions = image.topic(name).map_or(0, |topic| topic.partitions.len());
        usize::try_from(index).is_ok_and(|index| index < partitions)
    };
    let asked = request.topics.iter().flat_map(|topic| {
        let indexes = topic.partitions.iter().map(|partition| partition.partition_index);
        let known = indexes.filter(|index| exists(&topic.name, *index));
        known.map(|index| TopicPartition::new(&**topic.name, index))
    });
    let results = match delete(ctx, &request.group_id, asked.collect()).await {
        Ok(results) => results,
        Err(error) => return OffsetDeleteResponse::default().with_error_code(error.code()),
    };
    let mut results = results.into_iter();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|partition| {
            let index = partition.partition_index;
            let code = match exists(&topic.name, index).then(|| results.next()) {
                None => ResponseError::UnknownTopicOrPartition.code(),
                Some(Some(Ok(()))) => 0,
                Some(Some(Err(error))) => error.code(),
                Some(None) => ResponseError::UnknownServerError.code(),
            };
            OffsetDeleteResponsePartition::default().with_partition_index(index).with_error_code(code)
        });
        let partitions = Vec::from_iter(partitions);
        OffsetDeleteResponseTopic::default().with_name(topic.name).with_partitions(partitions)
    });
    OffsetDeleteResponse::default().with_topics(topics.collect())
}

async fn delete(
    ctx: &RequestContext,
    group: &str,
    partitions: Vec<TopicPartition>,
) -> Result<Vec<Result<(), ResponseError>>, ResponseError> {
    if group.is_empty() {
        return Err(ResponseError::InvalidGroupId);
    }
    let shard = ctx.broker.coordinators.group(&ctx.broker, group).await?;
    let group = group.to_owned();
    match shard.ask(move |token| Event::DeleteOffsets(token, group, partitions)).await? {
        Reply::Partitions(result) => result,
        _ => Err(ResponseError::UnknownServerError),
    }
}
