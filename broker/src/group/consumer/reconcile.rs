//! One member's next step towards its target (Kafka's `CurrentAssignmentBuilder`).
//!
//! ```text
//!             must give something up                    others still have what it should get
//!   Stable -----------------------> UnrevokedPartitions      UnreleasedPartitions <---------- Stable
//!     ^                                  | gave it up, epoch grows      | it became free
//!     +----------------------------------+------------------------------+
//! ```
//!
//! A member stays in its epoch until it has said that it gave up what it had to; so offsets it commits while giving up
//! are accepted, and none after.

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use uuid::Uuid;

use super::member::{Member, MemberState};
use super::{Assignment, Refused, insert, partitions};

/// What a member is led to, and what is in the way.
pub(crate) struct Goal<'a> {
    /// The epoch of the target.
    pub(crate) epoch: i32,
    /// The target.
    pub(crate) target: &'a Assignment,
    /// What other members have or are giving up.
    pub(crate) held: &'a BTreeSet<(Uuid, i32)>,
}

/// The member after its next step. `owned` is what it says it has, if it said.
///
/// # Errors
/// FENCED_MEMBER_EPOCH for a member in a state that nobody here knows.
pub(crate) fn reconcile(
    member: &Member,
    goal: &Goal<'_>,
    owned: Option<&Assignment>,
) -> Result<Member, Refused> {
    match member.state {
        MemberState::Stable if member.epoch == goal.epoch => Ok(member.clone()),
        MemberState::Stable | MemberState::UnreleasedPartitions => {
            Ok(next(member, member.epoch, goal, owned))
        }
        MemberState::UnrevokedPartitions if holds_any(owned, &member.revoking) => Ok(member.clone()),
        MemberState::UnrevokedPartitions => Ok(next(member, member.epoch + 1, goal, owned)),
        MemberState::Unknown if owned.is_none_or(|owned| !owned.is_empty()) => {
            let message =
                format!("member {} is in an unknown state; give up all partitions and join again", member.id);
            Err(Refused::new(ResponseError::FencedMemberEpoch, message))
        }
        MemberState::Unknown => Ok(next(member, goal.epoch, goal, owned)),
    }
}

/// Whether the member may still have some of `given_up`. One that doesn't say may have all.
fn holds_any(owned: Option<&Assignment>, given_up: &Assignment) -> bool {
    let Some(owned) = owned else { return true };
    partitions(given_up)
        .any(|(topic, partition)| owned.get(&topic).is_some_and(|partitions| partitions.contains(&partition)))
}

fn next(member: &Member, epoch: i32, goal: &Goal<'_>, owned: Option<&Assignment>) -> Member {
    let (mut keep, mut give_up, mut take) = (Assignment::new(), Assignment::new(), Assignment::new());
    for (topic, partition) in partitions(&member.assigned) {
        let wanted = goal.target.get(&topic).is_some_and(|wanted| wanted.contains(&partition));
        insert(if wanted { &mut keep } else { &mut give_up }, (topic, partition));
    }
    let mut unreleased = false;
    for (topic, partition) in partitions(goal.target) {
        if keep.get(&topic).is_some_and(|kept| kept.contains(&partition)) {
            continue;
        }
        if goal.held.contains(&(topic, partition)) {
            unreleased = true;
        } else {
            insert(&mut take, (topic, partition));
        }
    }
    let mut next = member.clone();
    if !give_up.is_empty() && holds_any(owned, &give_up) {
        next.state = MemberState::UnrevokedPartitions;
        enter(&mut next, epoch);
        next.assigned = keep;
        next.revoking = give_up;
        next.mark_since();
        return next;
    }
    partitions(&take).for_each(|partition| insert(&mut keep, partition));
    next.state = if unreleased { MemberState::UnreleasedPartitions } else { MemberState::Stable };
    enter(&mut next, goal.epoch);
    next.assigned = keep;
    next.revoking = Assignment::new();
    next.mark_since();
    next
}

fn enter(member: &mut Member, epoch: i32) {
    if member.epoch != epoch {
        member.previous_epoch = member.epoch;
        member.epoch = epoch;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: Uuid = Uuid::from_u128(1);

    fn some(partitions: &[i32]) -> Assignment {
        let mut assignment = Assignment::new();
        partitions.iter().for_each(|partition| insert(&mut assignment, (TOPIC, *partition)));
        assignment
    }

    fn step(member: &Member, target: &[i32], held: &[i32], owned: Option<&[i32]>) -> Member {
        let held = held.iter().map(|partition| (TOPIC, *partition)).collect();
        let target = some(target);
        let goal = Goal { epoch: 9, target: &target, held: &held };
        reconcile(member, &goal, owned.map(some).as_ref()).expect("a known state")
    }

    #[test]
    fn first_give_up_then_take_over() {
        let member = Member { epoch: 5, assigned: some(&[1, 2]), ..Member::default() };
        let giving = step(&member, &[2, 3], &[], None);
        assert_eq!((giving.state, giving.epoch), (MemberState::UnrevokedPartitions, 5));
        assert_eq!((&giving.assigned, &giving.revoking), (&some(&[2]), &some(&[1])));
        assert_eq!(step(&giving, &[2, 3], &[], None), giving, "a heartbeat without partitions says nothing");
        assert_eq!(step(&giving, &[2, 3], &[], Some(&[1, 2])), giving, "it still has partition 1");

        let waiting = step(&giving, &[2, 3], &[3], Some(&[2]));
        assert_eq!((waiting.state, waiting.epoch), (MemberState::UnreleasedPartitions, 9));
        assert_eq!((&waiting.assigned, &waiting.revoking), (&some(&[2]), &some(&[])));
        let there = step(&waiting, &[2, 3], &[], None);
        assert_eq!((there.state, &there.assigned), (MemberState::Stable, &some(&[2, 3])));
        assert!(there.is_at(9));
    }

    #[test]
    fn what_it_does_not_have_any_more_needs_no_revocation() {
        let member = Member { epoch: 5, assigned: some(&[1, 2]), ..Member::default() };
        let there = step(&member, &[2], &[], Some(&[]));
        assert_eq!((there.state, there.epoch, there.previous_epoch), (MemberState::Stable, 9, 5));
    }

    #[test]
    fn an_unknown_state_starts_over_with_nothing() {
        let member = Member { state: MemberState::Unknown, ..Member::default() };
        let held = BTreeSet::new();
        let target = some(&[1]);
        let goal = Goal { epoch: 9, target: &target, held: &held };
        assert!(reconcile(&member, &goal, None).is_err());
        assert_eq!(step(&member, &[1], &[], Some(&[])).state, MemberState::Stable);
    }
}
