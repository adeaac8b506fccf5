//! Tables for single cases, properties for all.

use proptest::collection::{btree_map, btree_set};
use proptest::prelude::*;

use super::*;
use crate::group::consumer::{insert, partitions};

const A: Uuid = Uuid::from_u128(1);
const B: Uuid = Uuid::from_u128(2);

fn some(topic: Uuid, partitions: &[i32]) -> Assignment {
    let mut assignment = Assignment::new();
    partitions.iter().for_each(|partition| insert(&mut assignment, (topic, *partition)));
    assignment
}

fn member(topics: &[Uuid], before: Assignment) -> MemberSpec {
    MemberSpec { instance: None, topics: topics.iter().copied().collect(), before: Arc::new(before) }
}

#[test]
fn uniform_keeps_what_it_can() {
    let spec = Spec {
        members: BTreeMap::from([
            ("x".to_owned(), member(&[A], some(A, &[0, 1, 2]))),
            ("y".to_owned(), member(&[A], some(A, &[3, 4]))),
            ("z".to_owned(), member(&[A], Assignment::new())),
        ]),
        topics: BTreeMap::from([(A, 5)]),
    };
    let targets = Assignor::Uniform.assign(&spec);
    assert_eq!(targets["x"], some(A, &[0, 1]));
    assert_eq!(targets["y"], some(A, &[3, 4]));
    assert_eq!(targets["z"], some(A, &[2]));
}

#[test]
fn range_cuts_all_topics_at_the_same_places() {
    let mut members: BTreeMap<String, MemberSpec> =
        ["x", "y"].map(|id| (id.to_owned(), member(&[A, B], Assignment::new()))).into();
    members.get_mut("y").expect("y").instance = Some("first".to_owned());
    let targets = Assignor::Range.assign(&Spec { members, topics: BTreeMap::from([(A, 3), (B, 3)]) });
    assert_eq!(targets["y"], BTreeMap::from([(A, [0, 1].into()), (B, [0, 1].into())]));
    assert_eq!(targets["x"], BTreeMap::from([(A, [2].into()), (B, [2].into())]));
}

/// Members with subscriptions to some of six topics.
fn wishes() -> impl Strategy<Value = (BTreeMap<String, BTreeSet<u8>>, BTreeMap<u8, i32>)> {
    let topics = btree_map(0..6_u8, 0..9_i32, 0..6);
    (btree_map("[a-h]", btree_set(0..6_u8, 0..6), 1..8), topics)
}

fn spec((members, topics): &(BTreeMap<String, BTreeSet<u8>>, BTreeMap<u8, i32>), before: &Targets) -> Spec {
    let id = |topic: &u8| Uuid::from_u128(u128::from(*topic) + 1);
    let wanted = |subscribed: &BTreeSet<u8>| {
        subscribed.iter().filter(|topic| topics.contains_key(topic)).map(id).collect()
    };
    let members = members.iter().map(|(name, subscribed)| {
        let before = Arc::new(before.get(name).cloned().unwrap_or_default());
        (name.clone(), MemberSpec { instance: None, topics: wanted(subscribed), before })
    });
    Spec {
        members: members.collect(),
        topics: topics.iter().map(|(topic, count)| (id(topic), *count)).collect(),
    }
}

fn check(spec: &Spec, targets: &Targets) -> Result<(), TestCaseError> {
    prop_assert_eq!(targets.keys().collect::<Vec<_>>(), spec.members.keys().collect::<Vec<_>>());
    let mut owners: BTreeMap<(Uuid, i32), &str> = BTreeMap::new();
    for (id, target) in targets {
        prop_assert!(target.values().all(|partitions| !partitions.is_empty()));
        for partition in partitions(target) {
            prop_assert!(spec.members[id].topics.contains(&partition.0), "{} is not subscribed", id);
            prop_assert!(owners.insert(partition, id).is_none(), "two owners");
        }
    }
    for (topic, count) in &spec.topics {
        let subscribed = spec.members.values().any(|member| member.topics.contains(topic));
        let assigned = owners.keys().filter(|(owned, _)| owned == topic).count();
        prop_assert_eq!(assigned, if subscribed { *count as usize } else { 0 });
    }
    Ok(())
}

/// No partition could move to a subscriber that has two fewer than its owner.
fn check_balance(spec: &Spec, targets: &Targets) -> Result<(), TestCaseError> {
    let size = |id: &str| partitions(&targets[id]).count();
    for (owner, target) in targets {
        for topic in target.keys() {
            for (other, _) in spec.members.iter().filter(|(_, member)| member.topics.contains(topic)) {
                prop_assert!(
                    size(owner) <= size(other) + 1,
                    "{} has {}, {} has {}",
                    owner,
                    size(owner),
                    other,
                    size(other)
                );
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn every_partition_has_one_subscriber(first in wishes(), then in wishes()) {
        for assignor in [Assignor::Uniform, Assignor::Range] {
            let before = assignor.assign(&spec(&first, &Targets::new()));
            let spec = spec(&then, &before);
            let after = assignor.assign(&spec);
            check(&spec, &after)?;
            if assignor == Assignor::Uniform {
                check_balance(&spec, &after)?;
            }
        }
    }

    #[test]
    fn nothing_moves_without_a_reason(wishes in wishes()) {
        for assignor in [Assignor::Uniform, Assignor::Range] {
            let once = assignor.assign(&spec(&wishes, &Targets::new()));
            let again = assignor.assign(&spec(&wishes, &once));
            prop_assert_eq!(once, again);
        }
    }
}
