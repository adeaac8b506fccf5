//! Consumer groups as tools see them.

use std::sync::Arc;

use kafka_protocol::ResponseError;

use super::member::Member;
use super::{Assignment, Refused, advance};
use crate::group::classic::State;
use crate::group::coordinator::Coordinator;

/// A consumer group as tools see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Described {
    /// Where it stands.
    pub(crate) state: &'static str,
    /// The group epoch.
    pub(crate) epoch: i32,
    /// The epoch of the target.
    pub(crate) assignment_epoch: i32,
    /// The assignor that makes the target.
    pub(crate) assignor: &'static str,
    /// The members with what they are led to.
    pub(crate) members: Vec<(Arc<Member>, Arc<Assignment>)>,
}

impl Coordinator {
    /// A consumer group as tools see it; `None` if there is none of this name.
    pub(crate) fn describe_consumer(&self, id: &str) -> Option<Described> {
        let group = self.group(id).filter(|group| group.state != State::Dead)?.consumer.as_ref()?;
        let members = group.members.iter().map(|(id, member)| (member.clone(), group.target(id)));
        Some(Described {
            state: group.state().name(),
            epoch: group.epoch,
            assignment_epoch: group.assignment_epoch,
            assignor: advance::preferred(group, &self.cx.config).name(),
            members: members.collect(),
        })
    }

    /// Whether somebody who names a member and its epoch may read a group's offsets. Groups of the classic protocol,
    /// and unknown ones, let everybody.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID or STALE_MEMBER_EPOCH.
    pub(crate) fn validate_fetch(
        &self,
        id: &str,
        member: Option<&str>,
        epoch: i32,
    ) -> Result<(), ResponseError> {
        let Some(group) = self.group(id).and_then(|group| group.consumer.as_ref()) else { return Ok(()) };
        if member.is_none() && epoch < 0 {
            return Ok(());
        }
        let member = group.member(member.unwrap_or_default()).map_err(|Refused { error, .. }| error)?;
        check_epoch(member, epoch)
    }
}

/// Whether a commit or a fetch of offsets names the member's epoch.
pub(crate) fn check_epoch(member: &Member, epoch: i32) -> Result<(), ResponseError> {
    if member.epoch == epoch {
        Ok(())
    } else if member.classic.is_some() {
        Err(ResponseError::IllegalGeneration)
    } else {
        Err(ResponseError::StaleMemberEpoch)
    }
}
