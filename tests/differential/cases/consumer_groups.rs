//! Groups of the consumer protocol (KIP-848): members, their epochs, and what they may commit.

use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    DeleteGroupsRequest, DescribeGroupsRequest, GroupId, ListGroupsRequest, OffsetCommitRequest,
    OffsetFetchRequest, offset_fetch_request,
};
use uuid::Uuid;

use super::{create, text, topic};
use crate::both::{Both, Peer};

const TOPIC: &str = "next";

pub(super) fn ask(both: &mut Both) {
    create(both, TOPIC, 2);
    refusals(both);
    epochs(both);
    static_members(both);
    both.same("no group", 0..=1, |_| described("nobody"));
    both.same("no name", 0..=1, |_| described(""));
    both.same("groups by type", [5], |_| {
        ListGroupsRequest::default().with_types_filter(vec![text("consumer")])
    });
}

fn group(id: &str) -> GroupId {
    GroupId(text(id))
}

fn join(id: &str, member: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group(id))
        .with_member_id(text(member))
        .with_rebalance_timeout_ms(60_000)
        .with_subscribed_topic_names(Some(vec![topic(TOPIC)]))
        .with_topic_partitions(Some(Vec::new()))
}

fn stay(id: &str, member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group(id))
        .with_member_id(text(member))
        .with_member_epoch(epoch)
        .with_rebalance_timeout_ms(-1)
        .with_topic_partitions(None)
        .with_subscribed_topic_names(None)
}

fn described(id: &str) -> ConsumerGroupDescribeRequest {
    ConsumerGroupDescribeRequest::default().with_group_ids(vec![group(id)])
}

fn commit(id: &str, member: &str, epoch: i32, partitions: &[i32]) -> OffsetCommitRequest {
    let one = |index: &i32| {
        OffsetCommitRequestPartition::default().with_partition_index(*index).with_committed_offset(7)
    };
    let named = OffsetCommitRequestTopic::default()
        .with_name(topic(TOPIC))
        .with_partitions(partitions.iter().map(one).collect());
    OffsetCommitRequest::default()
        .with_group_id(group(id))
        .with_member_id(text(member))
        .with_generation_id_or_member_epoch(epoch)
        .with_topics(vec![named])
}

fn fetch(id: &str, member: Option<&str>, epoch: i32) -> OffsetFetchRequest {
    let wanted = offset_fetch_request::OffsetFetchRequestTopics::default()
        .with_name(topic(TOPIC))
        .with_partition_indexes(vec![0, 1]);
    let of = offset_fetch_request::OffsetFetchRequestGroup::default()
        .with_group_id(group(id))
        .with_member_id(member.map(text))
        .with_member_epoch(epoch)
        .with_topics(Some(vec![wanted]));
    OffsetFetchRequest::default().with_groups(vec![of])
}

fn refusals(both: &mut Both) {
    let cases = [
        ("no member id", join("refused", "")),
        ("no group id", join("", "a")),
        ("no rebalance timeout", join("refused", "a").with_rebalance_timeout_ms(-1)),
        ("nothing owned", join("refused", "a").with_topic_partitions(None)),
        ("no subscription", join("refused", "a").with_subscribed_topic_names(None)),
        ("an odd epoch", join("refused", "a").with_member_epoch(-3)),
        ("away without an instance", stay("refused", "a", -2)),
        ("an empty instance id", join("refused", "a").with_instance_id(Some(text("")))),
        ("an unknown assignor", join("refused", "a").with_server_assignor(Some(text("sticky")))),
        ("a pattern that is none", join("refused", "a").with_subscribed_topic_regex(Some(text("(")))),
        ("an unknown group", stay("refused", "a", 1)),
    ];
    for (what, request) in cases {
        both.same(what, [1], |_| request.clone());
    }
}

/// Notes the topic's id, the one partition that the member keeps, and the epoch of the group's first member: Kafka 4.3
/// begins with 2, Millrace and older Kafkas with 1.
fn note(peer: &mut Peer, answer: &ConsumerGroupHeartbeatResponse) {
    let Some(topic) = answer.assignment.as_ref().and_then(|it| it.topic_partitions.first()) else { return };
    peer.noted.insert("topic".to_owned(), topic.topic_id.to_string());
    if let [kept] = topic.partitions[..] {
        peer.noted.insert("kept".to_owned(), kept.to_string());
    } else {
        peer.noted.insert("first epoch".to_owned(), answer.member_epoch.to_string());
    }
}

fn number(peer: &Peer, what: &str) -> i32 {
    peer.noted.get(what).and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn kept(peer: &Peer) -> i32 {
    number(peer, "kept")
}

/// The epoch so many after the first one.
fn epoch(peer: &Peer, after: i32) -> i32 {
    number(peer, "first epoch") + after
}

/// Two members share what one had: which epochs are accepted when, by heartbeats, commits and fetches of offsets.
fn epochs(both: &mut Both) {
    let id = "epochs";
    let owned = |peer: &Peer| {
        let topic_id = peer.noted.get("topic").and_then(|id| id.parse::<Uuid>().ok()).unwrap_or_default();
        TopicPartitions::default().with_topic_id(topic_id).with_partitions(vec![kept(peer)])
    };
    both.compare("join", 1, |_| join(id, "a"), note);
    both.compare("a member of another's name", 1, |peer| stay(id, "b", epoch(peer, 0)), |_, _| ());
    both.compare("a commit", 9, |peer| commit(id, "a", epoch(peer, 0), &[0, 1]), |_, _| ());
    both.compare("a commit of an old version", 8, |peer| commit(id, "a", epoch(peer, 0), &[0]), |_, _| ());
    both.same("a commit of nobody", [9], |_| commit(id, "", -1, &[0]));
    both.compare("a commit of a stranger", 9, |peer| commit(id, "x", epoch(peer, 0), &[0]), |_, _| ());
    both.same("described", 0..=1, |_| described(id));
    both.same("join of a second", [1], |_| join(id, "b"));
    both.compare("told to give up", 1, |peer| stay(id, "a", epoch(peer, 0)), note);
    both.compare("a commit while giving up", 9, |peer| commit(id, "a", epoch(peer, 0), &[0, 1]), |_, _| ());
    let gives_up = |peer: &Peer| stay(id, "a", epoch(peer, 0)).with_topic_partitions(Some(vec![owned(peer)]));
    both.compare("given up", 1, gives_up, note);
    both.compare("the second's share", 1, |peer| stay(id, "b", epoch(peer, 1)), |_, _| ());
    for after in [-1, 0, 1, 2] {
        let mut same = |what: &str, member: &str, partitions: &dyn Fn(&Peer) -> Vec<i32>| {
            let request = |peer: &Peer| commit(id, member, epoch(peer, after), &partitions(peer));
            both.compare(&format!("{what}, {after}"), 9, request, |_, _| ());
        };
        same("kept", "a", &|peer| vec![kept(peer)]);
        same("given up", "a", &|peer| vec![1 - kept(peer)]);
        same("both", "a", &|_| vec![0, 1]);
        same("none", "a", &|_| vec![]);
        same("taken over", "b", &|peer| vec![1 - kept(peer)]);
        let offsets = |peer: &Peer| fetch(id, Some("a"), epoch(peer, after));
        both.compare(&format!("offsets, {after}"), 9, offsets, |_, _| ());
    }
    both.same("a commit without an epoch", [9], |_| commit(id, "a", -1, &[0]));
    both.same("offsets of nobody", [9], |_| fetch(id, None, -1));
    both.compare("offsets of a stranger", 9, |peer| fetch(id, Some("x"), epoch(peer, 1)), |_, _| ());
    both.compare("an epoch to come", 1, |peer| stay(id, "a", epoch(peer, 2)), |_, _| ());
    both.compare("an epoch before", 1, |peer| stay(id, "a", epoch(peer, 0)), |_, _| ());
    both.same("described as a classic group", [6], |_| {
        DescribeGroupsRequest::default().with_groups(vec![group(id)])
    });
    both.same("deletion of a living group", [2], |_| {
        DeleteGroupsRequest::default().with_groups_names(vec![group(id)])
    });
    both.same("leave", [1], |_| stay(id, "b", -1));
    both.same("leave again", [1], |_| stay(id, "b", -1));
    both.compare("everything again", 1, |peer| stay(id, "a", epoch(peer, 1)), |_, _| ());
    both.same("the last one leaves", [1], |_| stay(id, "a", -1));
    both.same("described when empty", 0..=1, |_| described(id));
    both.same("a commit to an empty group", [9], |_| commit(id, "", -1, &[0]));
    both.same("deletion", [2], |_| DeleteGroupsRequest::default().with_groups_names(vec![group(id)]));
}

fn static_members(both: &mut Both) {
    let id = "static";
    let named = |request: ConsumerGroupHeartbeatRequest| request.with_instance_id(Some(text("i")));
    both.compare("a static member", 1, |_| named(join(id, "a")), note);
    both.same("another of its name", [1], |_| named(join(id, "b")));
    both.same("it goes away", [1], |_| named(stay(id, "a", -2)));
    both.same("described while away", 0..=1, |_| described(id));
    both.compare("a commit while away", 9, |peer| commit(id, "a", epoch(peer, 0), &[0]), |_, _| ());
    both.same("another takes its place", [1], |_| named(join(id, "b")));
    both.compare("the one before", 1, |peer| named(stay(id, "a", epoch(peer, 0))), |_, _| ());
    both.compare("a commit of the one before", 9, |peer| commit(id, "a", epoch(peer, 0), &[0]), |_, _| ());
    both.compare("a commit of the new one", 9, |peer| commit(id, "b", epoch(peer, 0), &[0]), |_, _| ());
    both.same("described", 0..=1, |_| described(id));
    both.same("it leaves for good", [1], |_| named(stay(id, "b", -1)));
}
