//! Produce, Fetch, and what tells or cuts offsets.

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    BrokerId, DeleteRecordsRequest, DescribeProducersRequest, FetchRequest, ListOffsetsRequest,
    MetadataRequest, OffsetForLeaderEpochRequest, ProduceRequest,
};
use millrace_wire::compression::Compression;
use millrace_wire::ids::{Offset, ProducerEpoch, ProducerId};
use millrace_wire::record::{BatchBuilder, BatchOptions, ProducerStamp};
use uuid::Uuid;

use super::{create, topic};
use crate::both::{Both, Peer};

/// The timestamp of every record: of now, so that retention keeps it.
static TIME_MS: LazyLock<i64> = LazyLock::new(|| {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_millis()).expect("a clock before the year 292 million")
});

pub(super) fn batch(options: BatchOptions, values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    for value in values {
        builder.push(*TIME_MS, None, Some(value.as_bytes()), []).expect("a small record");
    }
    builder.build(Offset(0)).expect("a small batch")
}

pub(super) fn produce(name: &str, index: i32, acks: i16, records: Option<Bytes>) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(index).with_records(records);
    let one = TopicProduceData::default().with_name(topic(name)).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(acks).with_timeout_ms(10_000).with_topic_data(vec![one])
}

pub(super) fn fetch(name: &str, index: i32, offset: i64) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_partition(index)
        .with_current_leader_epoch(-1)
        .with_fetch_offset(offset)
        .with_last_fetched_epoch(-1)
        .with_log_start_offset(-1)
        .with_partition_max_bytes(1 << 20);
    let one = FetchTopic::default().with_topic(topic(name)).with_partitions(vec![partition]);
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(10)
        .with_min_bytes(0)
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![one])
}

/// Notes the id of a topic under its name.
fn note_id(both: &mut Both, name: &str) {
    both.each(|peer| {
        let one = MetadataRequestTopic::default().with_name(Some(topic(name)));
        let metadata =
            peer.ask(12, &MetadataRequest::default().with_topics(Some(vec![one]))).expect("metadata");
        peer.noted.insert(name.to_owned(), metadata.topics[0].topic_id.to_string());
    });
}

fn id_of(peer: &Peer, name: &str) -> Uuid {
    peer.noted.get(name).and_then(|id| id.parse().ok()).unwrap_or(Uuid::from_u128(77))
}

pub(super) fn ask(both: &mut Both) {
    create(both, "records", 2);
    note_id(both, "records");
    producing(both);
    fetching(both);
    offsets(both);
    deleting(both);
}

fn producing(both: &mut Both) {
    let plain = batch(BatchOptions::default(), &["a", "b"]);
    for version in 3..=13 {
        let mut same = |what: &str, name: &str, index: i32, acks: i16, records: Option<Bytes>| {
            let request = |peer: &Peer| {
                let mut request = produce(name, index, acks, records.clone());
                if version >= 13 {
                    request.topic_data[0].topic_id = id_of(peer, name);
                    request.topic_data[0].name = topic("");
                }
                request
            };
            both.compare(what, version, request, |_, _| ());
        };
        same("to all", "records", 0, -1, Some(plain.clone()));
        same("to the leader", "records", 0, 1, Some(plain.clone()));
        same("no such partition", "records", 9, -1, Some(plain.clone()));
        same("no such topic", "missing", 0, -1, Some(plain.clone()));
        same("odd acks", "records", 0, 2, Some(plain.clone()));
        same("two batches", "records", 0, -1, Some([plain.clone(), plain.clone()].concat().into()));
        same("no batch", "records", 0, -1, Some(Bytes::new()));
        same("half a batch", "records", 0, -1, Some(plain.slice(..plain.len() - 3)));
        let mut flipped = plain.to_vec();
        *flipped.last_mut().expect("not empty") ^= 1;
        same("a flipped bit", "records", 0, -1, Some(flipped.into()));
        let control = batch(BatchOptions { control: true, ..BatchOptions::default() }, &["x"]);
        same("a control batch", "records", 0, -1, Some(control));
        for compression in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
            let records = batch(BatchOptions { compression, ..BatchOptions::default() }, &["c", "d"]);
            same(&format!("{compression:?}"), "records", 1, -1, Some(records));
        }
    }
    let stamped = |epoch: i16, base_sequence: i32| {
        let producer = ProducerStamp { id: ProducerId(990_001), epoch: ProducerEpoch(epoch), base_sequence };
        batch(BatchOptions { producer: Some(producer), ..BatchOptions::default() }, &["i", "j"])
    };
    for (what, epoch, sequence) in [
        ("a first sequence", 3, 0),
        ("the next sequence", 3, 2),
        ("a duplicate", 3, 2),
        ("a duplicate of the first", 3, 0),
        ("a gap", 3, 9),
        ("an older epoch", 2, 0),
        ("a newer epoch at 5", 4, 5),
        ("a newer epoch at 0", 4, 0),
        ("the old epoch", 3, 4),
    ] {
        both.same(what, [12], |_| produce("records", 0, -1, Some(stamped(epoch, sequence))));
    }
    let of = |name: &str, index: i32| {
        let one = TopicRequest::default().with_name(topic(name)).with_partition_indexes(vec![index]);
        DescribeProducersRequest::default().with_topics(vec![one])
    };
    for (name, index) in [("records", 0), ("records", 9), ("missing", 0)] {
        both.same(&format!("producers of {name} {index}"), [0], |_| of(name, index));
    }
}

fn fetching(both: &mut Both) {
    for version in 4..=18 {
        let mut same =
            |what: &str, change: &dyn Fn(&mut FetchPartition), name: &str, index: i32, offset: i64| {
                let request = |peer: &Peer| {
                    let mut request = fetch(name, index, offset);
                    change(&mut request.topics[0].partitions[0]);
                    if version >= 13 {
                        request.topics[0].topic_id = id_of(peer, name);
                        request.topics[0].topic = topic("");
                    }
                    if version >= 15 {
                        request.replica_id = BrokerId(-1);
                    }
                    request
                };
                both.compare(what, version, request, |_, _| ());
            };
        same("from the start", &|_| (), "records", 0, 0);
        same("within a batch", &|_| (), "records", 0, 3);
        same("at the end", &|_| (), "records", 0, 1_000_000);
        same("before the start", &|_| (), "records", 0, -1);
        same("no such partition", &|_| (), "records", 9, 0);
        same("no such topic", &|_| (), "missing", 0, 0);
        same("a few bytes", &|partition| partition.partition_max_bytes = 1, "records", 0, 1);
        if version >= 10 {
            same("codecs", &|_| (), "records", 1, 0);
        }
        if version >= 9 {
            same("an older leader", &|partition| partition.current_leader_epoch = 0, "records", 0, 1);
            same("a newer leader", &|partition| partition.current_leader_epoch = 99, "records", 0, 1);
        }
        if version >= 12 {
            same("a diverging epoch", &|partition| partition.last_fetched_epoch = 50, "records", 0, 1);
        }
    }
    both.same("an unknown session", [7, 12], |_| {
        fetch("records", 0, 0).with_session_id(12_345).with_session_epoch(1)
    });
}

fn offsets(both: &mut Both) {
    let list = |name: &str, index: i32, timestamp: i64, epoch: i32| {
        let partition = ListOffsetsPartition::default()
            .with_partition_index(index)
            .with_current_leader_epoch(epoch)
            .with_timestamp(timestamp);
        let one = ListOffsetsTopic::default().with_name(topic(name)).with_partitions(vec![partition]);
        ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![one])
    };
    for timestamp in [-1, -2, 0, *TIME_MS, *TIME_MS + 1, i64::MAX] {
        both.same(&format!("offset for {timestamp}"), 1..=10, |_| list("records", 0, timestamp, -1));
    }
    both.same("the latest time", 7..=10, |_| list("records", 0, -3, -1));
    both.same("the earliest local", 8..=10, |_| list("records", 0, -4, -1));
    both.same("the last tiered", 9..=10, |_| list("records", 0, -5, -1));
    both.same("the latest time, too early", 1..=6, |_| list("records", 0, -3, -1));
    both.same("the earliest local, too early", 1..=7, |_| list("records", 0, -4, -1));
    both.same("an unknown special", 1..=10, |_| list("records", 0, -99, -1));
    both.same("no such partition", 1..=10, |_| list("records", 9, -1, -1));
    both.same("no such topic", 1..=10, |_| list("missing", 0, -1, -1));
    both.same("a newer leader", 4..=10, |_| list("records", 0, -1, 99));
    both.same("committed", 2..=10, |_| list("records", 0, -1, -1).with_isolation_level(1));

    let epoch_end = |name: &str, index: i32, current: i32, epoch: i32| {
        let partition = OffsetForLeaderPartition::default()
            .with_partition(index)
            .with_current_leader_epoch(current)
            .with_leader_epoch(epoch);
        let one = OffsetForLeaderTopic::default().with_topic(topic(name)).with_partitions(vec![partition]);
        OffsetForLeaderEpochRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![one])
    };
    for (name, index, current, epoch) in [
        ("records", 0, -1, 0),
        ("records", 0, 0, 0),
        ("records", 0, 99, 0),
        ("records", 0, -1, 50),
        ("records", 9, -1, 0),
        ("missing", 0, -1, 0),
    ] {
        both.same(&format!("end of epoch {epoch} of {name} {index} at {current}"), 2..=4, |_| {
            epoch_end(name, index, current, epoch)
        });
    }
}

fn deleting(both: &mut Both) {
    let to = |name: &str, index: i32, offset: i64| {
        let partition = DeleteRecordsPartition::default().with_partition_index(index).with_offset(offset);
        let one = DeleteRecordsTopic::default().with_name(topic(name)).with_partitions(vec![partition]);
        DeleteRecordsRequest::default().with_topics(vec![one]).with_timeout_ms(10_000)
    };
    for version in 0..=2 {
        let upto = 4 + 2 * i64::from(version);
        both.same("up to an offset", [version], |_| to("records", 0, upto));
        both.same("below the start", [version], |_| to("records", 0, 1));
        both.same("beyond the end", [version], |_| to("records", 0, 1_000_000));
        both.same("below -1", [version], |_| to("records", 0, -2));
        both.same("no such partition", [version], |_| to("records", 9, 0));
        both.same("no such topic", [version], |_| to("missing", 0, 0));
    }
    both.same("everything", [2], |_| to("records", 1, -1));
    both.same("what is gone", [11], |_| fetch("records", 0, 0));
    both.same("what is left", [11], |_| fetch("records", 0, 12));
    both.same("an empty log", [11], |_| fetch("records", 1, 0));
}
