//! A connector's positions, read and changed from outside, in Kafka Connect's shapes.
//!
//! | | partition | offset |
//! |---|---|---|
//! | source | `{"partition":"<name>"}` | `{"position":"<text>"}`, or `{"position.base64":"..."}` |
//! | sink | `{"kafka_topic":"t","kafka_partition":0}` | `{"kafka_offset":42}` |
//!
//! A change is made only while the connector is stopped, in one transaction under the transactional id of its first task, after
//! the ids of all its tasks were taken: nothing that still hangs somewhere can write after it, and whoever resumes the
//! connector in the middle of it makes it fail as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_client::{
    Admin, GroupMetadata, OffsetAndMetadata, Producer, ProducerConfig, ResponseError, TopicPartition,
};
use serde_json::{Value, json};

use super::handle::REQUEST_TIMEOUT;
use super::request::Refusal;
use super::runner::fence;
use crate::component::{Checkpoint, Kind};
use crate::offsets::{encode, position_of, position_value, record};
use crate::redrive::retry_topic;
use crate::spec::flat::ConnectorConfig;
use crate::worker::sink::group;
use crate::worker::{Shared, positions};

/// Why positions can't be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum OffsetsError {
    /// There is no such connector.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The topics were not read yet.
    #[error("the worker is starting: it has not read the topics of its state yet; ask again soon")]
    Starting,
    /// Nobody knows whether it was done.
    #[error(
        "not done within {REQUEST_TIMEOUT:?}; it may still be: look at the positions before the connector is resumed"
    )]
    Timeout,
    /// It is not stopped.
    #[error("connector {0} has to be stopped before its positions are changed")]
    NotStopped(String),
    /// A position has the wrong shape.
    #[error("{0}")]
    Shape(String),
    /// Its component can't be loaded, so nobody knows what its positions are.
    #[error(
        "what the positions of connector {connector} look like is not known: {reason}; mend its configuration first"
    )]
    Unknown {
        /// Its name.
        connector: String,
        /// Why.
        reason: String,
    },
    /// The cluster can't be read or refuses.
    #[error("the positions can't be read or changed: {0}")]
    Cluster(#[from] millrace_client::Error),
}

/// Pairs of partition and offset.
pub(super) async fn read(
    shared: &Shared,
    connector: &str,
    kind: Kind,
) -> Result<Vec<(Value, Value)>, OffsetsError> {
    match kind {
        Kind::Source => {
            let positions = positions::read(shared, connector).await?;
            let pair = |checkpoint: &Checkpoint| {
                (json!({ "partition": checkpoint.partition }), position_value(&checkpoint.position))
            };
            Ok(positions.checkpoints().iter().map(pair).collect())
        }
        Kind::Sink | Kind::Transform => {
            let offsets = Admin::new(&shared.client).group_offsets(&group(connector)).await?;
            let pair = |(tp, offset): (&TopicPartition, &OffsetAndMetadata)| {
                let partition = json!({ "kafka_topic": &*tp.topic, "kafka_partition": tp.partition });
                (partition, json!({ "kafka_offset": offset.offset }))
            };
            // Places in the topic with retried records are nobody's business but the task's.
            let retried = retry_topic(connector);
            Ok(offsets.iter().filter(|(tp, _)| *tp.topic != *retried).map(pair).collect())
        }
    }
}

/// A change that has taken the connector's transactional ids and is not written yet.
pub(super) struct Change<'a> {
    shared: &'a Arc<Shared>,
    connector: &'a str,
    producer: Producer,
    what: What,
}

enum What {
    Source(Vec<Checkpoint>),
    Sink(BTreeMap<TopicPartition, OffsetAndMetadata>),
    ForgetGroup,
}

impl<'a> Change<'a> {
    /// `ids`: how many tasks the connector may ever have had; none of `changes`: forget all.
    pub(super) async fn begin(
        shared: &'a Arc<Shared>,
        connector: &'a str,
        kind: Kind,
        ids: u32,
        changes: Option<Vec<(Value, Value)>>,
    ) -> Result<Self, OffsetsError> {
        let what = match (kind, changes) {
            (Kind::Source, Some(changes)) => What::Source(source_changes(&changes)?),
            // Which there are is read when nobody can add to them.
            (Kind::Source, None) => What::Source(Vec::new()),
            (_, Some(changes)) => What::Sink(sink_changes(&changes)?),
            (_, None) => What::ForgetGroup,
        };
        fence(shared, connector, ids).await?;
        let transactional_id = Some(shared.transactional_id(connector, 0));
        let config = ProducerConfig { transactional_id, ..ProducerConfig::default() };
        let (producer, _) = shared.fenced_producer(config).await?;
        Ok(Self { shared, connector, producer, what })
    }

    /// Writes it, all or nothing.
    pub(super) async fn write(self, config: &ConnectorConfig) -> Result<(), OffsetsError> {
        let Self { shared, connector, producer, what } = self;
        let topic = config.get("topics").map(String::as_str).unwrap_or_default();
        match what {
            What::Source(changes) => {
                let mut changes = changes;
                if changes.is_empty() {
                    let known = positions::read(shared, connector).await?.checkpoints();
                    let forget = known.into_iter().map(|known| Checkpoint { position: Vec::new(), ..known });
                    changes = forget.collect();
                }
                let place = shared.offsets_of(connector);
                producer.begin_transaction()?;
                for change in &changes {
                    let (key, value) = encode(connector, change);
                    let _delivery = producer.send(record(&place, key, value)).await?;
                }
            }
            What::Sink(mut offsets) => {
                if let Some(other) = offsets.keys().find(|tp| *tp.topic != *topic) {
                    return Err(OffsetsError::Shape(format!(
                        "connector {connector} does not read topic {}, but {topic}",
                        other.topic
                    )));
                }
                // A null forgets, which a group can do only for all of its offsets at once: the first record is as good.
                for offset in offsets.values_mut().filter(|offset| offset.offset < 0) {
                    offset.offset = 0;
                }
                producer.begin_transaction()?;
                producer
                    .send_offsets_to_transaction(offsets, &GroupMetadata::outside(&group(connector)))
                    .await?;
            }
            What::ForgetGroup => {
                let group = group(connector);
                let each = Admin::new(&shared.client).delete_groups(&[&group]).await?;
                return match each.into_iter().next() {
                    Some((_, Err(error))) if error.code() != Some(ResponseError::GroupIdNotFound) => {
                        Err(error.into())
                    }
                    _ => Ok(()),
                };
            }
        }
        Ok(producer.commit_transaction().await?)
    }
}

fn source_changes(changes: &[(Value, Value)]) -> Result<Vec<Checkpoint>, OffsetsError> {
    let change = |(partition, offset): &(Value, Value)| {
        let wrong = |what: &str| {
            OffsetsError::Shape(format!(
                "{what}; a source's partitions are {{\"partition\":\"...\"}}, its offsets {{\"position\":\"...\"}} or null"
            ))
        };
        let name = partition.get("partition").and_then(Value::as_str);
        let name = name.ok_or_else(|| wrong(&format!("partition {partition} has the wrong form")))?;
        let position = match offset {
            Value::Null => Vec::new(),
            offset => {
                position_of(offset).ok_or_else(|| wrong(&format!("offset {offset} has the wrong form")))?
            }
        };
        Ok(Checkpoint { partition: name.to_owned(), position })
    };
    changes.iter().map(change).collect()
}

/// In Kafka Connect's words.
const SINK_OFFSET: &str =
    "The offset for a sink connector should either be null or contain the key 'kafka_offset'";

fn sink_changes(
    changes: &[(Value, Value)],
) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>, OffsetsError> {
    let change = |(partition, offset): &(Value, Value)| {
        let number = |value: &Value| match value {
            Value::String(text) => text.parse().ok(),
            value => value.as_i64(),
        };
        let topic = partition.get("kafka_topic").and_then(Value::as_str);
        let index = partition.get("kafka_partition").and_then(number);
        let index = index.and_then(|index| i32::try_from(index).ok()).filter(|index| *index >= 0);
        let (Some(topic), Some(index)) = (topic, index) else {
            return Err(OffsetsError::Shape(format!(
                "The partition for a sink connector offset must contain the keys 'kafka_topic' and 'kafka_partition', a \
                 text and a number that is not negative; this one is {partition}"
            )));
        };
        let offset = match offset {
            Value::Null => -1,
            offset => offset
                .get("kafka_offset")
                .and_then(number)
                .filter(|offset| *offset >= 0)
                .ok_or_else(|| OffsetsError::Shape(SINK_OFFSET.to_owned()))?,
        };
        Ok((TopicPartition::new(topic, index), OffsetAndMetadata::from(offset)))
    };
    changes.iter().map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sources_positions() {
        let changes = [
            (json!({ "partition": "a.csv" }), json!({ "position": "42" })),
            (json!({ "partition": "b.csv" }), Value::Null),
        ];
        let read = source_changes(&changes).unwrap();
        assert_eq!((read[0].position.as_slice(), read[1].position.len()), (&b"42"[..], 0));
        for bad in
            [(json!({ "file": "a" }), Value::Null), (json!({ "partition": "a" }), json!({ "position": 5 }))]
        {
            let error = source_changes(&[bad]).err().unwrap().to_string();
            assert!(error.contains("has the wrong form"), "{error}");
        }
    }

    #[test]
    fn a_sinks_positions() {
        let partition = json!({ "kafka_topic": "t", "kafka_partition": 1 });
        let read = sink_changes(&[(partition.clone(), json!({ "kafka_offset": "5" }))]).unwrap();
        assert_eq!(read[&TopicPartition::new("t", 1)].offset, 5);
        for bad in [
            (partition.clone(), json!({ "kafka_offset": -5 })),
            (partition, json!(5)),
            (json!({ "kafka_topic": "t", "kafka_partition": -1 }), Value::Null),
            (json!({ "kafka_topic": "t" }), Value::Null),
        ] {
            assert!(sink_changes(&[bad]).is_err());
        }
    }
}
