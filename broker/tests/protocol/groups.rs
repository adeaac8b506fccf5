//! FindCoordinator, JoinGroup, SyncGroup, Heartbeat, LeaveGroup, OffsetCommit, OffsetFetch, OffsetDelete, DescribeGroups,
//! ListGroups, DeleteGroups.

use std::sync::Arc;
use std::time::Duration;

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
    DeleteGroupsRequest, DeleteTopicsRequest, DescribeGroupsRequest, FindCoordinatorRequest, GroupId,
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest,
    MetadataRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;
use millrace_log::disk::SimDisk;

use crate::support::{Client, broker, broker_on, broker_with, text, topic};
use crate::topics::create;

/// Groups begin at once, so that a test reads as what happens and not as what is waited for.
pub(crate) const QUICK: &[(&str, &str)] = &[("group.initial.rebalance.delay.ms", "0")];

fn group(id: &str) -> GroupId {
    GroupId(text(id))
}

fn join_request(version: i16, id: &str, member: &StrBytes) -> JoinGroupRequest {
    let protocol =
        JoinGroupRequestProtocol::default().with_name(text("range")).with_metadata(Bytes::from_static(b"m"));
    let request = JoinGroupRequest::default()
        .with_group_id(group(id))
        .with_session_timeout_ms(10_000)
        .with_member_id(member.clone())
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    if version >= 1 { request.with_rebalance_timeout_ms(60_000) } else { request }
}

/// Joins, asking for a member id first where the version wants that.
async fn join(client: &mut Client, version: i16, id: &str) -> JoinGroupResponse {
    let first = client.call(version, join_request(version, id, &text(""))).await;
    if version < 4 {
        return first;
    }
    assert_eq!(first.error_code, 79, "version {version}");
    client.call(version, join_request(version, id, &first.member_id)).await
}

async fn sync(client: &mut Client, version: i16, id: &str, joined: &JoinGroupResponse) -> (i16, Bytes) {
    let assignments = joined.members.iter().map(|member| {
        SyncGroupRequestAssignment::default()
            .with_member_id(member.member_id.clone())
            .with_assignment(Bytes::copy_from_slice(member.member_id.as_bytes()))
    });
    let request = SyncGroupRequest::default()
        .with_group_id(group(id))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_assignments(assignments.collect());
    let response = client.call(version, request).await;
    (response.error_code, response.assignment)
}

async fn heartbeat(client: &mut Client, version: i16, id: &str, joined: &JoinGroupResponse) -> i16 {
    let request = HeartbeatRequest::default()
        .with_group_id(group(id))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone());
    client.call(version, request).await.error_code
}

pub(crate) fn commit_request(id: &str, name: &str, partition: i32, offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(partition)
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text("note")));
    let topic = OffsetCommitRequestTopic::default().with_name(topic(name)).with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(group(id))
        .with_generation_id_or_member_epoch(-1)
        .with_retention_time_ms(-1)
        .with_topics(vec![topic])
}

pub(crate) async fn commit(client: &mut Client, version: i16, request: OffsetCommitRequest) -> i16 {
    client.call(version, request).await.topics[0].partitions[0].error_code
}

/// Offset, metadata and error of one partition.
pub(crate) async fn fetch(
    client: &mut Client,
    version: i16,
    id: &str,
    name: &str,
    stable: bool,
) -> (i64, String, i16) {
    if version >= 8 {
        let asked =
            OffsetFetchRequestTopics::default().with_name(topic(name)).with_partition_indexes(vec![0]);
        let asked =
            OffsetFetchRequestGroup::default().with_group_id(group(id)).with_topics(Some(vec![asked]));
        let request = OffsetFetchRequest::default().with_groups(vec![asked]).with_require_stable(stable);
        let response = client.call(version, request).await;
        assert_eq!(response.groups[0].error_code, 0);
        let found = &response.groups[0].topics[0].partitions[0];
        return (
            found.committed_offset,
            found.metadata.as_deref().unwrap_or("null").to_owned(),
            found.error_code,
        );
    }
    let asked = OffsetFetchRequestTopic::default().with_name(topic(name)).with_partition_indexes(vec![0]);
    let request = OffsetFetchRequest::default().with_group_id(group(id)).with_topics(Some(vec![asked]));
    let request = if version >= 7 { request.with_require_stable(stable) } else { request };
    let response = client.call(version, request).await;
    assert_eq!(response.error_code, 0);
    let found = &response.topics[0].partitions[0];
    (found.committed_offset, found.metadata.as_deref().unwrap_or("null").to_owned(), found.error_code)
}

#[tokio::test(start_paused = true)]
async fn every_version_finds_the_coordinators() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    for version in 0..=6 {
        for key_type in [0, 1] {
            let request = FindCoordinatorRequest::default();
            let request = if version >= 1 { request.with_key_type(key_type) } else { request };
            let (code, host, port) = if version >= 4 {
                let response =
                    client.call(version, request.with_coordinator_keys(vec![text("a"), text("b")])).await;
                assert_eq!(response.coordinators.len(), 2);
                let found = &response.coordinators[1];
                assert_eq!(&*found.key, "b");
                (found.error_code, found.host.clone(), found.port)
            } else {
                let response = client.call(version, request.with_key(text("a"))).await;
                (response.error_code, response.host, response.port)
            };
            let advertised = broker.advertised();
            assert_eq!((code, host.to_string(), port), (0, advertised.host, i32::from(advertised.port)));
        }
    }
    let share = FindCoordinatorRequest::default().with_key_type(2).with_coordinator_keys(vec![text("a")]);
    assert_eq!(client.call(6, share).await.coordinators[0].error_code, 42);
    // Both topics are there now, compacted and with Kafka's number of partitions.
    let metadata = client.call(12, MetadataRequest::default().with_topics(None)).await;
    let mut internal: Vec<_> = metadata
        .topics
        .iter()
        .map(|found| {
            (found.name.as_ref().expect("a name").to_string(), found.is_internal, found.partitions.len())
        })
        .collect();
    internal.sort();
    assert_eq!(
        internal,
        [("__consumer_offsets".to_owned(), true, 50), ("__transaction_state".to_owned(), true, 50)]
    );
}

#[tokio::test(start_paused = true)]
async fn a_member_lives_in_every_version() {
    let broker = broker_with(QUICK).await;
    let mut client = Client::new(&broker);
    for version in 0..=9 {
        let id = format!("g{version}");
        let joined = join(&mut client, version, &id).await;
        assert_eq!((joined.error_code, joined.generation_id), (0, 1), "version {version}");
        assert_eq!(joined.leader, joined.member_id);
        assert_eq!(joined.protocol_name.as_deref(), Some("range"));
        assert_eq!(joined.protocol_type.as_deref(), if version >= 7 { Some("consumer") } else { None });
        let (code, assignment) = sync(&mut client, version.min(5), &id, &joined).await;
        assert_eq!((code, &assignment[..]), (0, joined.member_id.as_bytes()), "version {version}");
        assert_eq!(heartbeat(&mut client, version.min(4), &id, &joined).await, 0);
        let leave = LeaveGroupRequest::default().with_group_id(group(&id));
        let leave = if version >= 3 {
            leave.with_members(vec![MemberIdentity::default().with_member_id(joined.member_id.clone())])
        } else {
            leave.with_member_id(joined.member_id.clone())
        };
        let left = client.call(version.min(5), leave.clone()).await;
        assert_eq!((left.error_code, left.members.iter().all(|member| member.error_code == 0)), (0, true));
        let again = client.call(version.min(5), leave).await;
        let code = if version >= 3 { again.members[0].error_code } else { again.error_code };
        assert_eq!(code, 25, "version {version}");
    }
}

#[tokio::test(start_paused = true)]
async fn three_members_share_and_rebalance() {
    let broker = broker().await;
    let mut clients: Vec<_> = (0..3).map(|_| Client::new(&broker)).collect();
    let [a, b, c] = &mut clients[..] else { unreachable!("three clients") };
    let (first, second, third) = tokio::join!(join(a, 9, "g"), join(b, 9, "g"), join(c, 9, "g"));
    let all = [&first, &second, &third];
    assert!(all.iter().all(|joined| (joined.error_code, joined.generation_id) == (0, 1)));
    let leaders: Vec<_> = all.iter().filter(|joined| joined.leader == joined.member_id).collect();
    assert_eq!(leaders.len(), 1);
    assert_eq!(leaders[0].members.len(), 3);
    assert!(
        all.iter().filter(|joined| !joined.members.is_empty()).count() == 1,
        "only the leader gets the list"
    );
    let synced = tokio::join!(sync(a, 5, "g", &first), sync(b, 5, "g", &second), sync(c, 5, "g", &third));
    for (joined, (code, assignment)) in all.iter().zip([&synced.0, &synced.1, &synced.2]) {
        assert_eq!((*code, &assignment[..]), (0, joined.member_id.as_bytes()));
    }
    let described = client_describe(a, 6, "g").await;
    assert_eq!(described, (0, "Stable".to_owned(), 3));

    // One goes: the others hear of it and share again.
    let member = MemberIdentity::default().with_member_id(third.member_id.clone());
    c.call(5, LeaveGroupRequest::default().with_group_id(group("g")).with_members(vec![member])).await;
    assert_eq!(heartbeat(a, 4, "g", &first).await, 27);
    let again = |joined: &JoinGroupResponse| join_request(9, "g", &joined.member_id);
    let (first, second) = tokio::join!(a.call(9, again(&first)), b.call(9, again(&second)));
    assert_eq!((first.error_code, first.generation_id, second.generation_id), (0, 2, 2));
    let ((code, _), _) = tokio::join!(sync(a, 5, "g", &first), sync(b, 5, "g", &second));
    assert_eq!(code, 0);

    // One falls silent: after its session the other is alone.
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(4)).await;
        heartbeat(a, 4, "g", &first).await;
    }
    assert_eq!(heartbeat(a, 4, "g", &first).await, 27);
    assert_eq!(heartbeat(b, 4, "g", &second).await, 25);
}

async fn client_describe(client: &mut Client, version: i16, id: &str) -> (i16, String, usize) {
    let request = DescribeGroupsRequest::default().with_groups(vec![group(id)]);
    let response = client.call(version, request).await;
    let found = &response.groups[0];
    (found.error_code, found.group_state.to_string(), found.members.len())
}

#[tokio::test(start_paused = true)]
async fn every_version_commits_and_fetches() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    for version in 1..=9 {
        assert_eq!(fetch(&mut client, version, "nobody", "t", false).await, (-1, String::new(), 0));
    }
    for version in 2..=9 {
        let offset = i64::from(version) * 10;
        assert_eq!(
            commit(&mut client, version, commit_request("g", "t", 0, offset)).await,
            0,
            "version {version}"
        );
        for fetching in 1..=9 {
            assert_eq!(fetch(&mut client, fetching, "g", "t", false).await, (offset, "note".to_owned(), 0));
        }
        // A topic that does not exist, and metadata that is too long.
        assert_eq!(commit(&mut client, version, commit_request("g", "nowhere", 0, 1)).await, 3);
        let mut long = commit_request("g", "t", 0, 1);
        long.topics[0].partitions[0].committed_metadata = Some(text(&"m".repeat(4097)));
        assert_eq!(commit(&mut client, version, long).await, 12);
        // A generation of a group that does not exist.
        let stale = commit_request("nobody", "t", 0, 1).with_generation_id_or_member_epoch(3);
        assert_eq!(commit(&mut client, version, stale).await, if version >= 9 { 69 } else { 22 });
    }
    // All offsets: null topics.
    let all = client.call(7, OffsetFetchRequest::default().with_group_id(group("g")).with_topics(None)).await;
    assert_eq!((all.topics.len(), all.topics[0].partitions[0].committed_offset), (1, 90));
    let asked = OffsetFetchRequestGroup::default().with_group_id(group("g")).with_topics(None);
    let all = client.call(9, OffsetFetchRequest::default().with_groups(vec![asked])).await;
    assert_eq!(all.groups[0].topics[0].partitions[0].committed_offset, 90);
}

/// A commit of a member.
fn commit_as(joined: &JoinGroupResponse, generation: i32) -> OffsetCommitRequest {
    let mut request = commit_request("g", "t", 0, 5).with_generation_id_or_member_epoch(generation);
    request.member_id = joined.member_id.clone();
    request
}

#[tokio::test(start_paused = true)]
async fn who_may_commit_depends_on_the_groups_state() {
    let broker = broker_with(QUICK).await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    assert_eq!(commit(&mut client, 8, commit_request("g", "t", 0, 1)).await, 0, "nobody is in it");
    let joined = join(&mut client, 9, "g").await;
    // Between JoinGroup and the leader's SyncGroup (CompletingRebalance).
    assert_eq!(heartbeat(&mut client, 4, "g", &joined).await, 0);
    assert_eq!(commit(&mut client, 8, commit_as(&joined, 1)).await, 27);
    assert_eq!(sync(&mut client, 5, "g", &joined).await.0, 0);
    assert_eq!(commit(&mut client, 8, commit_as(&joined, 1)).await, 0);
    assert_eq!(commit(&mut client, 8, commit_as(&joined, 2)).await, 22, "another generation");
    assert_eq!(
        commit(&mut client, 8, commit_request("g", "t", 0, 1)).await,
        25,
        "a stranger, while it has members"
    );
    let stranger = joined.clone().with_member_id(text("nobody"));
    assert_eq!(commit(&mut client, 8, commit_as(&stranger, 1)).await, 25);
    assert_eq!(heartbeat(&mut client, 4, "g", &stranger).await, 25);
    assert_eq!(heartbeat(&mut client, 4, "g", &joined.with_generation_id(2)).await, 22);
    assert_eq!(fetch(&mut client, 8, "g", "t", false).await.0, 5);
}

#[tokio::test(start_paused = true)]
async fn a_static_member_is_fenced_by_who_takes_its_name() {
    let broker = broker_with(QUICK).await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let named = || join_request(9, "g", &text("")).with_group_instance_id(Some(text("one")));
    let first = client.call(9, named()).await;
    assert_eq!((first.error_code, first.generation_id), (0, 1), "no second round for a static member");
    assert_eq!(sync(&mut client, 5, "g", &first).await.0, 0);
    let second = client.call(9, named()).await;
    assert_eq!((second.error_code, second.generation_id), (0, 1), "it takes over without a rebalance");
    assert_ne!(first.member_id, second.member_id);
    for (member, expected) in [(&first, 82), (&second, 0)] {
        let request = HeartbeatRequest::default()
            .with_group_id(group("g"))
            .with_generation_id(1)
            .with_member_id(member.member_id.clone())
            .with_group_instance_id(Some(text("one")));
        assert_eq!(client.call(4, request).await.error_code, expected);
        let mut request = commit_as(member, 1);
        request.group_instance_id = Some(text("one"));
        assert_eq!(commit(&mut client, 8, request).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn offsets_expire_from_when_their_group_is_empty() {
    let settings = [("offsets.retention.minutes", "5"), ("offsets.retention.check.interval.ms", "1000")];
    let broker = broker_with(&[QUICK, &settings].concat()).await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let joined = join(&mut client, 9, "g").await;
    assert_eq!(sync(&mut client, 5, "g", &joined).await.0, 0);
    assert_eq!(commit(&mut client, 8, commit_as(&joined, 1)).await, 0);
    for _ in 0..80 {
        // Far longer than the retention, with a member.
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(heartbeat(&mut client, 4, "g", &joined).await, 0);
    }
    assert_eq!(fetch(&mut client, 8, "g", "t", false).await.0, 5);
    let member = MemberIdentity::default().with_member_id(joined.member_id.clone());
    let leave = LeaveGroupRequest::default().with_group_id(group("g")).with_members(vec![member]);
    assert_eq!(client.call(5, leave).await.error_code, 0);
    tokio::time::sleep(Duration::from_secs(4 * 60)).await;
    assert_eq!(fetch(&mut client, 8, "g", "t", false).await.0, 5);
    tokio::time::sleep(Duration::from_secs(2 * 60)).await;
    assert_eq!(fetch(&mut client, 8, "g", "t", false).await.0, -1);
}

#[tokio::test(start_paused = true)]
async fn groups_and_offsets_outlive_the_broker() {
    let disk = Arc::new(SimDisk::new());
    let joined = {
        let broker = broker_on(disk.clone(), QUICK).await;
        let mut client = Client::new(&broker);
        create(&mut client, "t", 1).await;
        let joined = join(&mut client, 9, "g").await;
        sync(&mut client, 5, "g", &joined).await;
        let mut request = commit_request("g", "t", 0, 42).with_generation_id_or_member_epoch(1);
        request.member_id = joined.member_id.clone();
        assert_eq!(commit(&mut client, 9, request).await, 0);
        drop(client);
        broker.shutdown().await.expect("a clean stop");
        joined
    };
    let broker = broker_on(disk.clone(), QUICK).await;
    let mut client = Client::new(&broker);
    assert_eq!(fetch(&mut client, 9, "g", "t", false).await.0, 42);
    assert_eq!(
        heartbeat(&mut client, 4, "g", &joined).await,
        0,
        "the member goes on as if nothing had happened"
    );
    assert_eq!(commit(&mut client, 9, commit_request("simple", "t", 0, 7)).await, 0);
    drop(client);

    // The power goes: what was acknowledged is there.
    broker.abort();
    disk.power_cut(1);
    let broker = broker_on(disk, QUICK).await;
    let mut client = Client::new(&broker);
    assert_eq!(fetch(&mut client, 9, "simple", "t", false).await.0, 7);
    assert_eq!(fetch(&mut client, 9, "g", "t", false).await.0, 42);
    assert_eq!(client_describe(&mut client, 5, "g").await, (0, "Stable".to_owned(), 1));
    // Who does not come back is expired.
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(client_describe(&mut client, 5, "g").await, (0, "Empty".to_owned(), 0));
}

#[tokio::test(start_paused = true)]
async fn every_version_describes_lists_and_deletes() {
    let broker = broker_with(QUICK).await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    for version in 0..=5 {
        assert!(client.call(version, ListGroupsRequest::default()).await.groups.is_empty());
    }
    let joined = join(&mut client, 9, "g").await;
    sync(&mut client, 5, "g", &joined).await;
    commit(&mut client, 9, commit_request("simple", "t", 0, 7)).await;
    for version in 0..=6 {
        assert_eq!(client_describe(&mut client, version, "g").await, (0, "Stable".to_owned(), 1));
        let unknown = if version >= 6 { 69 } else { 0 };
        assert_eq!(client_describe(&mut client, version, "nobody").await, (unknown, "Dead".to_owned(), 0));
    }
    for version in 0..=5 {
        let listed = client.call(version, ListGroupsRequest::default()).await;
        let mut names: Vec<_> = listed.groups.iter().map(|found| found.group_id.to_string()).collect();
        names.sort();
        assert_eq!(names, ["g", "simple"]);
    }
    let stable = ListGroupsRequest::default().with_states_filter(vec![text("STABLE")]);
    let listed = client.call(5, stable).await;
    let found = &listed.groups[0];
    assert_eq!((listed.groups.len(), &*found.group_state, &*found.group_type), (1, "Stable", "classic"));
    let other = ListGroupsRequest::default().with_types_filter(vec![text("consumer")]);
    assert!(client.call(5, other).await.groups.is_empty());

    for version in 0..=2 {
        let request = DeleteGroupsRequest::default().with_groups_names(vec![group("g"), group("nobody")]);
        let codes: Vec<_> =
            client.call(version, request).await.results.iter().map(|found| found.error_code).collect();
        assert_eq!(codes, [68, 69]);
    }
    let request = DeleteGroupsRequest::default().with_groups_names(vec![group("simple")]);
    assert_eq!(client.call(2, request).await.results[0].error_code, 0);
    assert_eq!(fetch(&mut client, 9, "simple", "t", false).await.0, -1);
}

#[tokio::test(start_paused = true)]
async fn offsets_go_one_by_one_or_with_their_topic() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    for name in ["t", "u"] {
        create(&mut client, name, 1).await;
        commit(&mut client, 9, commit_request("g", name, 0, 7)).await;
    }
    let partition = OffsetDeleteRequestPartition::default().with_partition_index(0);
    let asked = OffsetDeleteRequestTopic::default().with_name(topic("t")).with_partitions(vec![partition]);
    let request = OffsetDeleteRequest::default().with_group_id(group("g")).with_topics(vec![asked.clone()]);
    let response = client.call(0, request).await;
    assert_eq!((response.error_code, response.topics[0].partitions[0].error_code), (0, 0));
    assert_eq!(fetch(&mut client, 9, "g", "t", false).await.0, -1);
    let request = OffsetDeleteRequest::default().with_group_id(group("nobody")).with_topics(vec![asked]);
    assert_eq!(client.call(0, request).await.error_code, 69);

    client.call(5, DeleteTopicsRequest::default().with_topic_names(vec![topic("u")])).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(fetch(&mut client, 9, "g", "u", false).await.0, -1);
}
