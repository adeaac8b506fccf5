//! Joining: JoinGroup until the group has settled on a generation, SyncGroup to learn the assignment. The member that the
//! coordinator picked as leader computes the assignment for all.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::consumer_protocol_assignment::TopicPartition as Assigned;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, JoinGroupRequest, JoinGroupResponse,
    LeaveGroupRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use millrace_wire::guard::{self, Embedded};

use super::assignor::{Assignment, Assignor, Members};
use super::{Member, Membership};
use crate::error::{Error, Result};
use crate::topic::{TopicPartition, by_topic, group_id, str_bytes, topic_name};

/// What came of it.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) partitions: Vec<TopicPartition>,
    /// Partitions per topic, if this member is the leader: it watches them.
    pub(super) partition_counts: Option<BTreeMap<Arc<str>, i32>>,
}

const PROTOCOL_TYPE: &str = "consumer";
/// Version of subscriptions and assignments that is written.
const EMBEDDED_VERSION: i16 = 1;

/// Joins and syncs, as often as the group asks for.
pub(super) async fn join(shared: Arc<Membership>) -> Result<Joined> {
    let mut backoff = shared.cluster.backoff();
    loop {
        match shared.try_join().await {
            Ok(joined) => return Ok(joined),
            Err(error) => match error.code() {
                // The next attempt carries the id that came with the error.
                Some(Code::MemberIdRequired) => {}
                Some(Code::UnknownMemberId | Code::IllegalGeneration) => shared.forget_member(),
                Some(Code::RebalanceInProgress) => {}
                _ if error.is_retriable() => {
                    tracing::debug!(%error, "joining again");
                    backoff.pause().await;
                }
                _ => return Err(error),
            },
        }
    }
}

impl Membership {
    async fn try_join(&self) -> Result<Joined> {
        let joined = self.join_group().await?;
        let assignor = joined.protocol_name.as_deref().and_then(Assignor::by_name);
        let (assignments, partition_counts) = match assignor {
            Some(assignor) if joined.leader == joined.member_id => {
                let (members, counts) = self.members(&joined).await?;
                (assignor.assign(&members, &counts), Some(counts))
            }
            _ => (Assignment::new(), None),
        };
        let partitions = self.sync_group(&joined, assignments).await?;
        Ok(Joined { partitions, partition_counts })
    }

    async fn join_group(&self) -> Result<JoinGroupResponse> {
        let subscription = self.subscription()?;
        let protocols = self.config.assignors.iter().map(|assignor| {
            JoinGroupRequestProtocol::default()
                .with_name(StrBytes::from_static_str(assignor.name()))
                .with_metadata(subscription.clone())
        });
        let request = JoinGroupRequest::default()
            .with_group_id(group_id(&self.group_id))
            .with_session_timeout_ms(millis(self.config.session_timeout))
            .with_rebalance_timeout_ms(millis(self.config.max_poll_interval))
            .with_member_id(str_bytes(&self.member.lock().id))
            .with_group_instance_id(self.config.group_instance_id.as_deref().map(str_bytes))
            .with_protocol_type(StrBytes::from_static_str(PROTOCOL_TYPE))
            .with_protocols(protocols.collect());
        // The coordinator answers when all members have joined, or their time is up.
        let done: Result<JoinGroupResponse> = async {
            let connection = self.coordinator.connection().await?;
            let version = connection.version_of::<JoinGroupRequest>()?;
            let limit = self.cluster.config().request_timeout + self.config.max_poll_interval;
            let response = connection.request_within(&request, version, limit).await?;
            if response.error_code == Code::MemberIdRequired.code() {
                self.member.lock().id = response.member_id.to_string();
            }
            Error::check("JoinGroup", || self.subject(), response.error_code)?;
            Ok(response)
        }
        .await;
        let response = done.inspect_err(|error| self.look_again(error))?;
        *self.member.lock() =
            Member { id: response.member_id.to_string(), generation: response.generation_id };
        Ok(response)
    }

    async fn sync_group(
        &self,
        joined: &JoinGroupResponse,
        assignments: Assignment,
    ) -> Result<Vec<TopicPartition>> {
        let assignments = assignments.into_iter().map(|(member, partitions)| {
            Ok(SyncGroupRequestAssignment::default()
                .with_member_id(str_bytes(&member))
                .with_assignment(encode_assignment(&partitions)?))
        });
        let request = SyncGroupRequest::default()
            .with_group_id(group_id(&self.group_id))
            .with_generation_id(joined.generation_id)
            .with_member_id(joined.member_id.clone())
            .with_group_instance_id(self.config.group_instance_id.as_deref().map(str_bytes))
            .with_protocol_type(Some(StrBytes::from_static_str(PROTOCOL_TYPE)))
            .with_protocol_name(joined.protocol_name.clone())
            .with_assignments(assignments.collect::<Result<_>>()?);
        let done: Result<Bytes> = async {
            let connection = self.coordinator.connection().await?;
            let version = connection.version_of::<SyncGroupRequest>()?;
            let limit = self.cluster.config().request_timeout + self.config.max_poll_interval;
            let response = connection.request_within(&request, version, limit).await?;
            Error::check("SyncGroup", || self.subject(), response.error_code)?;
            Ok(response.assignment)
        }
        .await;
        let assignment = done.inspect_err(|error| self.look_again(error))?;
        decode_assignment(assignment)
    }

    fn look_again(&self, error: &Error) {
        if error.wants_coordinator() {
            self.coordinator.forget();
        }
    }

    /// What the members want, and how many partitions the topics have.
    async fn members(&self, joined: &JoinGroupResponse) -> Result<(Members, BTreeMap<Arc<str>, i32>)> {
        let mut members = Members::new();
        for member in &joined.members {
            let topics = decode_subscription(member.metadata.clone())?;
            // Static members keep their place in the order over restarts.
            let order = member.group_instance_id.as_ref().map(|id| id.to_string());
            members.insert((order, member.member_id.to_string()), topics);
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

    /// Tells the coordinator that this member is gone. It stays who it was for whatever the application still commits, which
    /// is then refused; without a name it would count as one from outside of the group, whom no generation fences.
    pub(super) async fn leave(&self) -> Result<()> {
        let member = self.member.lock().clone();
        if member.id.is_empty() || self.config.group_instance_id.is_some() {
            return Ok(());
        }
        let connection = self.coordinator.connection().await?;
        let id = str_bytes(&member.id);
        let version = connection.version_of::<LeaveGroupRequest>()?;
        let request = LeaveGroupRequest::default().with_group_id(group_id(&self.group_id));
        let request = match version >= FIRST_WITH_SEVERAL_LEAVING {
            true => request.with_members(vec![MemberIdentity::default().with_member_id(id)]),
            false => request.with_member_id(id),
        };
        let response = connection.request(&request).await?;
        Error::check("LeaveGroup", || self.subject(), response.error_code)
    }
}

const FIRST_WITH_SEVERAL_LEAVING: i16 = 3;

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

fn millis(duration: std::time::Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
