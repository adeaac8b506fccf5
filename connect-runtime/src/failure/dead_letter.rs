//! Records that could not be processed, with the reason in headers under Kafka Connect's names (KIP-298).
//!
//! Key and value are those of the record as it was read, so that it can be sent again ([`crate::redrive`]). A record that is too large
//! to go with its reason stays away; the header `__connect.errors.left.out` says so.

use bytes::Bytes;
use millrace_client::ProduceRecord;
use std::sync::Arc;

use crate::component::batch::RecordView;

/// Largest record that goes along with its reason: a producer's request, 1 MiB, has to have room for both. Codes and messages of
/// guests are cut to a few KiB.
const RECORD_BYTES_MAX: usize = (1 << 20) - (64 << 10);

/// What refused a record in the stages of the converters, where other stages name a component.
pub(crate) const CONVERTER: &str = "converter";
/// Names of the headers. The last three are not Kafka Connect's.
pub(crate) mod header {
    /// What all of them begin with.
    pub(crate) const PREFIX: &str = "__connect.errors.";
    pub(crate) const TOPIC: &str = "__connect.errors.topic";
    pub(crate) const PARTITION: &str = "__connect.errors.partition";
    pub(crate) const OFFSET: &str = "__connect.errors.offset";
    pub(crate) const CONNECTOR: &str = "__connect.errors.connector.name";
    pub(crate) const TASK: &str = "__connect.errors.task.id";
    pub(crate) const STAGE: &str = "__connect.errors.stage";
    pub(crate) const COMPONENT: &str = "__connect.errors.class.name";
    pub(crate) const CODE: &str = "__connect.errors.exception.class.name";
    pub(crate) const MESSAGE: &str = "__connect.errors.exception.message";
    /// The topic that a source's record was on its way to.
    pub(crate) const DESTINATION: &str = "__connect.errors.destination";
    /// How often it was retried.
    pub(crate) const RETRIES: &str = "__connect.errors.retries";
    /// What stayed away, because it is too large.
    pub(crate) const LEFT_OUT: &str = "__connect.errors.left.out";
}

/// Where a record failed (Kafka Connect's `Stage`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Reading it from the source.
    TaskPoll,
    /// Turning its key from or into the format of the topic.
    KeyConverter,
    /// The same for its value.
    ValueConverter,
    /// In a transform.
    Transformation,
    /// Writing it to the topic.
    KafkaProduce,
    /// Writing it to the sink.
    TaskPut,
}

impl Stage {
    /// Kafka Connect's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TaskPoll => "TASK_POLL",
            Self::KeyConverter => "KEY_CONVERTER",
            Self::ValueConverter => "VALUE_CONVERTER",
            Self::Transformation => "TRANSFORMATION",
            Self::KafkaProduce => "KAFKA_PRODUCE",
            Self::TaskPut => "TASK_PUT",
        }
    }
}

/// What is said about a record that failed.
#[derive(Clone, Debug)]
pub struct DeadLetter<'a> {
    /// Connector name.
    pub connector: &'a str,
    /// Task.
    pub task: u32,
    /// Where it failed.
    pub stage: Stage,
    /// The component that refused it.
    pub component: &'a str,
    /// The guest's code.
    pub code: &'a str,
    /// The guest's words.
    pub message: &'a str,
    /// Topic, partition and offset that it was read from; none for a record of a source.
    pub origin: Option<(&'a str, i32, i64)>,
    /// Topic that a record of a source was on its way to.
    pub destination: Option<&'a str>,
    /// How often it was retried before.
    pub retries: u32,
}

impl DeadLetter<'_> {
    /// The record for the dead letter topic.
    #[must_use]
    pub fn record(&self, topic: &Arc<str>, record: &RecordView<'_>) -> ProduceRecord {
        let mut headers: Vec<(Bytes, Option<Bytes>)> = record
            .headers
            .map(|(name, value)| (Bytes::copy_from_slice(name), value.map(Bytes::copy_from_slice)))
            .collect();
        let mut add = |name: &'static str, value: String| {
            headers.push((Bytes::from_static(name.as_bytes()), Some(Bytes::from(value))));
        };
        if let Some((topic, partition, offset)) = self.origin {
            add(header::TOPIC, topic.to_owned());
            add(header::PARTITION, partition.to_string());
            add(header::OFFSET, offset.to_string());
        }
        add(header::CONNECTOR, self.connector.to_owned());
        add(header::TASK, self.task.to_string());
        add(header::STAGE, self.stage.name().to_owned());
        add(header::COMPONENT, self.component.to_owned());
        add(header::CODE, self.code.to_owned());
        add(header::MESSAGE, self.message.to_owned());
        if let Some(topic) = self.destination {
            add(header::DESTINATION, topic.to_owned());
        }
        if self.retries > 0 {
            add(header::RETRIES, self.retries.to_string());
        }
        // With its headers a record may be larger than it was: then only the reason goes.
        let fits = record.size_bytes() <= RECORD_BYTES_MAX;
        if !fits {
            headers.retain(|(name, _)| name.starts_with(header::PREFIX.as_bytes()));
            let left_out = format!("key, value and headers, {} bytes", record.size_bytes());
            headers.push((Bytes::from_static(header::LEFT_OUT.as_bytes()), Some(Bytes::from(left_out))));
        }
        ProduceRecord {
            topic: Arc::clone(topic),
            partition: None,
            key: record.key.filter(|_| fits).map(Bytes::copy_from_slice),
            value: record.value.filter(|_| fits).map(Bytes::copy_from_slice),
            headers,
            timestamp: record.timestamp_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::batch::BatchBuilder;

    #[test]
    fn the_record_goes_as_it_was_with_the_reason_beside_it() {
        let mut builder = BatchBuilder::default();
        builder.push(&RecordView {
            key: Some(b"k"),
            value: Some(b"{broken"),
            timestamp_ms: Some(7),
            ..RecordView::default()
        });
        let batch = builder.build();
        let record = batch.iter().next().unwrap();
        let letter = DeadLetter {
            connector: "p.archive",
            task: 1,
            stage: Stage::Transformation,
            component: "mask",
            code: "json",
            message: "not JSON",
            origin: Some(("t", 2, 42)),
            destination: None,
            retries: 0,
        };
        let sent = letter.record(&"p.dlq".into(), &record);
        assert_eq!(
            (sent.key.as_deref(), sent.value.as_deref(), sent.timestamp),
            (Some(&b"k"[..]), Some(&b"{broken"[..]), Some(7))
        );
        let headers: Vec<String> = sent
            .headers
            .iter()
            .map(|(name, value)| {
                format!(
                    "{}={}",
                    String::from_utf8_lossy(name),
                    String::from_utf8_lossy(value.as_ref().unwrap())
                )
            })
            .collect();
        assert_eq!(
            headers,
            [
                "__connect.errors.topic=t",
                "__connect.errors.partition=2",
                "__connect.errors.offset=42",
                "__connect.errors.connector.name=p.archive",
                "__connect.errors.task.id=1",
                "__connect.errors.stage=TRANSFORMATION",
                "__connect.errors.class.name=mask",
                "__connect.errors.exception.class.name=json",
                "__connect.errors.exception.message=not JSON",
            ]
        );
    }
}
