//! What members of the classic protocol say to each other inside JoinGroup and SyncGroup, as far as a consumer group
//! has to understand and answer it: `ConsumerProtocolSubscription` and `ConsumerProtocolAssignment`.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{Assignment, insert};
use crate::controller::Image;
use crate::coordinators::codec::{Error, Reader, Writer};

/// The newest version of both messages.
const VERSION_MAX: i16 = 3;

/// What a member wants, and what it says it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// The version it was written in, which its assignment is to be written in.
    pub(crate) version: i16,
    /// Subscribed names.
    pub(crate) topics: BTreeSet<String>,
    /// Partitions by topic (versions 1 and up).
    pub(crate) owned: Vec<(String, Vec<i32>)>,
    /// `client.rack` (version 3).
    pub(crate) rack: Option<String>,
}

/// Reads a subscription. Versions beyond ours begin as ours do.
pub(crate) fn read_subscription(metadata: Bytes) -> Result<Subscription, Error> {
    let mut reader = Reader::new(metadata);
    let version = reader.i16("subscription version")?;
    let mut subscription = Subscription { version, ..Subscription::default() };
    let count = reader.count("topics", 2)?.unwrap_or(0);
    subscription.topics = (0..count).map(|_| reader.string("topic")).collect::<Result<_, _>>()?;
    skip_user_data(&mut reader)?;
    if version >= 1 {
        subscription.owned = read_partitions(&mut reader)?;
    }
    if version >= 2 {
        reader.i32("generation")?;
    }
    if version >= 3 {
        subscription.rack = reader.nullable_string("rack id")?;
    }
    Ok(subscription)
}

/// Reads what a member was assigned by another one.
pub(crate) fn read_assignment(assignment: Bytes) -> Result<Vec<(String, Vec<i32>)>, Error> {
    if assignment.is_empty() {
        return Ok(Vec::new());
    }
    let mut reader = Reader::new(assignment);
    reader.i16("assignment version")?;
    read_partitions(&mut reader)
}

/// An assignment as members of the classic protocol read it.
pub(crate) fn write_assignment(version: i16, assignment: &Assignment, image: &Image) -> Bytes {
    let named: Vec<_> = assignment
        .iter()
        .filter_map(|(id, partitions)| Some((&*image.topic_by_id(*id)?.name, partitions)))
        .collect();
    let mut writer = Writer::versioned(version.clamp(0, VERSION_MAX));
    writer.count(named.len());
    for (name, partitions) in named {
        writer.string(name);
        writer.count(partitions.len());
        partitions.iter().for_each(|partition| writer.i32(*partition));
    }
    // No user data.
    writer.i32(-1);
    writer.finish()
}

/// Partitions by id; topics that do not exist are left out.
pub(crate) fn by_id(named: &[(String, Vec<i32>)], image: &Image) -> Assignment {
    let mut assignment = Assignment::new();
    for (name, partitions) in named {
        if let Some(topic) = image.topic(name) {
            partitions.iter().for_each(|partition| insert(&mut assignment, (topic.id, *partition)));
        }
    }
    assignment
}

fn skip_user_data(reader: &mut Reader) -> Result<(), Error> {
    if let Some(length) = reader.count("user data", 1)? {
        reader.skip("user data", length)?;
    }
    Ok(())
}

fn read_partitions(reader: &mut Reader) -> Result<Vec<(String, Vec<i32>)>, Error> {
    let mut all = Vec::new();
    for _ in 0..reader.count("topics", 6)?.unwrap_or(0) {
        let topic = reader.string("topic")?;
        let count = reader.count("partitions", 4)?.unwrap_or(0);
        all.push((topic, (0..count).map(|_| reader.i32("partition")).collect::<Result<_, _>>()?));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_of_all_versions() {
        let v0 = Bytes::from_static(b"\0\0\0\0\0\x01\0\x01a\xff\xff\xff\xff");
        let read = read_subscription(v0).expect("version 0");
        assert_eq!((read.version, read.topics), (0, BTreeSet::from(["a".to_owned()])));
        let v3 = Bytes::from_static(
            b"\0\x03\0\0\0\x01\0\x01a\0\0\0\x02xy\0\0\0\x01\0\x01a\0\0\0\x01\0\0\0\x07\0\0\0\x05\0\x01r",
        );
        let read = read_subscription(v3.clone()).expect("version 3");
        assert_eq!(read.owned, vec![("a".to_owned(), vec![7])]);
        assert_eq!(read.rack.as_deref(), Some("r"));
        for end in 0..v3.len() {
            assert!(read_subscription(v3.slice(..end)).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn assignments_come_back() {
        let written = write_assignment(9, &Assignment::new(), &Image::default());
        assert_eq!(&written[..], b"\0\x03\0\0\0\0\xff\xff\xff\xff");
        assert_eq!(read_assignment(written), Ok(Vec::new()));
        assert_eq!(read_assignment(Bytes::new()), Ok(Vec::new()));
    }
}
