//! Administration.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_client::admin::{AlterConfig, ConfigOperation, ConfigResource};
use millrace_client::{Admin, Isolation, NewTopic, OffsetSpec, ProduceRecord, ProducerConfig, ResponseError};

use crate::support::{Test, offsets, unique};

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_made_and_grown_and_deleted() {
    let test = Test::new("admin", 2).await;
    let admin = Admin::new(&test.client);
    let again = admin.create_topics(&[NewTopic::new(&test.topic, 2)]).await.unwrap();
    assert_eq!(again[0].1.as_ref().unwrap_err().code(), Some(ResponseError::TopicAlreadyExists));
    admin.ensure_topics(&[NewTopic::new(&test.topic, 2)]).await.unwrap();

    let grown = admin.create_partitions(&[(test.topic.clone(), 5)].into()).await.unwrap();
    grown[0].1.as_ref().unwrap();
    let mut count = 0;
    for _ in 0..50 {
        count = admin.describe_topics(&[&test.topic]).await.unwrap()[test.topic.as_str()].partitions.len();
        if count == 5 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(count, 5);
    assert!(admin.list_topics().await.unwrap().contains_key(test.topic.as_str()));

    let deleted = admin.delete_topics(&[&test.topic, "no-such-topic"]).await.unwrap();
    let of = |name: &str| deleted.iter().find(|(topic, _)| topic == name).map(|(_, result)| result.clone());
    assert!(of(&test.topic).unwrap().is_ok());
    assert_eq!(
        of("no-such-topic").unwrap().unwrap_err().code(),
        Some(ResponseError::UnknownTopicOrPartition)
    );
    let missing = admin.describe_topics(&["no-such-topic"]).await.unwrap();
    assert_eq!(missing["no-such-topic"].error, Some(ResponseError::UnknownTopicOrPartition));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_topics_are_refused_with_the_brokers_words() {
    let test = Test::new("bad", 1).await;
    let admin = Admin::new(&test.client);
    let configs: BTreeMap<_, _> = [("no.such.setting".to_owned(), "1".to_owned())].into();
    let topics = [NewTopic::new("a/b", 1), NewTopic { configs, ..NewTopic::new(unique("x"), 1) }];
    let codes: Vec<_> = admin
        .create_topics(&topics)
        .await
        .unwrap()
        .into_iter()
        .map(|(_, result)| result.unwrap_err().code().unwrap())
        .collect();
    assert!(codes.contains(&ResponseError::InvalidTopicException), "{codes:?}");
    assert!(codes.contains(&ResponseError::InvalidConfig), "{codes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_read_and_changed() {
    let test = Test::new("settings", 1).await;
    let admin = Admin::new(&test.client);
    let topic = ConfigResource::Topic(test.topic.clone());
    let retention = async || {
        let described = admin.describe_configs(std::slice::from_ref(&topic)).await.unwrap();
        let entries = described.into_iter().next().unwrap().1.unwrap();
        entries.into_iter().find(|entry| entry.name == "retention.ms").unwrap()
    };
    assert!(retention().await.is_default);
    let change = |operation| AlterConfig { name: "retention.ms".to_owned(), operation };
    let set = vec![change(ConfigOperation::Set("12345".to_owned()))];
    let done = admin.alter_configs(&[(topic.clone(), set)]).await.unwrap();
    done[0].1.as_ref().unwrap();
    for _ in 0..50 {
        if !retention().await.is_default {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(retention().await.value.as_deref(), Some("12345"));
    let broker = admin.describe_cluster().await.unwrap().brokers[0].id;
    let settings = admin.describe_configs(&[ConfigResource::Broker(broker)]).await.unwrap();
    assert!(!settings[0].1.as_ref().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_found_by_time_and_records_deleted() {
    let test = Test::new("times", 1).await;
    let producer = test.producer(ProducerConfig::default()).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    for i in 0..10 {
        let record = ProduceRecord { timestamp: Some(now + i * 1000 - 20_000), ..test.record(0, "v") };
        producer.send(record).await.unwrap().wait().await.unwrap();
    }
    let admin = Admin::new(&test.client);
    let find = async |spec| {
        let found =
            admin.list_offsets(&[(test.tp(0), spec)].into(), Isolation::ReadUncommitted).await.unwrap();
        found[&test.tp(0)].offset
    };
    assert_eq!(find(OffsetSpec::Earliest).await, Some(0));
    assert_eq!(find(OffsetSpec::Latest).await, Some(10));
    assert_eq!(find(OffsetSpec::Timestamp(now - 20_000 + 3500)).await, Some(4));
    assert_eq!(find(OffsetSpec::Timestamp(now + 60_000)).await, None);
    assert_eq!(find(OffsetSpec::MaxTimestamp).await, Some(9));

    let deleted = admin.delete_records(&[(test.tp(0), 6)].into()).await.unwrap();
    assert_eq!(*deleted[&test.tp(0)].as_ref().unwrap(), 6);
    assert_eq!(find(OffsetSpec::Earliest).await, Some(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_listed_and_deleted() {
    let test = Test::new("groups", 1).await;
    let admin = Admin::new(&test.client);
    let group = unique("group");
    admin.alter_group_offsets(&group, &offsets(&test, &[(0, 3)])).await.unwrap();
    assert_eq!(admin.group_offsets(&group).await.unwrap()[&test.tp(0)].offset, 3);
    assert!(admin.list_groups().await.unwrap().iter().any(|listed| listed.group_id == group));
    admin.delete_groups(&[&group]).await.unwrap()[0].1.as_ref().unwrap();
    assert!(admin.group_offsets(&group).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_describes_itself() {
    let test = Test::new("cluster", 1).await;
    let cluster = Admin::new(&test.client).describe_cluster().await.unwrap();
    assert!(!cluster.id.is_empty());
    assert!(!cluster.brokers.is_empty());
}
