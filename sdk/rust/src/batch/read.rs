//! Reading a batch.

use crate::RecordBatch;
use crate::error::Error;

/// One record, borrowed from its batch.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'a> {
    /// Place in the batch, from 0.
    pub index: u32,
    /// Topic; empty: the pipeline's.
    pub topic: &'a str,
    /// Partition; -1: the host chooses.
    pub partition: i32,
    /// Kafka offset; -1 in records that a source makes.
    pub offset: i64,
    /// Milliseconds since the epoch; -1: unset.
    pub timestamp: i64,
    /// Key; none: null.
    pub key: Option<&'a [u8]>,
    /// Value; none: null, in a compacted topic a delete.
    pub value: Option<&'a [u8]>,
    /// Headers in order; names may repeat.
    pub headers: Headers<'a>,
}

impl<'a> RecordRef<'a> {
    /// A record for the pipeline's topic, without headers.
    pub fn new(key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> Self {
        let headers = Headers { lens: &[], data: &[] };
        Self { index: 0, topic: "", partition: -1, offset: -1, timestamp: -1, key, value, headers }
    }
}

/// Headers that are put together for a record. Keep one and clear it for each record: it then allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct HeaderList {
    lens: Vec<i32>,
    data: Vec<u8>,
}

impl HeaderList {
    /// Forgets what was added.
    pub fn clear(&mut self) {
        self.lens.clear();
        self.data.clear();
    }

    /// Adds a header; names may repeat.
    pub fn push(&mut self, name: &str, value: Option<&[u8]>) {
        // Both lie in the guest's 32-bit memory.
        self.lens.push(name.len() as i32);
        self.lens.push(value.map_or(-1, |value| value.len() as i32));
        self.data.extend_from_slice(name.as_bytes());
        self.data.extend_from_slice(value.unwrap_or_default());
    }

    /// What was added, for a [`RecordRef`].
    pub fn headers(&self) -> Headers<'_> {
        Headers { lens: &self.lens, data: &self.data }
    }
}

/// The headers of one record.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    /// (name, value) lengths, two per header.
    pub(super) lens: &'a [i32],
    pub(super) data: &'a [u8],
}

impl<'a> Headers<'a> {
    /// How many.
    pub fn len(&self) -> usize {
        self.lens.len() / 2
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lens.is_empty()
    }

    /// The last header with this name, as Kafka's clients look one up.
    pub fn get(&self, name: &str) -> Option<HeaderRef<'a>> {
        self.filter(|header| header.name == name).last()
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = HeaderRef<'a>;

    fn next(&mut self) -> Option<HeaderRef<'a>> {
        let (lens, rest) = self.lens.split_first_chunk::<2>()?;
        self.lens = rest;
        let (name, data) = self.data.split_at(lens[0] as usize);
        let (value, data) = split_nullable(data, lens[1]);
        self.data = data;
        // Checked when the batch was taken in.
        Some(HeaderRef { name: std::str::from_utf8(name).unwrap_or_default(), value })
    }
}

/// One header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderRef<'a> {
    /// Name.
    pub name: &'a str,
    /// Value; none: null.
    pub value: Option<&'a [u8]>,
}

/// A batch that was checked: lengths fit their data, columns have the right size.
#[derive(Clone, Copy, Debug)]
pub struct Records<'a> {
    batch: &'a RecordBatch,
}

impl<'a> Records<'a> {
    /// Checks the columns against each other. An error here is a fault of the other side of the sandbox.
    pub fn new(batch: &'a RecordBatch) -> Result<Self, Error> {
        let count = batch.count as usize;
        column("topic-index", batch.topic_index.len(), count)?;
        column("partitions", batch.partitions.len(), count)?;
        column("offsets", batch.offsets.len(), count)?;
        column("timestamps", batch.timestamps.len(), count)?;
        column("key-lens", batch.key_lens.len(), count)?;
        column("value-lens", batch.value_lens.len(), count)?;
        column("header-counts", batch.header_counts.len(), count)?;
        if batch.topic_index.iter().any(|&index| index as usize >= batch.topics.len()) {
            return Err(broken("topic-index names a topic that is not in the dictionary"));
        }
        let bytes = total(&batch.key_lens)?.saturating_add(total(&batch.value_lens)?);
        if bytes != batch.data.len() as u64 {
            return Err(broken(&format!(
                "keys and values take {bytes} bytes, data has {}",
                batch.data.len()
            )));
        }
        check_headers(batch)?;
        Ok(Self { batch })
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.batch.count as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.batch.count == 0
    }

    /// Bytes of all keys and values.
    pub fn data_len(&self) -> usize {
        self.batch.data.len()
    }

    /// The records in order.
    pub fn iter(&self) -> Iter<'a> {
        let batch = self.batch;
        Iter {
            batch,
            index: 0,
            data: &batch.data,
            header_lens: &batch.header_lens,
            header_data: &batch.header_data,
        }
    }
}

impl<'a> IntoIterator for &Records<'a> {
    type Item = RecordRef<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The records of a batch in order.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    batch: &'a RecordBatch,
    index: u32,
    data: &'a [u8],
    header_lens: &'a [i32],
    header_data: &'a [u8],
}

impl<'a> Iterator for Iter<'a> {
    type Item = RecordRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<RecordRef<'a>> {
        let (batch, index) = (self.batch, self.index);
        if index >= batch.count {
            return None;
        }
        let at = index as usize;
        self.index += 1;
        let (key, data) = split_nullable(self.data, batch.key_lens.get(at).copied().unwrap_or(-1));
        let (value, data) = split_nullable(data, batch.value_lens.get(at).copied().unwrap_or(-1));
        self.data = data;
        let headers = match batch.header_counts.get(at) {
            None | Some(0) => Headers { lens: &[], data: &[] },
            Some(&count) => self.take_headers(count as usize),
        };
        let topic = batch.topic_index.get(at).copied().unwrap_or(0) as usize;
        Some(RecordRef {
            index,
            topic: batch.topics.get(topic).map_or("", String::as_str),
            partition: batch.partitions.get(at).copied().unwrap_or(-1),
            offset: batch.offsets.get(at).copied().unwrap_or(-1),
            timestamp: batch.timestamps.get(at).copied().unwrap_or(-1),
            key,
            value,
            headers,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.batch.count - self.index) as usize;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl<'a> Iter<'a> {
    fn take_headers(&mut self, count: usize) -> Headers<'a> {
        let (lens, rest) = self.header_lens.split_at(count * 2);
        self.header_lens = rest;
        let bytes: usize = lens.iter().map(|&len| len.max(0) as usize).sum();
        let (data, rest) = self.header_data.split_at(bytes);
        self.header_data = rest;
        Headers { lens, data }
    }
}

/// Cuts `len` bytes off; -1: null. Lengths were checked by [`Records::new`].
#[inline]
fn split_nullable(data: &[u8], len: i32) -> (Option<&[u8]>, &[u8]) {
    match usize::try_from(len) {
        Ok(len) => {
            let (head, rest) = data.split_at(len);
            (Some(head), rest)
        }
        Err(_) => (None, data),
    }
}

fn broken(what: &str) -> Error {
    Error::fatal("batch", format!("a batch with broken columns: {what}"))
}

fn column(name: &str, len: usize, count: usize) -> Result<(), Error> {
    if len == 0 || len == count {
        return Ok(());
    }
    Err(broken(&format!("{name} has {len} entries for {count} records")))
}

/// Sum of lengths, where -1 is null and anything below is an error.
fn total(lens: &[i32]) -> Result<u64, Error> {
    let mut sum = 0u64;
    for &len in lens {
        match u64::try_from(len) {
            Ok(len) => sum += len,
            Err(_) if len == -1 => {}
            Err(_) => return Err(broken(&format!("a length of {len}"))),
        }
    }
    Ok(sum)
}

fn check_headers(batch: &RecordBatch) -> Result<(), Error> {
    let headers: u64 = batch.header_counts.iter().map(|&count| u64::from(count)).sum();
    if headers.checked_mul(2) != Some(batch.header_lens.len() as u64) {
        return Err(broken(&format!("{headers} headers with {} lengths", batch.header_lens.len())));
    }
    if total(&batch.header_lens)? != batch.header_data.len() as u64 {
        return Err(broken("header lengths differ from the header data"));
    }
    let mut data = batch.header_data.as_slice();
    for lens in batch.header_lens.chunks_exact(2) {
        let (name, rest) = split_nullable(data, lens[0]);
        if name.is_none_or(|name| std::str::from_utf8(name).is_err()) {
            return Err(broken("a header name that is not UTF-8"));
        }
        data = split_nullable(rest, lens[1]).1;
    }
    Ok(())
}
