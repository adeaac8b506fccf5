//! What OffsetCommit and TxnOffsetCommit have in common: offsets in, by topic, and an error code for each out.
//!
//! Offsets of partitions that don't exist are kept from the coordinator and answered UNKNOWN_TOPIC_OR_PARTITION.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;

use super::RequestContext;
use crate::controller::Image;
use crate::coordinators::TopicPartition;
use crate::group::event::{Commit, Event, Reply};
use crate::group::offsets::CommittedOffset;

/// What the coordinator says, offset by offset.
pub(super) type Results = Result<Vec<Result<(), ResponseError>>, ResponseError>;

/// One topic of a request: each partition with its offset.
type Topic = (TopicName, Vec<(i32, CommittedOffset)>);

/// The offsets of a request, topic by topic, and how many partitions there are of each topic.
pub(super) struct Asked(Vec<(Topic, usize)>);

impl Asked {
    /// Sorts out the partitions that the broker has. A topic without any is not answered, as in Kafka.
    pub(super) fn new(image: &Image, topics: impl Iterator<Item = Topic>) -> Self {
        let known = |topic: Topic| {
            let partitions = image.topic(&topic.0).map_or(0, |topic| topic.partitions.len());
            (topic, partitions)
        };
        Self(topics.filter(|(_, offsets)| !offsets.is_empty()).map(known).collect())
    }

    /// What the coordinator is asked to store.
    pub(super) fn offsets(&self) -> Vec<(TopicPartition, CommittedOffset)> {
        let topics = self.0.iter();
        topics
            .flat_map(|((name, offsets), partitions)| {
                let named = |index: i32| TopicPartition::new(&***name, index);
                let known = offsets.iter().filter(|(index, _)| exists(*index, *partitions));
                known.map(move |(index, offset)| (named(*index), offset.clone()))
            })
            .collect()
    }

    /// The request's topics with a code for each partition. `results` are of [`Asked::offsets`], in their order.
    pub(super) fn answer(self, results: Results) -> impl Iterator<Item = (TopicName, Vec<(i32, i16)>)> {
        let (mut each, all) = match results {
            Ok(results) => (results.into_iter(), Err(ResponseError::UnknownServerError)),
            Err(error) => (Vec::new().into_iter(), Err(error)),
        };
        self.0.into_iter().map(move |((name, offsets), partitions)| {
            let code = |(index, _)| {
                let result = match exists(index, partitions) {
                    true => each.next().unwrap_or(all),
                    false => Err(ResponseError::UnknownTopicOrPartition),
                };
                (index, result.map_or_else(|error: ResponseError| error.code(), |()| 0))
            };
            (name, offsets.into_iter().map(code).collect())
        })
    }
}

fn exists(index: i32, partitions: usize) -> bool {
    usize::try_from(index).is_ok_and(|index| index < partitions)
}

/// An offset as it came. When it was committed, the coordinator says.
pub(super) fn committed(offset: i64, leader_epoch: i32, metadata: Option<&StrBytes>) -> CommittedOffset {
    let metadata = metadata.map(ToString::to_string).unwrap_or_default();
    CommittedOffset { offset, leader_epoch, metadata, commit_ms: 0, expire_ms: None }
}

/// Asks the group's coordinator; `event` makes the request of a token and the commit.
pub(super) async fn commit(
    ctx: &RequestContext,
    commit: Commit,
    event: impl FnOnce(crate::coordinators::Token, Commit) -> Event + Send + 'static,
) -> Results {
    let shard = ctx.broker.coordinators.group(&ctx.broker, &commit.member.group).await?;
    match shard.ask(move |token| event(token, commit)).await? {
        Reply::Partitions(result) => result,
        _ => Err(ResponseError::UnknownServerError),
    }
}
