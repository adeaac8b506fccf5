//! Which topic a sink's positions speak of, in `connect-offsets`: key `["<connector>",{"kafka_topic":"orders","kafka_partition":0}]`,
//! value `{"topic_id":"…"}`.
//!
//! Written when a task finds that its group knows nothing, together with the group's first offsets and before a record is read; looked
//! for only when the target holds a position and the group has none. So a restart costs nothing. For each partition, since tasks look at
//! their own: one that holds no position in the target must not vouch for others.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_client::{Admin, Client, Error, ProduceRecord, TopicPartition};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::offsets;
use crate::worker::{Shared, positions};

/// Longest key or value that is looked at.
const RECORD_BYTES_MAX: usize = 4 << 10;

/// The ids of topics, as the cluster has them now. Those of a cluster without ids are missing.
pub(super) async fn now(client: &Client, topics: &[&str]) -> Result<BTreeMap<Arc<str>, Uuid>, Error> {
    let found = Admin::new(client).describe_topics(topics).await?;
    Ok(found.into_iter().filter(|(_, info)| !info.id.is_nil()).map(|(name, info)| (name, info.id)).collect())
}

/// The ids of the topics that a connector has read, by partition.
pub(super) async fn before(
    shared: &Shared,
    connector: &str,
) -> Result<BTreeMap<TopicPartition, Uuid>, Error> {
    let mut ids = BTreeMap::new();
    positions::read_log(&shared.client, &shared.offsets_of(connector), |record| {
        let Some(of) = record.key.and_then(|key| parse_key(connector, key)) else { return };
        match record.value.and_then(parse_value) {
            Some(id) => ids.insert(of, id),
            None => ids.remove(&of),
        };
    })
    .await?;
    Ok(ids)
}

/// The record that says so.
pub(super) fn record(shared: &Shared, connector: &str, tp: &TopicPartition, id: Uuid) -> ProduceRecord {
    let key = json!([connector, { "kafka_topic": &*tp.topic, "kafka_partition": tp.partition }]);
    let value = json!({ "topic_id": id.to_string() });
    offsets::record(&shared.offsets_of(connector), key.to_string(), Some(value.to_string()))
}

fn parse_key(connector: &str, key: &[u8]) -> Option<TopicPartition> {
    if key.len() > RECORD_BYTES_MAX {
        return None;
    }
    let (name, of): (String, Value) = serde_json::from_slice(key).ok()?;
    let topic = of.get("kafka_topic")?.as_str()?;
    let partition = i32::try_from(of.get("kafka_partition")?.as_i64()?).ok()?;
    (name == connector).then(|| TopicPartition::new(topic, partition))
}

fn parse_value(value: &[u8]) -> Option<Uuid> {
    if value.len() > RECORD_BYTES_MAX {
        return None;
    }
    let value: Value = serde_json::from_slice(value).ok()?;
    value.get("topic_id")?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_connectors_own_topics_count() {
        let key = br#"["p.sink",{"kafka_topic":"orders","kafka_partition":3}]"#;
        assert_eq!(parse_key("p.sink", key), Some(TopicPartition::new("orders", 3)));
        assert_eq!(parse_key("other", key), None);
        // Marks of dead letters, positions of a source.
        for other in [
            r#"["p.sink",{"dead_letter_topic":"orders","partition":0}]"#,
            r#"["p.sink",{"partition":"orders"}]"#,
            "orders",
        ] {
            assert_eq!(parse_key("p.sink", other.as_bytes()), None, "{other}");
        }
        let id = Uuid::from_u128(7);
        assert_eq!(parse_value(json!({ "topic_id": id.to_string() }).to_string().as_bytes()), Some(id));
        assert_eq!(parse_value(b"{}"), None);
    }
}
