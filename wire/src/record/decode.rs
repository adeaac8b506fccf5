//! Decodes a batch's records as slices of its bytes.
//!
//! A batch from outside may say anything: every length is checked against what is left of the record, a record
//! against what is left of the batch, and the record count is never used to reserve memory.

use bytes::Bytes;

use super::{Error, Fault, Record};
use crate::batch::{HEADER_LEN, RawBatch, TimestampType};
use crate::compression::Compression;
use crate::varint;

/// The records of one batch, decompressed if need be. Iterates over owned [`Record`]s; [`Records::next_ref`] lends
/// them instead. Ends after the first error.
#[derive(Debug, Clone)]
pub struct Records {
    payload: Bytes,
    at: usize,
    index: i32,
    count: i32,
    base_offset: i64,
    base_timestamp: i64,
    log_append_time: Option<i64>,
}

/// A record that borrows from its batch.
#[derive(Debug, Clone, Copy)]
pub struct RecordRef<'a> {
    /// Offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Key, or null.
    pub key: Option<&'a [u8]>,
    /// Value, or null.
    pub value: Option<&'a [u8]>,
    /// The headers, in the order they were written.
    pub headers: HeaderRefs<'a>,
}

/// Iterator over a record's headers. They were checked when the record was read.
#[derive(Debug, Clone, Copy)]
pub struct HeaderRefs<'a> {
    rest: &'a [u8],
    left: usize,
}

/// Opens a batch for reading. `max_uncompressed` limits what a compressed batch may unpack to, in bytes.
///
/// Does not check the CRC: [`RawBatch::verify_crc`] does.
pub fn decode(batch: &RawBatch, max_uncompressed: usize) -> Result<Records, Error> {
    let header = &batch.header;
    let base_offset = header.base_offset.0;
    let compression = |source| Error::Compression { base_offset, source };
    let payload = match header.attributes.compression().map_err(compression)? {
        Compression::None => batch.bytes.slice(HEADER_LEN..),
        codec => {
            Bytes::from(codec.decompress(&batch.bytes[HEADER_LEN..], max_uncompressed).map_err(compression)?)
        }
    };
    let log_append_time =
        (header.attributes.timestamp_type() == TimestampType::LogAppend).then_some(header.max_timestamp);
    Ok(Records {
        payload,
        at: 0,
        index: 0,
        count: header.record_count,
        base_offset,
        base_timestamp: header.base_timestamp,
        log_append_time,
    })
}

impl Records {
    /// The next record, borrowing from the batch. For readers that copy the fields elsewhere at once.
    #[inline]
    pub fn next_ref(&mut self) -> Option<Result<RecordRef<'_>, Error>> {
        if self.index >= self.count {
            return self.finish().map(Err);
        }
        let (base_offset, index) = (self.base_offset, self.index);
        let before = &self.payload[self.at..];
        let mut rest = before;
        match parse(&mut rest) {
            Ok(raw) => {
                self.at += before.len() - rest.len();
                self.index += 1;
                Some(Ok(RecordRef {
                    offset: base_offset.wrapping_add(i64::from(raw.offset_delta)),
                    timestamp: self
                        .log_append_time
                        .unwrap_or_else(|| self.base_timestamp.wrapping_add(raw.timestamp_delta)),
                    key: raw.key,
                    value: raw.value,
                    headers: raw.headers,
                }))
            }
            Err(what) => {
                self.index = self.count;
                self.at = self.payload.len();
                Some(Err(Error::Malformed { base_offset, index, what }))
            }
        }
    }

    /// Bytes of the records after decompression.
    pub fn payload_len(&self) -> usize {
        self.payload.len()
    }

    /// After the last record nothing may follow; says so once.
    fn finish(&mut self) -> Option<Error> {
        let extra = self.payload.len() - self.at;
        self.at = self.payload.len();
        (extra > 0).then_some(Error::TrailingBytes { base_offset: self.base_offset, extra })
    }
}

impl Iterator for Records {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        // A second handle on the same bytes, so that slices can be cut while a record borrows from the first.
        let payload = self.payload.clone();
        let own = |slice: &[u8]| payload.slice_ref(slice);
        let record = match self.next_ref()? {
            Ok(record) => record,
            Err(error) => return Some(Err(error)),
        };
        Some(Ok(Record {
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(own),
            value: record.value.map(own),
            headers: record.headers.map(|(name, value)| (own(name), value.map(own))).collect(),
        }))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // A record has at least seven bytes, so a lying count is bounded by what is there.
        let most = (self.payload.len() - self.at) / MIN_RECORD + 1;
        (0, Some(most))
    }
}

/// Length, attributes, two deltas, two null lengths, header count.
const MIN_RECORD: usize = 7;

impl<'a> Iterator for HeaderRefs<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        // Checked before: a failure here would be a bug, and ends the headers.
        let name = take_bytes(&mut self.rest).ok()??;
        let value = take_bytes(&mut self.rest).ok()?;
        Some((name, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for HeaderRefs<'_> {}

/// A record's fields before the batch's base offset and time are added.
struct RawRecord<'a> {
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: HeaderRefs<'a>,
}

fn parse<'a>(input: &mut &'a [u8]) -> Result<RawRecord<'a>, Fault> {
    let len = varint::read_i32(input)?;
    let mut body = take(input, len)?;
    let (_attributes, fields) = body.split_first().ok_or(Fault::Empty)?;
    body = fields;
    let timestamp_delta = varint::read_i64(&mut body)?;
    let offset_delta = varint::read_i32(&mut body)?;
    let key = take_bytes(&mut body)?;
    let value = take_bytes(&mut body)?;
    let headers = take_headers(&mut body)?;
    if !body.is_empty() {
        return Err(Fault::Trailing(body.len()));
    }
    Ok(RawRecord { timestamp_delta, offset_delta, key, value, headers })
}

/// Walks over the headers once, so that iterating over them later cannot fail.
fn take_headers<'a>(body: &mut &'a [u8]) -> Result<HeaderRefs<'a>, Fault> {
    let claimed = varint::read_i32(body)?;
    let count = usize::try_from(claimed).map_err(|_| Fault::HeaderCount(claimed))?;
    // A header has at least two bytes.
    if count > body.len() / 2 {
        return Err(Fault::HeaderCount(claimed));
    }
    let headers = HeaderRefs { rest: body, left: count };
    for _ in 0..count {
        take_bytes(body)?.ok_or(Fault::Length(-1))?;
        take_bytes(body)?;
    }
    Ok(headers)
}

/// A nullable byte string: -1 is null.
#[inline]
fn take_bytes<'a>(input: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Fault> {
    match varint::read_i32(input)? {
        -1 => Ok(None),
        len => take(input, len).map(Some),
    }
}

#[inline]
fn take<'a>(input: &mut &'a [u8], len: i32) -> Result<&'a [u8], Fault> {
    let (head, tail) = usize::try_from(len)
        .ok()
        .and_then(|len| input.split_at_checked(len))
        .ok_or(Fault::Length(i64::from(len)))?;
    *input = tail;
    Ok(head)
}
