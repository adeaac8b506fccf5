//! Golden bytes from Apache Kafka's schemas, round trips, and damage.

use super::*;

fn committed(expire_ms: Option<i64>) -> CommittedOffset {
    let leader_epoch = if expire_ms.is_some() { -1 } else { 4 };
    CommittedOffset { offset: 42, leader_epoch, metadata: "m".to_owned(), commit_ms: 1000, expire_ms }
}

fn stored() -> StoredGroup {
    StoredGroup {
        protocol_type: "consumer".to_owned(),
        generation: 3,
        protocol: Some("range".to_owned()),
        leader: Some("a".to_owned()),
        state_since_ms: Some(77),
        members: vec![StoredMember {
            id: "a".to_owned(),
            instance: Some("i".to_owned()),
            client_id: "c".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            rebalance_timeout_ms: 300_000,
            session_timeout_ms: 10_000,
            subscription: Bytes::from_static(b"sub"),
            assignment: Bytes::from_static(b"ass"),
        }],
    }
}

#[test]
fn an_offset_is_written_as_kafka_writes_it() {
    let record = offset("g", &TopicPartition::new("t", 7), &committed(None));
    assert_eq!(&record.key[..], b"\0\x01\0\x01g\0\x01t\0\0\0\x07");
    let value = record.value.expect("not a tombstone");
    assert_eq!(&value[..], b"\0\x03\0\0\0\0\0\0\0\x2a\0\0\0\x04\0\x01m\0\0\0\0\0\0\x03\xe8");
}

#[test]
fn offsets_and_groups_come_back() {
    for expire_ms in [None, Some(5000)] {
        let tp = TopicPartition::new("t", 7);
        let record = offset("g", &tp, &committed(expire_ms));
        assert_eq!(read_key(record.key), Ok(Key::Offset { group: "g".to_owned(), partition: tp }));
        assert_eq!(read_offset(record.value.expect("value")), Ok(committed(expire_ms)));
    }
    let record = group("g", &stored());
    assert_eq!(read_key(record.key), Ok(Key::Group("g".to_owned())));
    assert_eq!(read_group(record.value.expect("value")), Ok(stored()));
}

#[test]
fn older_and_flexible_values_are_read() {
    let v0 = Bytes::from_static(b"\0\0\0\0\0\0\0\0\0\x2a\0\x01m\0\0\0\0\0\0\x03\xe8");
    assert_eq!(read_offset(v0), Ok(CommittedOffset { leader_epoch: -1, ..committed(None) }));
    let v4 = Bytes::from_static(b"\0\x04\0\0\0\0\0\0\0\x2a\0\0\0\x04\x02m\0\0\0\0\0\0\x03\xe8\0");
    assert_eq!(read_offset(v4), Ok(committed(None)));
    let v0 = Bytes::from_static(b"\0\0\0\x01c\0\0\0\x03\xff\xff\xff\xff\0\0\0\0");
    let group = read_group(v0).expect("an empty group of version 0");
    assert_eq!((group.generation, group.state_since_ms, group.members.len()), (3, None, 0));
}

#[test]
fn records_of_other_coordinators_are_told_apart() {
    assert_eq!(read_key(Bytes::from_static(b"\0\x09\0\x01g")), Ok(Key::Other(9)));
}

#[test]
fn every_cut_and_every_unknown_version_is_an_error() {
    let full = group("g", &stored()).value.expect("value");
    for end in 0..full.len() {
        assert!(read_group(full.slice(..end)).is_err(), "cut at {end}");
    }
    let full = offset("g", &TopicPartition::new("t", 7), &committed(None)).value.expect("value");
    for end in 0..full.len() {
        assert!(read_offset(full.slice(..end)).is_err(), "cut at {end}");
    }
    assert!(read_offset(Bytes::from_static(b"\0\x05")).is_err());
    assert!(read_group(Bytes::from_static(b"\xff\xff")).is_err());
}

proptest::proptest! {
    /// Whatever stands in the topic: an error at worst.
    #[test]
    fn no_bytes_make_the_readers_fail_badly(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200), version in 0..6_u8) {
        let mut versioned = vec![0, version];
        versioned.extend(&bytes);
        for bytes in [bytes, versioned] {
            let bytes = Bytes::from(bytes);
            let _ = read_key(bytes.clone());
            let _ = read_offset(bytes.clone());
            let _ = read_group(bytes);
        }
    }
}
