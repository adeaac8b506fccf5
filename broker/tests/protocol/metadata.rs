//! Metadata and DescribeCluster.

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    BrokerId, DescribeClusterRequest, DescribeTopicPartitionsRequest, MetadataRequest, MetadataResponse,
};
use std::time::Duration;
use uuid::Uuid;

use crate::support::{Client, broker, broker_with, topic};
use crate::topics::create;

fn ask(names: &[&str]) -> MetadataRequest {
    let topics = names.iter().map(|name| MetadataRequestTopic::default().with_name(Some(topic(name))));
    MetadataRequest::default().with_topics(Some(topics.collect()))
}

fn errors(response: &MetadataResponse) -> Vec<i16> {
    response.topics.iter().map(|topic| topic.error_code).collect()
}

#[tokio::test(start_paused = true)]
async fn null_means_all_and_empty_means_none() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "one", 1).await;
    create(&mut client, "two", 2).await;
    for version in 0..=13 {
        let all = if version == 0 { Some(Vec::new()) } else { None };
        let response = client.call(version, MetadataRequest::default().with_topics(all)).await;
        let names: Vec<&str> =
            response.topics.iter().filter_map(|topic| topic.name.as_ref()).map(|n| &***n).collect();
        assert_eq!(names, ["one", "two"], "version {version}");
        assert_eq!(response.topics[1].partitions.len(), 2);
        assert_eq!(response.brokers.len(), 1);
        if version >= 1 {
            let none = client.call(version, MetadataRequest::default().with_topics(Some(Vec::new()))).await;
            assert!(none.topics.is_empty(), "version {version}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_broker_leads_and_is_controller() {
    let broker =
        broker_with(&[("node.id", "5"), ("advertised.listeners", "PLAINTEXT://kafka.example:19092")]).await;
    let mut client = Client::new(&broker);
    create(&mut client, "one", 1).await;
    let response = client.call(12, ask(&["one"])).await;
    assert_eq!(response.controller_id, BrokerId(5));
    assert_eq!((&*response.brokers[0].host, response.brokers[0].port), ("kafka.example", 19092));
    assert_eq!(response.cluster_id.as_deref().map(|id| id.is_empty()), Some(false));
    let partition = &response.topics[0].partitions[0];
    assert_eq!((partition.leader_id, partition.leader_epoch), (BrokerId(5), 0));
    assert_eq!(partition.isr_nodes, [BrokerId(5)]);
    assert_eq!(response.cluster_authorized_operations, i32::MIN);
}

#[tokio::test(start_paused = true)]
async fn auto_creation_answers_unknown_first() {
    let broker = broker_with(&[("num.partitions", "4")]).await;
    let mut client = Client::new(&broker);
    assert_eq!(errors(&client.call(9, ask(&["new"])).await), [3]);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let response = client.call(9, ask(&["new"])).await;
    assert_eq!(errors(&response), [0]);
    assert_eq!(response.topics[0].partitions.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn auto_creation_needs_both_sides() {
    let refusing = broker_with(&[("auto.create.topics.enable", "false")]).await;
    let willing = broker().await;
    let no_thanks = ask(&["new"]).with_allow_auto_topic_creation(false);
    for (broker, request) in [(&refusing, ask(&["new"])), (&willing, no_thanks)] {
        let mut client = Client::new(broker);
        for _ in 0..2 {
            assert_eq!(errors(&client.call(9, request.clone()).await), [3]);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn invalid_names_and_unknown_ids() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    let long = "x".repeat(250);
    for name in ["", ".", "..", "a b", "a/b", "ä", &long, "__cluster_metadata"] {
        assert_eq!(errors(&client.call(9, ask(&[name])).await), [17], "{name:?}");
    }
    let by_id = MetadataRequestTopic::default().with_topic_id(Uuid::from_u128(99)).with_name(None);
    for version in 10..=13 {
        let response =
            client.call(version, MetadataRequest::default().with_topics(Some(vec![by_id.clone()]))).await;
        assert_eq!(errors(&response), [100], "version {version}");
        assert_eq!(response.topics[0].topic_id, Uuid::from_u128(99));
    }
}

#[tokio::test(start_paused = true)]
async fn topics_are_found_by_id() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "one", 1).await;
    let id = client.call(12, ask(&["one"])).await.topics[0].topic_id;
    let by_id = MetadataRequestTopic::default().with_topic_id(id).with_name(None);
    let response = client.call(12, MetadataRequest::default().with_topics(Some(vec![by_id]))).await;
    assert_eq!(response.topics[0].name, Some(topic("one")));
}

#[tokio::test(start_paused = true)]
async fn describe_cluster_tells_brokers_to_all_versions() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    for version in 0..=2 {
        let response = client.call(version, DescribeClusterRequest::default()).await;
        assert_eq!((response.error_code, response.brokers.len()), (0, 1), "version {version}");
        assert_eq!(response.controller_id, BrokerId(1));
    }
    let controllers = client.call(1, DescribeClusterRequest::default().with_endpoint_type(2)).await;
    assert_eq!(controllers.error_code, 114);
}

#[tokio::test(start_paused = true)]
async fn topic_partitions_come_in_pages() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "a", 3).await;
    create(&mut client, "b", 2).await;
    let mut request = DescribeTopicPartitionsRequest::default().with_response_partition_limit(2);
    let mut seen = Vec::new();
    for _ in 0..5 {
        let response = client.call(0, request.clone()).await;
        for topic in &response.topics {
            let name = topic.name.as_ref().unwrap().to_string();
            seen.extend(topic.partitions.iter().map(|partition| (name.clone(), partition.partition_index)));
        }
        let Some(next) = response.next_cursor else { break };
        let cursor = kafka_protocol::messages::describe_topic_partitions_request::Cursor::default()
            .with_topic_name(next.topic_name)
            .with_partition_index(next.partition_index);
        request.cursor = Some(cursor);
    }
    let expected = [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1)];
    assert_eq!(seen, expected.map(|(name, index)| (name.to_owned(), index)));
}

#[tokio::test(start_paused = true)]
async fn a_topic_asked_for_many_times_is_described_once() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 3).await;
    let named = MetadataRequestTopic::default().with_name(Some(topic("t")));
    let request = MetadataRequest::default().with_topics(Some(vec![named; 1000]));
    assert_eq!(client.call(12, request).await.topics.len(), 1);
}
