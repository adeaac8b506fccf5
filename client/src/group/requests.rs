//! The four requests of a member, and who it is to its coordinator. What comes of an answer beyond that is the caller's.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    SyncGroupRequest,
};
use kafka_protocol::protocol::{Request, StrBytes};
use parking_lot::Mutex;

use super::{GroupConfig, GroupProtocol, Round, RoundMember};
use crate::cluster::{Cluster, CoordinatorKind, Coordinators};
use crate::error::{Error, Result};
use crate::offsets::GroupMetadata;
use crate::topic::{group_id, str_bytes};

/// Generation of those who are not members.
const NO_GENERATION: i32 = -1;
const FIRST_WITH_SEVERAL_LEAVING: i16 = 3;

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct GroupRequests {
    cluster: Arc<Cluster>,
    coordinator: Coordinators,
    /// The same for heartbeats.
    pulse: Coordinators,
    config: GroupConfig,
    member: Mutex<Identity>,
}

/// Who this member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: String,
    pub(crate) generation: i32,
}

impl Identity {
    const NOBODY: Self = Self { id: String::new(), generation: NO_GENERATION };

    /// Whether the group has answered a join of it.
    pub(crate) fn is_member(&self) -> bool {
        self.generation != NO_GENERATION
    }
}

impl GroupRequests {
    /// Brokers answer a connection's requests in order, and a join may take its time: heartbeats that go on meanwhile need
    /// `pulse` to be other connections than `cluster`.
    pub(crate) fn new(cluster: Arc<Cluster>, pulse: Arc<Cluster>, config: GroupConfig) -> Self {
        let coordinator = Coordinators::new(cluster.clone(), CoordinatorKind::Group, &config.group_id);
        let pulse = Coordinators::new(pulse, CoordinatorKind::Group, &config.group_id);
        Self { cluster, coordinator, pulse, config, member: Mutex::new(Identity::NOBODY) }
    }

    pub(crate) fn config(&self) -> &GroupConfig {
        &self.config
    }

    pub(crate) fn identity(&self) -> Identity {
        self.member.lock().clone()
    }

    /// This member begins anew, as somebody that the group doesn't know.
    pub(crate) fn forget_member(&self) {
        *self.member.lock() = Identity::NOBODY;
    }

    /// As after a join.
    #[cfg(test)]
    pub(crate) fn become_member(&self, id: &str, generation: i32) {
        *self.member.lock() = Identity { id: id.to_owned(), generation };
    }

    /// For transactions and commits.
    pub(crate) fn metadata(&self) -> GroupMetadata {
        let member = self.identity();
        GroupMetadata {
            group_id: self.config.group_id.clone(),
            generation_id: member.generation,
            member_id: if member.is_member() { member.id } else { String::new() },
            group_instance_id: self.config.group_instance_id.clone(),
        }
    }

    /// Joins and waits until the group has settled on a generation: all members have joined, or their time is up.
    ///
    /// An error of which [`Self::join_again`] says so is part of joining.
    pub(crate) async fn join(&self, protocols: &[GroupProtocol]) -> Result<Round> {
        let protocols = protocols.iter().map(|protocol| {
            JoinGroupRequestProtocol::default()
                .with_name(StrBytes::from_static_str(protocol.name))
                .with_metadata(protocol.metadata.clone())
        });
        let request = JoinGroupRequest::default()
            .with_group_id(group_id(&self.config.group_id))
            .with_session_timeout_ms(millis(self.config.session_timeout))
            .with_rebalance_timeout_ms(millis(self.config.rebalance_timeout))
            .with_member_id(str_bytes(&self.identity().id))
            .with_group_instance_id(self.instance())
            .with_protocol_type(StrBytes::from_static_str(self.config.protocol_type))
            .with_protocols(protocols.collect());
        let response = self
            .patiently(&request, |response: &JoinGroupResponse| {
                if response.error_code == Code::MemberIdRequired.code() {
                    self.member.lock().id = response.member_id.to_string();
                }
                Error::check("JoinGroup", || self.subject(), response.error_code)
            })
            .await?;
        *self.member.lock() =
            Identity { id: response.member_id.to_string(), generation: response.generation_id };
        Ok(round(response))
    }

    /// Whether joining goes on after this error, and what for: at once, or else after a pause.
    pub(crate) fn join_again(&self, error: &Error) -> Again {
        match error.code() {
            // The next attempt carries the id that came with the error.
            Some(Code::MemberIdRequired | Code::RebalanceInProgress) => Again::AtOnce,
            Some(Code::UnknownMemberId | Code::IllegalGeneration) => Again::AsAnother,
            _ if error.is_retriable() => Again::Later,
            _ => Again::No,
        }
    }

    /// Asks for this member's assignment; a leader brings everybody's.
    pub(crate) async fn sync(
        &self,
        round: &Round,
        assignments: impl IntoIterator<Item = (String, Bytes)>,
    ) -> Result<Bytes> {
        let assignments = assignments.into_iter().map(|(member, assignment)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(str_bytes(&member))
                .with_assignment(assignment)
        });
        let request = SyncGroupRequest::default()
            .with_group_id(group_id(&self.config.group_id))
            .with_generation_id(round.generation_id)
            .with_member_id(str_bytes(&round.member_id))
            .with_group_instance_id(self.instance())
            .with_protocol_type(Some(StrBytes::from_static_str(self.config.protocol_type)))
            .with_protocol_name(Some(str_bytes(&round.protocol)))
            .with_assignments(assignments.collect());
        let check = |response: &kafka_protocol::messages::SyncGroupResponse| {
            Error::check("SyncGroup", || self.subject(), response.error_code)
        };
        Ok(self.patiently(&request, check).await?.assignment)
    }

    /// A request whose answer waits for the other members.
    async fn patiently<R: Request>(
        &self,
        request: &R,
        check: impl Fn(&R::Response) -> Result<()>,
    ) -> Result<R::Response> {
        let done: Result<_> = async {
            let connection = self.coordinator.connection().await?;
            let version = connection.version_of::<R>()?;
            let limit = self.cluster.config().request_timeout + self.config.rebalance_timeout;
            let response = connection.request_within(request, version, limit).await?;
            check(&response)?;
            Ok(response)
        }
        .await;
        done.inspect_err(|error| self.look_again(error))
    }

    /// Tells the coordinator that this member lives.
    pub(crate) async fn beat(&self, member: &Identity) -> Result<()> {
        let request = HeartbeatRequest::default()
            .with_group_id(group_id(&self.config.group_id))
            .with_generation_id(member.generation)
            .with_member_id(str_bytes(&member.id))
            .with_group_instance_id(self.instance());
        let check =
            |response: &HeartbeatResponse| Error::check("Heartbeat", || self.subject(), response.error_code);
        self.pulse.request(&request, check).await.map(drop)
    }

    /// Tells the coordinator that this member is gone; a static one is expected back. It stays who it was for whatever the
    /// application still commits, which is then refused; without a name it would count as one from outside of the group, whom no
    /// generation fences.
    pub(crate) async fn leave(&self) -> Result<()> {
        let member = self.identity();
        if member.id.is_empty() || self.config.group_instance_id.is_some() {
            return Ok(());
        }
        // A join that waits for its answer stands before this on the other connection.
        let connection = self.pulse.connection().await?;
        let id = str_bytes(&member.id);
        let version = connection.version_of::<LeaveGroupRequest>()?;
        let request = LeaveGroupRequest::default().with_group_id(group_id(&self.config.group_id));
        let request = match version >= FIRST_WITH_SEVERAL_LEAVING {
            true => request.with_members(vec![MemberIdentity::default().with_member_id(id)]),
            false => request.with_member_id(id),
        };
        let response = connection.request(&request).await?;
        Error::check("LeaveGroup", || self.subject(), response.error_code)
    }

    /// Looks the coordinator up anew if the error says that it has moved.
    fn look_again(&self, error: &Error) {
        if error.wants_coordinator() {
            self.coordinator.forget();
        }
    }

    /// The coordinator's refusal, as an error.
    pub(crate) fn refused(&self, api: &'static str, code: Code) -> Error {
        Error::broker(api, self.subject(), code)
    }

    fn instance(&self) -> Option<StrBytes> {
        self.config.group_instance_id.as_deref().map(str_bytes)
    }

    fn subject(&self) -> String {
        format!("group {}", self.config.group_id)
    }
}

/// How joining goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// It is part of the protocol.
    AtOnce,
    /// After forgetting who it was.
    AsAnother,
    /// After a pause.
    Later,
    /// The error stays.
    No,
}

fn round(response: JoinGroupResponse) -> Round {
    let members = response.members.into_iter().map(|member| RoundMember {
        member_id: member.member_id.to_string(),
        group_instance_id: member.group_instance_id.map(|id| id.to_string()),
        metadata: member.metadata,
    });
    Round {
        generation_id: response.generation_id,
        member_id: response.member_id.to_string(),
        leader_id: response.leader.to_string(),
        protocol: response.protocol_name.unwrap_or_default().to_string(),
        members: members.collect(),
        keeps_assignment: response.skip_assignment,
    }
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
