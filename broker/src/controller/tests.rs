//! Commands against the image, and what comes back after a restart.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use uuid::Uuid;

use super::image::Image;
use super::record::{Error, MetadataRecord, RESOURCE_TOPIC};
use super::step::{Command, NewTopic, Refusal, Reply, step};
use super::topic_name;

const NODE: i32 = 1;

fn start(clean: bool) -> Command {
    Command::StartBroker {
        id: NODE,
        incarnation: Uuid::from_u128(5),
        epoch: 3,
        host: "localhost".to_owned(),
        port: 9092,
        rack: Some("a".to_owned()),
        clean,
    }
}

fn topic(name: &str, partitions: i32) -> NewTopic {
    let id = Uuid::from_u128(name.bytes().fold(1, |sum, byte| sum * 257 + u128::from(byte)));
    NewTopic { name: name.to_owned(), id, partitions, replication_factor: 1, ..NewTopic::default() }
}

/// Runs a command, and sends its records through their bytes as a restart would.
fn run(image: &mut Image, command: Command) -> Result<Reply, Refusal> {
    let (records, reply) = step(image, &command)?;
    for record in records {
        let decoded = MetadataRecord::decode(record.encode()).unwrap();
        assert_eq!(decoded, record);
        image.apply(&decoded);
    }
    Ok(reply)
}

fn started() -> Image {
    let mut image = Image::default();
    run(&mut image, start(true)).unwrap();
    image
}

fn error(result: Result<Reply, Refusal>) -> ResponseError {
    result.unwrap_err().error
}

#[test]
fn a_started_broker_is_registered_and_not_fenced() {
    let image = started();
    let broker = &image.brokers[&NODE];
    assert_eq!((broker.host.as_str(), broker.port, broker.fenced), ("localhost", 9092, false));
    assert_eq!(broker.rack.as_deref(), Some("a"));
    assert!(image.features.contains_key("metadata.version"));
}

#[test]
fn a_topics_life() {
    let mut image = started();
    let mut new = topic("orders", 2);
    new.configs = BTreeMap::from([("retention.ms".to_owned(), "5".to_owned())]);
    let id = new.id;
    let created = run(&mut image, Command::CreateTopic(new.clone())).unwrap();
    assert_eq!(created, Reply::Created { partitions: 2, replication_factor: 1 });
    assert_eq!(error(run(&mut image, Command::CreateTopic(new))), ResponseError::TopicAlreadyExists);
    let more = |count| Command::CreatePartitions { name: "orders".to_owned(), count, assignments: None };
    assert_eq!(error(run(&mut image, more(2))), ResponseError::InvalidPartitions);
    run(&mut image, more(5)).unwrap();
    let found = image.topic("orders").unwrap();
    assert_eq!(found.partitions.len(), 5);
    assert_eq!(found.config["retention.ms"], "5");
    assert!(found.partitions.iter().all(|partition| partition.leader == NODE && partition.isr == [NODE]));
    let changes = vec![("retention.ms".to_owned(), None), ("segment.ms".to_owned(), Some("9".to_owned()))];
    let resource = "orders".to_owned();
    run(&mut image, Command::AlterConfig { resource_type: RESOURCE_TOPIC, resource, changes }).unwrap();
    assert_eq!(
        image.topic("orders").unwrap().config,
        BTreeMap::from([("segment.ms".to_owned(), "9".to_owned())])
    );
    run(&mut image, Command::DeleteTopic { id }).unwrap();
    assert!(image.topic("orders").is_none() && image.topic_by_id(id).is_none());
    assert_eq!(error(run(&mut image, Command::DeleteTopic { id })), ResponseError::UnknownTopicId);
}

#[test]
fn an_unclean_stop_begins_new_leader_epochs() {
    let mut image = started();
    run(&mut image, Command::CreateTopic(topic("t", 2))).unwrap();
    let epochs = |image: &Image| -> Vec<i32> {
        image.topic("t").unwrap().partitions.iter().map(|partition| partition.leader_epoch.0).collect()
    };
    run(&mut image, start(true)).unwrap();
    assert_eq!(epochs(&image), [0, 0]);
    run(&mut image, start(false)).unwrap();
    assert_eq!(epochs(&image), [1, 1]);
}

#[test]
fn producer_ids_are_given_out_in_blocks_that_never_overlap() {
    let mut image = started();
    let mut next = 0;
    for _ in 0..3 {
        let reply = run(&mut image, Command::AllocateProducerIds { broker_id: NODE }).unwrap();
        assert_eq!(reply, Reply::ProducerIds { first: next, count: 1000 });
        next += 1000;
    }
    image.next_producer_id = i64::MAX - 5;
    assert!(run(&mut image, Command::AllocateProducerIds { broker_id: NODE }).is_err());
}

#[test]
fn a_refused_command_leaves_no_records() {
    let image = Image::default();
    let refused = step(&image, &Command::CreateTopic(topic("t", 1))).unwrap_err();
    assert_eq!(refused.error, ResponseError::InvalidReplicationFactor);
    assert_eq!(refused.message, "replication factor 1 is larger than what there is: 0 brokers are up");
}

#[test]
fn topic_names() {
    for good in ["a", "a.b", "A_b-9", &"x".repeat(249)] {
        assert_eq!(topic_name::refuse(good), None, "{good}");
    }
    for bad in ["", ".", "..", "a b", "ö", "a/b", &"x".repeat(250), "__cluster_metadata"] {
        assert!(topic_name::refuse(bad).is_some(), "{bad}");
    }
    assert!(topic_name::collides("a.b", "a_b"));
    assert!(!topic_name::collides("a.b", "a.b"));
    assert!(!topic_name::collides("a.b", "a-b"));
}

/// The bytes that Apache Kafka 4.3 wrote for these records.
#[test]
fn records_are_kafkas_bytes() {
    let hex = |text: &str| -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    };
    let id = Uuid::from_bytes(hex("6e4ef1e53e1c45a1b9d33d3504c278d3").try_into().unwrap());
    let record = MetadataRecord::Topic { name: "t1".to_owned(), id };
    assert_eq!(record.encode(), hex("0102000374316e4ef1e53e1c45a1b9d33d3504c278d300"));
    let record = MetadataRecord::Unfence { id: 1, epoch: 11 };
    assert_eq!(record.encode(), hex("01110000000001000000000000000b010001ff"));
}

#[test]
fn cut_or_foreign_records_are_refused() {
    let whole = MetadataRecord::Partition {
        topic_id: Uuid::from_u128(1),
        partition: 0,
        replicas: vec![1, 2],
        isr: vec![1],
        leader: 1,
        leader_epoch: 0,
        partition_epoch: 0,
        directories: vec![Uuid::nil(); 2],
    }
    .encode();
    for len in 0..whole.len() - 1 {
        assert!(MetadataRecord::decode(whole.slice(..len)).is_err(), "{len} bytes");
    }
    let foreign = Bytes::from_static(&[1, 99, 0]);
    assert_eq!(MetadataRecord::decode(foreign), Err(Error::Unknown { kind: 99, version: 0 }));
    let huge = Bytes::from_static(&[
        1, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0x7f,
    ]);
    assert_eq!(MetadataRecord::decode(huge), Err(Error::Malformed));
}
