//! Joining: JoinGroup until the group has settled on a generation, SyncGroup to learn the assignment. The member that the
//! coordinator picked as leader computes the assignment for all.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::consumer_protocol_assignment::TopicPartition as Assigned;
use kafka_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use kafka_protocol::protocol::{Decodable, Encodable};
use millrace_wire::guard::{self, Embedded};

use super::Membership;
use super::assignor::{Assignment, Assignor, Members};
use crate::error::{Error, Result};
use crate::group::{Again, GroupProtocol, Round};
use crate::topic::{TopicPartition, by_topic, str_bytes, topic_name};

/// What came of it.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) partitions: Vec<TopicPartition>,
    /// Partitions per topic, if this member is the leader: it watches them.
    pub(super) partition_counts: Option<BTreeMap<Arc<str>, i32>>,
}

pub(super) const PROTOCOL_TYPE: &str = "consumer";
/// Version of subscriptions and assignments that is written.
const EMBEDDED_VERSION: i16 = 1;

/// Joins and syncs, as often as the group asks for.
pub(super) async fn join(shared: Arc<Membership>) -> Result<Joined> {
    let mut backoff = shared.cluster.backoff();
    loop {
        match shared.try_join().await {
            Ok(joined) => return Ok(joined),
            Err(error) => match shared.requests.join_again(&error) {
                Again::AtOnce => {}
                Again::AsAnother => shared.requests.forget_member(),
                Again::Later => {
                    tracing::debug!(%error, "joining again");
                    backoff.pause().await;
                }
                Again::No => return Err(error),
            },
        }
    }
}

impl Membership {
    async fn try_join(&self) -> Result<Joined> {
        let subscription = self.subscription()?;
        let protocols: Vec<_> = self
            .config
            .assignors
            .iter()
            .map(|assignor| GroupProtocol { name: assignor.name(), metadata: subscription.clone() })
            .collect();
        let round = self.requests.join(&protocols).await?;
        // A leader that came back to a stable group watches the topics again; the group keeps the assignment that it has and
        // passes over this one (`Round::keeps_assignment`).
        let (assignments, partition_counts) = match Assignor::by_name(&round.protocol) {
            Some(assignor) if round.is_leader() => {
                let (members, counts) = self.members(&round).await?;
                (assignor.assign(&members, &counts), Some(counts))
            }
            _ => (Assignment::new(), None),
        };
        let assignments = assignments
            .into_iter()
            .map(|(member, partitions)| Ok((member, encode_assignment(&partitions)?)))
            .collect::<Result<Vec<_>>>()?;
        let assignment = self.requests.sync(&round, assignments).await?;
        Ok(Joined { partitions: decode_assignment(assignment)?, partition_counts })
    }

    /// What the members want, and how many partitions the topics have.
    async fn members(&self, round: &Round) -> Result<(Members, BTreeMap<Arc<str>, i32>)> {
        let mut members = Members::new();
        for member in &round.members {
            let topics = decode_subscription(member.metadata.clone())?;
            // Static members keep their place in the order over restarts.
            members.insert((member.group_instance_id.clone(), member.member_id.clone()), topics);
        }
        let mut counts = BTreeMap::new();
        for topic in members.values().flatten() {
            if counts.contains_key(topic) {
                continue;
            }
            match self.cluster.topic(topic).await {
                Ok(info) => drop(counts.insert(topic.clone(), info.partitions.len() as i32)),
                // A topic that does not exist (any more) gives nobody anything.
                Err(error) if error.code() == Some(Code::UnknownTopicOrPartition) => {
                    counts.insert(topic.clone(), 0);
                }
                Err(error) => return Err(error),
            }
        }
        Ok((members, counts))
    }

    fn subscription(&self) -> Result<Bytes> {
        let topics = self.topics.lock().iter().map(|topic| str_bytes(topic)).collect();
        encode(&ConsumerProtocolSubscription::default().with_topics(topics))
    }
}

fn encode_assignment(partitions: &[TopicPartition]) -> Result<Bytes> {
    let topics = by_topic(partitions.iter().map(|tp| (tp, ()))).into_iter().map(|(topic, partitions)| {
        let partitions = partitions.into_iter().map(|(partition, ())| partition).collect();
        Assigned::default().with_topic(topic_name(&topic)).with_partitions(partitions)
    });
    encode(&ConsumerProtocolAssignment::default().with_assigned_partitions(topics.collect()))
}

fn encode(message: &impl Encodable) -> Result<Bytes> {
    let mut bytes = BytesMut::new();
    bytes.put_i16(EMBEDDED_VERSION);
    message.encode(&mut bytes, EMBEDDED_VERSION).map_err(|error| Error::malformed("here", error))?;
    Ok(bytes.freeze())
}

fn decode_assignment(bytes: Bytes) -> Result<Vec<TopicPartition>> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let assignment: ConsumerProtocolAssignment = decode(Embedded::Assignment, bytes)?;
    let topics = assignment.assigned_partitions.into_iter();
    let partitions = topics.flat_map(|topic| {
        let name: Arc<str> = topic.topic.0.as_str().into();
        topic.partitions.into_iter().map(move |partition| TopicPartition::new(name.clone(), partition))
    });
    Ok(partitions.collect())
}

fn decode_subscription(bytes: Bytes) -> Result<Vec<Arc<str>>> {
    let subscription: ConsumerProtocolSubscription = decode(Embedded::Subscription, bytes)?;
    Ok(subscription.topics.iter().map(|topic| topic.as_str().into()).collect())
}

/// Other members wrote these bytes: they pass the guard before they are decoded.
fn decode<M: Decodable>(kind: Embedded, mut bytes: Bytes) -> Result<M> {
    let malformed = |reason: String| Error::malformed("a group member", reason);
    if bytes.len() < 2 {
        return Err(malformed("no version".to_owned()));
    }
    let version = bytes.get_i16();
    if version < 0 {
        return Err(malformed(format!("version {version}")));
    }
    // Newer versions append fields, which are passed over.
    let version = version.min(NEWEST_EMBEDDED);
    guard::embedded(kind, version, &bytes).map_err(|error| malformed(error.to_string()))?;
    M::decode(&mut bytes, version).map_err(|error| malformed(error.to_string()))
}

const NEWEST_EMBEDDED: i16 = 3;
