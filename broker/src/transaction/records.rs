//! The records of `__transaction_state`, byte for byte as Apache Kafka writes them.
//!
//! The key is `TransactionLogKey` 0, the transactional id. The value is `TransactionLogValue`, read in versions 0 and 1
//! and written in version 1, the flexible one that has room for KIP-890's fields, whatever `transaction.version` says. A tombstone forgets the id.
//! `kafka-dump-log --transaction-log-decoder` prints all of it.

use crate::coordinators::codec::{Error, Reader, Writer};
use crate::coordinators::{KeyValue, Producer, TopicPartition};
use crate::transaction::state::{NONE, Protocol, State, Stored};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

const KEY: i16 = 0;
const VALUE: i16 = 1;
/// The first version of the value that uses the flexible form.
const FLEXIBLE: i16 = 1;
const TAG_PREVIOUS_PRODUCER_ID: u32 = 0;
const TAG_NEXT_PRODUCER_ID: u32 = 1;
const TAG_CLIENT_TRANSACTION_VERSION: u32 = 2;

/// Reads a key: the transactional id.
pub(crate) fn read_key(key: Bytes) -> Result<String, Error> {
    let mut reader = Reader::new(key);
    match reader.i16("key version")? {
        KEY => reader.string("transactional id"),
        other => Err(Error::Unknown { what: "transaction key version", value: i64::from(other) }),
    }
}

fn key(id: &str) -> Bytes {
    let mut writer = Writer::versioned(KEY);
    writer.string(id);
    writer.finish()
}

/// The record that forgets `id`.
pub(crate) fn tombstone(id: &str) -> KeyValue {
    KeyValue { key: key(id), value: None }
}

/// The record of what is stored of `id`.
pub(crate) fn record(id: &str, stored: &Stored) -> KeyValue {
    let mut writer = Writer::versioned(VALUE);
    writer.i64(stored.producer.id);
    writer.i16(stored.producer.epoch);
    writer.i32(stored.timeout_ms);
    writer.i8(stored.state as i8);
    write_partitions(&mut writer, stored);
    writer.i64(stored.updated_ms);
    writer.i64(stored.started_ms);
    let mut tags = Vec::new();
    let mut tag = |number: u32, bytes: &[u8]| tags.push((number, Bytes::copy_from_slice(bytes)));
    if stored.previous_producer_id != NONE {
        tag(TAG_PREVIOUS_PRODUCER_ID, &stored.previous_producer_id.to_be_bytes());
    }
    if stored.next_producer_id != NONE {
        tag(TAG_NEXT_PRODUCER_ID, &stored.next_producer_id.to_be_bytes());
    }
    if stored.protocol != Protocol::First {
        tag(TAG_CLIENT_TRANSACTION_VERSION, &(stored.protocol as i16).to_be_bytes());
    }
    writer.tagged(&tags);
    KeyValue { key: key(id), value: Some(writer.finish()) }
}

/// By topic; Kafka writes null while there is no transaction.
fn write_partitions(writer: &mut Writer, stored: &Stored) {
    if stored.state == State::Empty {
        writer.uvarint(0);
        return;
    }
    let mut by_topic: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in &stored.partitions {
        by_topic.entry(&partition.topic).or_default().push(partition.partition);
    }
    writer.uvarint(by_topic.len() as u32 + 1);
    for (topic, partitions) in by_topic {
        writer.compact_string(topic);
        writer.uvarint(partitions.len() as u32 + 1);
        for partition in partitions {
            writer.i32(partition);
        }
        writer.tagged(&[]);
    }
}

/// Reads a value.
pub(crate) fn read(value: Bytes) -> Result<Stored, Error> {
    let mut reader = Reader::new(value);
    let version = reader.i16("transaction value version")?;
    if !(0..=VALUE).contains(&version) {
        return Err(Error::Unknown { what: "transaction value version", value: i64::from(version) });
    }
    let flexible = version >= FLEXIBLE;
    let producer = Producer { id: reader.i64("producer id")?, epoch: reader.i16("producer epoch")? };
    let timeout_ms = reader.i32("transaction timeout")?;
    let number = reader.i8("transaction status")?;
    let state = State::ALL.into_iter().find(|state| *state as i8 == number);
    let state = state.ok_or(Error::Unknown { what: "transaction status", value: i64::from(number) })?;
    let topics = if flexible { reader.compact_count("topics", 3)? } else { reader.count("topics", 6)? };
    let mut partitions = BTreeSet::new();
    for _ in 0..topics.unwrap_or(0) {
        read_topic(&mut reader, flexible, &mut partitions)?;
    }
    let updated_ms = reader.i64("last update timestamp")?;
    let started_ms = reader.i64("start timestamp")?;
    let (mut previous_producer_id, mut next_producer_id) = (NONE, NONE);
    let mut protocol = Protocol::First;
    for (tag, content) in if flexible { reader.tagged()? } else { Vec::new() } {
        let mut content = Reader::new(content);
        match tag {
            TAG_PREVIOUS_PRODUCER_ID => previous_producer_id = content.i64("previous producer id")?,
            TAG_NEXT_PRODUCER_ID => next_producer_id = content.i64("next producer id")?,
            TAG_CLIENT_TRANSACTION_VERSION
                if content.i16("client transaction version")? >= Protocol::Second as i16 =>
            {
                protocol = Protocol::Second;
            }
            _ => {}
        }
    }
    Ok(Stored {
        producer,
        previous_producer_id,
        next_producer_id,
        protocol,
        timeout_ms,
        state,
        partitions,
        updated_ms,
        started_ms,
    })
}

fn read_topic(reader: &mut Reader, flexible: bool, into: &mut BTreeSet<TopicPartition>) -> Result<(), Error> {
    let topic = if flexible { reader.compact_string("topic")? } else { reader.string("topic")? };
    let count =
        if flexible { reader.compact_count("partitions", 4)? } else { reader.count("partitions", 4)? };
    for _ in 0..count.unwrap_or(0) {
        into.insert(TopicPartition::new(topic.clone(), reader.i32("partition")?));
    }
    if flexible {
        reader.tagged()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(state: State) -> Stored {
        let partitions = if state == State::Ongoing { &[("a", 0), ("a", 3), ("b", 1)][..] } else { &[] };
        Stored {
            producer: Producer { id: 4000, epoch: 7 },
            previous_producer_id: if state == State::Ongoing { 3000 } else { NONE },
            next_producer_id: if state == State::PrepareCommit { 5000 } else { NONE },
            protocol: if state == State::PrepareCommit { Protocol::Second } else { Protocol::First },
            timeout_ms: 60_000,
            state,
            partitions: partitions
                .iter()
                .map(|(topic, number)| TopicPartition::new(*topic, *number))
                .collect(),
            updated_ms: 1_000,
            started_ms: 900,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for state in State::ALL {
            let record = record("tx", &stored(state));
            assert_eq!(read_key(record.key), Ok("tx".to_owned()));
            assert_eq!(read(record.value.expect("a value")), Ok(stored(state)));
        }
    }

    #[test]
    fn the_old_form_is_read() {
        let bytes = b"\0\0\0\0\0\0\0\0\x0f\xa0\0\x07\0\0\xea\x60\x01\
            \0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x03\0\x01b\0\0\0\x01\0\0\0\x01\
            \0\0\0\0\0\0\x03\xe8\0\0\0\0\0\0\x03\x84";
        let expected = Stored { previous_producer_id: NONE, ..stored(State::Ongoing) };
        assert_eq!(read(Bytes::from_static(bytes)), Ok(expected));
    }

    #[test]
    fn every_cut_and_every_unknown_number_is_an_error() {
        let full = record("tx", &stored(State::Ongoing)).value.expect("a value");
        for end in 0..full.len() {
            assert!(read(full.slice(..end)).is_err(), "cut at {end}");
        }
        let mut odd = full.to_vec();
        odd[16] = 99;
        assert_eq!(read(Bytes::from(odd)), Err(Error::Unknown { what: "transaction status", value: 99 }));
        assert!(read_key(Bytes::from_static(b"\0\x09\0\0")).is_err());
    }

    proptest::proptest! {
        /// Whatever stands in the topic: an error at worst.
        #[test]
        fn no_bytes_make_the_readers_fail_badly(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
            version in 0..3_u8,
        ) {
            let mut versioned = vec![0, version];
            versioned.extend(&bytes);
            for bytes in [bytes, versioned] {
                let _ = read_key(Bytes::from(bytes.clone()));
                let _ = read(Bytes::from(bytes));
            }
        }
    }
}
