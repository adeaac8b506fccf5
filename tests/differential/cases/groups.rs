//! Groups and their offsets.

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest, GroupId, HeartbeatRequest,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest,
    OffsetDeleteRequest, OffsetFetchRequest, SyncGroupRequest,
};

use super::{create, text, topic};
use crate::both::{Both, Peer};

/// Not `consumer`, whose subscriptions Kafka reads.
const PROTOCOL_TYPE: &str = "differential";
const ASSIGNMENT: &[u8] = b"an assignment";

pub(super) fn ask(both: &mut Both) {
    create(both, "grouped", 2);
    coordinators(both);
    simple_commits(both);
    for version in 0..=9 {
        member(both, version);
    }
    strangers(both);
    queries(both);
}

fn group(id: &str) -> GroupId {
    GroupId(text(id))
}

fn coordinators(both: &mut Both) {
    // Who asks first makes Kafka create the topics behind; it says so until they are there.
    for (key_type, key) in [(0, "g"), (1, "t")] {
        both.until("the coordinator's topic to be there", |peer| {
            let request = FindCoordinatorRequest::default().with_key(text(key)).with_key_type(key_type);
            peer.ask(2, &request).is_some_and(|found| found.error_code == 0)
        });
        both.same("one coordinator", if key_type == 0 { 0..=3 } else { 1..=3 }, |_| {
            FindCoordinatorRequest::default().with_key(text(key)).with_key_type(key_type)
        });
        both.same("two coordinators", 4..=6, |_| {
            let keys = vec![text(key), text("other")];
            FindCoordinatorRequest::default().with_coordinator_keys(keys).with_key_type(key_type)
        });
    }
    both.same("an unknown kind", 1..=3, |_| {
        FindCoordinatorRequest::default().with_key(text("g")).with_key_type(9)
    });
}

fn commit(
    id: &str,
    member: &str,
    generation: i32,
    version: i16,
    name: &str,
    index: i32,
) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(index)
        .with_committed_offset(40 + i64::from(version))
        .with_committed_metadata(Some(text("noted")));
    let one = OffsetCommitRequestTopic::default().with_name(topic(name)).with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(group(id))
        .with_member_id(text(member))
        .with_generation_id_or_member_epoch(generation)
        .with_topics(vec![one])
}

/// The offsets of partitions 0 and 1; or all that were committed.
fn fetch(id: &str, version: i16, all: bool) -> OffsetFetchRequest {
    let request = OffsetFetchRequest::default();
    if version >= 8 {
        let one = OffsetFetchRequestTopics::default()
            .with_name(topic("grouped"))
            .with_partition_indexes(vec![0, 1]);
        let of = OffsetFetchRequestGroup::default()
            .with_group_id(group(id))
            .with_member_epoch(-1)
            .with_topics((!all).then(|| vec![one]));
        return request.with_groups(vec![of]);
    }
    let one =
        OffsetFetchRequestTopic::default().with_name(topic("grouped")).with_partition_indexes(vec![0, 1]);
    request.with_group_id(group(id)).with_topics((!all).then(|| vec![one]))
}

fn simple_commits(both: &mut Both) {
    for version in 1..=9 {
        both.same("offsets of nobody", [version], |_| fetch("nobody", version, false));
    }
    both.same("all offsets of nobody", 2..=9, |version| fetch("nobody", version, true));
    for version in 2..=9 {
        let id = format!("simple-{version}");
        both.same("a simple commit", [version], |_| commit(&id, "", -1, version, "grouped", 0));
        both.same("a commit for no partition", [version], |_| commit(&id, "", -1, version, "grouped", 9));
        both.same("a commit for no topic", [version], |_| commit(&id, "", -1, version, "missing", 0));
        both.same("a stranger's commit", [version], |_| commit(&id, "stranger", 3, version, "grouped", 0));
        let long = "m".repeat(5000);
        both.same("long metadata", [version], |_| {
            let mut request = commit(&id, "", -1, version, "grouped", 1);
            request.topics[0].partitions[0].committed_metadata = Some(text(&long));
            request
        });
        both.same("offsets", [version], |_| fetch(&id, version, false));
        both.same("all offsets", [version], |_| fetch(&id, version, true));
    }
}

fn join(id: &str, member: &str, version: i16) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"a subscription"));
    let rebalance_timeout_ms = if version >= 1 { 6000 } else { -1 };
    JoinGroupRequest::default()
        .with_group_id(group(id))
        .with_session_timeout_ms(6000)
        .with_rebalance_timeout_ms(rebalance_timeout_ms)
        .with_member_id(text(member))
        .with_protocol_type(text(PROTOCOL_TYPE))
        .with_protocols(vec![protocol])
}

/// One member's life in one version of everything.
fn member(both: &mut Both, version: i16) {
    let id = format!("member-{version}");
    let id = id.as_str();
    let note = |peer: &mut Peer, answer: &JoinGroupResponse| {
        peer.noted.insert("member".to_owned(), answer.member_id.to_string());
    };
    let me = |peer: &Peer| peer.noted.get("member").cloned().unwrap_or_default();
    both.compare("join", version, |_| join(id, "", version), note);
    if version >= 4 {
        both.compare("join with the id", version, |peer| join(id, &me(peer), version), note);
    }
    let sync = version.min(5);
    let synced = |peer: &Peer, generation: i32| {
        let own = SyncGroupRequestAssignment::default()
            .with_member_id(text(&me(peer)))
            .with_assignment(Bytes::from_static(ASSIGNMENT));
        let names = (sync >= 5).then(|| text("range"));
        SyncGroupRequest::default()
            .with_group_id(group(id))
            .with_generation_id(generation)
            .with_member_id(text(&me(peer)))
            .with_protocol_type((sync >= 5).then(|| text(PROTOCOL_TYPE)))
            .with_protocol_name(names)
            .with_assignments(vec![own])
    };
    let beat = version.min(4);
    let heartbeat = |peer: &Peer, generation: i32| {
        HeartbeatRequest::default()
            .with_group_id(group(id))
            .with_generation_id(generation)
            .with_member_id(text(&me(peer)))
    };
    both.compare("a heartbeat too early", beat, |peer| heartbeat(peer, 1), |_, _| ());
    both.compare("sync of another generation", sync, |peer| synced(peer, 7), |_, _| ());
    both.compare("sync", sync, |peer| synced(peer, 1), |_, _| ());
    both.compare("sync again", sync, |peer| synced(peer, 1), |_, _| ());
    both.compare("a heartbeat", beat, |peer| heartbeat(peer, 1), |_, _| ());
    both.compare("a heartbeat of another generation", beat, |peer| heartbeat(peer, 7), |_, _| ());
    let commits = version.clamp(2, 9);
    let committed = |peer: &Peer, generation: i32| commit(id, &me(peer), generation, commits, "grouped", 1);
    both.compare("a member's commit", commits, |peer| committed(peer, 1), |_, _| ());
    both.compare("a commit of another generation", commits, |peer| committed(peer, 7), |_, _| ());
    both.same("a simple commit to a living group", [commits], |_| commit(id, "", -1, commits, "grouped", 0));
    both.same("described", [version.min(6)], |_| {
        DescribeGroupsRequest::default()
            .with_groups(vec![group(id)])
            .with_include_authorized_operations(version >= 3)
    });
    both.same("deletion of a living group", [version.min(2)], |_| {
        DeleteGroupsRequest::default().with_groups_names(vec![group(id)])
    });
    let leaves = version.min(5);
    let leave = |peer: &Peer| {
        let request = LeaveGroupRequest::default().with_group_id(group(id));
        if leaves < 3 {
            return request.with_member_id(text(&me(peer)));
        }
        request.with_members(vec![MemberIdentity::default().with_member_id(text(&me(peer)))])
    };
    both.compare("leave", leaves, leave, |_, _| ());
    both.compare("leave again", leaves, leave, |_, _| ());
    both.compare("a heartbeat too late", beat, |peer| heartbeat(peer, 1), |_, _| ());
    both.same("described when empty", [version.min(6)], |_| {
        DescribeGroupsRequest::default().with_groups(vec![group(id)])
    });
}

fn strangers(both: &mut Both) {
    both.same("a stranger joins", 0..=9, |version| join("member-0", "stranger", version));
    both.same("no group id", 0..=9, |version| join("", "", version));
    both.same("a short session", 0..=9, |version| join("short", "", version).with_session_timeout_ms(1));
    both.same("another protocol type", 4..=9, |version| {
        join("member-0", "", version).with_protocol_type(text("connect")).with_protocols(vec![])
    });
    both.same("a stranger's heartbeat", 0..=4, |_| {
        HeartbeatRequest::default()
            .with_group_id(group("nobody"))
            .with_generation_id(1)
            .with_member_id(text("stranger"))
    });
}

fn queries(both: &mut Both) {
    both.same("an unknown group", 0..=6, |_| {
        DescribeGroupsRequest::default().with_groups(vec![group("nobody")])
    });
    both.same("a group without a name", 0..=6, |_| {
        DescribeGroupsRequest::default().with_groups(vec![group("")])
    });
    both.same("no such state", 4..=5, |_| ListGroupsRequest::default().with_states_filter(vec![text("Odd")]));
    both.same("stable groups", 4..=5, |_| {
        ListGroupsRequest::default().with_states_filter(vec![text("Stable")])
    });
    let of = |id: &str, name: &str, index: i32| {
        let partition = OffsetDeleteRequestPartition::default().with_partition_index(index);
        let one = OffsetDeleteRequestTopic::default().with_name(topic(name)).with_partitions(vec![partition]);
        OffsetDeleteRequest::default().with_group_id(group(id)).with_topics(vec![one])
    };
    for (id, name, index) in [
        ("simple-9", "grouped", 9),
        ("simple-9", "missing", 0),
        ("simple-9", "grouped", 1),
        ("simple-9", "grouped", 0),
        ("nobody", "grouped", 0),
        ("", "grouped", 0),
    ] {
        both.same(&format!("offset deletion {id} {name} {index}"), [0], |_| of(id, name, index));
    }
    for version in 0..=2 {
        for id in
            [format!("member-{version}"), format!("member-{version}"), "nobody".to_owned(), String::new()]
        {
            both.same(&format!("deletion of group {id}"), [version], |_| {
                DeleteGroupsRequest::default().with_groups_names(vec![group(&id)])
            });
        }
    }
}
