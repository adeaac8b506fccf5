//! Round trips of whole batches, hostile batches, and agreement with the codec of the crate `kafka-protocol` where
//! that one is right (distinct header names, create time).

use bytes::{Bytes, BytesMut};
use indexmap::IndexMap;
use kafka_protocol::records as theirs;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::batch::{RawBatch, split};
use crate::compression::Compression;
use crate::ids::{Offset, ProducerEpoch, ProducerId};

const LIMIT: usize = 10 << 20;

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn header() -> impl Strategy<Value = (Bytes, Option<Bytes>)> {
    // Few names, so that they repeat.
    ("[ab]{0,2}".prop_map(Bytes::from), option::of(bytes()))
}

prop_compose! {
    fn record()(
        timestamp in prop_oneof![-1i64..2_000_000_000_000, any::<i64>()],
        key in option::of(bytes()),
        value in option::of(bytes()),
        headers in vec(header(), 0..4),
    ) -> Record {
        Record { offset: 0, timestamp, key, value, headers }
    }
}

fn codec() -> impl Strategy<Value = Compression> {
    proptest::sample::select(Compression::ALL.to_vec())
}

fn build(options: BatchOptions, base_offset: i64, records: &[Record]) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    for record in records {
        let headers = record.headers.iter().map(|(name, value)| (&name[..], value.as_deref()));
        let before = builder.size_bytes();
        builder
            .push(record.timestamp, record.key.as_deref(), record.value.as_deref(), headers.clone())
            .unwrap();
        let most = record_size(record.key.as_deref(), record.value.as_deref(), headers);
        assert!(builder.size_bytes() - before <= most);
    }
    builder.build(Offset(base_offset)).unwrap()
}

fn records_of(bytes: &Bytes) -> Vec<Record> {
    let batch = RawBatch::parse(bytes).unwrap();
    batch.verify_crc().unwrap();
    decode(&batch, LIMIT).unwrap().collect::<Result<_, _>>().unwrap()
}

proptest! {
    #[test]
    fn everything_comes_back(
        codec in codec(),
        base_offset in 0i64..1 << 40,
        mut records in vec(record(), 1..30),
        transactional: bool,
    ) {
        let stamp = ProducerStamp { id: ProducerId(77), epoch: ProducerEpoch(3), base_sequence: 12 };
        let options =
            BatchOptions { compression: codec, producer: Some(stamp), transactional, ..Default::default() };
        let built = build(options, base_offset, &records);
        for (index, record) in records.iter_mut().enumerate() {
            record.offset = base_offset + index as i64;
        }
        prop_assert_eq!(&records_of(&built), &records);
        let header = RawBatch::parse(&built).unwrap().header;
        prop_assert_eq!(header.attributes.compression().unwrap(), codec);
        prop_assert_eq!(header.attributes.is_transactional(), transactional);
        prop_assert_eq!(header.last_offset(), Offset(records.last().unwrap().offset));
        prop_assert_eq!(header.max_timestamp, records.iter().map(|r| r.timestamp).max().unwrap().max(-1));
        prop_assert_eq!(header.record_count as usize, records.len());
        prop_assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (stamp.id, stamp.epoch, 12));
    }

    #[test]
    fn arbitrary_records_never_panic(mut payload: Vec<u8>, count in 0i32..10) {
        let mut bytes = build(BatchOptions::default(), 0, &[]).to_vec();
        bytes.append(&mut payload);
        let len = bytes.len() as i32 - 12;
        bytes[8..12].copy_from_slice(&len.to_be_bytes());
        bytes[57..61].copy_from_slice(&count.to_be_bytes());
        let batch = RawBatch::parse(&Bytes::from(bytes)).unwrap();
        decode(&batch, LIMIT).unwrap().for_each(drop);
    }

    #[test]
    fn the_crate_reads_what_we_write(codec in codec(), records in vec(record(), 1..10)) {
        let records: Vec<_> = records.into_iter().filter(crate_can_hold).collect();
        prop_assume!(!records.is_empty());
        let mut built = build(BatchOptions { compression: codec, ..Default::default() }, 40, &records);
        let set = theirs::RecordBatchDecoder::decode(&mut built).unwrap();
        prop_assert_eq!(set.records.len(), records.len());
        for (index, (read, wrote)) in set.records.iter().zip(&records).enumerate() {
            prop_assert_eq!(read.offset, 40 + index as i64);
            prop_assert_eq!(read.timestamp, wrote.timestamp);
            prop_assert_eq!(&read.key, &wrote.key);
            prop_assert_eq!(&read.value, &wrote.value);
            let headers: Vec<_> = read.headers.iter().map(|(n, v)| (n.clone().into_bytes(), v.clone())).collect();
            prop_assert_eq!(&headers, &wrote.headers);
        }
    }

    #[test]
    fn we_read_what_the_crate_writes(codec in codec(), records in vec(record(), 1..10)) {
        let records: Vec<_> = records.into_iter().filter(crate_can_hold).collect();
        prop_assume!(!records.is_empty());
        let mut encoded = BytesMut::new();
        let options = theirs::RecordEncodeOptions { version: 2, compression: their_codec(codec) };
        let sent: Vec<_> = records.iter().enumerate().map(|(i, r)| their_record(i as i64, r)).collect();
        theirs::RecordBatchEncoder::encode(&mut encoded, &sent, &options).unwrap();
        let mut read = Vec::new();
        for batch in split(encoded.freeze()) {
            let batch = batch.unwrap();
            batch.verify_crc().unwrap();
            for record in decode(&batch, LIMIT).unwrap() { read.push(record.unwrap()); }
        }
        prop_assert_eq!(read.len(), records.len());
        for (read, wrote) in read.iter().zip(&records) {
            prop_assert_eq!((read.timestamp, &read.key, &read.value), (wrote.timestamp, &wrote.key, &wrote.value));
            prop_assert_eq!(&read.headers, &wrote.headers);
        }
    }
}

/// The crate keeps one value per header name and adds times without an eye on overflow.
fn crate_can_hold(record: &Record) -> bool {
    let names: std::collections::BTreeSet<_> = record.headers.iter().map(|(name, _)| name).collect();
    names.len() == record.headers.len() && (-1..2_000_000_000_000).contains(&record.timestamp)
}

fn their_codec(codec: Compression) -> theirs::Compression {
    match codec {
        Compression::None => theirs::Compression::None,
        Compression::Gzip => theirs::Compression::Gzip,
        Compression::Snappy => theirs::Compression::Snappy,
        Compression::Lz4 => theirs::Compression::Lz4,
        Compression::Zstd => theirs::Compression::Zstd,
    }
}

fn their_record(offset: i64, record: &Record) -> theirs::Record {
    let name = |name: &Bytes| std::str::from_utf8(name).unwrap().to_owned().into();
    theirs::Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: theirs::TimestampType::Creation,
        offset,
        sequence: -1,
        timestamp: record.timestamp,
        key: record.key.clone(),
        value: record.value.clone(),
        headers: record.headers.iter().map(|(n, v)| (name(n), v.clone())).collect::<IndexMap<_, _>>(),
    }
}

#[test]
fn null_and_empty_stay_different() {
    let empty = Some(Bytes::new());
    let headers = vec![("h".into(), None), ("h".into(), empty.clone()), ("".into(), empty.clone())];
    let nulls = Record { offset: 0, timestamp: 5, key: None, value: None, headers };
    let empties = Record { offset: 1, timestamp: 4, key: empty.clone(), value: empty, headers: vec![] };
    let built = build(BatchOptions::default(), 0, &[nulls.clone(), empties.clone()]);
    assert_eq!(records_of(&built), [nulls, empties]);
}

#[test]
fn markers_are_control_batches() {
    for kind in [ControlKind::Commit, ControlKind::Abort] {
        let batch = RawBatch::parse(&control_batch(kind, 6, ProducerId(9), ProducerEpoch(1), 123)).unwrap();
        batch.verify_crc().unwrap();
        assert!(batch.header.attributes.is_control() && batch.header.attributes.is_transactional());
        assert_eq!((batch.header.producer_id, batch.header.base_sequence), (ProducerId(9), -1));
        let record = decode(&batch, LIMIT).unwrap().next().unwrap().unwrap();
        let marker = ControlRecord::parse(&record).unwrap();
        assert_eq!(marker, Some(ControlRecord { kind, coordinator_epoch: 6 }));
    }
}

#[test]
fn other_control_records_are_passed_over_and_nonsense_refused() {
    let record = |key: &'static [u8]| Record {
        offset: 0,
        timestamp: 0,
        key: Some(Bytes::from_static(key)),
        value: None,
        headers: vec![],
    };
    assert_eq!(ControlRecord::parse(&record(&[0, 0, 0, 2])).unwrap(), None);
    assert!(ControlRecord::parse(&record(&[0, 0, 0])).is_err());
    assert!(ControlRecord::parse(&record(&[0, 0, 0, 1])).is_err());
}

#[test]
fn more_or_fewer_records_than_the_header_says_are_an_error() {
    let record = Record { offset: 0, timestamp: 0, key: None, value: Some("v".into()), headers: vec![] };
    for (count, message) in [
        (1, "record batch at offset 0 has 8 bytes after its last record"),
        (3, "record 2 of the batch at offset 0 is malformed: input ends inside a variable-length integer"),
    ] {
        let mut bytes = build(BatchOptions::default(), 0, &[record.clone(), record.clone()]).to_vec();
        bytes[60] = count;
        let batch = RawBatch::parse(&Bytes::from(bytes)).unwrap();
        let mut records = decode(&batch, LIMIT).unwrap();
        let error = records.find_map(Result::err).unwrap();
        assert_eq!(error.to_string(), message);
        assert!(records.next().is_none(), "an error ends the records");
    }
}

#[test]
fn a_bomb_in_a_batch_is_refused() {
    let record =
        Record { offset: 0, timestamp: 0, key: None, value: Some(vec![0; 1 << 20].into()), headers: vec![] };
    let built = build(BatchOptions { compression: Compression::Zstd, ..Default::default() }, 0, &[record]);
    assert!(built.len() < 500);
    let error = decode(&RawBatch::parse(&built).unwrap(), 1 << 19).unwrap_err();
    assert_eq!(
        error.to_string(),
        "record batch at offset 0: zstd data unpacks to more than the limit of 524288 bytes"
    );
}
