//! Records that belong to nobody's batch.

use crate::component::batch::{Batch, BatchBuilder, Headers, RecordView};

/// A record, owned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Topic; none: the pipeline's.
    pub topic: Option<String>,
    /// Partition.
    pub partition: Option<i32>,
    /// Offset in its topic.
    pub offset: Option<i64>,
    /// Milliseconds since the epoch.
    pub timestamp_ms: Option<i64>,
    /// Key; none: null.
    pub key: Option<Vec<u8>>,
    /// Value; none: null.
    pub value: Option<Vec<u8>>,
    /// Headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// A batch of these records.
pub(super) fn batch(records: &[Record]) -> Batch {
    let mut builder = BatchBuilder::default();
    for record in records {
        let (mut lens, mut data) = (Vec::new(), Vec::new());
        for (name, value) in &record.headers {
            lens.push(name.len() as i32);
            lens.push(value.as_ref().map_or(-1, |value| value.len() as i32));
            data.extend_from_slice(name.as_bytes());
            data.extend_from_slice(value.as_deref().unwrap_or_default());
        }
        builder.push(&RecordView {
            topic: record.topic.as_deref(),
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: Headers::known(&lens, &data),
        });
    }
    builder.build()
}

/// The records of a batch.
pub(super) fn records(batch: &Batch) -> Vec<Record> {
    let record = |record: RecordView<'_>| Record {
        topic: record.topic.map(str::to_owned),
        partition: record.partition,
        offset: record.offset,
        timestamp_ms: record.timestamp_ms,
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers: record
            .headers
            .map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value.map(<[u8]>::to_vec)))
            .collect(),
    };
    batch.iter().map(record).collect()
}
