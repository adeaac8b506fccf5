//! A consumer group while records flow: members join, leave and are killed; every record is consumed and committed once.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use millrace_tests::process::{Process, wait_until};

use crate::language::{Language, Said};
use crate::target::Target;

const PARTITIONS: u32 = 6;

/// Records while members come and go, at this rate.
const RECORDS: u64 = 3000;
const RECORDS_PER_SECOND: u64 = 250;

/// Records after all members have left, for a member that begins where the group's commits ended.
const LATER_RECORDS: u64 = 300;

/// Longest wait for a rebalance or for the last record, on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);

/// One member and its end.
struct Member {
    language: Language,
    process: Process,
    killed: bool,
}

impl Member {
    fn join(language: Language, target: &Target, topic: &str) -> Member {
        let process = language.member(target, topic, &format!("group-of-{topic}"));
        Member { language, process, killed: false }
    }

    fn said(&self) -> Vec<Said> {
        self.language.said(&self.process.output())
    }

    /// The partitions of its last assignment.
    fn assigned(&self) -> Vec<u32> {
        let last = self.said().into_iter().rev().find_map(|said| match said {
            Said::Assigned(partitions) => Some(partitions),
            _ => None,
        });
        last.unwrap_or_default()
    }

    fn leave(&mut self) {
        self.language.leave(&mut self.process, LIMIT);
    }

    fn kill(&mut self) {
        self.process.kill();
        self.killed = true;
    }
}

/// Waits until the members share all partitions among them, each partition with one owner, each member with some.
fn wait_for_balance(what: &str, members: &[&Member]) {
    wait_until(what, LIMIT, || {
        let mut owned: Vec<u32> = members.iter().flat_map(|member| member.assigned()).collect();
        owned.sort_unstable();
        members.iter().all(|member| !member.assigned().is_empty()) && owned.iter().copied().eq(0..PARTITIONS)
    });
}

fn produce(target: &Target, language: Language, topic: &str, from: u64, count: u64) -> Process {
    // The Java client is only a member here; franz-go writes for it.
    let language = if language == Language::Java { Language::Go } else { language };
    let (from, count, partitions) = (from.to_string(), count.to_string(), PARTITIONS.to_string());
    let rate = RECORDS_PER_SECOND.to_string();
    let options = ["--from", &from, "--count", &count, "--partitions", &partitions, "--rate", &rate];
    target.run(language, &[&["produce", "--topic", topic], &options[..]].concat())
}

/// What the members read: per value, where it was, and how often a reader's commit of it was confirmed.
fn check_once(members: &[Member], from: u64, count: u64) {
    let mut places: BTreeMap<u64, (u32, u64)> = BTreeMap::new();
    let mut confirmed: BTreeMap<u64, u32> = BTreeMap::new();
    for member in members {
        let mut open = BTreeSet::new();
        let mut last_offset: BTreeMap<u32, u64> = BTreeMap::new();
        for said in member.said() {
            match said {
                Said::Assigned(_) => last_offset.clear(),
                Said::Record { partition, offset, value } => {
                    let before = places.insert(value, (partition, offset));
                    assert!(
                        before.is_none_or(|place| place == (partition, offset)),
                        "{value} is at two places"
                    );
                    let last = last_offset.insert(partition, offset);
                    assert!(
                        last.is_none_or(|last| last < offset),
                        "offset {offset} of partition {partition} after {last:?}"
                    );
                    open.insert(value);
                }
                Said::Committed => {
                    std::mem::take(&mut open)
                        .into_iter()
                        .for_each(|value| *confirmed.entry(value).or_default() += 1);
                }
            }
        }
    }
    let expected: Vec<u64> = (from..from + count).collect();
    assert_eq!(places.keys().copied().collect::<Vec<_>>(), expected, "values that the members read");
    let twice: Vec<_> = confirmed.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "read and committed by two members: {twice:?}");
    // Without a kill every record that was read was committed, by its last reader at least.
    if members.iter().all(|member| !member.killed) {
        assert_eq!(confirmed.into_keys().collect::<Vec<_>>(), expected, "values whose commit was confirmed");
    }
    let mut by_place: Vec<_> = places.into_iter().map(|(value, place)| (place, value)).collect();
    by_place.sort_unstable();
    let ordered = |pair: &[((u32, u64), u64)]| pair[0].0.0 != pair[1].0.0 || pair[0].1 < pair[1].1;
    assert!(
        by_place.windows(2).all(ordered),
        "a partition does not hold its values in the order they were sent"
    );
}

/// The languages are those of the members: three at first, the fourth joins later.
fn rebalances(languages: [Language; 4], topic: &str) {
    let target = Target::start();
    target.create_topic(topic, PARTITIONS);
    let [one, two, three, four] = languages;
    let mut members: Vec<Member> =
        [one, two, three].map(|language| Member::join(language, &target, topic)).into_iter().collect();
    wait_for_balance("three members that share the partitions", &members.iter().collect::<Vec<_>>());

    let mut writer = produce(&target, one, topic, 0, RECORDS);
    thread::sleep(Duration::from_secs(1));
    members.push(Member::join(four, &target, topic));
    wait_for_balance("four members that share the partitions", &members.iter().collect::<Vec<_>>());
    members[0].leave();
    wait_for_balance("the three that stay", &members[1..].iter().collect::<Vec<_>>());
    members[1].kill();
    wait_for_balance("the two that live", &members[2..].iter().collect::<Vec<_>>());

    writer.succeed(LIMIT);
    wait_until("all records to be read and committed", LIMIT, || {
        let seen = |member: &Member| {
            member
                .said()
                .into_iter()
                .filter_map(|said| match said {
                    Said::Record { value, .. } => Some(value),
                    _ => None,
                })
                .collect::<Vec<_>>()
        };
        let values: BTreeSet<u64> = members.iter().flat_map(seen).collect();
        let committed =
            |member: &Member| member.killed || !matches!(member.said().last(), Some(Said::Record { .. }));
        values.len() as u64 == RECORDS && members.iter().all(committed)
    });
    members[2..].iter_mut().for_each(Member::leave);
    check_once(&members, 0, RECORDS);

    // The commits are resumed: a new member of the group reads what came later, and nothing else.
    produce(&target, one, topic, RECORDS, LATER_RECORDS).succeed(LIMIT);
    let mut later = [Member::join(four, &target, topic)];
    wait_until("the later records", LIMIT, || {
        let said = later[0].said();
        let records = said.iter().filter(|said| matches!(said, Said::Record { .. })).count() as u64;
        records >= LATER_RECORDS && matches!(said.last(), Some(Said::Committed))
    });
    later[0].leave();
    check_once(&later, RECORDS, LATER_RECORDS);
}

#[test]
fn librdkafka_members_join_leave_and_are_killed() {
    rebalances([Language::Python; 4], "rebalance-librdkafka");
}

#[test]
fn franz_go_members_join_leave_and_are_killed() {
    rebalances([Language::Go; 4], "rebalance-franz-go");
}

#[test]
fn kafkajs_members_join_leave_and_are_killed() {
    rebalances([Language::JavaScript; 4], "rebalance-kafkajs");
}

#[test]
fn java_members_join_leave_and_are_killed() {
    rebalances([Language::Java; 4], "rebalance-java");
}

#[test]
fn one_group_of_four_libraries() {
    rebalances([Language::Java, Language::JavaScript, Language::Go, Language::Python], "rebalance-mixed");
}
