//! CreateTopics, DeleteTopics, CreatePartitions.

use std::sync::Arc;

use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest,
};
use millrace_log::disk::SimDisk;
use uuid::Uuid;

use crate::produce::{base_offset, produce};
use crate::support::{Client, batch, broker, broker_on, broker_with, text, topic};

pub(crate) fn new_topic(name: &str, partitions: i32) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(topic(name))
        .with_num_partitions(partitions)
        .with_replication_factor(1)
}

pub(crate) fn with_config(topic: CreatableTopic, name: &str, value: &str) -> CreatableTopic {
    let mut configs = topic.configs.clone();
    configs.push(CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value))));
    topic.with_configs(configs)
}

/// Creates topics; the error codes.
pub(crate) async fn create_all(client: &mut Client, topics: Vec<CreatableTopic>) -> Vec<i16> {
    let response = client.call(7, CreateTopicsRequest::default().with_topics(topics)).await;
    response.topics.iter().map(|topic| topic.error_code).collect()
}

/// Creates a topic that must be creatable.
pub(crate) async fn create(client: &mut Client, name: &str, partitions: i32) {
    assert_eq!(create_all(client, vec![new_topic(name, partitions)]).await, [0]);
}

async fn names(client: &mut Client) -> Vec<String> {
    let response = client.call(12, MetadataRequest::default().with_topics(None)).await;
    response.topics.iter().map(|topic| topic.name.as_ref().unwrap().to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn refusals_have_kafkas_codes() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "present.x", 1).await;
    let assigned = |index: i32, brokers: &[i32]| {
        CreatableReplicaAssignment::default()
            .with_partition_index(index)
            .with_broker_ids(brokers.iter().copied().map(BrokerId).collect())
    };
    let with_replicas =
        |assignments| new_topic("t", -1).with_replication_factor(-1).with_assignments(assignments);
    let cases = [
        (new_topic("present.x", 1), 36),
        (new_topic("present_x", 1), 17),
        (new_topic("a b", 1), 17),
        (new_topic("t", 0), 37),
        (new_topic("t", -2), 37),
        (new_topic("t", 1_000_000), 37),
        (new_topic("t", 1).with_replication_factor(0), 38),
        (new_topic("t", 1).with_replication_factor(2), 38),
        (with_config(new_topic("t", 1), "no.such.setting", "1"), 40),
        (with_config(new_topic("t", 1), "retention.ms", "soon"), 40),
        (new_topic("t", 1).with_assignments(vec![assigned(0, &[1])]), 42),
        (with_replicas(vec![assigned(0, &[9])]), 39),
        (with_replicas(vec![assigned(1, &[1])]), 39),
        (with_replicas(vec![assigned(0, &[1, 1])]), 39),
        (with_replicas(vec![assigned(0, &[])]), 39),
    ];
    for (topic, expected) in cases {
        assert_eq!(create_all(&mut client, vec![topic.clone()]).await, [expected], "{topic:?}");
    }
    assert_eq!(names(&mut client).await, ["present.x"]);
    assert_eq!(create_all(&mut client, vec![with_replicas(vec![assigned(0, &[1])])]).await, [0]);
}

#[tokio::test(start_paused = true)]
async fn twice_in_one_request_is_refused_and_others_go_on() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    let topics = vec![new_topic("a", 1), new_topic("b", 1), new_topic("a", 1)];
    assert_eq!(create_all(&mut client, topics).await, [42, 0], "one result for all its mentions");
    assert_eq!(names(&mut client).await, ["b"]);
}

#[tokio::test(start_paused = true)]
async fn defaults_and_settings_are_told() {
    let broker = broker_with(&[("num.partitions", "6")]).await;
    let mut client = Client::new(&broker);
    let wanted = with_config(new_topic("t", -1).with_replication_factor(-1), "retention.ms", "5000");
    for version in 2..=7 {
        let mut wanted = wanted.clone();
        wanted.name = topic(&format!("t{version}"));
        let request = CreateTopicsRequest::default().with_topics(vec![wanted]);
        let response = client.call(version, request).await;
        let created = &response.topics[0];
        assert_eq!(created.error_code, 0, "version {version}");
        if version >= 5 {
            assert_eq!((created.num_partitions, created.replication_factor), (6, 1));
            let configs = created.configs.as_ref().unwrap();
            let value = |name: &str| {
                let found = configs.iter().find(|config| &*config.name == name).unwrap();
                (found.value.clone().unwrap().to_string(), found.config_source)
            };
            assert_eq!(value("retention.ms"), ("5000".to_owned(), 1));
            assert_eq!(value("cleanup.policy"), ("delete".to_owned(), 5));
        }
        if version >= 7 {
            assert_ne!(created.topic_id, Uuid::nil());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn validate_only_changes_nothing() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    let request =
        CreateTopicsRequest::default().with_topics(vec![new_topic("t", 1)]).with_validate_only(true);
    assert_eq!(client.call(7, request).await.topics[0].error_code, 0);
    assert!(names(&mut client).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn topics_survive_a_restart_and_a_power_cut() {
    let disk = Arc::new(SimDisk::new());
    let broker = broker_on(disk.clone(), &[]).await;
    let mut client = Client::new(&broker);
    create(&mut client, "kept", 3).await;
    let before = client.call(12, MetadataRequest::default().with_topics(None)).await.topics;
    drop(client);
    broker.shutdown().await.unwrap();
    let broker = broker_on(disk.clone(), &[]).await;
    let mut client = Client::new(&broker);
    assert_eq!(client.call(12, MetadataRequest::default().with_topics(None)).await.topics, before);
    drop(client);
    broker.abort();
    disk.power_cut(3);
    let broker = broker_on(disk, &[]).await;
    let mut client = Client::new(&broker);
    let after = client.call(12, MetadataRequest::default().with_topics(None)).await.topics;
    assert_eq!(after[0].topic_id, before[0].topic_id);
    assert_eq!(after[0].partitions.len(), 3);
    let epochs: Vec<i32> = after[0].partitions.iter().map(|partition| partition.leader_epoch).collect();
    assert_eq!(epochs, [1, 1, 1], "an unclean stop begins a new leader epoch");
}

#[tokio::test(start_paused = true)]
async fn deletion_by_name_and_by_id() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "a", 1).await;
    create(&mut client, "b", 1).await;
    let names_of = |names: &[&str]| names.iter().map(|name| topic(name)).collect();
    let request = DeleteTopicsRequest::default().with_topic_names(names_of(&["a", "none"]));
    let response = client.call(4, request).await;
    let codes: Vec<i16> = response.responses.iter().map(|result| result.error_code).collect();
    assert_eq!(codes, [0, 3]);
    let id = client.call(12, MetadataRequest::default().with_topics(None)).await.topics[0].topic_id;
    let by_id = |id| DeleteTopicState::default().with_name(None).with_topic_id(id);
    let request = DeleteTopicsRequest::default().with_topics(vec![by_id(id), by_id(Uuid::from_u128(5))]);
    let response = client.call(6, request).await;
    let codes: Vec<i16> = response.responses.iter().map(|result| result.error_code).collect();
    assert_eq!(codes, [0, 100]);
    assert_eq!(response.responses[0].name, Some(topic("b")));
    assert!(names(&mut client).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn deletion_twice_or_disabled_is_refused() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "a", 1).await;
    let request = DeleteTopicsRequest::default().with_topic_names(vec![topic("a"), topic("a")]);
    let response = client.call(5, request).await;
    assert!(response.responses.iter().all(|result| result.error_code == 42));
    let refusing = broker_with(&[("delete.topic.enable", "false")]).await;
    let mut client = Client::new(&refusing);
    create(&mut client, "a", 1).await;
    let response = client.call(5, DeleteTopicsRequest::default().with_topic_names(vec![topic("a")])).await;
    assert_eq!(response.responses[0].error_code, 73);
}

#[tokio::test(start_paused = true)]
async fn a_topic_created_anew_is_empty() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    for _ in 0..2 {
        create(&mut client, "t", 1).await;
        assert_eq!(base_offset(&produce(&mut client, 9, -1, "t", 0, batch(&["x"])).await), (0, 0));
        let request = DeleteTopicsRequest::default().with_topic_names(vec![topic("t")]);
        assert_eq!(client.call(5, request).await.responses[0].error_code, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn more_partitions_one_result_for_each_topic() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "a", 2).await;
    let more =
        |name: &str, count: i32| CreatePartitionsTopic::default().with_name(topic(name)).with_count(count);
    let assigned = CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(1)]);
    let cases = [
        (vec![more("a", 2)], vec![37]),
        (vec![more("a", 1)], vec![37]),
        (vec![more("none", 3)], vec![3]),
        (vec![more("a", 4).with_assignments(Some(vec![assigned.clone()]))], vec![39]),
        (vec![more("a", 3), more("a", 4)], vec![42]),
        (vec![more("a", 3).with_assignments(Some(vec![assigned])), more("none", 3)], vec![0, 3]),
        (vec![more("a", 5).with_assignments(None)], vec![0]),
    ];
    for (topics, expected) in cases {
        let topics = topics
            .into_iter()
            .map(|topic| match &topic.assignments {
                Some(assignments) if assignments.is_empty() => topic.with_assignments(None),
                _ => topic,
            })
            .collect();
        let response = client.call(3, CreatePartitionsRequest::default().with_topics(topics)).await;
        let codes: Vec<i16> = response.results.iter().map(|result| result.error_code).collect();
        assert_eq!(codes, expected);
    }
    assert_eq!(base_offset(&produce(&mut client, 9, -1, "a", 4, batch(&["x"])).await), (0, 0));
}
