//! The records of consumer groups in `__consumer_offsets`, byte for byte as Apache Kafka 4 writes them.
//!
//! | key version | key | value |
//! |---|---|---|
//! | 3 | group | `ConsumerGroupMetadataValue`: group epoch, hash of the subscribed topics |
//! | 4 | group | `ConsumerGroupPartitionMetadataValue`: written before Kafka 4.1; left alone when read |
//! | 5 | group, member | `ConsumerGroupMemberMetadataValue`: what the member said about itself |
//! | 6 | group | `ConsumerGroupTargetAssignmentMetadataValue`: the epoch of the targets |
//! | 7 | group, member | `ConsumerGroupTargetAssignmentMemberValue` |
//! | 8 | group, member | `ConsumerGroupCurrentMemberAssignmentValue` |
//! | 16 | group, pattern | `ConsumerGroupRegularExpressionValue`: what the pattern came to |

use bytes::Bytes;

use super::Assignment;
use super::member::{ClassicProtocol, Member, MemberState, Since};
use super::subscription::Resolved;
use crate::coordinators::KeyValue;
use crate::coordinators::codec::{Error, Reader, Writer};

const GROUP: i16 = 3;
const PARTITION_METADATA: i16 = 4;
const MEMBER: i16 = 5;
const TARGET_EPOCH: i16 = 6;
const TARGET: i16 = 7;
const CURRENT: i16 = 8;
const PATTERN: i16 = 16;

/// The one version of all values.
const VALUE: i16 = 0;
/// In `ConsumerGroupMetadataValue`.
const HASH_TAG: u32 = 0;
/// In `ConsumerGroupMemberMetadataValue`.
const CLASSIC_TAG: u32 = 0;
/// In the topics of `ConsumerGroupCurrentMemberAssignmentValue`, since Kafka 4.3: the epochs of the partitions.
const EPOCHS_TAG: u32 = 0;

/// What a record of a consumer group speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// Version 3.
    Group(String),
    /// Version 4.
    PartitionMetadata(String),
    /// Version 5: group and member.
    Member(String, String),
    /// Version 6.
    TargetEpoch(String),
    /// Version 7: group and member.
    Target(String, String),
    /// Version 8: group and member.
    Current(String, String),
    /// Version 16: group and pattern.
    Pattern(String, String),
}

/// How far a member was, from its record of version 8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) epoch: i32,
    pub(crate) previous_epoch: i32,
    pub(crate) state: MemberState,
    pub(crate) assigned: Assignment,
    pub(crate) revoking: Assignment,
    pub(crate) since: Since,
}

/// Reads the rest of a key of this version; `None` if it is not a consumer group's.
pub(crate) fn read_key(version: i16, reader: &mut Reader) -> Result<Option<Key>, Error> {
    if !matches!(version, GROUP..=CURRENT | PATTERN) {
        return Ok(None);
    }
    let group = reader.string("group")?;
    let mut second = |what| reader.string(what);
    Ok(Some(match version {
        GROUP => Key::Group(group),
        PARTITION_METADATA => Key::PartitionMetadata(group),
        TARGET_EPOCH => Key::TargetEpoch(group),
        MEMBER => Key::Member(group, second("member id")?),
        TARGET => Key::Target(group, second("member id")?),
        CURRENT => Key::Current(group, second("member id")?),
        _ => Key::Pattern(group, second("pattern")?),
    }))
}

fn key(version: i16, group: &str, second: Option<&str>) -> Bytes {
    let mut writer = Writer::versioned(version);
    writer.string(group);
    if let Some(second) = second {
        writer.string(second);
    }
    writer.finish()
}

fn record(version: i16, group: &str, second: Option<&str>, value: Writer) -> KeyValue {
    KeyValue { key: key(version, group, second), value: Some(value.finish()) }
}

fn tombstone(version: i16, group: &str, second: Option<&str>) -> KeyValue {
    KeyValue { key: key(version, group, second), value: None }
}

/// Group epoch and hash of the topics.
pub(crate) fn group(id: &str, epoch: i32, metadata_hash: i64) -> KeyValue {
    let mut writer = Writer::versioned(VALUE);
    writer.i32(epoch);
    let hash = Bytes::copy_from_slice(&metadata_hash.to_be_bytes());
    if metadata_hash == 0 {
        writer.tagged(&[]);
    } else {
        writer.tagged(&[(HASH_TAG, hash)]);
    }
    record(GROUP, id, None, writer)
}

/// The group is not a consumer group any more.
pub(crate) fn group_tombstone(id: &str) -> KeyValue {
    tombstone(GROUP, id, None)
}

/// What a member said about itself.
pub(crate) fn member(id: &str, member: &Member) -> KeyValue {
    let mut writer = Writer::versioned(VALUE);
    writer.compact_nullable_string(member.instance.as_deref());
    writer.compact_nullable_string(member.rack.as_deref());
    writer.compact_string(&member.client_id);
    writer.compact_string(&member.client_host);
    writer.compact_count(member.topics.len());
    member.topics.iter().for_each(|topic| writer.compact_string(topic));
    writer.compact_nullable_string(member.pattern.as_deref());
    writer.i32(member.rebalance_timeout_ms);
    writer.compact_nullable_string(member.assignor.as_deref());
    match &member.classic {
        Some(classic) => writer.tagged(&[(CLASSIC_TAG, classic_metadata(classic))]),
        None => writer.tagged(&[]),
    }
    record(MEMBER, id, Some(&member.id), writer)
}

fn classic_metadata(classic: &ClassicProtocol) -> Bytes {
    let mut writer = Writer::default();
    // A nullable structure begins with whether it is there.
    writer.i8(1);
    writer.i32(classic.session_timeout_ms);
    writer.compact_count(classic.protocols.len());
    for (name, metadata) in &classic.protocols {
        writer.compact_string(name);
        writer.compact_bytes(metadata);
        writer.tagged(&[]);
    }
    writer.tagged(&[]);
    writer.finish()
}

/// The member has left.
pub(crate) fn member_tombstone(id: &str, member: &str) -> KeyValue {
    tombstone(MEMBER, id, Some(member))
}

/// The epoch of the targets.
pub(crate) fn target_epoch(id: &str, epoch: i32) -> KeyValue {
    let mut writer = Writer::versioned(VALUE);
    writer.i32(epoch);
    writer.tagged(&[]);
    record(TARGET_EPOCH, id, None, writer)
}

/// The group has no targets any more.
pub(crate) fn target_epoch_tombstone(id: &str) -> KeyValue {
    tombstone(TARGET_EPOCH, id, None)
}

/// What a member is led to.
pub(crate) fn target(id: &str, member: &str, target: &Assignment) -> KeyValue {
    let mut writer = Writer::versioned(VALUE);
    write_assignment(&mut writer, target, &Since::new());
    writer.tagged(&[]);
    record(TARGET, id, Some(member), writer)
}

/// The member is led nowhere any more.
pub(crate) fn target_tombstone(id: &str, member: &str) -> KeyValue {
    tombstone(TARGET, id, Some(member))
}

/// How far a member is.
pub(crate) fn current(id: &str, member: &Member) -> KeyValue {
    let mut writer = Writer::versioned(VALUE);
    writer.i32(member.epoch);
    writer.i32(member.previous_epoch);
    writer.i8(match member.state {
        MemberState::Stable => 0,
        MemberState::UnrevokedPartitions => 1,
        MemberState::UnreleasedPartitions => 2,
        MemberState::Unknown => i8::MAX,
    });
    write_assignment(&mut writer, &member.assigned, &member.since);
    write_assignment(&mut writer, &member.revoking, &member.since);
    writer.tagged(&[]);
    record(CURRENT, id, Some(&member.id), writer)
}

/// The member has nothing any more.
pub(crate) fn current_tombstone(id: &str, member: &str) -> KeyValue {
    tombstone(CURRENT, id, Some(member))
}

/// What a pattern came to.
pub(crate) fn pattern(id: &str, pattern: &str, resolved: &Resolved) -> KeyValue {
    let mut writer = Writer::versioned(VALUE);
    writer.compact_count(resolved.topics.len());
    resolved.topics.iter().for_each(|topic| writer.compact_string(topic));
    // The version of Kafka's metadata image; ours has no number, the time stands for it.
    writer.i64(resolved.at_ms);
    writer.i64(resolved.at_ms);
    writer.tagged(&[]);
    record(PATTERN, id, Some(pattern), writer)
}

/// Nobody subscribes to the pattern any more.
pub(crate) fn pattern_tombstone(id: &str, pattern: &str) -> KeyValue {
    tombstone(PATTERN, id, Some(pattern))
}

fn write_assignment(writer: &mut Writer, assignment: &Assignment, since: &Since) {
    writer.compact_count(assignment.len());
    for (topic, partitions) in assignment {
        writer.uuid(*topic);
        writer.compact_count(partitions.len());
        partitions.iter().for_each(|partition| writer.i32(*partition));
        let epochs: Option<Vec<i32>> =
            partitions.iter().map(|partition| since.get(&(*topic, *partition)).copied()).collect();
        match epochs {
            Some(epochs) => writer.tagged(&[(EPOCHS_TAG, write_epochs(&epochs))]),
            None => writer.tagged(&[]),
        }
    }
}

fn write_epochs(epochs: &[i32]) -> Bytes {
    let mut writer = Writer::default();
    writer.compact_count(epochs.len());
    epochs.iter().for_each(|epoch| writer.i32(*epoch));
    writer.finish()
}

fn begin(value: Bytes) -> Result<Reader, Error> {
    let mut reader = Reader::new(value);
    match reader.i16("value version")? {
        VALUE => Ok(reader),
        version => Err(Error::Unknown { what: "value version", value: i64::from(version) }),
    }
}

/// Reads group epoch and hash.
pub(crate) fn read_group(value: Bytes) -> Result<(i32, i64), Error> {
    let mut reader = begin(value)?;
    let epoch = reader.i32("group epoch")?;
    let mut hash = 0;
    for (tag, content) in reader.tagged()? {
        if tag == HASH_TAG {
            hash = Reader::new(content).i64("metadata hash")?;
        }
    }
    Ok((epoch, hash))
}

/// Reads what a member said about itself into a member that has come nowhere yet.
pub(crate) fn read_member(id: String, value: Bytes) -> Result<Member, Error> {
    let mut reader = begin(value)?;
    let mut member = Member {
        id,
        instance: reader.compact_nullable_string("instance id")?,
        rack: reader.compact_nullable_string("rack id")?,
        client_id: reader.compact_string("client id")?,
        client_host: reader.compact_string("client host")?,
        ..Member::default()
    };
    let count = reader.compact_count("topics", 1)?.unwrap_or(0);
    member.topics = (0..count).map(|_| reader.compact_string("topic")).collect::<Result<_, _>>()?;
    let pattern = reader.compact_nullable_string("pattern")?;
    member.pattern = pattern.filter(|pattern| !pattern.is_empty());
    member.rebalance_timeout_ms = reader.i32("rebalance timeout")?;
    member.assignor = reader.compact_nullable_string("assignor")?;
    for (tag, content) in reader.tagged()? {
        if tag == CLASSIC_TAG {
            member.classic = read_classic(content)?;
        }
    }
    Ok(member)
}

fn read_classic(content: Bytes) -> Result<Option<ClassicProtocol>, Error> {
    let mut reader = Reader::new(content);
    if reader.i8("classic member metadata")? < 0 {
        return Ok(None);
    }
    let session_timeout_ms = reader.i32("session timeout")?;
    let count = reader.compact_count("protocols", 3)?.unwrap_or(0);
    let mut protocols = Vec::with_capacity(count);
    for _ in 0..count {
        protocols.push((reader.compact_string("protocol")?, reader.compact_bytes("metadata")?));
        reader.tagged()?;
    }
    Ok(Some(ClassicProtocol { session_timeout_ms, protocols }))
}

/// Reads the epoch of the targets.
pub(crate) fn read_target_epoch(value: Bytes) -> Result<i32, Error> {
    begin(value)?.i32("assignment epoch")
}

/// Reads what a member is led to.
pub(crate) fn read_target(value: Bytes) -> Result<Assignment, Error> {
    read_assignment(&mut begin(value)?, &mut Since::new())
}

/// Reads how far a member was.
pub(crate) fn read_current(value: Bytes) -> Result<Progress, Error> {
    let mut reader = begin(value)?;
    let mut since = Since::new();
    Ok(Progress {
        epoch: reader.i32("member epoch")?,
        previous_epoch: reader.i32("previous member epoch")?,
        state: match reader.i8("member state")? {
            0 => MemberState::Stable,
            1 => MemberState::UnrevokedPartitions,
            2 => MemberState::UnreleasedPartitions,
            _ => MemberState::Unknown,
        },
        assigned: read_assignment(&mut reader, &mut since)?,
        revoking: read_assignment(&mut reader, &mut since)?,
        since,
    })
}

/// Reads what a pattern came to.
pub(crate) fn read_pattern(value: Bytes) -> Result<Resolved, Error> {
    let mut reader = begin(value)?;
    let count = reader.compact_count("topics", 1)?.unwrap_or(0);
    let topics = (0..count).map(|_| reader.compact_string("topic")).collect::<Result<_, _>>()?;
    reader.i64("metadata version")?;
    Ok(Resolved { topics, at_ms: reader.i64("timestamp")? })
}

fn read_assignment(reader: &mut Reader, since: &mut Since) -> Result<Assignment, Error> {
    let mut assignment = Assignment::new();
    for _ in 0..reader.compact_count("topics", 18)?.unwrap_or(0) {
        let topic = reader.uuid("topic id")?;
        let count = reader.compact_count("partitions", 4)?.unwrap_or(0);
        let partitions: Vec<i32> = (0..count).map(|_| reader.i32("partition")).collect::<Result<_, _>>()?;
        for (tag, content) in reader.tagged()? {
            if tag == EPOCHS_TAG {
                let epochs = read_epochs(content)?;
                since.extend(partitions.iter().map(|partition| (topic, *partition)).zip(epochs));
            }
        }
        assignment.insert(topic, partitions.into_iter().collect());
    }
    assignment.retain(|_, partitions: &mut std::collections::BTreeSet<i32>| !partitions.is_empty());
    Ok(assignment)
}

fn read_epochs(content: Bytes) -> Result<Vec<i32>, Error> {
    let mut reader = Reader::new(content);
    let count = reader.compact_count("assignment epochs", 4)?.unwrap_or(0);
    (0..count).map(|_| reader.i32("assignment epoch")).collect()
}

#[cfg(test)]
mod tests;
