//! ListOffsets, OffsetForLeaderEpoch, DeleteRecords.

use std::sync::Arc;

use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    BrokerId, DeleteRecordsRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest,
};
use millrace_log::disk::SimDisk;
use millrace_wire::record::BatchOptions;

use crate::fetch;
use crate::produce::produce;
use crate::support::{Client, START_MS, batch, broker, broker_on, build, topic};
use crate::topics::{create, create_all, new_topic, with_config};

/// Error, timestamp and offset.
async fn list(client: &mut Client, version: i16, timestamp: i64) -> (i16, i64, i64) {
    let partition = ListOffsetsPartition::default().with_timestamp(timestamp).with_current_leader_epoch(-1);
    let topics = vec![ListOffsetsTopic::default().with_name(topic("t")).with_partitions(vec![partition])];
    let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(topics);
    let response = client.call(version, request).await;
    let found = &response.topics[0].partitions[0];
    (found.error_code, found.timestamp, found.offset)
}

#[tokio::test(start_paused = true)]
async fn specials_and_times_in_every_version() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    assert_eq!(list(&mut client, 7, -3).await, (0, -1, -1), "an empty log has no largest timestamp");
    for (value, time) in [("a", 0), ("b", 50), ("c", 20)] {
        let records = build(BatchOptions::default(), &[value], START_MS + time);
        assert_eq!(produce(&mut client, 9, -1, "t", 0, records).await.error_code, 0);
    }
    for version in 1..=10 {
        assert_eq!(list(&mut client, version, -1).await, (0, -1, 3), "version {version}");
        assert_eq!(list(&mut client, version, -2).await, (0, -1, 0));
        assert_eq!(list(&mut client, version, START_MS - 5).await, (0, START_MS, 0));
        assert_eq!(list(&mut client, version, START_MS + 1).await, (0, START_MS + 50, 1));
        assert_eq!(list(&mut client, version, START_MS + 51).await, (0, -1, -1), "none that late: no error");
        let expected = if version >= 7 { (0, START_MS + 50, 1) } else { (35, -1, -1) };
        assert_eq!(list(&mut client, version, -3).await, expected, "version {version}");
        let expected = if version >= 8 { (0, -1, 0) } else { (35, -1, -1) };
        assert_eq!(list(&mut client, version, -4).await, expected, "version {version}");
        let expected = if version >= 9 { (0, -1, -1) } else { (35, -1, -1) };
        assert_eq!(list(&mut client, version, -5).await, expected, "version {version}");
    }
}

#[tokio::test(start_paused = true)]
async fn offsets_are_told_to_who_knows_the_leadership() {
    let broker = fetch::in_its_second_leadership().await;
    let mut client = Client::new(&broker);
    for version in 4..=10 {
        for (epoch, expected) in [(-1, (0, 4)), (0, (74, -1)), (1, (0, 4)), (2, (75, -1))] {
            let partition =
                ListOffsetsPartition::default().with_timestamp(-1).with_current_leader_epoch(epoch);
            let topics =
                vec![ListOffsetsTopic::default().with_name(topic("t")).with_partitions(vec![partition])];
            let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(topics);
            let response = client.call(version, request).await;
            let found = &response.topics[0].partitions[0];
            assert_eq!((found.error_code, found.offset), expected, "version {version}, epoch {epoch}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn leader_epochs_have_ends() {
    let disk = Arc::new(SimDisk::new());
    let broker = broker_on(disk.clone(), &[]).await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    produce(&mut client, 9, -1, "t", 0, batch(&["a", "b"])).await;
    broker.abort();
    disk.power_cut(1);
    let broker = broker_on(disk, &[]).await;
    let mut client = Client::new(&broker);
    produce(&mut client, 9, -1, "t", 0, batch(&["c"])).await;
    for version in 2..=4 {
        for (asked, current, expected) in [
            (0, -1, (0, 0, 2)),
            (1, -1, (0, 1, 3)),
            (7, -1, (0, -1, -1)),
            (0, 0, (74, -1, -1)),
            (0, 2, (75, -1, -1)),
        ] {
            let partition = OffsetForLeaderPartition::default()
                .with_leader_epoch(asked)
                .with_current_leader_epoch(current);
            let topics =
                vec![OffsetForLeaderTopic::default().with_topic(topic("t")).with_partitions(vec![partition])];
            let mut request = OffsetForLeaderEpochRequest::default().with_topics(topics);
            if version >= 3 {
                request.replica_id = BrokerId(-1);
            }
            let response = client.call(version, request).await;
            let found = &response.topics[0].partitions[0];
            assert_eq!((found.error_code, found.leader_epoch, found.end_offset), expected, "epoch {asked}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn records_are_deleted_up_to_an_offset() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    let compacted = with_config(new_topic("compacted", 1), "cleanup.policy", "compact");
    assert_eq!(create_all(&mut client, vec![new_topic("t", 1), compacted]).await, [0, 0]);
    for value in ["a", "b", "c"] {
        produce(&mut client, 9, -1, "t", 0, batch(&[value])).await;
    }
    let mut delete = async |name: &str, offset: i64| {
        let partition = DeleteRecordsPartition::default().with_offset(offset);
        let topics =
            vec![DeleteRecordsTopic::default().with_name(topic(name)).with_partitions(vec![partition])];
        let response = client.call(2, DeleteRecordsRequest::default().with_topics(topics)).await;
        let done = &response.topics[0].partitions[0];
        (done.error_code, done.low_watermark)
    };
    assert_eq!(delete("t", 2).await, (0, 2));
    assert_eq!(delete("t", 4).await, (1, -1));
    assert_eq!(delete("t", -2).await, (1, -1));
    assert_eq!(delete("compacted", 0).await, (44, -1));
    assert_eq!(delete("none", 0).await, (3, -1));
    let gone = client.call(12, fetch::request("t", 0, 1)).await;
    assert_eq!((fetch::partition(&gone).error_code, fetch::partition(&gone).log_start_offset), (1, -1));
    let left = client.call(12, fetch::request("t", 0, 2)).await;
    assert_eq!(fetch::texts(fetch::partition(&left).records.clone()), ["c"]);
    assert_eq!(list(&mut client, 7, -2).await, (0, -1, 2));
}

#[tokio::test(start_paused = true)]
async fn minus_one_deletes_up_to_the_high_watermark() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    produce(&mut client, 9, -1, "t", 0, batch(&["a", "b"])).await;
    let partition = DeleteRecordsPartition::default().with_offset(-1);
    let topics = vec![DeleteRecordsTopic::default().with_name(topic("t")).with_partitions(vec![partition])];
    let response = client.call(2, DeleteRecordsRequest::default().with_topics(topics)).await;
    assert_eq!(response.topics[0].partitions[0].low_watermark, 2);
}
