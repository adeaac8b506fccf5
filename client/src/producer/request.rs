//! The Produce request around batches that are not copied: what stands between them is encoded, the batches are chained.

use bytes::{BufMut, Bytes};
use millrace_wire::varint;

use super::accumulator::Batch;

/// First version with compact lengths and tagged fields.
const FLEXIBLE: i16 = 9;
/// Wait for all in-sync replicas.
const ACKS_ALL: i16 = -1;

/// The request's body, versions 3 to 12. Batches of a topic must stand together.
pub(super) fn encode(
    version: i16,
    transactional_id: Option<&str>,
    timeout_ms: i32,
    batches: &[Batch],
) -> Vec<Bytes> {
    let mut parts = Parts { flexible: version >= FLEXIBLE, parts: Vec::new(), open: Vec::new() };
    parts.nullable_string(transactional_id);
    parts.open.put_i16(ACKS_ALL);
    parts.open.put_i32(timeout_ms);
    let topics: Vec<_> = batches.chunk_by(|a, b| a.tp.topic == b.tp.topic).collect();
    parts.count(topics.len());
    for topic in topics {
        parts.string(&topic[0].tp.topic);
        parts.count(topic.len());
        for batch in topic {
            parts.open.put_i32(batch.tp.partition);
            parts.records(batch.bytes());
            parts.tags();
        }
        parts.tags();
    }
    parts.tags();
    parts.close();
    parts.parts
}

struct Parts {
    flexible: bool,
    parts: Vec<Bytes>,
    open: Vec<u8>,
}

impl Parts {
    fn count(&mut self, count: usize) {
        if self.flexible {
            varint::write_u64(&mut self.open, count as u64 + 1);
        } else {
            self.open.put_i32(count as i32);
        }
    }

    fn string(&mut self, text: &str) {
        if self.flexible {
            varint::write_u64(&mut self.open, text.len() as u64 + 1);
        } else {
            self.open.put_i16(text.len() as i16);
        }
        self.open.put_slice(text.as_bytes());
    }

    fn nullable_string(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.string(text),
            None if self.flexible => self.open.put_u8(0),
            None => self.open.put_i16(-1),
        }
    }

    fn records(&mut self, records: Bytes) {
        self.count(records.len());
        self.close();
        self.parts.push(records);
    }

    fn tags(&mut self) {
        if self.flexible {
            self.open.put_u8(0);
        }
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.parts.push(Bytes::from(std::mem::take(&mut self.open)));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::messages::ProduceRequest;
    use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
    use kafka_protocol::protocol::Encodable;

    use super::*;
    use crate::topic::{TopicPartition, topic_name, transactional_id};

    #[test]
    fn the_bytes_are_the_crates() {
        let batches: Vec<_> = [("a", 0), ("a", 3), ("b", 1)]
            .map(|(topic, partition)| {
                Batch::finished(TopicPartition::new(topic, partition), Bytes::from_static(b"records"))
            })
            .into();
        let data = |p| {
            PartitionProduceData::default().with_index(p).with_records(Some(Bytes::from_static(b"records")))
        };
        let topic = |name, partitions| {
            TopicProduceData::default().with_name(topic_name(name)).with_partition_data(partitions)
        };
        for id in [None, Some("tx")] {
            let request = ProduceRequest::default()
                .with_transactional_id(id.map(transactional_id))
                .with_acks(-1)
                .with_timeout_ms(30_000)
                .with_topic_data(vec![topic("a", vec![data(0), data(3)]), topic("b", vec![data(1)])]);
            for version in 3..=12 {
                let mut expected = BytesMut::new();
                request.encode(&mut expected, version).unwrap();
                assert_eq!(encode(version, id, 30_000, &batches).concat(), expected, "version {version}");
            }
        }
    }
}
