//! A file system that really fills up: a small tmpfs in a mount namespace of the broker's own. Where such a namespace is not
//! allowed, the simulated disk has to do (`broker/tests/protocol/storage.rs`), and the test says so.

use std::time::{Duration, Instant};

use bytes::Bytes;
use millrace_client::{
    Admin, Client, Isolation, NewTopic, OffsetSpec, ProduceRecord, Producer, ProducerConfig, TopicPartition,
};
use millrace_tests::broker::Broker;
use millrace_tests::small_disk;

use crate::{PATIENCE, client, runtime};

const DISK: &str = "48m";
const RECORD_BYTES: usize = 200_000;

fn record(topic: &str) -> ProduceRecord {
    ProduceRecord {
        topic: topic.into(),
        partition: Some(0),
        value: Some(Bytes::from(vec![7; RECORD_BYTES])),
        ..ProduceRecord::default()
    }
}

/// How many records were acknowledged before one was not, within a few seconds.
async fn until_refused(client: &Client, topic: &str) -> i64 {
    let config = ProducerConfig { delivery_timeout: Duration::from_secs(5), ..ProducerConfig::default() };
    let producer = Producer::start(client, config).await.unwrap();
    let began = Instant::now();
    let mut acknowledged = 0;
    while producer.send(record(topic)).await.unwrap().wait().await.is_ok() {
        acknowledged += 1;
        assert!(began.elapsed() < PATIENCE, "{acknowledged} records, and the disk is not full");
    }
    acknowledged
}

async fn end(client: &Client, topic: &str) -> i64 {
    let wanted = [(TopicPartition::new(topic, 0), OffsetSpec::Latest)].into();
    let found = Admin::new(client).list_offsets(&wanted, Isolation::ReadUncommitted).await.unwrap();
    found.into_values().next().unwrap().offset.unwrap()
}

#[test]
fn a_full_disk_refuses_records_and_takes_them_again_once_there_is_room() {
    if !small_disk::can_be_mounted() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let settings = ["log.segment.bytes=4194304", "log.segment.delete.delay.ms=0"];
    let broker = Broker::start_on_own_disk(folder.path(), DISK, &settings);
    let client = client(broker.bootstrap());
    runtime().block_on(async {
        let admin = Admin::new(&client);
        for topic in ["kept", "filler"] {
            admin.create_topics(&[NewTopic::new(topic, 1)]).await.unwrap();
        }
        let producer = Producer::start(&client, ProducerConfig::default()).await.unwrap();
        producer.send(record("kept")).await.unwrap().wait().await.unwrap();
        let filled = until_refused(&client, "filler").await;
        assert!((50..400).contains(&filled), "{filled} records");
        assert!(broker.log().contains("records are refused; free or repair the disk"), "{}", broker.log());
        assert!(end(&client, "filler").await >= filled, "what was acknowledged is there");
        // Somebody makes room. The producer that was there before goes on, and so does everything else.
        assert!(
            admin.delete_topics(&["filler"]).await.unwrap().into_iter().all(|(_, result)| result.is_ok())
        );
        for _ in 0..10 {
            producer.send(record("kept")).await.unwrap().wait().await.unwrap();
        }
        assert_eq!(end(&client, "kept").await, 11);
        admin.create_topics(&[NewTopic::new("new", 1)]).await.unwrap();
        producer.send(record("new")).await.unwrap().wait().await.unwrap();
    });
}
