//! Produce and InitProducerId.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    DeleteRecordsRequest, InitProducerIdRequest, MetadataRequest, ProduceRequest, TransactionalId,
};
use millrace_log::disk::SimDisk;
use millrace_wire::compression::Compression;
use millrace_wire::record::BatchOptions;
use tokio::time::Instant;
use uuid::Uuid;

use crate::fetch::values;
use crate::support::{Client, START_MS, batch, broker, broker_on, build, idempotent, text, topic};
use crate::topics::{create, create_all, new_topic, with_config};

pub(crate) fn request(acks: i16, name: &str, partition: i32, records: Option<Bytes>) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(records);
    let topic =
        TopicProduceData::default().with_name(crate::support::topic(name)).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(acks).with_timeout_ms(5000).with_topic_data(vec![topic])
}

/// Produces one batch to one partition.
pub(crate) async fn produce(
    client: &mut Client,
    version: i16,
    acks: i16,
    name: &str,
    partition: i32,
    records: Bytes,
) -> PartitionProduceResponse {
    let response = client.call(version, request(acks, name, partition, Some(records))).await;
    response.responses[0].partition_responses[0].clone()
}

/// Error code and base offset.
pub(crate) fn base_offset(response: &PartitionProduceResponse) -> (i16, i64) {
    (response.error_code, response.base_offset)
}

#[tokio::test(start_paused = true)]
async fn every_version_appends_with_every_acks() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let metadata = client.call(12, MetadataRequest::default().with_topics(None)).await;
    let id = metadata.topics[0].topic_id;
    let mut next = 0;
    for version in 3..=13 {
        for acks in [1, -1] {
            let mut request = request(acks, if version < 13 { "t" } else { "" }, 0, Some(batch(&["a", "b"])));
            if version >= 13 {
                request.topic_data[0].topic_id = id;
            }
            let response = client.call(version, request).await;
            let partition = &response.responses[0].partition_responses[0];
            assert_eq!(base_offset(partition), (0, next), "version {version} acks {acks}");
            assert_eq!(partition.log_append_time_ms, -1);
            if version >= 5 {
                assert_eq!(partition.log_start_offset, 0);
            }
            next += 2;
        }
    }
    assert_eq!(values(&mut client, "t", 0).await.len(), next as usize);
}

#[tokio::test(start_paused = true)]
async fn acks_0_answers_nothing_and_closes_on_an_error() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    client.send(9, &request(0, "t", 0, Some(batch(&["a"])))).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    // The next answer is the next request's.
    assert_eq!(values(&mut client, "t", 0).await, ["a"]);
    client.send(9, &request(0, "none", 0, Some(batch(&["a"])))).await;
    assert!(client.receive_raw().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_request_right_behind_acks_0_is_served() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let started = Instant::now();
    client.send(9, &request(0, "t", 0, Some(batch(&["a"])))).await;
    client.call(12, MetadataRequest::default().with_topics(None)).await;
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn other_acks_are_refused_for_each_partition() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    for acks in [2, -2, i16::MAX] {
        assert_eq!(base_offset(&produce(&mut client, 9, acks, "t", 0, batch(&["a"])).await), (21, -1));
    }
    assert!(values(&mut client, "t", 0).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn refused_batches_have_kafkas_codes() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    let topics = vec![
        with_config(new_topic("t", 1), "max.message.bytes", "500"),
        with_config(new_topic("compacted", 1), "cleanup.policy", "compact"),
        with_config(new_topic("strict", 1), "min.insync.replicas", "2"),
    ];
    assert_eq!(create_all(&mut client, topics).await, [0, 0, 0]);
    let good = batch(&["a", "b"]);
    let patched = |at: usize, with: &[u8]| {
        let mut bytes = BytesMut::from(&good[..]);
        bytes[at..at + with.len()].copy_from_slice(with);
        bytes.freeze()
    };
    let resealed = |at: usize, with: &[u8]| {
        let mut bytes = patched(at, with).to_vec();
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        Bytes::from(bytes)
    };
    let late = build(BatchOptions::default(), &["x"], START_MS + 2 * 3_600_000);
    let control = build(BatchOptions { control: true, ..BatchOptions::default() }, &["x"], START_MS);
    let cases = [
        ("no batch", "t", Bytes::new(), 87),
        ("two batches", "t", [good.clone(), good.clone()].concat().into(), 87),
        ("a control batch", "t", control, 87),
        ("magic 1", "t", patched(16, &[1]), 87),
        ("a flipped bit", "t", patched(70, &[0xff]), 2),
        ("a wrong crc", "t", patched(17, &[1, 2, 3, 4]), 2),
        ("count and offsets differ", "t", resealed(57, &7_i32.to_be_bytes()), 87),
        ("cut short", "t", good.slice(..good.len() - 1), 87),
        ("larger than max.message.bytes", "t", batch(&["x".repeat(600).as_str()]), 10),
        ("from the future", "t", late, 32),
        ("no key on a compacted topic", "compacted", good.clone(), 87),
        ("too few replicas", "strict", good.clone(), 19),
        ("unknown topic", "none", good.clone(), 3),
    ];
    for (what, name, records, expected) in cases {
        let response = produce(&mut client, 9, -1, name, 0, records).await;
        assert_eq!(base_offset(&response), (expected, -1), "{what}");
        assert!(response.error_message.is_some(), "{what} is explained");
        assert_eq!(!response.record_errors.is_empty(), matches!(expected, 87 | 32), "{what}");
    }
    assert_eq!(base_offset(&produce(&mut client, 9, -1, "t", 7, good.clone()).await), (3, -1));
    assert_eq!(
        base_offset(&produce(&mut client, 9, 1, "strict", 0, good.clone()).await),
        (0, 0),
        "acks=1 may"
    );
    assert_eq!(base_offset(&produce(&mut client, 9, -1, "t", 0, good).await), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn old_versions_have_codes_without_texts() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    for version in 3..8 {
        let response = produce(&mut client, version, -1, "none", 0, batch(&["a"])).await;
        assert_eq!(base_offset(&response), (3, -1));
    }
    let unknown = request(-1, "", 0, Some(batch(&["a"])));
    let mut unknown = unknown;
    unknown.topic_data[0].topic_id = Uuid::from_u128(9);
    let response = client.call(13, unknown).await;
    assert_eq!(response.responses[0].partition_responses[0].error_code, 100);
}

#[tokio::test(start_paused = true)]
async fn the_brokers_own_topics_are_not_for_clients() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    for name in ["__consumer_offsets", "__transaction_state"] {
        create(&mut client, name, 1).await;
        assert_eq!(base_offset(&produce(&mut client, 9, -1, name, 0, batch(&["a"])).await), (17, -1));
        let partition = DeleteRecordsPartition::default().with_offset(-1);
        let topics =
            vec![DeleteRecordsTopic::default().with_name(topic(name)).with_partitions(vec![partition])];
        let response = client.call(2, DeleteRecordsRequest::default().with_topics(topics)).await;
        assert_eq!(response.topics[0].partitions[0].error_code, 17);
    }
}

#[tokio::test(start_paused = true)]
async fn zstd_needs_version_7() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let options = BatchOptions { compression: Compression::Zstd, ..BatchOptions::default() };
    let records = build(options, &["a"], START_MS);
    assert_eq!(produce(&mut client, 6, -1, "t", 0, records.clone()).await.error_code, 76);
    assert_eq!(produce(&mut client, 7, -1, "t", 0, records).await.error_code, 0);
}

#[tokio::test(start_paused = true)]
async fn transactional_batches_need_a_transactional_request() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let options = BatchOptions { transactional: true, ..BatchOptions::default() };
    let records = build(options, &["a"], START_MS);
    assert_eq!(produce(&mut client, 9, -1, "t", 0, records).await.error_code, 48);
}

#[tokio::test(start_paused = true)]
async fn log_append_time_is_the_brokers() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    let wanted = with_config(new_topic("t", 1), "message.timestamp.type", "LogAppendTime");
    assert_eq!(create_all(&mut client, vec![wanted]).await, [0]);
    tokio::time::sleep(Duration::from_secs(100)).await;
    let response = produce(&mut client, 9, -1, "t", 0, batch(&["a"])).await;
    assert!(response.log_append_time_ms >= START_MS + 100_000, "{}", response.log_append_time_ms);
}

#[tokio::test(start_paused = true)]
async fn idempotence_duplicates_gaps_and_epochs() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let mut send = async |id: i64, epoch: i16, sequence: i32, values: &[&str]| {
        base_offset(&produce(&mut client, 9, -1, "t", 0, idempotent(id, epoch, sequence, values)).await)
    };
    assert_eq!(send(7, 0, 0, &["a", "b"]).await, (0, 0));
    assert_eq!(send(7, 0, 2, &["c"]).await, (0, 2));
    assert_eq!(send(7, 0, 0, &["a", "b"]).await, (0, 0), "a duplicate succeeds with its first offset");
    assert_eq!(send(7, 0, 4, &["x"]).await, (45, -1), "a gap");
    assert_eq!(send(7, 0, 3, &["d"]).await, (0, 3));
    assert_eq!(send(7, 1, 5, &["x"]).await, (45, -1), "a new epoch starts at 0");
    assert_eq!(send(7, 1, 0, &["e"]).await, (0, 4));
    assert_eq!(send(7, 0, 4, &["x"]).await, (47, -1), "a stale epoch");
    assert_eq!(send(8, 0, 55, &["f"]).await, (0, 5), "without state any sequence is taken");
    assert_eq!(values(&mut client, "t", 0).await, ["a", "b", "c", "d", "e", "f"]);
}

#[tokio::test(start_paused = true)]
async fn the_last_five_batches_of_a_producer_are_known_again() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let mut send = async |sequence: i32| {
        base_offset(&produce(&mut client, 9, -1, "t", 0, idempotent(7, 0, sequence, &["v"])).await)
    };
    for sequence in 0..6 {
        assert_eq!(send(sequence).await, (0, i64::from(sequence)));
    }
    for sequence in 1..6 {
        assert_eq!(send(sequence).await, (0, i64::from(sequence)), "a duplicate, with its first offset");
    }
    assert_eq!(send(0).await, (45, -1), "too long ago to be known");
    assert_eq!(send(6).await, (0, 6));
}

#[tokio::test(start_paused = true)]
async fn sequences_begin_again_at_0_after_the_largest() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let mut send = async |sequence: i32, values: &[&str]| {
        base_offset(&produce(&mut client, 9, -1, "t", 0, idempotent(7, 0, sequence, values)).await)
    };
    assert_eq!(send(i32::MAX - 1, &["a"]).await, (0, 0));
    assert_eq!(send(i32::MAX, &["b", "c"]).await, (0, 1), "the second one has sequence 0");
    assert_eq!(send(i32::MAX, &["b", "c"]).await, (0, 1));
    assert_eq!(send(2, &["x"]).await, (45, -1));
    assert_eq!(send(1, &["d"]).await, (0, 3));
}

#[tokio::test(start_paused = true)]
async fn idempotence_survives_a_power_cut() {
    let disk = Arc::new(SimDisk::new());
    let broker = broker_on(disk.clone(), &[]).await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    assert_eq!(base_offset(&produce(&mut client, 9, -1, "t", 0, idempotent(7, 0, 0, &["a"])).await), (0, 0));
    broker.abort();
    disk.power_cut(11);
    let broker = broker_on(disk, &[]).await;
    let mut client = Client::new(&broker);
    assert_eq!(base_offset(&produce(&mut client, 9, -1, "t", 0, idempotent(7, 0, 0, &["a"])).await), (0, 0));
    assert_eq!(base_offset(&produce(&mut client, 9, -1, "t", 0, idempotent(7, 0, 1, &["b"])).await), (0, 1));
    assert_eq!(values(&mut client, "t", 0).await, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn acknowledged_records_survive_a_power_cut() {
    for seed in 0..20 {
        let disk = Arc::new(SimDisk::new());
        let broker = broker_on(disk.clone(), &[]).await;
        let mut client = Client::new(&broker);
        create(&mut client, "t", 1).await;
        for value in ["a", "b", "c"] {
            assert_eq!(produce(&mut client, 9, -1, "t", 0, batch(&[value])).await.error_code, 0);
        }
        // These are answered by nobody: they may be there or not.
        client.send(9, &request(-1, "t", 0, Some(batch(&["d"])))).await;
        tokio::task::yield_now().await;
        broker.abort();
        disk.power_cut(seed);
        let broker = broker_on(disk, &[]).await;
        let mut client = Client::new(&broker);
        let found = values(&mut client, "t", 0).await;
        assert_eq!(&found[..3], ["a", "b", "c"], "seed {seed}");
        assert!(found.len() <= 4);
    }
}

#[tokio::test(start_paused = true)]
async fn producer_ids_are_never_given_twice() {
    let disk = Arc::new(SimDisk::new());
    let mut last = -1;
    for round in 0..3 {
        let broker = broker_on(disk.clone(), &[]).await;
        let mut client = Client::new(&broker);
        for version in 0..=5 {
            let request = InitProducerIdRequest::default().with_transactional_id(None);
            let response = client.call(version, request).await;
            assert_eq!((response.error_code, response.producer_epoch), (0, 0));
            assert!(response.producer_id.0 > last, "{} after {last}", response.producer_id.0);
            last = response.producer_id.0;
        }
        broker.abort();
        disk.power_cut(round);
    }
}

#[tokio::test(start_paused = true)]
async fn empty_transactional_id_is_an_invalid_request() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(TransactionalId(text(""))))
        .with_transaction_timeout_ms(1000);
    assert_eq!(client.call(4, request).await.error_code, 42);
}
