//! The records of `__consumer_offsets`, byte for byte as Apache Kafka writes them.
//!
//! | key version | key | value |
//! |---|---|---|
//! | 0, 1 | group, topic, partition | a committed offset: `OffsetCommitValue`, read 0-4, written 3 (1 when it carries its own expiry) |
//! | 2 | group | a classic group's last stable membership: `GroupMetadataValue`, read 0-4, written 3 |
//! | 3 to 8, 16 | consumer groups | [`super::consumer::records`] |
//! | others | share and streams groups | left alone when read |
//!
//! A record without a value is a tombstone: the offset or the group is gone. `kafka-dump-log --offsets-decoder` prints
//! all of it.

use crate::coordinators::codec::{Error, Reader, Writer};
use crate::coordinators::{KeyValue, TopicPartition};
use crate::group::consumer;
use crate::group::offsets::CommittedOffset;
use bytes::Bytes;

const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;
const OFFSET_VALUE: i16 = 3;
const OFFSET_VALUE_WITH_EXPIRY: i16 = 1;
const GROUP_VALUE: i16 = 3;
/// The first version of both values that uses the flexible form.
const FLEXIBLE: i16 = 4;

/// What a record of `__consumer_offsets` speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// A committed offset.
    Offset {
        /// The group that committed it.
        group: String,
        /// What it is an offset of.
        partition: TopicPartition,
    },
    /// A classic group.
    Group(String),
    /// Something of a consumer group.
    Consumer(consumer::records::Key),
    /// Something a newer coordinator wrote, with its key version.
    Other(i16),
}

/// A classic group as it is stored: the outcome of its last finished rebalance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredGroup {
    /// `consumer`, `connect`, or whatever the members call themselves.
    pub(crate) protocol_type: String,
    /// How many rebalances there were.
    pub(crate) generation: i32,
    /// The assignor all members agreed on; none when the group is empty.
    pub(crate) protocol: Option<String>,
    /// The leader's member id; none when the group is empty.
    pub(crate) leader: Option<String>,
    /// When the group came to this state, in milliseconds since 1970.
    pub(crate) state_since_ms: Option<i64>,
    /// The members, by member id.
    pub(crate) members: Vec<StoredMember>,
}

/// A member as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredMember {
    /// The id the coordinator gave it.
    pub(crate) id: String,
    /// `group.instance.id` of a static member (KIP-345).
    pub(crate) instance: Option<String>,
    /// `client.id`.
    pub(crate) client_id: String,
    /// Where it connected from, as Kafka shows it: `/10.0.0.1`.
    pub(crate) client_host: String,
    /// How long a rebalance waits for it.
    pub(crate) rebalance_timeout_ms: i32,
    /// How long it may stay silent.
    pub(crate) session_timeout_ms: i32,
    /// Its metadata for the chosen protocol, opaque.
    pub(crate) subscription: Bytes,
    /// What the leader assigned to it, opaque.
    pub(crate) assignment: Bytes,
}

/// Reads a key.
pub(crate) fn read_key(key: Bytes) -> Result<Key, Error> {
    let mut reader = Reader::new(key);
    match reader.i16("key version")? {
        0 | OFFSET_KEY => {
            let group = reader.string("group")?;
            let topic = reader.string("topic")?;
            let partition = reader.i32("partition")?;
            Ok(Key::Offset { group, partition: TopicPartition { topic, partition } })
        }
        GROUP_KEY => Ok(Key::Group(reader.string("group")?)),
        other => {
            let key = consumer::records::read_key(other, &mut reader)?;
            Ok(key.map_or(Key::Other(other), Key::Consumer))
        }
    }
}

fn offset_key(group: &str, partition: &TopicPartition) -> Bytes {
    let mut writer = Writer::versioned(OFFSET_KEY);
    writer.string(group);
    writer.string(&partition.topic);
    writer.i32(partition.partition);
    writer.finish()
}

fn group_key(group: &str) -> Bytes {
    let mut writer = Writer::versioned(GROUP_KEY);
    writer.string(group);
    writer.finish()
}

/// The record of a committed offset.
pub(crate) fn offset(group: &str, partition: &TopicPartition, committed: &CommittedOffset) -> KeyValue {
    let value = if let Some(expire_ms) = committed.expire_ms {
        let mut writer = Writer::versioned(OFFSET_VALUE_WITH_EXPIRY);
        writer.i64(committed.offset);
        writer.string(&committed.metadata);
        writer.i64(committed.commit_ms);
        writer.i64(expire_ms);
        writer.finish()
    } else {
        let mut writer = Writer::versioned(OFFSET_VALUE);
        writer.i64(committed.offset);
        writer.i32(committed.leader_epoch);
        writer.string(&committed.metadata);
        writer.i64(committed.commit_ms);
        writer.finish()
    };
    KeyValue { key: offset_key(group, partition), value: Some(value) }
}

/// The record that takes a committed offset away.
pub(crate) fn offset_tombstone(group: &str, partition: &TopicPartition) -> KeyValue {
    KeyValue { key: offset_key(group, partition), value: None }
}

/// Reads the value of an offset record.
pub(crate) fn read_offset(value: Bytes) -> Result<CommittedOffset, Error> {
    let mut reader = Reader::new(value);
    let version = reader.i16("offset value version")?;
    if !(0..=FLEXIBLE).contains(&version) {
        return Err(Error::Unknown { what: "offset value version", value: i64::from(version) });
    }
    let offset = reader.i64("offset")?;
    let leader_epoch = if version >= 3 { reader.i32("leader epoch")? } else { -1 };
    let metadata =
        if version >= FLEXIBLE { reader.compact_string("metadata")? } else { reader.string("metadata")? };
    let commit_ms = reader.i64("commit timestamp")?;
    let expire_ms =
        if version == 1 { Some(reader.i64("expire timestamp")?).filter(|at| *at >= 0) } else { None };
    if version >= FLEXIBLE {
        reader.tagged()?;
    }
    Ok(CommittedOffset { offset, leader_epoch, metadata, commit_ms, expire_ms })
}

/// The record of a group's membership.
pub(crate) fn group(id: &str, stored: &StoredGroup) -> KeyValue {
    let mut writer = Writer::versioned(GROUP_VALUE);
    writer.string(&stored.protocol_type);
    writer.i32(stored.generation);
    writer.nullable_string(stored.protocol.as_deref());
    writer.nullable_string(stored.leader.as_deref());
    writer.i64(stored.state_since_ms.unwrap_or(-1));
    writer.count(stored.members.len());
    for member in &stored.members {
        writer.string(&member.id);
        writer.nullable_string(member.instance.as_deref());
        writer.string(&member.client_id);
        writer.string(&member.client_host);
        writer.i32(member.rebalance_timeout_ms);
        writer.i32(member.session_timeout_ms);
        writer.bytes(&member.subscription);
        writer.bytes(&member.assignment);
    }
    KeyValue { key: group_key(id), value: Some(writer.finish()) }
}

/// The record that takes a group away.
pub(crate) fn group_tombstone(id: &str) -> KeyValue {
    KeyValue { key: group_key(id), value: None }
}

/// Reads the value of a group record.
pub(crate) fn read_group(value: Bytes) -> Result<StoredGroup, Error> {
    let mut reader = Reader::new(value);
    let version = reader.i16("group value version")?;
    if !(0..=FLEXIBLE).contains(&version) {
        return Err(Error::Unknown { what: "group value version", value: i64::from(version) });
    }
    let flexible = version >= FLEXIBLE;
    let protocol_type = text(&mut reader, flexible, "protocol type")?;
    let generation = reader.i32("generation")?;
    let protocol = nullable_text(&mut reader, flexible, "protocol")?;
    let leader = nullable_text(&mut reader, flexible, "leader")?;
    let state_since_ms =
        if version >= 2 { Some(reader.i64("state timestamp")?).filter(|at| *at >= 0) } else { None };
    let count = if flexible { reader.compact_count("members", 8)? } else { reader.count("members", 18)? };
    let count = count.unwrap_or(0);
    let mut members = Vec::with_capacity(count);
    for _ in 0..count {
        members.push(read_member(&mut reader, version)?);
    }
    if flexible {
        reader.tagged()?;
    }
    Ok(StoredGroup { protocol_type, generation, protocol, leader, state_since_ms, members })
}

fn read_member(reader: &mut Reader, version: i16) -> Result<StoredMember, Error> {
    let flexible = version >= FLEXIBLE;
    let id = text(reader, flexible, "member id")?;
    let instance = if version >= 3 { nullable_text(reader, flexible, "group instance id")? } else { None };
    let client_id = text(reader, flexible, "client id")?;
    let client_host = text(reader, flexible, "client host")?;
    let rebalance_timeout_ms = if version >= 1 { Some(reader.i32("rebalance timeout")?) } else { None };
    let session_timeout_ms = reader.i32("session timeout")?;
    let subscription = opaque(reader, flexible, "subscription")?;
    let assignment = opaque(reader, flexible, "assignment")?;
    if flexible {
        reader.tagged()?;
    }
    let rebalance_timeout_ms = rebalance_timeout_ms.unwrap_or(session_timeout_ms);
    Ok(StoredMember {
        id,
        instance,
        client_id,
        client_host,
        rebalance_timeout_ms,
        session_timeout_ms,
        subscription,
        assignment,
    })
}

fn text(reader: &mut Reader, flexible: bool, what: &'static str) -> Result<String, Error> {
    if flexible { reader.compact_string(what) } else { reader.string(what) }
}

fn nullable_text(reader: &mut Reader, flexible: bool, what: &'static str) -> Result<Option<String>, Error> {
    if flexible { reader.compact_nullable_string(what) } else { reader.nullable_string(what) }
}

fn opaque(reader: &mut Reader, flexible: bool, what: &'static str) -> Result<Bytes, Error> {
    if flexible { reader.compact_bytes(what) } else { reader.bytes(what) }
}

#[cfg(test)]
mod tests;
