//! Golden bytes from Apache Kafka's schemas, round trips, and damage.

use super::*;
use crate::group::consumer::insert;
use uuid::Uuid;

fn assignment() -> Assignment {
    let mut assignment = Assignment::new();
    [1, 2].iter().for_each(|partition| insert(&mut assignment, (Uuid::from_u128(7), *partition)));
    assignment
}

fn full() -> Member {
    Member {
        id: "m".to_owned(),
        instance: Some("i".to_owned()),
        rack: Some("r".to_owned()),
        client_id: "c".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        topics: ["a".to_owned(), "b".to_owned()].into(),
        pattern: Some("t.*".to_owned()),
        rebalance_timeout_ms: 300_000,
        assignor: Some("range".to_owned()),
        classic: Some(ClassicProtocol {
            session_timeout_ms: 45_000,
            protocols: vec![("range".to_owned(), Bytes::from_static(b"data"))],
        }),
        epoch: 5,
        previous_epoch: 4,
        state: MemberState::UnrevokedPartitions,
        assigned: assignment(),
        revoking: assignment(),
        since: [1, 2].map(|partition| ((Uuid::from_u128(7), partition), 3 + partition)).into(),
    }
}

fn value(record: KeyValue) -> Bytes {
    record.value.expect("not a tombstone")
}

#[test]
fn records_are_written_as_kafka_writes_them() {
    let record = group("g", 3, 0);
    assert_eq!(&record.key[..], b"\0\x03\0\x01g");
    assert_eq!(&value(record)[..], b"\0\0\0\0\0\x03\0");
    assert_eq!(&value(group("g", 3, 1))[..], b"\0\0\0\0\0\x03\x01\0\x08\0\0\0\0\0\0\0\x01");
    let member = Member { id: "m".to_owned(), epoch: 2, previous_epoch: 1, ..Member::default() };
    let record = current("g", &member);
    assert_eq!(&record.key[..], b"\0\x08\0\x01g\0\x01m");
    assert_eq!(&value(record)[..], b"\0\0\0\0\0\x02\0\0\0\x01\0\x01\x01\0");
}

#[test]
fn the_epochs_of_partitions_stand_beside_them() {
    let mut member = Member { id: "m".to_owned(), epoch: 2, ..Member::default() };
    insert(&mut member.assigned, (Uuid::from_u128(7), 3));
    member.mark_since();
    let written = value(current("g", &member));
    let topic = [&[0; 15][..], b"\x07\x02\0\0\0\x03\x01\0\x05\x02\0\0\0\x02"].concat();
    let expected = [b"\0\0\0\0\0\x02\0\0\0\0\0\x02", &topic[..], b"\x01\0"].concat();
    assert_eq!(&written[..], &expected[..]);
    // As Kafka wrote them before 4.3, and as it writes none.
    for tags in [&b"\0"[..], b"\x01\0\x01\0"] {
        let topic = [&[0; 15][..], b"\x07\x02\0\0\0\x03", tags].concat();
        let older = [b"\0\0\0\0\0\x02\0\0\0\0\0\x02", &topic[..], b"\x01\0"].concat();
        let progress = read_current(older.into()).expect("progress");
        assert_eq!((progress.assigned, progress.since), (member.assigned.clone(), Since::new()));
    }
}

#[test]
fn everything_comes_back() {
    let member = full();
    let mut read = read_member("m".to_owned(), value(super::member("g", &member))).expect("a member");
    let progress = read_current(value(current("g", &member))).expect("progress");
    (read.epoch, read.previous_epoch, read.state) = (progress.epoch, progress.previous_epoch, progress.state);
    (read.assigned, read.revoking, read.since) = (progress.assigned, progress.revoking, progress.since);
    assert_eq!(read, member);
    assert_eq!(read_group(value(group("g", 3, -9))), Ok((3, -9)));
    assert_eq!(read_target_epoch(value(target_epoch("g", 3))), Ok(3));
    assert_eq!(read_target(value(target("g", "m", &assignment()))), Ok(assignment()));
    let resolved = Resolved { topics: ["a".to_owned()].into(), at_ms: 77 };
    assert_eq!(read_pattern(value(pattern("g", "a.*", &resolved))), Ok(resolved));
}

#[test]
fn every_cut_is_an_error() {
    let member = full();
    let whole = [value(super::member("g", &member)), value(current("g", &member))];
    for end in 0..whole[0].len() {
        assert!(read_member("m".to_owned(), whole[0].slice(..end)).is_err(), "cut at {end}");
    }
    for end in 0..whole[1].len() - 1 {
        assert!(read_current(whole[1].slice(..end)).is_err(), "cut at {end}");
    }
}

proptest::proptest! {
    /// Whatever stands in the topic: an error at worst.
    #[test]
    fn no_bytes_make_the_readers_fail_badly(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let bytes = Bytes::from([&[0, 0], &bytes[..]].concat());
        let _ = read_group(bytes.clone());
        let _ = read_member(String::new(), bytes.clone());
        let _ = read_target(bytes.clone());
        let _ = read_current(bytes.clone());
        let _ = read_pattern(bytes);
    }
}
