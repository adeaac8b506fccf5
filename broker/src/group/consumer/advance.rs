//! From what changed to where a member goes next: group epoch, target, the member's own assignment.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::assignor::{Assignor, MemberSpec, Spec};
use super::reconcile::{Goal, reconcile};
use super::{Assignment, ConsumerGroup, Refused, subscription};
use crate::controller::Image;
use crate::group::config::Config;

/// What a group's transitions look at beside the group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    /// The topics there are.
    pub(crate) image: &'a Arc<Image>,
    /// Settings.
    pub(crate) config: &'a Config,
    /// The time of this step, in milliseconds since 1970.
    pub(crate) now_ms: i64,
}

/// Brings the group and then member `id` up to date. `changed` says that a subscription did change; `owned` is what the
/// member says it has, if it said.
///
/// # Errors
/// The member is not there or cannot be reconciled.
pub(crate) fn advance(
    group: &mut ConsumerGroup,
    id: &str,
    changed: bool,
    owned: Option<&Assignment>,
    view: View<'_>,
) -> Result<(), Refused> {
    let moved_on = group.seen.as_ref().is_none_or(|seen| !Arc::ptr_eq(seen, view.image));
    let topics_changed = (changed || moved_on) && subscription::refresh(group, view.image, view.now_ms);
    if changed || topics_changed {
        group.epoch = group.epoch.saturating_add(1);
    }
    if group.epoch > group.assignment_epoch {
        find_target(group, view);
    }
    let member = group.member(id)?.clone();
    if member.is_at(group.assignment_epoch) {
        return Ok(());
    }
    let (target, held) = (group.target(id), group.held_by_others(id));
    let goal = Goal { epoch: group.assignment_epoch, target: &target, held: &held };
    let next = reconcile(&member, &goal, owned)?;
    if next != *member {
        group.members.insert(id.to_owned(), Arc::new(next));
    }
    Ok(())
}

/// Asks the assignor for the target of the group's epoch.
fn find_target(group: &mut ConsumerGroup, view: View<'_>) {
    let known = subscription::known_topics(group, view.image);
    let members = group.members.iter().map(|(id, member)| {
        let topics =
            subscription::topics_of(group, member).filter_map(|name| Some(known.get(name)?.0)).collect();
        let spec = MemberSpec { instance: member.instance.clone(), topics, before: group.target(id) };
        (id.clone(), spec)
    });
    let spec = Spec { members: members.collect(), topics: known.values().copied().collect() };
    let targets = preferred(group, view.config).assign(&spec);
    let before = std::mem::take(&mut group.targets);
    let keep = |(id, target): (String, Assignment)| {
        let same = before.get(&id).filter(|before| ***before == target).cloned();
        (id, same.unwrap_or_else(|| Arc::new(target)))
    };
    group.targets = targets.into_iter().map(keep).collect();
    group.assignment_epoch = group.epoch;
}

/// The assignor that most members ask for, or else the first that is configured.
pub(crate) fn preferred(group: &ConsumerGroup, config: &Config) -> Assignor {
    let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
    for name in group.members.values().filter_map(|member| member.assignor.as_deref()) {
        *votes.entry(name).or_default() += 1;
    }
    let most = votes.into_iter().max_by_key(|(_, count)| *count).and_then(|(name, _)| Assignor::named(name));
    most.or_else(|| config.group_consumer_assignors.first().copied()).unwrap_or(Assignor::Uniform)
}
