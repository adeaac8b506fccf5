//! Who gets which partition. The rules and names are those of the Java client, so that mixed groups agree on a protocol.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::topic::TopicPartition;

/// `partition.assignment.strategy`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignor {
    /// Per topic, consecutive partitions to each member; partitions of equal number go to the same member.
    Range,
    /// All partitions one after another to the members in turn.
    RoundRobin,
}

/// Members (static ones ordered by their instance id, before the others) and the topics they want.
pub(super) type Members = BTreeMap<(Option<String>, String), Vec<Arc<str>>>;
/// Member id to partitions. Every member is there, also without partitions.
pub(super) type Assignment = BTreeMap<String, Vec<TopicPartition>>;

impl Assignor {
    /// Kafka's name of the protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
        }
    }

    pub(super) fn by_name(name: &str) -> Option<Self> {
        [Self::Range, Self::RoundRobin].into_iter().find(|assignor| assignor.name() == name)
    }

    /// Assigns all partitions of the topics that somebody wants.
    pub(super) fn assign(self, members: &Members, counts: &BTreeMap<Arc<str>, i32>) -> Assignment {
        let mut assignment: Assignment = members.keys().map(|(_, id)| (id.clone(), Vec::new())).collect();
        let mut give = |member: &str, topic: &Arc<str>, partition: i32| {
            if let Some(partitions) = assignment.get_mut(member) {
                partitions.push(TopicPartition { topic: topic.clone(), partition });
            }
        };
        let order: Vec<_> = in_order(members);
        match self {
            Self::Range => {
                for (topic, count) in counts {
                    let takers: Vec<_> = order.iter().filter(|(_, topics)| topics.contains(topic)).collect();
                    range(*count, takers.len(), |taker, partition| give(takers[taker].0, topic, partition));
                }
            }
            Self::RoundRobin => {
                let mut turn = order.iter().cycle();
                for (topic, count) in counts {
                    if !order.iter().any(|(_, topics)| topics.contains(topic)) {
                        continue;
                    }
                    for partition in 0..*count {
                        if let Some((member, _)) = turn.find(|(_, topics)| topics.contains(topic)) {
                            give(member, topic, partition);
                        }
                    }
                }
            }
        }
        assignment
    }
}

/// Static members first, by instance id; then the others by member id.
fn in_order(members: &Members) -> Vec<(&str, &[Arc<str>])> {
    let of = |is_static: bool| {
        let filtered = members.iter().filter(move |((instance, _), _)| instance.is_some() == is_static);
        filtered.map(|((_, id), topics)| (id.as_str(), topics.as_slice()))
    };
    of(true).chain(of(false)).collect()
}

/// The first `count % takers` takers get one partition more.
fn range(count: i32, takers: usize, mut give: impl FnMut(usize, i32)) {
    let Some(each) = (count as usize).checked_div(takers) else { return };
    let more = count as usize % takers;
    let mut next = 0;
    for taker in 0..takers {
        for _ in 0..each + usize::from(taker < more) {
            give(taker, next);
            next += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `a:x,y b:x` with `x=3 y=2` gives a line per member.
    fn check(assignor: Assignor, members: &str, counts: &str, expected: &[&str]) {
        let members = members.split(' ').map(|member| {
            let (name, topics) = member.split_once(':').unwrap();
            // A capital letter marks a static member.
            let instance = name.starts_with(char::is_uppercase).then(|| name.to_owned());
            ((instance, name.to_owned()), topics.split(',').map(Arc::from).collect())
        });
        let counts = counts.split(' ').map(|topic| {
            let (name, count) = topic.split_once('=').unwrap();
            (Arc::from(name), count.parse().unwrap())
        });
        let lines: Vec<_> = assignor
            .assign(&members.collect(), &counts.collect())
            .into_iter()
            .map(|(member, partitions)| {
                let partitions: Vec<_> =
                    partitions.iter().map(|tp| format!("{}{}", tp.topic, tp.partition)).collect();
                format!("{member}: {}", partitions.join(" "))
            })
            .collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn range_gives_neighbours() {
        check(Assignor::Range, "a:x b:x", "x=3", &["a: x0 x1", "b: x2"]);
        check(Assignor::Range, "a:x,y b:x,y", "x=3 y=3", &["a: x0 x1 y0 y1", "b: x2 y2"]);
        check(Assignor::Range, "a:x b:x,y c:y", "x=1 y=4", &["a: x0", "b: y0 y1", "c: y2 y3"]);
        check(Assignor::Range, "a:x b:x c:x", "x=2", &["a: x0", "b: x1", "c: "]);
        // Static members come first, whatever their member ids.
        check(Assignor::Range, "a:x B:x", "x=3", &["B: x0 x1", "a: x2"]);
    }

    #[test]
    fn round_robin_goes_in_turn() {
        check(Assignor::RoundRobin, "a:x,y b:x,y", "x=3 y=3", &["a: x0 x2 y1", "b: x1 y0 y2"]);
        check(Assignor::RoundRobin, "a:x b:x,y c:x,y", "x=3 y=2", &["a: x0", "b: x1 y0", "c: x2 y1"]);
        check(Assignor::RoundRobin, "a:x", "x=1 z=5", &["a: x0"]);
    }

    proptest! {
        #[test]
        fn every_partition_goes_to_one_member_that_wants_it(
            wants in proptest::collection::vec(proptest::collection::btree_set("[xyz]", 0..3), 1..6),
            counts in proptest::collection::btree_map("[xyz]", 0i32..8, 0..4),
            round_robin: bool,
        ) {
            let members: Members = wants.iter().enumerate()
                .map(|(i, topics)| ((None, format!("m{i}")), topics.iter().map(|t| Arc::from(t.as_str())).collect()))
                .collect();
            let counts: BTreeMap<Arc<str>, i32> = counts.into_iter().map(|(t, c)| (t.into(), c)).collect();
            let assignor = if round_robin { Assignor::RoundRobin } else { Assignor::Range };
            let assignment = assignor.assign(&members, &counts);
            let mut given = std::collections::BTreeSet::new();
            for ((_, id), topics) in &members {
                for tp in &assignment[id] {
                    prop_assert!(topics.contains(&tp.topic));
                    prop_assert!(given.insert(tp.clone()), "{} was given twice", tp);
                }
            }
            let wanted: i32 = counts.iter()
                .filter(|(topic, _)| members.values().any(|topics| topics.contains(topic)))
                .map(|(_, count)| *count).sum();
            prop_assert_eq!(given.len() as i32, wanted);
        }
    }
}
