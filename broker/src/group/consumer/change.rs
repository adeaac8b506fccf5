//! The next state of a group, on its way to the disk.
//!
//! The records of a change are the difference between the group as it is and as it will be, so what a restart reads is
//! what was in memory, whatever the change was. While one is on its way the group takes no other: requests that could
//! make one wait in order, at most [`WAITING_MAX`] of them.

use std::sync::Arc;

use super::{ConsumerGroup, records};
use crate::coordinators::KeyValue;
use crate::group::classic::Group;

/// How many requests of one group may wait for a change; past it they are told COORDINATOR_LOAD_IN_PROGRESS.
pub(crate) const WAITING_MAX: usize = 10_000;

/// What a group becomes.
#[derive(Debug)]
pub(crate) enum Next {
    /// A consumer group.
    Consumer(ConsumerGroup),
    /// A classic group.
    Classic {
        /// The group; its offsets are those of the group that it replaces.
        group: Box<Group>,
        /// Members have to join again.
        rebalances: bool,
    },
    /// A group without members, of neither type, whose offsets stay.
    Bare,
}

/// The records that lead from `before` to `after`.
pub(crate) fn difference(
    id: &str,
    before: Option<&ConsumerGroup>,
    after: Option<&ConsumerGroup>,
) -> Vec<KeyValue> {
    let nothing = ConsumerGroup::default();
    let exists = after.is_some();
    let (old, new) = (before.unwrap_or(&nothing), after.unwrap_or(&nothing));
    let mut out = Vec::new();
    for gone in old.members.keys().filter(|member| !new.members.contains_key(*member)) {
        out.push(records::current_tombstone(id, gone));
        out.push(records::target_tombstone(id, gone));
        out.push(records::member_tombstone(id, gone));
    }
    for (name, member) in &new.members {
        if old.members.get(name).is_none_or(|before| !before.same_metadata(member)) {
            out.push(records::member(id, member));
        }
    }
    for (pattern, resolved) in &new.patterns {
        if old.patterns.get(pattern).is_none_or(|before| before.topics != resolved.topics) {
            out.push(records::pattern(id, pattern, resolved));
        }
    }
    for gone in old.patterns.keys().filter(|pattern| !new.patterns.contains_key(*pattern)) {
        out.push(records::pattern_tombstone(id, gone));
    }
    if exists && (before.is_none() || old.epoch != new.epoch || old.metadata_hash != new.metadata_hash) {
        out.push(records::group(id, new.epoch, new.metadata_hash));
    }
    for (name, target) in &new.targets {
        let same = |before: &Arc<_>| Arc::ptr_eq(before, target) || before == target;
        if !old.targets.get(name).is_some_and(same) {
            out.push(records::target(id, name, target));
        }
    }
    if exists && (before.is_none() || old.assignment_epoch != new.assignment_epoch) {
        out.push(records::target_epoch(id, new.assignment_epoch));
    }
    for (name, member) in &new.members {
        if old.members.get(name).is_none_or(|before| !before.same_progress(member)) {
            out.push(records::current(id, member));
        }
    }
    if before.is_some() && !exists {
        out.push(records::target_epoch_tombstone(id));
        out.push(records::group_tombstone(id));
    }
    out
}
