//! Record batches as they cross the sandbox: flat columns, checked before anything reads them.
//!
//! A guest can hand over any numbers it likes. `Batch::checked` is the only way from a guest's columns to a [`Batch`], and every
//! reader below relies on what it established:
//! - a column is empty (unset for every record) or has one entry per record;
//! - lengths are -1 or more, and add up to exactly the bytes that are there;
//! - topic indexes point into the dictionary, names of topics and headers are valid.
//!
//! A batch that breaks a rule is a broken contract: the task fails, nothing of the batch is used.

use std::ops::Range;

use millrace_wire::record::RecordRef;

use super::bindings::millrace::connect::types::RecordBatch;

/// Most records in one batch.
pub const BATCH_RECORDS_MAX: usize = 1 << 20;
/// Most bytes of keys and values, and of headers, in one batch.
pub const BATCH_BYTES_MAX: usize = 64 << 20;
/// Most topics in a batch's dictionary.
pub const BATCH_TOPICS_MAX: usize = 10_000;
/// Longest name of a topic (Kafka's own limit).
const TOPIC_NAME_BYTES_MAX: usize = 249;

/// What is wrong with the columns that a guest handed over.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// More records than [`BATCH_RECORDS_MAX`].
    #[error("{0} records in one batch; at most {BATCH_RECORDS_MAX} are taken")]
    TooManyRecords(usize),
    /// More bytes than [`BATCH_BYTES_MAX`].
    #[error("{0} bytes in column {1}; at most {BATCH_BYTES_MAX} are taken")]
    TooManyBytes(usize, &'static str),
    /// More topics than [`BATCH_TOPICS_MAX`].
    #[error("{0} topics in one batch; at most {BATCH_TOPICS_MAX} are taken")]
    TooManyTopics(usize),
    /// A column with neither no entry nor one per record.
    #[error("column {column} has {found} entries for {expected} records")]
    ColumnLength {
        /// The column.
        column: &'static str,
        /// Its entries.
        found: usize,
        /// What the number of records asks for.
        expected: usize,
    },
    /// A number below -1 (or below 0 where nothing may be unset).
    #[error(
        "column {0} holds {1}; -1 (unset) is the lowest number allowed, 0 in names of headers and offsets"
    )]
    Negative(&'static str, i64),
    /// The lengths don't add up to the bytes.
    #[error("the lengths in column {column} add up to {sum}, column {data} has {found} bytes")]
    Sum {
        /// The column with lengths.
        column: &'static str,
        /// What they add up to.
        sum: u64,
        /// The column with bytes.
        data: &'static str,
        /// What it has.
        found: usize,
    },
    /// A topic index past the dictionary.
    #[error("topic index {0} is past the {1} topics of the batch")]
    TopicIndex(u32, usize),
    /// A name that Kafka doesn't allow.
    #[error("{0:?} is not a topic name; 1 to 249 letters, digits, dots, dashes and underscores are")]
    TopicName(String),
    /// The name of a header is not text.
    #[error("the name of a header of record {0} is not UTF-8")]
    HeaderName(usize),
}

#[expect(clippy::derivable_impls, reason = "the type is derived from wit/ by a macro that adds no Default")]
impl Default for RecordBatch {
    fn default() -> Self {
        Self {
            count: 0,
            topics: Vec::new(),
            topic_index: Vec::new(),
            partitions: Vec::new(),
            offsets: Vec::new(),
            timestamps: Vec::new(),
            key_lens: Vec::new(),
            value_lens: Vec::new(),
            data: Vec::new(),
            header_counts: Vec::new(),
            header_lens: Vec::new(),
            header_data: Vec::new(),
        }
    }
}

/// Columns that were checked, or that this host built itself.
#[derive(Debug, Default)]
pub struct Batch {
    columns: RecordBatch,
}

/// One record of a [`Batch`], borrowed.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordView<'a> {
    /// Topic that the guest chose; none: the pipeline's.
    pub topic: Option<&'a str>,
    /// Partition that the guest chose; none: the runtime chooses.
    pub partition: Option<i32>,
    /// Offset in its topic; none in batches of a source.
    pub offset: Option<i64>,
    /// Milliseconds since the epoch.
    pub timestamp_ms: Option<i64>,
    /// Key; none: null.
    pub key: Option<&'a [u8]>,
    /// Value; none: null.
    pub value: Option<&'a [u8]>,
    /// Headers.
    pub headers: Headers<'a>,
}

/// The headers of one record: an iterator over names (UTF-8) and values.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a> {
    lens: &'a [i32],
    data: &'a [u8],
}

impl<'a> Headers<'a> {
    /// Headers from lengths that are known to fit `data`: of the name, of the value (-1: null), for each in order.
    pub(crate) const fn known(lens: &'a [i32], data: &'a [u8]) -> Self {
        Self { lens, data }
    }
}

impl RecordView<'_> {
    /// Bytes of key, value and headers.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len) + self.headers.data.len()
    }
}

impl Batch {
    /// Checks what a guest handed over.
    ///
    /// # Errors
    /// Whatever rule of the contract the columns break; nothing of them may be used then.
    pub(crate) fn checked(columns: RecordBatch) -> Result<Self, Error> {
        let count = usize::try_from(columns.count).unwrap_or(usize::MAX);
        if count > BATCH_RECORDS_MAX {
            return Err(Error::TooManyRecords(count));
        }
        check_topics(&columns, count)?;
        per_record("partitions", columns.partitions.len(), count)?;
        per_record("offsets", columns.offsets.len(), count)?;
        per_record("timestamps", columns.timestamps.len(), count)?;
        per_record("key-lens", columns.key_lens.len(), count)?;
        per_record("value-lens", columns.value_lens.len(), count)?;
        per_record("header-counts", columns.header_counts.len(), count)?;
        lowest("partitions", columns.partitions.iter().map(|n| i64::from(*n)), -1)?;
        lowest("offsets", columns.offsets.iter().copied(), 0)?;
        lowest("timestamps", columns.timestamps.iter().copied(), -1)?;
        bytes_limit("data", columns.data.len())?;
        bytes_limit("header-data", columns.header_data.len())?;
        let sum = sum_lens("key-lens", &columns.key_lens)? + sum_lens("value-lens", &columns.value_lens)?;
        if sum != columns.data.len() as u64 {
            let found = columns.data.len();
            return Err(Error::Sum { column: "key-lens and value-lens", sum, data: "data", found });
        }
        check_headers(&columns)?;
        Ok(Self { columns })
    }

    /// Number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.columns.count as usize
    }

    /// Whether there is no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.columns.count == 0
    }

    /// Bytes of keys, values and headers.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.columns.data.len() + self.columns.header_data.len()
    }

    /// The topics that its records name.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.columns.topics.iter().map(String::as_str)
    }

    /// The columns as they cross the sandbox.
    pub(crate) fn columns(&self) -> &RecordBatch {
        &self.columns
    }

    /// The records in order.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter { batch: self, next: 0, data: 0, header: 0, header_data: 0 }
    }

    /// Gives every record `topic` that has none of its own.
    pub(crate) fn name_topic(&mut self, topic: &str) {
        if self.columns.topics.is_empty() {
            self.columns.topics.push(topic.to_owned());
        }
        for unnamed in self.columns.topics.iter_mut().filter(|name| name.is_empty()) {
            topic.clone_into(unnamed);
        }
    }

    /// Gives every record this topic.
    pub(crate) fn move_to(&mut self, topic: &str) {
        self.columns.topics = vec![topic.to_owned()];
        self.columns.topic_index = Vec::new();
    }

    /// Leaves partitions and offsets to whoever writes the records.
    pub(crate) fn forget_places(&mut self) {
        self.columns.partitions = Vec::new();
        self.columns.offsets = Vec::new();
    }

    /// Gives every record the topic, partition and offset of the record of `input` that it came from (`origin`; none: one to
    /// one), whatever its columns say.
    pub(crate) fn set_places_of(&mut self, input: &Batch, origin: Option<&[u32]>) {
        fn pick<T: Copy>(column: &[T], origin: Option<&[u32]>) -> Vec<T> {
            match origin {
                Some(origin) if !column.is_empty() => {
                    origin.iter().map(|index| column[*index as usize]).collect()
                }
                _ => column.to_vec(),
            }
        }
        self.columns.topics.clone_from(&input.columns.topics);
        self.columns.topic_index = pick(&input.columns.topic_index, origin);
        self.columns.partitions = pick(&input.columns.partitions, origin);
        self.columns.offsets = pick(&input.columns.offsets, origin);
    }

    /// A new batch with the records whose numbers `wanted` says yes to, in order.
    #[must_use]
    pub fn filtered(&self, mut wanted: impl FnMut(usize) -> bool) -> Self {
        let mut builder = BatchBuilder::default();
        for (index, record) in self.iter().enumerate() {
            if wanted(index) {
                builder.push(&record);
            }
        }
        builder.build()
    }

    /// The records with these numbers, which must rise; each with its place in `numbers`.
    pub(crate) fn pick<'a>(&'a self, numbers: &'a [u32]) -> impl Iterator<Item = (usize, RecordView<'a>)> {
        let mut records = (0u32..).zip(self.iter());
        numbers.iter().enumerate().map_while(move |(place, number)| {
            records.by_ref().find(|(index, _)| index == number).map(|(_, record)| (place, record))
        })
    }

    /// A new batch with the records in `range`.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        self.filtered(|index| range.contains(&index))
    }
}

/// See [`Batch::iter`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    batch: &'a Batch,
    next: usize,
    data: usize,
    header: usize,
    header_data: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = RecordView<'a>;

    #[inline]
    fn next(&mut self) -> Option<RecordView<'a>> {
        let columns = &self.batch.columns;
        if self.next >= columns.count as usize {
            return None;
        }
        let i = self.next;
        self.next += 1;
        let key = take(&columns.data, &mut self.data, columns.key_lens.get(i).copied().unwrap_or(-1));
        let value = take(&columns.data, &mut self.data, columns.value_lens.get(i).copied().unwrap_or(-1));
        let headers = match columns.header_counts.get(i) {
            None | Some(0) => Headers { lens: &[], data: &[] },
            Some(count) => {
                let lens = &columns.header_lens[self.header..self.header + 2 * *count as usize];
                self.header += lens.len();
                let start = self.header_data;
                self.header_data += lens.iter().map(|len| (*len).max(0) as usize).sum::<usize>();
                Headers { lens, data: &columns.header_data[start..self.header_data] }
            }
        };
        let topic = match columns.topic_index.get(i) {
            Some(index) => columns.topics.get(*index as usize),
            None => columns.topics.first(),
        };
        Some(RecordView {
            topic: topic.map(String::as_str),
            partition: columns.partitions.get(i).copied().filter(|n| *n >= 0),
            offset: columns.offsets.get(i).copied(),
            timestamp_ms: columns.timestamps.get(i).copied().filter(|n| *n >= 0),
            key,
            value,
            headers,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.batch.len() - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[name_len, value_len], lens) = self.lens.split_first_chunk::<2>()?;
        self.lens = lens;
        let (name, rest) = self.data.split_at(name_len.max(0) as usize);
        let (value, rest) = rest.split_at(value_len.max(0) as usize);
        self.data = rest;
        Some((name, (value_len >= 0).then_some(value)))
    }
}

/// Builds the columns of a batch from records that this host read.
///
/// Columns that stay unset for every record stay empty, as the contract asks.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    columns: RecordBatch,
}

impl BatchBuilder {
    /// Adds a record.
    pub fn push(&mut self, record: &RecordView<'_>) {
        let columns = &mut self.columns;
        let before = columns.count as usize;
        if let Some(topic) = record.topic {
            push_topic(columns, topic, before);
        }
        push_column(&mut columns.partitions, record.partition, before, -1);
        push_column(&mut columns.offsets, record.offset, before, 0);
        push_column(&mut columns.timestamps, record.timestamp_ms, before, -1);
        push_bytes(&mut columns.key_lens, &mut columns.data, record.key, before);
        push_bytes(&mut columns.value_lens, &mut columns.data, record.value, before);
        push_headers(columns, record.headers, before);
        columns.count += 1;
    }

    /// Adds a record as it was fetched from `partition` of `topic`. Use one of the two ways to add only.
    #[inline]
    pub(crate) fn push_fetched(&mut self, topic: &str, partition: i32, record: &RecordRef<'_>) {
        let columns = &mut self.columns;
        let before = columns.count as usize;
        push_topic(columns, topic, before);
        columns.partitions.push(partition);
        columns.offsets.push(record.offset);
        columns.timestamps.push(record.timestamp.max(-1));
        push_bytes(&mut columns.key_lens, &mut columns.data, record.key, before);
        push_bytes(&mut columns.value_lens, &mut columns.data, record.value, before);
        push_headers(columns, record.headers, before);
        columns.count += 1;
    }

    /// Number of records so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.columns.count as usize
    }

    /// Whether there is no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.columns.count == 0
    }

    /// Bytes of keys, values and headers so far.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.columns.data.len() + self.columns.header_data.len()
    }

    /// The batch.
    #[must_use]
    pub fn build(self) -> Batch {
        Batch { columns: self.columns }
    }
}

/// One topic only: the dictionary has it and the index stays empty; the index comes with the second topic.
fn push_topic(columns: &mut RecordBatch, topic: &str, before: usize) {
    // A batch has few topics, and records of one topic stand together: look at the last one first.
    let found = match columns.topics.last() {
        Some(last) if last == topic => Some(columns.topics.len() - 1),
        _ => columns.topics.iter().position(|known| known == topic),
    };
    let index = found.unwrap_or_else(|| {
        columns.topics.push(topic.to_owned());
        columns.topics.len() - 1
    });
    if index > 0 && columns.topic_index.is_empty() {
        columns.topic_index.resize(before, 0);
    }
    if index > 0 || !columns.topic_index.is_empty() {
        columns.topic_index.push(index as u32);
    }
}

fn push_column<T: Copy>(column: &mut Vec<T>, value: Option<T>, before: usize, unset: T) {
    if let Some(value) = value {
        if column.len() < before {
            column.resize(before, unset);
        }
        column.push(value);
    } else if !column.is_empty() {
        column.push(unset);
    }
}

fn push_bytes(lens: &mut Vec<i32>, data: &mut Vec<u8>, bytes: Option<&[u8]>, before: usize) {
    push_column(lens, bytes.map(|bytes| bytes.len() as i32), before, -1);
    data.extend_from_slice(bytes.unwrap_or_default());
}

fn push_headers<'a>(
    columns: &mut RecordBatch,
    headers: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    before: usize,
) {
    let mut count = 0;
    for (name, value) in headers {
        count += 1;
        columns.header_lens.push(name.len() as i32);
        columns.header_data.extend_from_slice(name);
        columns.header_lens.push(value.map_or(-1, |value| value.len() as i32));
        columns.header_data.extend_from_slice(value.unwrap_or_default());
    }
    push_column(&mut columns.header_counts, (count > 0).then_some(count), before, 0);
}

#[inline]
fn take<'a>(data: &'a [u8], at: &mut usize, len: i32) -> Option<&'a [u8]> {
    let len = usize::try_from(len).ok()?;
    let bytes = &data[*at..*at + len];
    *at += len;
    Some(bytes)
}

fn check_topics(columns: &RecordBatch, count: usize) -> Result<(), Error> {
    if columns.topics.len() > BATCH_TOPICS_MAX {
        return Err(Error::TooManyTopics(columns.topics.len()));
    }
    if let Some(name) = columns.topics.iter().find(|name| !name.is_empty() && !is_topic_name(name)) {
        return Err(Error::TopicName(name.chars().take(TOPIC_NAME_BYTES_MAX).collect()));
    }
    per_record("topic-index", columns.topic_index.len(), count)?;
    let known = columns.topics.len();
    match columns.topic_index.iter().find(|index| **index as usize >= known) {
        Some(index) => Err(Error::TopicIndex(*index, known)),
        None => Ok(()),
    }
}

fn check_headers(columns: &RecordBatch) -> Result<(), Error> {
    let headers: u64 = columns.header_counts.iter().map(|count| u64::from(*count)).sum();
    if headers * 2 != columns.header_lens.len() as u64 {
        let (found, expected) =
            (columns.header_lens.len(), usize::try_from(headers * 2).unwrap_or(usize::MAX));
        return Err(Error::ColumnLength { column: "header-lens", found, expected });
    }
    let sum = sum_lens("header-lens", &columns.header_lens)?;
    if sum != columns.header_data.len() as u64 {
        let found = columns.header_data.len();
        return Err(Error::Sum { column: "header-lens", sum, data: "header-data", found });
    }
    let mut lens = columns.header_lens.chunks_exact(2);
    let mut rest = columns.header_data.as_slice();
    for (record, count) in columns.header_counts.iter().enumerate() {
        for pair in lens.by_ref().take(*count as usize) {
            if pair[0] < 0 {
                return Err(Error::Negative("header-lens", i64::from(pair[0])));
            }
            let (name, after) = rest.split_at(pair[0] as usize);
            std::str::from_utf8(name).map_err(|_| Error::HeaderName(record))?;
            rest = after.split_at(pair[1].max(0) as usize).1;
        }
    }
    Ok(())
}

fn per_record(column: &'static str, found: usize, expected: usize) -> Result<(), Error> {
    if found == 0 || found == expected {
        Ok(())
    } else {
        Err(Error::ColumnLength { column, found, expected })
    }
}

fn bytes_limit(column: &'static str, found: usize) -> Result<(), Error> {
    if found > BATCH_BYTES_MAX { Err(Error::TooManyBytes(found, column)) } else { Ok(()) }
}

fn lowest(column: &'static str, numbers: impl Iterator<Item = i64>, low: i64) -> Result<(), Error> {
    match numbers.min() {
        Some(min) if min < low => Err(Error::Negative(column, min)),
        _ => Ok(()),
    }
}

fn sum_lens(column: &'static str, lens: &[i32]) -> Result<u64, Error> {
    let (mut sum, mut min) = (0u64, 0i32);
    for len in lens {
        sum += (*len).max(0) as u64;
        min = min.min(*len);
    }
    if min < -1 { Err(Error::Negative(column, i64::from(min))) } else { Ok(sum) }
}

/// Whether Kafka takes this as the name of a topic.
#[must_use]
pub fn is_topic_name(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    !name.is_empty()
        && name.len() <= TOPIC_NAME_BYTES_MAX
        && name.bytes().all(legal)
        && !matches!(name, "." | "..")
}

#[cfg(test)]
mod tests;
