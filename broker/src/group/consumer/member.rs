//! One member of a consumer group.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use uuid::Uuid;

use super::{Assignment, partitions};

/// The epoch with which a member leaves.
pub(crate) const LEAVE: i32 = -1;
/// The epoch with which a static member leaves for a while; it keeps its place until its session ends.
pub(crate) const LEAVE_FOR_A_WHILE: i32 = -2;

/// Epochs by partition.
pub(crate) type Since = BTreeMap<(Uuid, i32), i32>;

/// How far a member is on its way to its target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum MemberState {
    /// It has what the target of its epoch wants.
    #[default]
    Stable,
    /// It was told to give up partitions and has not said yet that it did.
    UnrevokedPartitions,
    /// It has what was free, and waits for others to give up the rest.
    UnreleasedPartitions,
    /// Something that a newer Kafka wrote.
    Unknown,
}

/// A member that speaks the classic protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClassicProtocol {
    /// How long it may stay silent.
    pub(crate) session_timeout_ms: i32,
    /// Protocols it can use with its metadata for each, the preferred first.
    pub(crate) protocols: Vec<(String, Bytes)>,
}

/// A member: what it said about itself, and how far it has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its id.
    pub(crate) id: String,
    /// `group.instance.id` if it is static.
    pub(crate) instance: Option<String>,
    /// `client.rack`.
    pub(crate) rack: Option<String>,
    /// `client.id`.
    pub(crate) client_id: String,
    /// Where it connected from.
    pub(crate) client_host: String,
    /// Topics it subscribes to by name.
    pub(crate) topics: BTreeSet<String>,
    /// The pattern it subscribes to, if it does.
    pub(crate) pattern: Option<String>,
    /// How long it may take to give up partitions.
    pub(crate) rebalance_timeout_ms: i32,
    /// The assignor it asks for.
    pub(crate) assignor: Option<String>,
    /// Set if it speaks the classic protocol.
    pub(crate) classic: Option<ClassicProtocol>,
    /// The epoch that its requests have to name; [`LEAVE_FOR_A_WHILE`] for a static member that is away.
    pub(crate) epoch: i32,
    /// The epoch before; a member that missed the answer with the new one may still name it.
    pub(crate) previous_epoch: i32,
    /// How far it is.
    pub(crate) state: MemberState,
    /// What it has.
    pub(crate) assigned: Assignment,
    /// What it has to give up.
    pub(crate) revoking: Assignment,
    /// The epoch in which each of those partitions became its (KIP-1251).
    pub(crate) since: Since,
}

impl Member {
    /// Whether it has arrived at the target of `epoch`.
    pub(crate) fn is_at(&self, epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == epoch
    }

    /// Whether what it said about itself is the same as in `other`.
    pub(crate) fn same_metadata(&self, other: &Self) -> bool {
        self.instance == other.instance
            && self.rack == other.rack
            && self.client_id == other.client_id
            && self.client_host == other.client_host
            && self.topics == other.topics
            && self.pattern == other.pattern
            && self.rebalance_timeout_ms == other.rebalance_timeout_ms
            && self.assignor == other.assignor
            && self.classic == other.classic
    }

    /// Brings `since` up to date: what it has had keeps its epoch, the rest became its in the present one.
    pub(crate) fn mark_since(&mut self) {
        let before = std::mem::take(&mut self.since);
        let has = partitions(&self.assigned).chain(partitions(&self.revoking));
        self.since =
            has.map(|partition| (partition, before.get(&partition).copied().unwrap_or(self.epoch))).collect();
    }

    /// Whether its progress is the same as in `other`.
    pub(crate) fn same_progress(&self, other: &Self) -> bool {
        self.epoch == other.epoch
            && self.previous_epoch == other.previous_epoch
            && self.state == other.state
            && self.assigned == other.assigned
            && self.revoking == other.revoking
            && self.since == other.since
    }
}
