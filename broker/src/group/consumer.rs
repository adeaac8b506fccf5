//! Consumer groups of KIP-848: the coordinator assigns, and members are led to their assignment step by step.
//!
//! ```text
//!   subscriptions, topics -----> group epoch -----> target assignment -----> each member's own assignment
//!   (of all members)             (grows when        (an assignor's answer    (follows the target: first give up,
//!                                 either changes)    for that epoch)          then, when others gave up, take over)
//! ```
//!
//! There is no barrier: a member that keeps its partitions reads on while others move. What holds it together is that
//! a partition is given to a member only when nobody else has it or is still giving it up.
//!
//! | room | what is in it |
//! |---|---|
//! | [`heartbeat`] | ConsumerGroupHeartbeat: joining, staying, leaving |
//! | [`advance`] | from a changed subscription or topic to the group epoch, the target and the member |
//! | [`subscription`] | which topics a member's names and pattern come to |
//! | [`assignor`] | `uniform` and `range` |
//! | [`reconcile`] | one member's next step towards its target |
//! | [`member`] | a member |
//! | [`classic_member`] | members that speak the classic protocol, in a group that has moved on |
//! | [`convert`] | classic group to consumer group and back, while members stay |
//! | [`change`] | a group's next state, on its way to the disk |
//! | [`step`], [`timers`] | the coordinator's side of all this |
//! | [`records`], [`replay`] | Kafka's format in `__consumer_offsets` |
//! | [`query`] | descriptions |
//!
//! Invariants (`tests/consumer` breaks them if it can):
//! - no partition is assigned to, or being given up by, two members;
//! - a member's epoch never passes the group's, and a target exists for every member;
//! - what is in memory is what the log says: a new state replaces the old one when its records are durable.

pub(crate) mod advance;
pub(crate) mod assignor;
pub(crate) mod change;
pub(crate) mod classic_member;
pub(crate) mod convert;
pub(crate) mod embedded;
pub(crate) mod heartbeat;
pub(crate) mod member;
pub(crate) mod query;
pub(crate) mod reconcile;
pub(crate) mod records;
pub(crate) mod replay;
pub(crate) mod step;
pub(crate) mod subscription;
pub(crate) mod timers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafka_protocol::ResponseError;
use uuid::Uuid;

use self::member::{Member, MemberState};
use self::subscription::Resolved;
use crate::controller::Image;

/// Partitions by topic id. No topic has an empty set.
pub(crate) type Assignment = BTreeMap<Uuid, BTreeSet<i32>>;

/// A consumer group. Copies are cheap: members and targets are shared until they change.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConsumerGroup {
    /// Grows with every change that calls for a new target.
    pub(crate) epoch: i32,
    /// The group epoch that the targets were made for; never beyond `epoch`.
    pub(crate) assignment_epoch: i32,
    /// What the subscribed topics looked like when the targets were made.
    pub(crate) metadata_hash: i64,
    /// By member id.
    pub(crate) members: BTreeMap<String, Arc<Member>>,
    /// What each member is led to.
    pub(crate) targets: BTreeMap<String, Arc<Assignment>>,
    /// The topics of each pattern that somebody subscribes to.
    pub(crate) patterns: BTreeMap<String, Arc<Resolved>>,
    /// The metadata that subscriptions were last held against. Not stored: a restart looks again.
    pub(crate) seen: Option<Arc<Image>>,
}

/// Where a consumer group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupState {
    /// No members.
    Empty,
    /// The target is older than the group epoch.
    Assigning,
    /// Some members are not where the target wants them.
    Reconciling,
    /// Everybody is.
    Stable,
}

impl GroupState {
    /// The name that tools show.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
        }
    }
}

/// Why a consumer group refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The code.
    pub(crate) error: ResponseError,
    /// Which thing and what to do, for the client's log.
    pub(crate) message: String,
}

impl Refused {
    /// A refusal with its reason.
    pub(crate) fn new(error: ResponseError, message: impl Into<String>) -> Self {
        Self { error, message: message.into() }
    }
}

impl From<ResponseError> for Refused {
    fn from(error: ResponseError) -> Self {
        Self { error, message: error.to_string() }
    }
}

impl ConsumerGroup {
    /// Where it stands.
    pub(crate) fn state(&self) -> GroupState {
        if self.members.is_empty() {
            GroupState::Empty
        } else if self.epoch > self.assignment_epoch {
            GroupState::Assigning
        } else if self.members.values().any(|member| !member.is_at(self.assignment_epoch)) {
            GroupState::Reconciling
        } else {
            GroupState::Stable
        }
    }

    /// A member.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID.
    pub(crate) fn member(&self, id: &str) -> Result<&Arc<Member>, Refused> {
        self.members.get(id).ok_or_else(|| {
            let message = format!("member {id} is not in the group; join again");
            Refused::new(ResponseError::UnknownMemberId, message)
        })
    }

    /// The member that holds a `group.instance.id`.
    pub(crate) fn static_member(&self, instance: &str) -> Option<&Arc<Member>> {
        self.members.values().find(|member| member.instance.as_deref() == Some(instance))
    }

    /// The member `id`, which is the holder of `instance` if it names one.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID or FENCED_INSTANCE_ID.
    pub(crate) fn holder(&self, id: &str, instance: Option<&str>) -> Result<&Arc<Member>, Refused> {
        let Some(instance) = instance else { return self.member(id) };
        let holder = self.static_member(instance).ok_or_else(|| {
            let message = format!("instance id {instance} is not in the group; join again");
            Refused::new(ResponseError::UnknownMemberId, message)
        })?;
        if holder.id != id {
            let message = format!("instance id {instance} now belongs to member {}", holder.id);
            return Err(Refused::new(ResponseError::FencedInstanceId, message));
        }
        Ok(holder)
    }

    /// What a member is led to.
    pub(crate) fn target(&self, id: &str) -> Arc<Assignment> {
        self.targets.get(id).cloned().unwrap_or_default()
    }

    /// Everything that members other than `id` have or are giving up.
    pub(crate) fn held_by_others(&self, id: &str) -> BTreeSet<(Uuid, i32)> {
        let others = self.members.values().filter(|member| member.id != id);
        others.flat_map(|member| partitions(&member.assigned).chain(partitions(&member.revoking))).collect()
    }

    /// Takes a member out. The group has to find a new target.
    pub(crate) fn remove(&mut self, id: &str) {
        self.members.remove(id);
        self.targets.remove(id);
        self.forget_unused_patterns();
        self.epoch = self.epoch.saturating_add(1);
    }

    /// Puts `new` into the place of the static member `old`: with its target and what it has.
    pub(crate) fn replace(&mut self, old: &str, new: &str) {
        let Some(member) = self.members.remove(old) else { return };
        let mut member = Arc::unwrap_or_clone(member);
        new.clone_into(&mut member.id);
        member.epoch = 0;
        member.previous_epoch = 0;
        self.members.insert(new.to_owned(), Arc::new(member));
        if let Some(target) = self.targets.remove(old) {
            self.targets.insert(new.to_owned(), target);
        }
    }

    /// Topics that somebody subscribes to, as far as they were resolved.
    pub(crate) fn subscribed_topics(&self) -> BTreeSet<&str> {
        self.members.values().flat_map(|member| subscription::topics_of(self, member)).collect()
    }

    /// How many members speak the classic protocol.
    pub(crate) fn classic_members(&self) -> usize {
        self.members.values().filter(|member| member.classic.is_some()).count()
    }

    /// Whether a partition that the member waits for is still with somebody else.
    pub(crate) fn waits_for_others(&self, member: &Member) -> bool {
        if member.state != MemberState::UnreleasedPartitions {
            return false;
        }
        let held = self.held_by_others(&member.id);
        partitions(&self.target(&member.id)).any(|partition| held.contains(&partition))
    }

    fn forget_unused_patterns(&mut self) {
        let used: BTreeSet<&str> =
            self.members.values().filter_map(|member| member.pattern.as_deref()).collect();
        let unused: Vec<String> =
            self.patterns.keys().filter(|pattern| !used.contains(pattern.as_str())).cloned().collect();
        for pattern in unused {
            self.patterns.remove(&pattern);
        }
    }
}

/// Each partition of an assignment.
pub(crate) fn partitions(assignment: &Assignment) -> impl Iterator<Item = (Uuid, i32)> {
    assignment.iter().flat_map(|(topic, partitions)| partitions.iter().map(|partition| (*topic, *partition)))
}

/// Puts one partition into an assignment.
pub(crate) fn insert(assignment: &mut Assignment, (topic, partition): (Uuid, i32)) {
    assignment.entry(topic).or_default().insert(partition);
}
