//! What lies in the data directory: full disks, folders that nobody knows, metadata that outlives a restart.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::MetadataRequest;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use millrace_broker::{Broker, Config, Env};
use millrace_log::disk::{Disk, Fault, FaultOp, SimDisk};

use crate::fetch::values;
use crate::produce::{base_offset, produce};
use crate::support::{Client, START_MS, batch, broker, broker_on, topic};
use crate::topics::{create, create_all, new_topic};

/// Kafka's LEADER_NOT_AVAILABLE.
const LEADER_NOT_AVAILABLE: i16 = 5;
/// Kafka's POLICY_VIOLATION.
const POLICY_VIOLATION: i16 = 44;
/// Kafka's KAFKA_STORAGE_ERROR.
const STORAGE_ERROR: i16 = 56;

fn folders(disk: &SimDisk) -> Vec<String> {
    let entries = disk.list(Path::new("/data")).unwrap();
    entries.into_iter().filter(|entry| entry.is_dir).map(|entry| entry.name).collect()
}

fn remove_folder(disk: &SimDisk, name: &str) {
    let dir = Path::new("/data").join(name);
    for entry in disk.list(&dir).unwrap() {
        disk.remove_file(&dir.join(entry.name)).unwrap();
    }
    disk.remove_dir(&dir).unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_limits_of_topics_are_not_those_of_the_metadata_log() {
    let disk = Arc::new(SimDisk::new());
    let settings = [("message.max.bytes", "1000")];
    for round in 0..3 {
        let broker = broker_on(disk.clone(), &settings).await;
        let mut client = Client::new(&broker);
        // Some 70 bytes for each partition, in one batch.
        create(&mut client, &format!("t{round}"), 100).await;
        create(&mut client, &format!("u{round}"), 1).await;
        drop(client);
        // The start after a kill writes a record for each partition.
        broker.abort();
        disk.kill();
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_for_more_metadata_than_any_needs_is_refused() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    let topics = (0..4).map(|n| new_topic(&format!("t{n}"), 9_000)).collect();
    let codes = create_all(&mut client, topics).await;
    assert_eq!(codes, [0, 0, POLICY_VIOLATION, POLICY_VIOLATION]);
    create(&mut client, "small", 1).await;
}

#[tokio::test(start_paused = true)]
async fn metadata_can_be_changed_again_when_the_disk_has_room_again() {
    let disk = Arc::new(SimDisk::new());
    let broker = broker_on(disk.clone(), &[]).await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    disk.set_capacity(Some(0));
    assert_eq!(create_all(&mut client, vec![new_topic("late", 1)]).await, [STORAGE_ERROR]);
    let refused = produce(&mut client, 9, -1, "t", 0, batch(&["lost"])).await;
    assert_eq!(base_offset(&refused), (STORAGE_ERROR, -1));
    disk.set_capacity(None);
    assert_eq!(base_offset(&produce(&mut client, 9, -1, "t", 0, batch(&["a"])).await), (0, 0));
    create(&mut client, "late", 1).await;
    assert_eq!(base_offset(&produce(&mut client, 9, -1, "late", 0, batch(&["b"])).await), (0, 0));
    drop(client);
    broker.shutdown().await.unwrap();
    let broker = broker_on(disk, &[]).await;
    let mut client = Client::new(&broker);
    assert_eq!(values(&mut client, "t", 0).await, ["a"]);
    assert_eq!(values(&mut client, "late", 0).await, ["b"]);
}

#[tokio::test(start_paused = true)]
async fn records_outlive_the_loss_of_the_metadata() {
    let disk = Arc::new(SimDisk::new());
    let broker = broker_on(disk.clone(), &[]).await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    produce(&mut client, 9, -1, "t", 0, batch(&["precious"])).await;
    drop(client);
    broker.shutdown().await.unwrap();
    remove_folder(&disk, "__cluster_metadata-0");

    let broker = broker_on(disk.clone(), &[]).await;
    let kept: Vec<String> = folders(&disk).into_iter().filter(|name| name.starts_with("t-0")).collect();
    assert!(kept.len() == 1 && kept[0].ends_with("-stray"), "{kept:?}");
    let log = Path::new("/data").join(&kept[0]).join("00000000000000000000.log");
    let bytes = disk.contents(&log).unwrap();
    assert!(bytes.windows(8).any(|window| window == b"precious"));
    // The name is free, and what was set aside stays so.
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    assert_eq!(base_offset(&produce(&mut client, 9, -1, "t", 0, batch(&["new"])).await), (0, 0));
    drop(client);
    broker.abort();
    disk.kill();
    let broker = broker_on(disk.clone(), &[]).await;
    assert_eq!(values(&mut Client::new(&broker), "t", 0).await, ["new"]);
    assert!(folders(&disk).contains(&kept[0]));
}

#[tokio::test(start_paused = true)]
async fn damage_to_the_metadata_is_told_and_not_believed() {
    let disk = Arc::new(SimDisk::new());
    let broker = broker_on(disk.clone(), &[]).await;
    let mut client = Client::new(&broker);
    // The last batches of a log are checked when it is opened; this one is far from its end.
    for (name, partitions) in [("t", 1), ("u", 500), ("v", 500)] {
        create(&mut client, name, partitions).await;
    }
    drop(client);
    broker.shutdown().await.unwrap();
    let log = Path::new("/data/__cluster_metadata-0/00000000000000000000.log");
    // One bit of the topic's name.
    disk.corrupt(log, |bytes| {
        let at = bytes.windows(2).position(|window| window == [2, b't']).unwrap();
        bytes[at + 1] ^= 1;
    });
    let mut config = Config::new();
    config.set("log.dirs", "/data").unwrap();
    let started = Broker::start(config, Env::simulated(disk, 7, START_MS)).await;
    let error = started.err().expect("damaged metadata was believed").to_string();
    let (place, what) = error.split_once(" is corrupt").expect(&error);
    assert!(place.starts_with("metadata log: record batch at offset ") && !what.is_empty(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_log_that_found_no_room_is_created_later() {
    let disk = Arc::new(SimDisk::new());
    let broker = broker_on(disk.clone(), &[]).await;
    let mut client = Client::new(&broker);
    disk.fail_next(Fault { op: FaultOp::Name, path: "late-0".to_owned(), after: 0 });
    create(&mut client, "late", 1).await;
    assert_eq!(produce(&mut client, 9, -1, "late", 0, batch(&["a"])).await.error_code, STORAGE_ERROR);
    assert_eq!(leaderless(&mut client, "late").await, (LEADER_NOT_AVAILABLE, -1));
    tokio::time::sleep(Duration::from_secs(60)).await;
    let mut client = Client::new(&broker);
    assert_eq!(base_offset(&produce(&mut client, 9, -1, "late", 0, batch(&["a"])).await), (0, 0));
    assert_eq!(leaderless(&mut client, "late").await, (0, 1));
}

/// Error and leader of a topic's first partition, as Metadata tells them.
async fn leaderless(client: &mut Client, name: &str) -> (i16, i32) {
    let asked = MetadataRequestTopic::default().with_name(Some(topic(name)));
    let response = client.call(12, MetadataRequest::default().with_topics(Some(vec![asked]))).await;
    let partition = &response.topics[0].partitions[0];
    (partition.error_code, partition.leader_id.0)
}
