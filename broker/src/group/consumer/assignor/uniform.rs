//! `uniform`: members get as evenly many partitions as their subscriptions allow, and move as few as that takes.
//!
//! If all subscribe to the same topics, numbers differ by one at most (Kafka's `UniformHomogeneousAssignmentBuilder`):
//! each keeps up to its share, what is over goes to those below theirs. If subscriptions differ, what nobody has goes
//! to the subscriber with the least, topics with few subscribers first, and then single partitions move from a
//! topic's fullest subscriber to its emptiest until none is two ahead of another.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{Spec, Targets};
use crate::group::consumer::{insert, partitions};

/// Shares out.
pub(crate) fn assign(spec: &Spec) -> Targets {
    let mut subscriptions = spec.members.values().map(|member| &member.topics);
    let first = subscriptions.next();
    if subscriptions.all(|topics| Some(topics) == first) { homogeneous(spec) } else { general(spec) }
}

/// What each member may keep of its last target, and what is left. A partition that two had goes to the first.
fn kept(spec: &Spec) -> (Targets, BTreeSet<(Uuid, i32)>) {
    let wanted: BTreeSet<&Uuid> = spec.members.values().flat_map(|member| &member.topics).collect();
    let topics = spec.topics.iter().filter(|(topic, _)| wanted.contains(topic));
    let mut left: BTreeSet<(Uuid, i32)> =
        topics.flat_map(|(topic, count)| (0..*count).map(|number| (*topic, number))).collect();
    let mut targets = Targets::new();
    for (id, member) in &spec.members {
        let target = targets.entry(id.clone()).or_default();
        for partition in partitions(&member.before) {
            if member.topics.contains(&partition.0) && left.remove(&partition) {
                insert(target, partition);
            }
        }
    }
    (targets, left)
}

fn homogeneous(spec: &Spec) -> Targets {
    let (mut targets, mut left) = kept(spec);
    if targets.is_empty() {
        return targets;
    }
    let all: usize = left.len() + targets.values().map(size).sum::<usize>();
    let (each, mut longer) = (all / targets.len(), all % targets.len());
    // Those that have more than an equal share keep one more than the others, so that fewer partitions move.
    let mut order: Vec<(usize, String)> = targets.iter().map(|(id, has)| (size(has), id.clone())).collect();
    order.sort_by(|(a, x), (b, y)| b.cmp(a).then_with(|| x.cmp(y)));
    let mut unfilled = Vec::new();
    for (has, id) in order {
        let mut share = each;
        if longer > 0 {
            longer -= 1;
            share += 1;
        }
        let Some(target) = targets.get_mut(&id) else { continue };
        let over: Vec<_> = partitions(target).skip(share).collect();
        for partition in over {
            take(target, partition);
            left.insert(partition);
        }
        if has < share {
            unfilled.push((id, share - has));
        }
    }
    let mut left = left.into_iter();
    for (id, missing) in unfilled {
        if let Some(target) = targets.get_mut(&id) {
            left.by_ref().take(missing).for_each(|partition| insert(target, partition));
        }
    }
    targets
}

fn general(spec: &Spec) -> Targets {
    let (mut targets, left) = kept(spec);
    let mut load: BTreeMap<&str, usize> = targets_load(spec, &targets);
    let mut by_topic: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in left {
        by_topic.entry(topic).or_default().push(partition);
    }
    let mut topics: Vec<(Uuid, Vec<&str>)> =
        spec.topics.keys().map(|topic| (*topic, subscribers(spec, *topic))).collect();
    topics.sort_by_key(|(topic, subscribers)| (subscribers.len(), *topic));
    for (topic, subscribers) in &topics {
        for partition in by_topic.remove(topic).unwrap_or_default() {
            let least = subscribers.iter().min_by_key(|id| load.get(**id)).copied();
            let Some(id) = least else { break };
            give(&mut targets, &mut load, id, (*topic, partition));
        }
    }
    // Each move lowers the sum of the squares of the loads, so this ends.
    let mut moved = true;
    while moved {
        moved = false;
        for (topic, subscribers) in &topics {
            moved |= even_out(&mut targets, &mut load, *topic, subscribers);
        }
    }
    targets
}

fn targets_load<'a>(spec: &'a Spec, targets: &Targets) -> BTreeMap<&'a str, usize> {
    spec.members.keys().map(|id| (id.as_str(), targets.get(id).map_or(0, size))).collect()
}

fn subscribers(spec: &Spec, topic: Uuid) -> Vec<&str> {
    let members = spec.members.iter().filter(|(_, member)| member.topics.contains(&topic));
    members.map(|(id, _)| id.as_str()).collect()
}

/// Moves partitions of one topic from its fullest subscribers to its emptiest.
fn even_out<'a>(
    targets: &mut Targets,
    load: &mut BTreeMap<&'a str, usize>,
    topic: Uuid,
    subscribers: &[&'a str],
) -> bool {
    let mut moved = false;
    loop {
        let has_some = |id: &&&'a str| targets.get(**id).is_some_and(|target| target.contains_key(&topic));
        let fullest = subscribers.iter().filter(has_some).max_by_key(|id| load.get(**id)).copied();
        let emptiest = subscribers.iter().min_by_key(|id| load.get(**id)).copied();
        let (Some(from), Some(to)) = (fullest, emptiest) else { return moved };
        let at = |id: &str| load.get(id).copied().unwrap_or(0);
        if at(from) <= at(to) + 1 {
            return moved;
        }
        let last = targets.get(from).and_then(|target| target.get(&topic)?.last().copied());
        let (Some(partition), Some(target)) = (last, targets.get_mut(from)) else { return moved };
        take(target, (topic, partition));
        load.entry(from).and_modify(|has| *has -= 1);
        give(targets, load, to, (topic, partition));
        moved = true;
    }
}

fn give(targets: &mut Targets, load: &mut BTreeMap<&str, usize>, id: &str, partition: (Uuid, i32)) {
    if let (Some(target), Some(has)) = (targets.get_mut(id), load.get_mut(id)) {
        insert(target, partition);
        *has += 1;
    }
}

fn take(target: &mut super::Assignment, (topic, partition): (Uuid, i32)) {
    if let Some(partitions) = target.get_mut(&topic) {
        partitions.remove(&partition);
        if partitions.is_empty() {
            target.remove(&topic);
        }
    }
}

fn size(assignment: &super::Assignment) -> usize {
    assignment.values().map(BTreeSet::len).sum()
}
