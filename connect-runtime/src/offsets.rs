//! Positions of sources, in the compacted topic `connect-offsets`.
//!
//! A position's key and value have the shape of Kafka Connect's: key `["<connector>",{"partition":"<name>"}]`, value
//! `{"position":"<text>"}`, or `{"position.base64":"…"}` when the position is not text; a null value forgets the partition. All
//! positions of a connector lie in one partition of the topic, found by hashing its name, so that a starting task reads one
//! partition and not all.
//!
//! A position is written in the same transaction as the records it speaks of (docs/adr/0007); a reader must therefore read
//! committed data, and up to the end of the log as it was when its own producer had fenced its predecessors, or it would start
//! from a position that is older than what is there.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use millrace_client::partitioner::partition_for_key;
use millrace_client::{ProduceRecord, TopicPartition};

use crate::component::Checkpoint;

/// Longest key or value that is taken for a position.
pub const POSITION_BYTES_MAX: usize = 256 << 10;

/// Where the topic, which has so many partitions, holds what is known of a connector.
pub(crate) fn place(topic: &Arc<str>, partitions: i32, connector: &str) -> TopicPartition {
    TopicPartition::new(Arc::clone(topic), partition_for_key(connector.as_bytes(), partitions))
}

/// A record for that place; one without a value forgets.
pub(crate) fn record(
    place: &TopicPartition,
    key: impl Into<Bytes>,
    value: Option<impl Into<Bytes>>,
) -> ProduceRecord {
    ProduceRecord {
        topic: Arc::clone(&place.topic),
        partition: Some(place.partition),
        key: Some(key.into()),
        value: value.map(Into::into),
        ..ProduceRecord::default()
    }
}

/// The positions of one connector, by its own partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions(BTreeMap<String, Vec<u8>>);

impl Positions {
    /// Takes a record of the topic into account. Records of other connectors, and what isn't ours at all, are passed over.
    pub fn apply(&mut self, connector: &str, key: &[u8], value: Option<&[u8]>) {
        let Some(partition) = parse_key(connector, key) else { return };
        match value.map(parse_value) {
            None => {
                self.0.remove(&partition);
            }
            Some(Some(position)) => {
                self.0.insert(partition, position);
            }
            Some(None) => {
                tracing::warn!(connector, partition, "a position could not be read; keeping the one before")
            }
        }
    }

    /// Takes newer checkpoints into account.
    pub fn merge(&mut self, checkpoints: impl IntoIterator<Item = Checkpoint>) {
        for checkpoint in checkpoints {
            // Also when it is empty, which means: forget. It has to be written before it can be forgotten here.
            self.0.insert(checkpoint.partition, checkpoint.position);
        }
    }

    /// As the contract wants them.
    #[must_use]
    pub fn checkpoints(&self) -> Vec<Checkpoint> {
        let checkpoint = |(partition, position): (&String, &Vec<u8>)| Checkpoint {
            partition: partition.clone(),
            position: position.clone(),
        };
        self.0.iter().map(checkpoint).collect()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The key and value of a checkpoint in the topic; the value of one that forgets is null.
#[must_use]
pub fn encode(connector: &str, checkpoint: &Checkpoint) -> (Vec<u8>, Option<Vec<u8>>) {
    let key = serde_json::json!([connector, { "partition": checkpoint.partition }]).to_string();
    let value = (!checkpoint.position.is_empty()).then(|| position_value(&checkpoint.position));
    (key.into_bytes(), value.map(|value| value.to_string().into_bytes()))
}

/// A position as the topic and the REST API have it.
pub(crate) fn position_value(position: &[u8]) -> serde_json::Value {
    match std::str::from_utf8(position) {
        Ok(text) => serde_json::json!({ "position": text }),
        Err(_) => serde_json::json!({ "position.base64": base64(position) }),
    }
}

/// The position that such a value holds.
pub(crate) fn position_of(value: &serde_json::Value) -> Option<Vec<u8>> {
    parse_value(value.to_string().as_bytes()).filter(|position| !position.is_empty())
}

fn parse_key(connector: &str, key: &[u8]) -> Option<String> {
    if key.len() > POSITION_BYTES_MAX {
        return None;
    }
    let (name, mut partition): (String, BTreeMap<String, serde_json::Value>) =
        serde_json::from_slice(key).ok()?;
    match partition.remove("partition") {
        Some(serde_json::Value::String(partition)) if name == connector => Some(partition),
        _ => None,
    }
}

fn parse_value(value: &[u8]) -> Option<Vec<u8>> {
    if value.len() > POSITION_BYTES_MAX {
        return None;
    }
    let fields: BTreeMap<String, serde_json::Value> = serde_json::from_slice(value).ok()?;
    match (fields.get("position"), fields.get("position.base64")) {
        (Some(serde_json::Value::String(text)), _) => Some(text.clone().into_bytes()),
        (None, Some(serde_json::Value::String(text))) => unbase64(text),
        _ => None,
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0u32, |bits, i| bits << 8 | u32::from(*chunk.get(i).unwrap_or(&0)));
        for i in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * i) & 63) as usize];
            text.push(if i <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

fn unbase64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for chunk in digits.chunks(4) {
        let mut bits = 0u32;
        for digit in chunk {
            bits = bits << 6 | u32::try_from(ALPHABET.iter().position(|known| known == digit)?).ok()?;
        }
        bits <<= 6 * (4 - chunk.len());
        let whole = bits.to_be_bytes();
        bytes.extend_from_slice(whole.get(1..chunk.len().max(1))?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn checkpoint(partition: &str, position: &[u8]) -> Checkpoint {
        Checkpoint { partition: partition.into(), position: position.into() }
    }

    #[test]
    fn positions_have_kafka_connects_shape() {
        let (key, value) = encode("p.source", &checkpoint("a.csv", b"42"));
        assert_eq!(String::from_utf8(key).unwrap(), r#"["p.source",{"partition":"a.csv"}]"#);
        assert_eq!(String::from_utf8(value.unwrap()).unwrap(), r#"{"position":"42"}"#);
    }

    #[test]
    fn the_newest_counts_and_null_forgets() {
        let mut positions = Positions::default();
        for checkpoint in [checkpoint("a", b"1"), checkpoint("b", b"\xff\0"), checkpoint("a", b"2")] {
            let (key, value) = encode("c", &checkpoint);
            positions.apply("c", &key, value.as_deref());
            positions.apply("other", &key, value.as_deref());
        }
        assert_eq!(positions.checkpoints().len(), 2);
        let (key, value) = encode("c", &checkpoint("a", b""));
        assert_eq!(value, None);
        positions.apply("c", &key, None);
        positions.apply("c", b"not json", Some(b"{}"));
        assert_eq!(positions, Positions([("b".to_owned(), b"\xff\0".to_vec())].into()));
    }

    proptest! {
        #[test]
        fn any_position_reads_back(partition in ".*", position in proptest::collection::vec(any::<u8>(), 1..40)) {
            let (key, value) = encode("c", &checkpoint(&partition, &position));
            let mut positions = Positions::default();
            positions.apply("c", &key, value.as_deref());
            prop_assert_eq!(positions, Positions([(partition, position)].into()));
        }

        #[test]
        fn rubbish_is_passed_over(key in proptest::collection::vec(any::<u8>(), 0..40), text in "[A-Za-z=+/]{0,9}") {
            let mut positions = Positions::default();
            positions.apply("c", &key, Some(format!("{{\"position.base64\":\"{text}\"}}").as_bytes()));
            prop_assert!(positions.is_empty());
            let _ = unbase64(&text);
        }
    }
}
