//! A group: a classic one, with its members and where it stands in a rebalance, or a consumer group in its place.
//!
//! ```text
//!            first join                 all joined, or time is up           leader's sync is durable
//!   Empty ----------------> Preparing ---------------------------> Completing ---------------------> Stable
//!     ^                      ^   | nobody left                        |  join, leave, expiry           |
//!     +----------------------|---+                                    |                                |
//!                            +----------------------------------------+--------------------------------+
//! ```
//!
//! Invariants:
//! - the generation only grows, by one with each finished rebalance;
//! - a group with a leader has it among its members; in Completing and Stable there is one;
//! - each static instance id belongs to exactly one member id;
//! - a member waits for a join only in Preparing, for a sync only in Completing.

use crate::coordinators::Token;
use crate::group::consumer::ConsumerGroup;
use crate::group::event::{Event, Join};
use crate::group::member::Member;
use crate::group::offsets::Offsets;
use crate::group::records::StoredGroup;
use bytes::Bytes;
use kafka_protocol::ResponseError;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The protocol type of Kafka's own consumers; only for these does the coordinator look into the metadata.
pub(crate) const CONSUMER: &str = "consumer";

/// Where a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// No members; perhaps offsets.
    Empty,
    /// Waiting for members to join the next generation.
    Preparing,
    /// All have joined; waiting for the leader's assignment.
    Completing,
    /// Everybody has an assignment.
    Stable,
    /// Being deleted: the tombstones are on their way to the disk.
    Dead,
}

impl State {
    /// The name that tools show.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Preparing => "PreparingRebalance",
            Self::Completing => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

/// A group.
#[derive(Debug)]
pub(crate) struct Group {
    /// `group.id`.
    pub(crate) id: String,
    /// Where it stands.
    pub(crate) state: State,
    /// Since when, in milliseconds since 1970. None for a group that only ever held offsets.
    pub(crate) state_since_ms: Option<i64>,
    /// How many rebalances have finished.
    pub(crate) generation: i32,
    /// Set by the first member, forgotten never: the offsets of a group that had members expire by its state.
    pub(crate) protocol_type: Option<String>,
    /// What the members of this generation agreed on.
    pub(crate) protocol: Option<String>,
    /// The member that assigns.
    pub(crate) leader: Option<String>,
    /// By member id.
    pub(crate) members: BTreeMap<String, Member>,
    /// Member id by instance id.
    pub(crate) instances: BTreeMap<String, String>,
    /// Ids given out with MEMBER_ID_REQUIRED whose owners have not come back yet.
    pub(crate) pending_joins: BTreeSet<String>,
    /// Members of the new generation that have not asked for their assignment yet.
    pub(crate) pending_syncs: BTreeSet<String>,
    /// The rebalance that is being prepared began with an empty group: it waits for its delay, not for its members.
    pub(crate) initial_rebalance: bool,
    /// In an initial rebalance: somebody joined since the delay last began.
    pub(crate) new_member_added: bool,
    /// In an initial rebalance: how much longer the delay may be extended.
    pub(crate) initial_remaining_ms: i64,
    /// The assignment of this generation is on its way to the disk.
    pub(crate) assignment_in_flight: bool,
    /// A membership record is in the topic, which a tombstone has to take away in the end.
    pub(crate) stored: bool,
    /// Its committed offsets.
    pub(crate) offsets: Offsets,
    /// Appends of this group that the disk has not answered; a group with some is not forgotten.
    pub(crate) writes_in_flight: usize,
    /// Set if this is a consumer group (KIP-848). Then all the above is that of an empty group, but for the offsets.
    pub(crate) consumer: Option<ConsumerGroup>,
    /// A change of the consumer group, or to or from one, is on its way to the disk.
    pub(crate) changing: bool,
    /// What has to wait for that change.
    pub(crate) waiting: VecDeque<Event>,
}

impl Group {
    /// An empty group that nobody has joined.
    pub(crate) fn new(id: String) -> Self {
        Self {
            id,
            state: State::Empty,
            state_since_ms: None,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            pending_joins: BTreeSet::new(),
            pending_syncs: BTreeSet::new(),
            initial_rebalance: false,
            new_member_added: false,
            initial_remaining_ms: 0,
            assignment_in_flight: false,
            stored: false,
            offsets: Offsets::default(),
            writes_in_flight: 0,
            consumer: None,
            changing: false,
            waiting: VecDeque::new(),
        }
    }

    /// Whether it has no members, of either protocol, and nobody is about to be one.
    pub(crate) fn is_vacant(&self) -> bool {
        self.state == State::Empty
            && self.pending_joins.is_empty()
            && !self.changing
            && self.consumer.as_ref().is_none_or(|consumer| consumer.members.is_empty())
    }

    /// Whether nothing would be lost if it were forgotten.
    pub(crate) fn is_bare(&self) -> bool {
        self.is_vacant()
            && self.consumer.is_none()
            && !self.stored
            && self.offsets.is_empty()
            && self.writes_in_flight == 0
    }

    /// The name of its state that tools show.
    pub(crate) fn state_name(&self) -> &'static str {
        match &self.consumer {
            Some(consumer) if self.state != State::Dead => consumer.state().name(),
            _ => self.state.name(),
        }
    }

    /// Takes over the membership of `other`; its own offsets stay.
    pub(crate) fn become_classic(&mut self, other: Self) {
        let offsets = std::mem::take(&mut self.offsets);
        let (writes_in_flight, waiting) = (self.writes_in_flight, std::mem::take(&mut self.waiting));
        *self = Self { offsets, writes_in_flight, waiting, stored: true, ..other };
    }

    /// Moves to `state`.
    pub(crate) fn enter(&mut self, state: State, now_ms: i64) {
        self.state = state;
        self.state_since_ms = Some(now_ms);
    }

    /// Checks that `member_id` is a member and, if it is static, the one that holds its instance id.
    pub(crate) fn validate(&self, member_id: &str, instance: Option<&str>) -> Result<(), ResponseError> {
        if let Some(instance) = instance {
            match self.instances.get(instance) {
                None => return Err(ResponseError::UnknownMemberId),
                Some(holder) if holder != member_id => return Err(ResponseError::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(ResponseError::UnknownMemberId) }
    }

    /// Whether somebody with these protocols could be a member together with those that are there.
    pub(crate) fn accepts_protocols(&self, join: &Join) -> bool {
        if join.protocol_type.is_empty() || join.protocols.is_empty() {
            return false;
        }
        if self.members.is_empty() {
            return true;
        }
        self.protocol_type.as_deref() == Some(join.protocol_type.as_str())
            && join
                .protocols
                .iter()
                .any(|(name, _)| self.members.values().all(|member| member.supports(name)))
    }

    /// Whether there is room for who joins. In a rebalance a place counts only when it is taken by a waiting join,
    /// since the others may not come back. A static member needs no more room than its predecessor.
    pub(crate) fn has_room(&self, join: &Join, max_size: i32) -> bool {
        let max_size = usize::try_from(max_size).unwrap_or(0);
        if join.instance.as_ref().is_some_and(|instance| self.instances.contains_key(instance)) {
            return true;
        }
        let present = self.members.get(&join.member_id);
        match self.state {
            State::Empty | State::Dead => true,
            State::Preparing => {
                present.is_some_and(|member| member.awaiting_join.is_some())
                    || self.awaiting_join() < max_size
            }
            State::Completing | State::Stable => present.is_some() || self.members.len() < max_size,
        }
    }

    /// How many members wait in a join.
    pub(crate) fn awaiting_join(&self) -> usize {
        self.members.values().filter(|member| member.awaiting_join.is_some()).count()
    }

    /// Whether nobody is missing from the rebalance.
    pub(crate) fn all_joined(&self) -> bool {
        self.pending_joins.is_empty() && self.members.values().all(|member| member.awaiting_join.is_some())
    }

    /// How long a rebalance waits: the longest that any member asks for.
    pub(crate) fn rebalance_timeout_ms(&self) -> i64 {
        i64::from(self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0).max(0))
    }

    /// Adds a member; the first one leads.
    pub(crate) fn add(&mut self, member: Member, protocol_type: &str) {
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.to_owned());
        }
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), member.id.clone());
        }
        self.pending_joins.remove(&member.id);
        if self.leader.is_none() {
            self.leader = Some(member.id.clone());
        }
        self.members.insert(member.id.clone(), member);
    }

    /// Takes a member out. If it led, the next one that waits in a join leads, or else the next one.
    pub(crate) fn remove(&mut self, member_id: &str) -> Option<Member> {
        self.pending_joins.remove(member_id);
        self.pending_syncs.remove(member_id);
        let member = self.members.remove(member_id)?;
        if let Some(instance) = &member.instance
            && self.instances.get(instance).is_some_and(|holder| holder == member_id)
        {
            self.instances.remove(instance);
        }
        if self.leader.as_deref() == Some(member_id) {
            self.leader = self.first_waiting().or_else(|| self.members.keys().next().cloned());
        }
        Some(member)
    }

    fn first_waiting(&self) -> Option<String> {
        self.members.values().find(|member| member.awaiting_join.is_some()).map(|member| member.id.clone())
    }

    /// Makes sure that the leader is one of those that joined. False if nobody did.
    pub(crate) fn elect_joined_leader(&mut self) -> bool {
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id));
        if leader.is_some_and(|member| member.awaiting_join.is_some()) {
            return true;
        }
        match self.first_waiting() {
            Some(id) => {
                self.leader = Some(id);
                true
            }
            None => false,
        }
    }

    /// The protocol that all support and most prefer; among equals the one that comes first by name.
    pub(crate) fn select_protocol(&self) -> Option<String> {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let supported = |name: &str| self.members.values().all(|other| other.supports(name));
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| supported(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name.to_owned())
    }

    /// Begins the next generation with the members that are there.
    pub(crate) fn next_generation(&mut self, now_ms: i64) {
        self.generation = self.generation.wrapping_add(1).max(0);
        self.pending_syncs.clear();
        self.assignment_in_flight = false;
        if self.members.is_empty() {
            self.protocol = None;
            self.leader = None;
            self.enter(State::Empty, now_ms);
        } else {
            self.protocol = self.select_protocol();
            self.enter(State::Completing, now_ms);
        }
    }

    /// The membership as it is stored, each member with what `assignment` says.
    pub(crate) fn to_stored(&self, assignment: impl Fn(&Member) -> Bytes) -> StoredGroup {
        let protocol = self.protocol.as_deref();
        StoredGroup {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_since_ms: self.state_since_ms,
            members: self
                .members
                .values()
                .map(|member| member.stored(protocol, assignment(member)))
                .collect(),
        }
    }

    /// Takes all joins that wait, with their members' ids.
    pub(crate) fn take_joins(&mut self) -> Vec<(String, Token)> {
        let waiting = self.members.values_mut();
        waiting.filter_map(|member| Some((member.id.clone(), member.awaiting_join.take()?))).collect()
    }

    /// Takes all syncs that wait, with their members' ids.
    pub(crate) fn take_syncs(&mut self) -> Vec<(String, Token)> {
        let waiting = self.members.values_mut();
        waiting.filter_map(|member| Some((member.id.clone(), member.awaiting_sync.take()?))).collect()
    }
}
