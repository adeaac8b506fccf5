//! A consumer group while records flow: members join, leave, come back and are killed, by either protocol and while the
//! group changes from one to the other; every record is consumed and committed once.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use millrace_tests::process::{Process, wait_until};

use crate::language::{Language, Membership, Protocol, Said};
use crate::target::Target;

const PARTITIONS: u32 = 6;

/// Records while members come and go, at this rate.
const RECORDS: u64 = 3000;
const RECORDS_PER_SECOND: u64 = 250;

/// Records after all members have left, for a member that begins where the group's commits ended.
const LATER_RECORDS: u64 = 300;

/// Records while a group changes its protocol, twice.
const MIGRATION_RECORDS: u64 = 6000;

/// Short enough for tests that wait for a silent member to be given up; that of the classic protocol is the member's.
const SETTINGS: [&str; 4] = [
    "group.consumer.min.session.timeout.ms=6000",
    "group.consumer.session.timeout.ms=6000",
    "group.consumer.min.heartbeat.interval.ms=500",
    "group.consumer.heartbeat.interval.ms=500",
];

/// Longest wait for a rebalance or for the last record, on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);

/// A library, and the protocol by which it joins.
type Kind = (Language, Protocol);

/// One member and its end.
struct Member {
    language: Language,
    process: Process,
    killed: bool,
}

impl Member {
    /// `topic` has one group.
    fn join((language, protocol): Kind, target: &Target, topic: &str) -> Member {
        Member::join_as((language, protocol), target, topic, None)
    }

    fn join_as((language, protocol): Kind, target: &Target, topic: &str, instance: Option<&str>) -> Member {
        let group = format!("group-of-{topic}");
        let process = language.member(target, &Membership { topic, group: &group, protocol, instance });
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

    /// How often it was told its partitions.
    fn assignments(&self) -> usize {
        self.said().iter().filter(|said| matches!(said, Said::Assigned(_))).count()
    }

    /// What it has read.
    fn values(&self) -> Vec<u64> {
        let value = |said| match said {
            Said::Record { value, .. } => Some(value),
            _ => None,
        };
        self.said().into_iter().filter_map(value).collect()
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
        // Read and not committed, by partition.
        let mut open: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        let mut last_offset: BTreeMap<u32, u64> = BTreeMap::new();
        for said in member.said() {
            match said {
                Said::Assigned(partitions) => {
                    last_offset.clear();
                    open.retain(|partition, _| partitions.contains(partition));
                }
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
                    open.entry(partition).or_default().push(value);
                }
                Said::Committed => {
                    let values: BTreeSet<u64> = std::mem::take(&mut open).into_values().flatten().collect();
                    values.into_iter().for_each(|value| *confirmed.entry(value).or_default() += 1);
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

/// Waits until every value was read and no living member has one that it has not committed.
fn wait_for_all(members: &[Member], count: u64) {
    wait_until("all records to be read and committed", LIMIT, || {
        let values: BTreeSet<u64> = members.iter().flat_map(Member::values).collect();
        let committed =
            |member: &Member| member.killed || !matches!(member.said().last(), Some(Said::Record { .. }));
        values.len() as u64 == count && members.iter().all(committed)
    });
}

/// The kinds are those of the members: three at first, the fourth joins later.
fn rebalances(kinds: [Kind; 4], topic: &str) {
    let target = Target::start_with(&SETTINGS);
    target.create_topic(topic, PARTITIONS);
    let [one, two, three, four] = kinds;
    let mut members: Vec<Member> =
        [one, two, three].map(|kind| Member::join(kind, &target, topic)).into_iter().collect();
    wait_for_balance("three members that share the partitions", &members.iter().collect::<Vec<_>>());

    let mut writer = produce(&target, one.0, topic, 0, RECORDS);
    thread::sleep(Duration::from_secs(1));
    members.push(Member::join(four, &target, topic));
    wait_for_balance("four members that share the partitions", &members.iter().collect::<Vec<_>>());
    members[0].leave();
    wait_for_balance("the three that stay", &members[1..].iter().collect::<Vec<_>>());
    members[1].kill();
    wait_for_balance("the two that live", &members[2..].iter().collect::<Vec<_>>());

    writer.succeed(LIMIT);
    wait_for_all(&members, RECORDS);
    members[2..].iter_mut().for_each(Member::leave);
    check_once(&members, 0, RECORDS);

    // The commits are resumed: a new member of the group reads what came later, and nothing else.
    produce(&target, one.0, topic, RECORDS, LATER_RECORDS).succeed(LIMIT);
    let mut later = [Member::join(four, &target, topic)];
    wait_until("the later records", LIMIT, || {
        let said = later[0].said();
        later[0].values().len() as u64 >= LATER_RECORDS && matches!(said.last(), Some(Said::Committed))
    });
    later[0].leave();
    check_once(&later, RECORDS, LATER_RECORDS);
}

/// Four members of one library.
fn rebalances_by(language: Language, protocol: Protocol, topic: &str) {
    rebalances([(language, protocol); 4], topic);
}

#[test]
fn librdkafka_members_join_leave_and_are_killed() {
    rebalances_by(Language::Python, Protocol::Classic, "rebalance-librdkafka");
}

#[test]
fn franz_go_members_join_leave_and_are_killed() {
    rebalances_by(Language::Go, Protocol::Classic, "rebalance-franz-go");
}

#[test]
fn kafkajs_members_join_leave_and_are_killed() {
    rebalances_by(Language::JavaScript, Protocol::Classic, "rebalance-kafkajs");
}

#[test]
fn java_members_join_leave_and_are_killed() {
    rebalances_by(Language::Java, Protocol::Classic, "rebalance-java");
}

#[test]
fn one_group_of_four_libraries() {
    let languages = [Language::Java, Language::JavaScript, Language::Go, Language::Python];
    rebalances(languages.map(|language| (language, Protocol::Classic)), "rebalance-mixed");
}

#[test]
fn librdkafka_members_of_the_consumer_protocol_join_leave_and_are_killed() {
    rebalances_by(Language::Python, Protocol::Consumer, "consumer-librdkafka");
}

#[test]
fn java_members_of_the_consumer_protocol_join_leave_and_are_killed() {
    rebalances_by(Language::Java, Protocol::Consumer, "consumer-java");
}

/// A static member that leaves and comes back has what it had, and nobody else notices.
fn comes_back(language: Language, topic: &str) {
    let target = Target::start_with(&["group.consumer.heartbeat.interval.ms=500"]);
    target.create_topic(topic, PARTITIONS);
    let kind = (language, Protocol::Consumer);
    let join = |instance| Member::join_as(kind, &target, topic, Some(instance));
    let mut members = vec![join("one"), join("two")];
    wait_for_balance("two static members", &[&members[0], &members[1]]);
    let (had, other) = (members[0].assigned(), members[1].assignments());
    let mut writer = produce(&target, language, topic, 0, LATER_RECORDS);
    members[0].leave();
    members.push(join("one"));
    wait_until("the member that came back", LIMIT, || members[2].assigned() == had);
    assert_eq!(members[1].assignments(), other, "the other member was rebalanced");
    writer.succeed(LIMIT);
    wait_for_all(&members, LATER_RECORDS);
    members[1..].iter_mut().for_each(Member::leave);
    check_once(&members, 0, LATER_RECORDS);
}

#[test]
fn a_static_member_of_librdkafka_comes_back() {
    comes_back(Language::Python, "static-librdkafka");
}

#[test]
fn a_static_member_of_the_java_client_comes_back() {
    comes_back(Language::Java, "static-java");
}

/// Members of one protocol are replaced by members of the other one by one, and back, while records flow.
#[test]
fn a_group_changes_its_protocol_while_members_stay() {
    let topic = "migration";
    let target = Target::start_with(&SETTINGS);
    target.create_topic(topic, PARTITIONS);
    let group_type = || {
        let arguments = ["--bootstrap-server", target.bootstrap(), "--list", "--type"];
        let listed = target.kafka("consumer-groups", &arguments);
        let of_ours = listed.lines().find(|line| line.contains(topic)).unwrap_or_default();
        of_ours.split_whitespace().last().unwrap_or_default().to_owned()
    };
    let classic = [Language::Python, Language::Java].map(|language| (language, Protocol::Classic));
    let consumer = [Language::Java, Language::Python].map(|language| (language, Protocol::Consumer));
    let mut members: Vec<Member> = classic.map(|kind| Member::join(kind, &target, topic)).into();
    wait_for_balance("two classic members", &members.iter().collect::<Vec<_>>());
    assert_eq!(group_type(), "Classic");
    let mut writer = produce(&target, Language::Python, topic, 0, MIGRATION_RECORDS);

    // Who is the oldest leaves when a new one has its share.
    for (kind, type_after) in [
        (consumer[0], "Consumer"),
        (consumer[1], "Consumer"),
        (classic[0], "Consumer"),
        (classic[1], "Classic"),
    ] {
        let oldest = members.len() - 2;
        members.push(Member::join(kind, &target, topic));
        wait_for_balance("three members of two protocols", &members[oldest..].iter().collect::<Vec<_>>());
        members[oldest].leave();
        wait_for_balance("the two that stay", &members[oldest + 1..].iter().collect::<Vec<_>>());
        assert_eq!(group_type(), type_after, "after {kind:?} has come and the oldest has left");
    }
    writer.succeed(LIMIT);
    wait_for_all(&members, MIGRATION_RECORDS);
    let stay = members.len() - 2;
    members[stay..].iter_mut().for_each(Member::leave);
    check_once(&members, 0, MIGRATION_RECORDS);
}
