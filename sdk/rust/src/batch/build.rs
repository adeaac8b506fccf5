//! Building a batch.
//!
//! Invariant between two calls: `data` holds exactly the keys and values of `count` records, the header columns exactly their
//! headers. A [`RecordWriter`] that is dropped half-way puts that back.

use super::read::RecordRef;
use crate::RecordBatch;

/// A column that stays empty as long as every record has the default.
#[derive(Debug)]
struct Column<T> {
    values: Vec<T>,
    unset: T,
}

impl<T: Copy + PartialEq> Column<T> {
    fn new(unset: T) -> Self {
        Self { values: Vec::new(), unset }
    }

    /// Sets the value of record `index`, the next one.
    #[inline]
    fn push(&mut self, index: u32, value: T) {
        if self.values.is_empty() && value == self.unset {
            return;
        }
        if self.values.len() < index as usize {
            self.values.resize(index as usize, self.unset);
        }
        self.values.push(value);
    }

    fn truncate(&mut self, count: u32) {
        self.values.truncate(count as usize);
    }
}

/// Appends records to flat columns.
#[derive(Debug)]
pub struct BatchBuilder {
    count: u32,
    topics: Vec<String>,
    topic_index: Column<u32>,
    partitions: Column<i32>,
    offsets: Column<i64>,
    timestamps: Column<i64>,
    key_lens: Column<i32>,
    value_lens: Column<i32>,
    data: Vec<u8>,
    header_counts: Column<u32>,
    header_lens: Vec<i32>,
    header_data: Vec<u8>,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::with_capacity(0, 0)
    }
}

/// A state to go back to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    count: u32,
    data: usize,
    header_lens: usize,
    header_data: usize,
}

impl BatchBuilder {
    /// An empty batch with room for so many records and bytes.
    pub fn with_capacity(records: usize, bytes: usize) -> Self {
        let mut builder = Self {
            count: 0,
            topics: Vec::new(),
            topic_index: Column::new(0),
            partitions: Column::new(-1),
            offsets: Column::new(-1),
            timestamps: Column::new(-1),
            key_lens: Column::new(-1),
            value_lens: Column::new(-1),
            data: Vec::with_capacity(bytes),
            header_counts: Column::new(0),
            header_lens: Vec::new(),
            header_data: Vec::new(),
        };
        builder.key_lens.values.reserve(records);
        builder.value_lens.values.reserve(records);
        builder
    }

    /// How many records there are.
    pub fn len(&self) -> u32 {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of all keys and values.
    pub fn data_len(&self) -> usize {
        self.data.len()
    }

    /// Copies a record, whole: topic, partition, offset, timestamp, key, value, headers.
    pub fn push(&mut self, record: &RecordRef<'_>) {
        let written: Result<(), std::convert::Infallible> = self.push_parts(record, |data| {
            if let Some(value) = record.value {
                data.extend_from_slice(value);
            }
            Ok(record.value.is_some())
        });
        let Ok(()) = written;
    }

    /// A record that has a value only.
    pub fn push_value(&mut self, value: &[u8]) {
        self.push(&RecordRef::new(None, Some(value)));
    }

    /// Copies a record with another value, which `write` appends in place. When it fails, nothing was added.
    pub fn push_with<E>(
        &mut self,
        record: &RecordRef<'_>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.push_parts(record, |data| write(data).map(|()| true))
    }

    /// Starts a record that is written piece by piece.
    pub fn record(&mut self) -> RecordWriter<'_> {
        let mark = self.mark();
        RecordWriter {
            builder: self,
            mark,
            key_end: None,
            value: false,
            partition: -1,
            timestamp: -1,
            ended: false,
        }
    }

    /// The columns.
    pub fn finish(mut self) -> RecordBatch {
        let count = self.count as usize;
        fill(&mut self.topic_index, count);
        fill(&mut self.partitions, count);
        fill(&mut self.offsets, count);
        fill(&mut self.timestamps, count);
        fill(&mut self.key_lens, count);
        fill(&mut self.value_lens, count);
        fill(&mut self.header_counts, count);
        RecordBatch {
            count: self.count,
            topics: self.topics,
            topic_index: self.topic_index.values,
            partitions: self.partitions.values,
            offsets: self.offsets.values,
            timestamps: self.timestamps.values,
            key_lens: self.key_lens.values,
            value_lens: self.value_lens.values,
            data: self.data,
            header_counts: self.header_counts.values,
            header_lens: self.header_lens,
            header_data: self.header_data,
        }
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark {
            count: self.count,
            data: self.data.len(),
            header_lens: self.header_lens.len(),
            header_data: self.header_data.len(),
        }
    }

    /// Forgets what came after `mark`.
    pub(crate) fn rewind(&mut self, mark: Mark) {
        self.count = mark.count;
        self.topic_index.truncate(mark.count);
        self.partitions.truncate(mark.count);
        self.offsets.truncate(mark.count);
        self.timestamps.truncate(mark.count);
        self.key_lens.truncate(mark.count);
        self.value_lens.truncate(mark.count);
        self.header_counts.truncate(mark.count);
        self.data.truncate(mark.data);
        self.header_lens.truncate(mark.header_lens);
        self.header_data.truncate(mark.header_data);
    }

    #[inline]
    fn push_parts<E>(
        &mut self,
        record: &RecordRef<'_>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<bool, E>,
    ) -> Result<(), E> {
        let mark = self.mark();
        if let Some(key) = record.key {
            self.data.extend_from_slice(key);
        }
        let key_end = self.data.len();
        let has_value = match write(&mut self.data) {
            Ok(has_value) => has_value,
            Err(error) => {
                self.rewind(mark);
                return Err(error);
            }
        };
        if !record.headers.is_empty() {
            self.header_lens.extend_from_slice(record.headers.lens);
            self.header_data.extend_from_slice(record.headers.data);
        }
        let key_end = record.key.is_some().then_some(key_end);
        self.set_topic(record.topic);
        self.offsets.push(self.count, record.offset);
        self.end_record(mark, key_end, has_value, record.partition, record.timestamp);
        Ok(())
    }

    fn end_record(
        &mut self,
        mark: Mark,
        key_end: Option<usize>,
        value: bool,
        partition: i32,
        timestamp: i64,
    ) {
        let value_start = key_end.unwrap_or(mark.data);
        let key_len = key_end.map_or(-1, |end| length(mark.data, end));
        let value_len = if value { length(value_start, self.data.len()) } else { -1 };
        self.key_lens.push(self.count, key_len);
        self.value_lens.push(self.count, value_len);
        self.partitions.push(self.count, partition);
        self.timestamps.push(self.count, timestamp);
        let headers = (self.header_lens.len() - mark.header_lens) / 2;
        self.header_counts.push(self.count, headers as u32);
        self.count += 1;
    }

    /// Topic of the record being written. The dictionary stays empty while every record belongs to the pipeline's topic.
    #[inline]
    fn set_topic(&mut self, topic: &str) {
        if self.topics.is_empty() {
            if topic.is_empty() {
                return;
            }
            if self.count > 0 {
                self.topics.push(String::new());
            }
        }
        let last = self.topic_index.values.last().map_or(0, |&index| index as usize);
        let index = if self.topics.get(last).is_some_and(|known| known == topic) {
            last
        } else {
            self.topics.iter().position(|known| known == topic).unwrap_or_else(|| {
                self.topics.push(topic.to_owned());
                self.topics.len() - 1
            })
        };
        self.topic_index.push(self.count, index as u32);
    }
}

fn fill<T: Copy>(column: &mut Column<T>, count: usize) {
    if !column.values.is_empty() {
        column.values.resize(count, column.unset);
    }
}

/// A batch lies in the guest's 32-bit memory, so that lengths fit unless a writer cut into what was there before.
fn length(start: usize, end: usize) -> i32 {
    let len = end.checked_sub(start).expect("writers only append");
    i32::try_from(len).expect("a field is below 2 GiB")
}

/// A record that is being written: key first, then the value, headers at any time. Without [`RecordWriter::end`] it is as if
/// it had never been started.
#[must_use = "a record that is not ended is dropped"]
#[derive(Debug)]
pub struct RecordWriter<'a> {
    builder: &'a mut BatchBuilder,
    mark: Mark,
    key_end: Option<usize>,
    value: bool,
    partition: i32,
    timestamp: i64,
    ended: bool,
}

impl RecordWriter<'_> {
    /// Writes the key. Only before the value.
    pub fn key(&mut self, key: &[u8]) {
        self.key_with(|data| data.extend_from_slice(key));
    }

    /// Lets `write` append the key in place. Only before the value.
    pub fn key_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        assert!(!self.value && self.key_end.is_none(), "the key comes before the value, once");
        write(&mut self.builder.data);
        self.key_end = Some(self.builder.data.len());
    }

    /// Where the value is appended, in place. Append only: what lies before it belongs to other records.
    pub fn value(&mut self) -> &mut Vec<u8> {
        self.value = true;
        &mut self.builder.data
    }

    /// Adds a header.
    pub fn header(&mut self, name: &str, value: Option<&[u8]>) {
        let builder = &mut *self.builder;
        builder.header_lens.push(length(0, name.len()));
        builder.header_lens.push(value.map_or(-1, |value| length(0, value.len())));
        builder.header_data.extend_from_slice(name.as_bytes());
        builder.header_data.extend_from_slice(value.unwrap_or_default());
    }

    /// Chooses the partition; otherwise the host does, by the key.
    pub fn partition(&mut self, partition: i32) {
        self.partition = partition;
    }

    /// Sets the timestamp, in milliseconds since the epoch.
    pub fn timestamp(&mut self, ms: i64) {
        self.timestamp = ms;
    }

    /// Adds the record to the batch.
    pub fn end(mut self) {
        self.ended = true;
        let (mark, key_end, value) = (self.mark, self.key_end, self.value);
        let (partition, timestamp) = (self.partition, self.timestamp);
        self.builder.set_topic("");
        self.builder.end_record(mark, key_end, value, partition, timestamp);
    }
}

impl Drop for RecordWriter<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.builder.rewind(self.mark);
        }
    }
}
