//! Membership in a classic group of any protocol type (KIP-62, KIP-345, KIP-394): join, sync, heartbeat, leave.
//!
//! | file | what is in it |
//! |---|---|
//! | `requests` | the four requests, and who this member is to its coordinator; consumers use it too |
//! | `member` | [`GroupMember`]: the same for applications with a protocol of their own, with heartbeats that go on by themselves |
//!
//! The group's protocol is the application's: it says its metadata when it joins, and the member that the coordinator picks as
//! leader computes an assignment for each, as bytes that nobody here looks into. Nothing has to be given up before joining again:
//! a group whose members say in their metadata what they hold can move it in two rounds while the rest goes on (KIP-415, KIP-429).

mod member;
mod requests;

use std::time::Duration;

use bytes::Bytes;

pub use self::member::{GroupMember, Vitals};
pub(crate) use self::requests::{Again, GroupRequests};
use crate::error::{Error, Result};

/// How a member behaves towards its group.
#[derive(Debug, Clone)]
pub struct GroupConfig {
    /// `group.id`
    pub group_id: String,
    /// `group.instance.id` of a static member (KIP-345): one that comes back within its session takes its old place.
    pub group_instance_id: Option<String>,
    /// What kind of group it is: `consumer`, `connect`. All members say the same.
    pub protocol_type: &'static str,
    /// `session.timeout.ms`: the coordinator takes a member that is silent for so long out of the group.
    pub session_timeout: Duration,
    /// `rebalance.timeout.ms`: how long the group waits for this member to join again.
    pub rebalance_timeout: Duration,
    /// `heartbeat.interval.ms`
    pub heartbeat_interval: Duration,
}

impl GroupConfig {
    fn check(&self) -> Result<()> {
        let refuse = |name, value: String, expected| Err(Error::Config { name, value, expected });
        if self.group_id.is_empty() {
            return refuse("group.id", String::new(), "expected a name");
        }
        // Three tries within a session: one lost answer costs nobody its membership.
        if self.heartbeat_interval * 3 > self.session_timeout {
            let value = self.heartbeat_interval.as_millis().to_string();
            return refuse("heartbeat.interval.ms", value, "expected at most a third of session.timeout.ms");
        }
        if self.rebalance_timeout < self.session_timeout {
            let value = self.rebalance_timeout.as_millis().to_string();
            return refuse("rebalance.timeout.ms", value, "expected at least session.timeout.ms");
        }
        Ok(())
    }
}

/// A protocol that a member offers, and what it says of itself under it.
#[derive(Debug, Clone)]
pub struct GroupProtocol {
    /// Its name; the group chooses one that all members know.
    pub name: &'static str,
    /// What the leader reads.
    pub metadata: Bytes,
}

/// A generation of the group, as one member sees it after joining.
#[derive(Debug, Clone)]
pub struct Round {
    /// Counts the group's rebalances.
    pub generation_id: i32,
    /// Who this member is.
    pub member_id: String,
    /// Who leads.
    pub leader_id: String,
    /// The protocol that the group chose.
    pub protocol: String,
    /// All members, if this one leads.
    pub members: Vec<RoundMember>,
    /// Whether the group keeps the assignment it has: a static leader came back to a stable group (KIP-814).
    pub keeps_assignment: bool,
}

impl Round {
    /// Whether this member leads the group.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.leader_id == self.member_id
    }
}

/// A member, as its leader sees it.
#[derive(Debug, Clone)]
pub struct RoundMember {
    /// Its id.
    pub member_id: String,
    /// Its `group.instance.id`, if it is static.
    pub group_instance_id: Option<String>,
    /// What it says of itself. Another process wrote it: not to be trusted.
    pub metadata: Bytes,
}
