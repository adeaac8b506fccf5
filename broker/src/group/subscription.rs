//! Which topics the members of a group of consumers subscribe to.
//!
//! Member metadata is opaque to the coordinator, with this exception: for the protocol type `consumer` it begins with
//! a version and the list of topics, in every version of `ConsumerProtocolSubscription`.

use crate::coordinators::codec::{Error, Reader};
use crate::group::classic::{CONSUMER, Group};
use bytes::Bytes;

/// The topics that members of `group` subscribe to, or `None` if that is not known: another protocol type, or
/// metadata that is not what it should be.
pub(crate) fn topics(group: &Group) -> Option<Vec<String>> {
    if let Some(consumer) = &group.consumer {
        return Some(consumer.subscribed_topics().into_iter().map(str::to_owned).collect());
    }
    if group.protocol_type.as_deref() != Some(CONSUMER) {
        return None;
    }
    let mut topics = Vec::new();
    for member in group.members.values() {
        topics.extend(read(member.metadata(group.protocol.as_deref())).ok()?);
    }
    Some(topics)
}

fn read(metadata: Bytes) -> Result<Vec<String>, Error> {
    let mut reader = Reader::new(metadata);
    reader.i16("subscription version")?;
    let count = reader.count("topics", 2)?.unwrap_or(0);
    (0..count).map(|_| reader.string("topic")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_stand_at_the_front_of_every_version() {
        let metadata = Bytes::from_static(b"\0\x03\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff");
        assert_eq!(read(metadata), Ok(vec!["a".to_owned(), "bc".to_owned()]));
        assert!(read(Bytes::from_static(b"\0\x01\x7f\xff\xff\xff")).is_err());
    }
}
