//! Many more partitions than a process may have open files, all of them written to at once, stopped cleanly and read back, and
//! the same after a kill.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use millrace_client::{
    Admin, Client, ClientConfig, Consumer, ConsumerConfig, NewTopic, Polled, Position, ProduceRecord,
    Producer, ProducerConfig, TopicPartition,
};
use millrace_tests::broker::Broker;

use crate::{PATIENCE, runtime};

/// What the process may have, connections and all.
const OPEN_FILES: u32 = 256;
/// Several times as many. `MILLRACE_PARTITIONS` of them, and `MILLRACE_OPEN_FILES`, for figures.
const PARTITIONS: u32 = 1_200;

fn from_environment(name: &str, usual: u32) -> u32 {
    std::env::var(name).ok().map_or(usual, |text| text.parse().unwrap())
}

/// A record to each partition, all under way at the same time; all are acknowledged.
async fn write_all(client: &Client, partitions: u32, value: &'static [u8]) {
    let config = ProducerConfig { delivery_timeout: PATIENCE, ..ProducerConfig::default() };
    let producer = Producer::start(client, config).await.unwrap();
    let mut deliveries = Vec::new();
    for partition in 0..partitions {
        let record = ProduceRecord {
            topic: "many".into(),
            partition: Some(partition as i32),
            value: Some(Bytes::from_static(value)),
            ..ProduceRecord::default()
        };
        deliveries.push(producer.send(record).await.unwrap());
    }
    for delivery in deliveries {
        delivery.wait().await.unwrap();
    }
}

/// Each partition has these values.
async fn check(client: &Client, partitions: u32, expected: &[&str]) {
    let values = read_all(client, partitions, expected.len()).await;
    assert_eq!(values.len(), partitions as usize);
    for (partition, values) in values {
        assert_eq!(values, expected, "partition {partition}");
    }
}

/// The values in each partition, once there are `count` of each.
async fn read_all(client: &Client, partitions: u32, count: usize) -> BTreeMap<i32, Vec<Bytes>> {
    let mut consumer = Consumer::start(client, ConsumerConfig::default()).await.unwrap();
    let all = (0..partitions).map(|nth| (TopicPartition::new("many", nth as i32), Position::Earliest));
    consumer.assign(all.collect()).unwrap();
    let mut values: BTreeMap<i32, Vec<Bytes>> = BTreeMap::new();
    let (mut left, began) = (partitions as usize * count, Instant::now());
    while left > 0 {
        assert!(began.elapsed() < PATIENCE, "{left} records are missing");
        let Polled::Records(fetched) = consumer.poll(Duration::from_secs(1)).await.unwrap() else { continue };
        for partition in fetched {
            let known = values.entry(partition.partition).or_default();
            for record in partition.records() {
                known.push(record.unwrap().value.unwrap());
                left -= 1;
            }
        }
    }
    values
}

fn open_files(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count()
}

#[test]
fn more_partitions_than_open_files_are_written_at_once_stopped_and_read_back() {
    let partitions = from_environment("MILLRACE_PARTITIONS", PARTITIONS);
    let files_max = from_environment("MILLRACE_OPEN_FILES", OPEN_FILES);
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Broker::start_with_open_files(folder.path(), files_max, &[]);
    let client = Client::new(ClientConfig {
        bootstrap: vec![broker.bootstrap()],
        api_timeout: PATIENCE,
        request_timeout: PATIENCE,
        ..ClientConfig::default()
    })
    .unwrap();
    let runtime = runtime();
    let began = Instant::now();
    let mut told = Vec::new();
    runtime.block_on(async {
        let made = Admin::new(&client).create_topics(&[NewTopic::new("many", partitions as i32)]).await;
        assert!(made.unwrap().into_iter().all(|(_, result)| result.is_ok()));
        told.push(format!("created after {:?}", began.elapsed()));
        for value in [b"first", b"other"] {
            write_all(&client, partitions, value).await;
            told.push(format!("written after {:?}", began.elapsed()));
        }
    });
    let files = open_files(broker.id());
    assert!(files < files_max as usize, "{files} open files");
    broker.stop();
    told.push(format!("stopped after {:?}", began.elapsed()));
    broker.restart();
    told.push(format!("started after {:?}", began.elapsed()));
    assert!(
        !broker.log().contains("log recovered"),
        "a clean stop leaves nothing to recover:\n{}",
        broker.log()
    );
    runtime.block_on(check(&client, partitions, &["first", "other"]));
    told.push(format!("read after {:?}", began.elapsed()));
    runtime.block_on(write_all(&client, partitions, b"third"));
    broker.kill();
    broker.restart();
    told.push(format!("killed and started after {:?}", began.elapsed()));
    runtime.block_on(check(&client, partitions, &["first", "other", "third"]));
    println!("{partitions} partitions, {files_max} open files, {files} used: {}", told.join(", "));
    let log = broker.log();
    assert!(!log.contains("ERROR") && !log.contains("open files (os error"), "{log}");
}
