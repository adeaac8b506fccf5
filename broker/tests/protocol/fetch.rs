//! Fetch.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{FetchRequest, FetchResponse, MetadataRequest};
use millrace_broker::BrokerHandle;
use millrace_log::disk::SimDisk;
use millrace_wire::batch::{RawBatch, split};
use millrace_wire::record::decode;
use tokio::time::Instant;
use uuid::Uuid;

use crate::produce::{produce, request as produce_request};
use crate::support::{Client, batch, broker, broker_on, topic};
use crate::topics::{create, create_all, new_topic, with_config};

/// A request for one partition from an offset on.
pub(crate) fn request(name: &str, partition: i32, offset: i64) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(topic(name)).with_partitions(vec![partition]);
    FetchRequest::default().with_max_bytes(1 << 20).with_min_bytes(1).with_topics(vec![topic])
}

pub(crate) fn partition(response: &FetchResponse) -> &PartitionData {
    &response.responses[0].partitions[0]
}

/// The batches in what was fetched.
pub(crate) fn batches(records: Option<Bytes>) -> Vec<RawBatch> {
    split(records.unwrap_or_default()).map(Result::unwrap).collect()
}

/// The values in what was fetched.
pub(crate) fn texts(records: Option<Bytes>) -> Vec<String> {
    let mut values = Vec::new();
    for batch in batches(records) {
        for record in decode(&batch, 1 << 20).unwrap() {
            let value = record.unwrap().value.unwrap();
            values.push(String::from_utf8(value.to_vec()).unwrap());
        }
    }
    values
}

/// All values in a partition.
pub(crate) async fn values(client: &mut Client, name: &str, index: i32) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let response = client.call(12, request(name, index, found.len() as i64)).await;
        assert_eq!(partition(&response).error_code, 0);
        let more = texts(partition(&response).records.clone());
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

#[tokio::test(start_paused = true)]
async fn every_version_reads_what_was_written() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    produce(&mut client, 9, -1, "t", 0, batch(&["a", "b"])).await;
    let id = client.call(12, MetadataRequest::default().with_topics(None)).await.topics[0].topic_id;
    for version in 4..=18 {
        let mut request = request("t", 0, 0);
        if version >= 13 {
            request.topics[0].topic = topic("");
            request.topics[0].topic_id = id;
        }
        let response = client.call(version, request).await;
        let data = partition(&response);
        assert_eq!(
            (data.error_code, data.high_watermark, data.last_stable_offset),
            (0, 2, 2),
            "version {version}"
        );
        assert_eq!(texts(data.records.clone()), ["a", "b"], "version {version}");
        assert_eq!(data.aborted_transactions, None);
        if version >= 13 {
            assert_eq!(response.responses[0].topic_id, id);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn offsets_around_the_log() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    produce(&mut client, 9, -1, "t", 0, batch(&["a", "b"])).await;
    for (offset, error) in [(2, 0), (3, 1), (-1, 1), (i64::MAX, 1)] {
        let response = client.call(12, request("t", 0, offset)).await;
        let data = partition(&response);
        assert_eq!(data.error_code, error, "offset {offset}");
        assert_eq!(data.records, Some(Bytes::new()), "empty, never null");
    }
    let inside = client.call(12, request("t", 0, 1)).await;
    assert_eq!(
        texts(partition(&inside).records.clone()),
        ["a", "b"],
        "an offset inside a batch gives all of it"
    );
    let unknown = client.call(12, request("none", 0, 0)).await;
    assert_eq!(partition(&unknown).error_code, 3);
    let unknown = client.call(12, request("t", 5, 0)).await;
    assert_eq!(partition(&unknown).error_code, 3);
    let mut by_id = request("", 0, 0);
    by_id.topics[0].topic_id = Uuid::from_u128(4);
    assert_eq!(partition(&client.call(13, by_id).await).error_code, 100);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_waits_for_records() {
    let broker = broker().await;
    let (mut reader, mut writer) = (Client::new(&broker), Client::new(&broker));
    create(&mut writer, "t", 1).await;
    let started = Instant::now();
    let waiting = request("t", 0, 0).with_max_wait_ms(10_000);
    let (response, ()) = tokio::join!(reader.call(12, waiting), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        produce(&mut writer, 9, -1, "t", 0, batch(&["a"])).await;
    });
    assert_eq!(texts(partition(&response).records.clone()), ["a"]);
    let waited = started.elapsed();
    assert!(waited >= Duration::from_millis(300) && waited < Duration::from_secs(1), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_fetch_waits_no_longer_than_asked() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let started = Instant::now();
    let response = client.call(12, request("t", 0, 0).with_max_wait_ms(700)).await;
    assert_eq!(partition(&response).records, Some(Bytes::new()));
    let waited = started.elapsed();
    assert!(waited >= Duration::from_millis(700) && waited < Duration::from_millis(800), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn min_bytes_are_waited_for() {
    let broker = broker().await;
    let (mut reader, mut writer) = (Client::new(&broker), Client::new(&broker));
    create(&mut writer, "t", 1).await;
    let waiting = request("t", 0, 0).with_max_wait_ms(60_000).with_min_bytes(2000);
    let started = Instant::now();
    let (response, ()) = tokio::join!(reader.call(12, waiting), async {
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            produce(&mut writer, 9, -1, "t", 0, batch(&["x".repeat(150).as_str()])).await;
        }
    });
    let bytes = partition(&response).records.as_ref().unwrap().len();
    assert!((2000..2400).contains(&bytes), "{bytes}");
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn an_error_is_answered_at_once() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let started = Instant::now();
    let response = client.call(12, request("t", 0, 9).with_max_wait_ms(10_000)).await;
    assert_eq!(partition(&response).error_code, 1);
    assert!(started.elapsed() < Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn the_first_batch_may_be_larger_than_the_limits_others_not() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 2).await;
    for index in [0, 1] {
        for value in ["a", "b"] {
            produce(&mut client, 9, -1, "t", index, batch(&[value])).await;
        }
    }
    let mut small = request("t", 0, 0).with_max_bytes(10);
    small.topics[0].partitions[0].partition_max_bytes = 10;
    let mut second = small.topics[0].partitions[0].clone();
    second.partition = 1;
    small.topics[0].partitions.push(second);
    let response = client.call(12, small).await;
    let partitions = &response.responses[0].partitions;
    assert_eq!(texts(partitions[0].records.clone()), ["a"]);
    assert_eq!(partitions[1].records, Some(Bytes::new()));
}

#[tokio::test(start_paused = true)]
async fn leader_epochs_are_compared() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    produce(&mut client, 9, -1, "t", 0, batch(&["a"])).await;
    let mut asked = request("t", 0, 0);
    asked.topics[0].partitions[0].current_leader_epoch = 0;
    assert_eq!(partition(&client.call(12, asked.clone()).await).error_code, 0);
    asked.topics[0].partitions[0].current_leader_epoch = 1;
    assert_eq!(partition(&client.call(12, asked.clone()).await).error_code, 75);
    let mut diverging = request("t", 0, 1);
    diverging.topics[0].partitions[0].last_fetched_epoch = 3;
    let response = client.call(12, diverging).await;
    assert_eq!(partition(&response).diverging_epoch.epoch, -1);
}

/// A broker that has begun its second leadership of "t", where the first one ends at offset 2.
pub(crate) async fn in_its_second_leadership() -> BrokerHandle {
    let disk = Arc::new(SimDisk::new());
    let broker = broker_on(disk.clone(), &[]).await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    produce(&mut client, 9, -1, "t", 0, batch(&["a", "b"])).await;
    broker.abort();
    disk.power_cut(1);
    let broker = broker_on(disk, &[]).await;
    produce(&mut Client::new(&broker), 9, -1, "t", 0, batch(&["c", "d"])).await;
    broker
}

#[tokio::test(start_paused = true)]
async fn an_older_leader_epoch_is_fenced_and_a_diverging_log_is_told_where() {
    let broker = in_its_second_leadership().await;
    let mut client = Client::new(&broker);
    for (epoch, error) in [(0, 74), (1, 0), (2, 75)] {
        let mut asked = request("t", 0, 2);
        asked.topics[0].partitions[0].current_leader_epoch = epoch;
        assert_eq!(partition(&client.call(12, asked).await).error_code, error, "epoch {epoch}");
    }
    // Who has read up to offset 3 in the first epoch has something that isn't here (KIP-595).
    let mut diverging = request("t", 0, 3);
    diverging.topics[0].partitions[0].last_fetched_epoch = 0;
    let response = client.call(12, diverging).await;
    let data = partition(&response);
    assert_eq!((data.error_code, data.diverging_epoch.epoch, data.diverging_epoch.end_offset), (0, 0, 2));
    assert_eq!(data.records, Some(Bytes::new()));
    let mut following = request("t", 0, 2);
    following.topics[0].partitions[0].last_fetched_epoch = 0;
    let response = client.call(12, following).await;
    assert_eq!(partition(&response).diverging_epoch.epoch, -1);
    assert_eq!(texts(partition(&response).records.clone()), ["c", "d"]);
}

#[tokio::test(start_paused = true)]
async fn zstd_topics_need_version_10() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    let wanted = with_config(new_topic("t", 1), "compression.type", "zstd");
    assert_eq!(create_all(&mut client, vec![wanted]).await, [0]);
    assert_eq!(partition(&client.call(9, request("t", 0, 0)).await).error_code, 76);
    assert_eq!(partition(&client.call(10, request("t", 0, 0)).await).error_code, 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_seen_before_it_is_durable() {
    let broker = broker().await;
    let (mut reader, mut writer) = (Client::new(&broker), Client::new(&broker));
    create(&mut writer, "t", 1).await;
    // acks=1 is answered from the log; the simulated sync takes a millisecond more.
    let response = writer.call(9, produce_request(1, "t", 0, Some(batch(&["a"])))).await;
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    let response = reader.call(12, request("t", 0, 0)).await;
    assert_eq!(
        (partition(&response).high_watermark, partition(&response).records.clone()),
        (0, Some(Bytes::new()))
    );
    tokio::time::sleep(Duration::from_millis(5)).await;
    let response = reader.call(12, request("t", 0, 0)).await;
    assert_eq!(texts(partition(&response).records.clone()), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_relaxed_topic_is_seen_at_once() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    let wanted = with_config(new_topic("t", 1), "flush.messages", "1000000");
    assert_eq!(create_all(&mut client, vec![wanted]).await, [0]);
    let started = Instant::now();
    produce(&mut client, 9, -1, "t", 0, batch(&["a"])).await;
    assert_eq!(texts(partition(&client.call(12, request("t", 0, 0)).await).records.clone()), ["a"]);
    assert_eq!(started.elapsed(), Duration::ZERO, "no sync was waited for");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_topic_wakes_who_waits() {
    let broker = broker().await;
    let (mut reader, mut admin) = (Client::new(&broker), Client::new(&broker));
    create(&mut admin, "t", 1).await;
    let started = Instant::now();
    let (response, ()) = tokio::join!(reader.call(12, request("t", 0, 0).with_max_wait_ms(60_000)), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let names = vec![topic("t")];
        let request = kafka_protocol::messages::DeleteTopicsRequest::default().with_topic_names(names);
        admin.call(5, request).await;
    });
    assert_eq!(partition(&response).error_code, 6);
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn one_bad_partition_does_not_starve_the_others() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 2).await;
    produce(&mut client, 9, -1, "t", 1, batch(&["a"])).await;
    let mut request = request("t", 0, 99);
    let other = FetchPartition::default().with_partition(1).with_partition_max_bytes(1 << 20);
    request.topics[0].partitions.push(other);
    let response = client.call(12, request.with_max_wait_ms(1000)).await;
    let partitions = &response.responses[0].partitions;
    assert_eq!((partitions[0].error_code, partitions[1].error_code), (1, 0));
    assert_eq!(partitions[1].high_watermark, 1);
    assert_eq!(texts(partitions[1].records.clone()), ["a"]);
}
