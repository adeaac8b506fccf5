//! Our Fetch answers beside those that the kafka-protocol crate encodes, and the limits of a read.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, PartitionData,
};
use kafka_protocol::messages::{BrokerId, FetchResponse, ProducerId, TopicName};
use kafka_protocol::protocol::{Encodable, StrBytes};
use millrace_log::Piece;
use millrace_wire::ids::{LeaderEpoch, Offset};
use uuid::Uuid;

use super::encode::{Fetched, FetchedPartition, FetchedTopic, Writer};
use crate::replica::partition::Isolation;

fn partition(index: i32, records: &[&'static [u8]]) -> FetchedPartition {
    let mut partition = FetchedPartition::empty(index);
    partition.high_watermark = Offset(100);
    partition.last_stable = Offset(90);
    partition.log_start = Offset(5);
    partition.bytes = records.iter().map(|part| part.len()).sum();
    partition.parts = records.iter().map(|part| Bytes::from_static(part).into()).collect();
    partition
}

fn ours(version: i16, isolation: Isolation, topics: Vec<FetchedTopic>) -> Vec<u8> {
    let mut writer = Writer::new(version, isolation);
    writer.response(Fetched { error: 0, throttle: Duration::ZERO, session: 0, topics });
    let bytes = |piece| match piece {
        Piece::Memory(bytes) => bytes,
        Piece::File(slice) => panic!("{slice:?}: nothing here is in a file"),
    };
    writer.finish().into_iter().map(bytes).collect::<Vec<_>>().concat()
}

fn theirs(version: i16, partitions: Vec<PartitionData>) -> Vec<u8> {
    let mut topic = FetchableTopicResponse::default().with_partitions(partitions);
    if version >= 13 {
        topic.topic_id = Uuid::from_u128(7);
    } else {
        topic.topic = TopicName(StrBytes::from_static_str("orders"));
    }
    let response = FetchResponse::default().with_responses(vec![topic]);
    let mut out = BytesMut::new();
    response.encode(&mut out, version).unwrap();
    out.to_vec()
}

fn topic(partitions: Vec<FetchedPartition>) -> Vec<FetchedTopic> {
    let name = TopicName(StrBytes::from_static_str("orders"));
    vec![FetchedTopic { name, id: Uuid::from_u128(7), partitions }]
}

fn expected(index: i32, records: &'static [u8], version: i16) -> PartitionData {
    let mut data = PartitionData::default()
        .with_partition_index(index)
        .with_high_watermark(100)
        .with_last_stable_offset(90)
        .with_aborted_transactions(None)
        .with_records(Some(Bytes::from_static(records)));
    if version >= 5 {
        data.log_start_offset = 5;
    }
    data
}

#[test]
fn every_version_is_as_the_crate_writes_it() {
    for version in 4..=18 {
        let partitions = vec![partition(0, &[b"ab", b"c"]), partition(3, &[])];
        assert_eq!(
            ours(version, Isolation::ReadUncommitted, topic(partitions)),
            theirs(version, vec![expected(0, b"abc", version), expected(3, b"", version)]),
            "version {version}"
        );
    }
}

#[test]
fn aborted_transactions_are_listed() {
    for version in 4..=18 {
        let mut read = partition(0, &[b"abc"]);
        read.aborted = vec![(1000, 7), (2000, 8)];
        let listed = read.aborted.iter().map(|(producer, first)| {
            AbortedTransaction::default().with_producer_id(ProducerId(*producer)).with_first_offset(*first)
        });
        let data = expected(0, b"abc", version).with_aborted_transactions(Some(listed.collect()));
        let written = ours(version, Isolation::ReadCommitted, topic(vec![read]));
        assert_eq!(written, theirs(version, vec![data]), "version {version}");
    }
}

#[test]
fn diverging_epoch_and_leader_are_tagged() {
    for version in 12..=18 {
        let mut read = partition(0, &[]);
        read.diverging = Some((LeaderEpoch(3), Offset(44)));
        read.leader = Some((1, LeaderEpoch(4)));
        let data = expected(0, b"", version)
            .with_diverging_epoch(EpochEndOffset::default().with_epoch(3).with_end_offset(44))
            .with_current_leader(
                LeaderIdAndEpoch::default().with_leader_id(BrokerId(1)).with_leader_epoch(4),
            );
        let written = ours(version, Isolation::ReadUncommitted, topic(vec![read]));
        assert_eq!(written, theirs(version, vec![data]), "version {version}");
    }
}
