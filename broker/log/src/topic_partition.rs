//! The name of a partition, and of its folder.

use std::fmt;
use std::str::FromStr;

/// A topic's name and a partition number. Its folder is called `<topic>-<partition>`, as in Apache Kafka.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: String,
    /// The partition, counted from 0.
    pub partition: i32,
}

/// Longest name of a topic, as in Apache Kafka: the folder's name must fit in 255 bytes with its suffixes.
const TOPIC_NAME_BYTES_MAX: usize = 249;

impl TopicPartition {
    /// A partition's name; the caller has checked the topic's.
    pub fn new(topic: impl Into<String>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }

    /// The name of the partition's folder.
    pub fn dir_name(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Why a folder's name is not a partition's.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not the name of a partition folder (want <topic>-<partition>)")]
pub struct NotAPartition(String);

impl FromStr for TopicPartition {
    type Err = NotAPartition;

    fn from_str(name: &str) -> Result<Self, NotAPartition> {
        let legal = |topic: &str| {
            let bytes = topic.as_bytes();
            !bytes.is_empty()
                && bytes.len() <= TOPIC_NAME_BYTES_MAX
                && topic != "."
                && topic != ".."
                && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        name.rsplit_once('-')
            .filter(|(topic, digits)| legal(topic) && digits.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|(topic, digits)| Some(Self::new(topic, digits.parse().ok()?)))
            .ok_or_else(|| NotAPartition(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in ["a-0", "a-b-12", "__consumer_offsets-49", "..x-1"] {
            assert_eq!(name.parse::<TopicPartition>().unwrap().dir_name(), name);
        }
        for name in
            ["a", "-1", "a-", "a-x", "a--1/", "../a-1", "a-99999999999", ".-0", "a b-0", "x.abc-delete"]
        {
            assert!(name.parse::<TopicPartition>().is_err(), "{name}");
        }
    }
}
