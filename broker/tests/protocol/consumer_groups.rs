//! ConsumerGroupHeartbeat, ConsumerGroupDescribe, and what other group APIs say of consumer groups (KIP-848).

use std::sync::Arc;

use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    DescribeGroupsRequest, GroupId, ListGroupsRequest, OffsetCommitRequest, OffsetFetchRequest,
};
use millrace_log::disk::SimDisk;

use crate::support::{Client, broker, broker_on, text, topic};
use crate::topics::create;

pub(crate) fn group(id: &str) -> GroupId {
    GroupId(text(id))
}

pub(crate) fn join(member: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group("g"))
        .with_member_id(text(member))
        .with_rebalance_timeout_ms(60_000)
        .with_subscribed_topic_names(Some(vec![topic("t")]))
        .with_topic_partitions(Some(Vec::new()))
}

pub(crate) fn stay(member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group("g"))
        .with_member_id(text(member))
        .with_member_epoch(epoch)
        .with_rebalance_timeout_ms(-1)
        .with_topic_partitions(None)
        .with_subscribed_topic_names(None)
}

fn assigned(response: &ConsumerGroupHeartbeatResponse) -> Option<Vec<i32>> {
    let topics = &response.assignment.as_ref()?.topic_partitions;
    Some(topics.iter().flat_map(|topic| topic.partitions.clone()).collect())
}

#[tokio::test(start_paused = true)]
async fn two_members_share_a_topic_and_a_restart_changes_nothing() {
    let disk = Arc::new(SimDisk::new());
    let running = broker_on(disk.clone(), &[]).await;
    let mut client = Client::new(&running);
    create(&mut client, "t", 2).await;

    let first = client.call(1, join("a")).await;
    assert_eq!((first.error_code, first.member_epoch, first.heartbeat_interval_ms), (0, 1, 5_000));
    assert_eq!(assigned(&first), Some(vec![0, 1]));
    // Version 0 leaves the member id to the broker.
    let second = client.call(0, join("")).await;
    let other = second.member_id.clone().expect("an id").to_string();
    assert_eq!((second.error_code, second.member_epoch, assigned(&second)), (0, 2, Some(Vec::new())));

    let told = client.call(1, stay("a", 1)).await;
    let keeps = assigned(&told).expect("less than before");
    assert_eq!((told.member_epoch, keeps.len()), (1, 1));
    let topic_id = told.assignment.expect("an assignment").topic_partitions[0].topic_id;
    let owned = TopicPartitions::default().with_topic_id(topic_id).with_partitions(keeps.clone());
    let done = client.call(1, stay("a", 1).with_topic_partitions(Some(vec![owned]))).await;
    assert_eq!((done.error_code, done.member_epoch), (0, 2));
    let got = client.call(1, stay(&other, 2)).await;
    assert_eq!(assigned(&got), Some(vec![1 - keeps[0]]));

    running.shutdown().await.expect("a clean stop");
    let running = broker_on(disk, &[]).await;
    let mut client = Client::new(&running);
    for version in 0..=1 {
        let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group("g"), group("no")]);
        let described = client.call(version, request).await.groups;
        assert_eq!((&*described[0].group_state, described[0].group_epoch), ("Stable", 2));
        assert_eq!((&*described[0].assignor_name, described[0].members.len()), ("uniform", 2));
        assert_eq!(&*described[0].members[0].assignment.topic_partitions[0].topic_name.0, "t");
        assert_eq!(described[1].error_code, 69);
    }
    let listed = client.call(5, ListGroupsRequest::default()).await.groups;
    assert_eq!((&*listed[0].group_type, &*listed[0].group_state), ("consumer", "Stable"));
    let classic = DescribeGroupsRequest::default().with_groups(vec![group("g")]);
    assert_eq!(client.call(6, classic).await.groups[0].error_code, 69);
    assert_eq!(client.call(1, stay(&other, 2)).await.error_code, 0);
}

#[tokio::test(start_paused = true)]
async fn offsets_are_for_members_at_their_epoch() {
    let running = broker().await;
    let mut client = Client::new(&running);
    create(&mut client, "t", 1).await;
    assert_eq!(client.call(1, join("a")).await.member_epoch, 1);
    let commit = |member: &str, epoch| {
        let partition = OffsetCommitRequestPartition::default().with_committed_offset(7);
        let named =
            OffsetCommitRequestTopic::default().with_name(topic("t")).with_partitions(vec![partition]);
        OffsetCommitRequest::default()
            .with_group_id(group("g"))
            .with_member_id(text(member))
            .with_generation_id_or_member_epoch(epoch)
            .with_topics(vec![named])
    };
    for (version, member, epoch, code) in
        [(9, "a", 1, 0), (9, "a", 0, 113), (9, "b", 1, 25), (8, "a", 1, 35), (9, "", -1, 25)]
    {
        let response = client.call(version, commit(member, epoch)).await;
        assert_eq!(response.topics[0].partitions[0].error_code, code, "{member} {epoch} v{version}");
    }
    for (member, epoch, code) in [(None, -1, 0), (Some("a"), 1, 0), (Some("a"), 2, 113), (Some("b"), 1, 25)] {
        let wanted =
            OffsetFetchRequestTopics::default().with_name(topic("t")).with_partition_indexes(vec![0]);
        let of = OffsetFetchRequestGroup::default()
            .with_group_id(group("g"))
            .with_member_id(member.map(text))
            .with_member_epoch(epoch)
            .with_topics(Some(vec![wanted]));
        let response = client.call(9, OffsetFetchRequest::default().with_groups(vec![of])).await;
        assert_eq!(response.groups[0].error_code, code, "{member:?} {epoch}");
        if code == 0 {
            assert_eq!(response.groups[0].topics[0].partitions[0].committed_offset, 7);
        }
    }
}

/// KIP-1251: a member that was not told its new epoch yet still has what it has had before.
#[tokio::test(start_paused = true)]
async fn an_older_epoch_may_commit_what_the_member_has_had_since() {
    let disk = Arc::new(SimDisk::new());
    let running = broker_on(disk.clone(), &[]).await;
    let mut client = Client::new(&running);
    create(&mut client, "t", 2).await;
    assert_eq!(client.call(1, join("a")).await.member_epoch, 1);
    assert_eq!(client.call(1, join("b")).await.member_epoch, 2);
    let told = client.call(1, stay("a", 1)).await.assignment.expect("less than before");
    let kept = told.topic_partitions[0].partitions[0];
    let commit = |member: &str, epoch: i32, partitions: &[i32]| {
        let one = |index: &i32| {
            OffsetCommitRequestPartition::default().with_partition_index(*index).with_committed_offset(7)
        };
        let named = OffsetCommitRequestTopic::default()
            .with_name(topic("t"))
            .with_partitions(partitions.iter().map(one).collect());
        OffsetCommitRequest::default()
            .with_group_id(group("g"))
            .with_member_id(text(member))
            .with_generation_id_or_member_epoch(epoch)
            .with_topics(vec![named])
    };
    let code = async |client: &mut Client, member: &str, epoch: i32, partitions: &[i32]| {
        let response = client.call(9, commit(member, epoch, partitions)).await;
        response.topics[0].partitions[0].error_code
    };
    assert_eq!(code(&mut client, "a", 1, &[0, 1]).await, 0, "still giving up");
    let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group("g")]);
    let described = client.call(1, request).await.groups.remove(0).members.remove(0);
    assert_eq!(
        described.assignment.topic_partitions[0].partitions,
        [0, 1],
        "what it gives up is still with it"
    );
    assert_eq!(described.target_assignment.topic_partitions[0].partitions, [kept]);
    let owned = TopicPartitions::default()
        .with_topic_id(told.topic_partitions[0].topic_id)
        .with_partitions(vec![kept]);
    assert_eq!(client.call(1, stay("a", 1).with_topic_partitions(Some(vec![owned]))).await.member_epoch, 2);
    client.call(1, stay("b", 2)).await;
    running.shutdown().await.expect("a clean stop");
    let running = broker_on(disk, &[]).await;
    let mut client = Client::new(&running);
    for (member, epoch, partitions, expected) in [
        ("a", 2, &[kept][..], 0),
        ("a", 1, &[kept], 0),
        ("a", 0, &[kept], 113),
        ("a", 3, &[kept], 113),
        ("a", 1, &[1 - kept], 113),
        ("a", 1, &[0, 1], 113),
        ("b", 2, &[1 - kept], 0),
        ("b", 1, &[1 - kept], 113),
    ] {
        let found = code(&mut client, member, epoch, partitions).await;
        assert_eq!(found, expected, "{member} {epoch} {partitions:?}, kept {kept}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_heartbeat_must_say() {
    let running = broker().await;
    let mut client = Client::new(&running);
    create(&mut client, "t", 1).await;
    let cases = [
        (join(""), 42),
        (join("a").with_group_id(group("")), 42),
        (join("a").with_rebalance_timeout_ms(-1), 42),
        (join("a").with_topic_partitions(None), 42),
        (join("a").with_subscribed_topic_names(None), 42),
        (join("a").with_member_epoch(-3), 42),
        (stay("a", -2), 42),
        (join("a").with_instance_id(Some(text(""))), 42),
        (join("a").with_server_assignor(Some(text("sticky"))), 112),
        (join("a").with_subscribed_topic_regex(Some(text("("))), 128),
        (stay("a", 1), 69),
        (join("a"), 0),
        (stay("b", 1), 25),
        (stay("a", 3), 110),
        (stay("a", 1), 0),
        (stay("a", -1), 0),
        (stay("a", 1), 25),
    ];
    for (request, code) in cases {
        let told = format!("{request:?}");
        let response = client.call(1, request).await;
        assert_eq!(response.error_code, code, "{told}: {:?}", response.error_message);
    }
}
