//! The bytes of Kafka's coordinator records.
//!
//! Kafka describes them by the same schema language as its requests, but the messages are the broker's own and no
//! client crate has them. What is needed is little: big-endian integers, strings and bytes with a length in front, in
//! the old ("classic") form and in the flexible one of KIP-482. Reading never trusts a length: it is compared with
//! what is left before anything is taken.

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

/// Why a record of an internal topic could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// The record ends inside a field.
    #[error("{what} ends early: {wanted} bytes wanted, {left} left")]
    Short {
        /// The field.
        what: &'static str,
        /// The bytes the field asks for.
        wanted: u64,
        /// The bytes that are there.
        left: usize,
    },
    /// A length or a count is negative where that has no meaning.
    #[error("{what} has the length {length}")]
    Length {
        /// The field.
        what: &'static str,
        /// What stood there.
        length: i64,
    },
    /// Text is not UTF-8.
    #[error("{what} is not utf-8")]
    Text {
        /// The field.
        what: &'static str,
    },
    /// A format or a value from a newer Kafka, or damage.
    #[error("{what} {value} is not known here")]
    Unknown {
        /// What it is the number of.
        what: &'static str,
        /// The number.
        value: i64,
    },
}

/// Reads fields off the front of a record.
#[derive(Debug)]
pub(crate) struct Reader {
    bytes: Bytes,
}

impl Reader {
    /// A reader at the beginning of `bytes`.
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { bytes }
    }

    fn take(&mut self, what: &'static str, length: usize) -> Result<Bytes, Error> {
        if self.bytes.len() < length {
            return Err(Error::Short { what, wanted: length as u64, left: self.bytes.len() });
        }
        Ok(self.bytes.split_to(length))
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Error> {
        let bytes = self.take(what, N)?;
        <[u8; N]>::try_from(&bytes[..]).map_err(|_| Error::Short {
            what,
            wanted: N as u64,
            left: bytes.len(),
        })
    }

    /// A signed byte.
    pub(crate) fn i8(&mut self, what: &'static str) -> Result<i8, Error> {
        Ok(i8::from_be_bytes(self.array(what)?))
    }

    /// Two bytes.
    pub(crate) fn i16(&mut self, what: &'static str) -> Result<i16, Error> {
        Ok(i16::from_be_bytes(self.array(what)?))
    }

    /// Four bytes.
    pub(crate) fn i32(&mut self, what: &'static str) -> Result<i32, Error> {
        Ok(i32::from_be_bytes(self.array(what)?))
    }

    /// Eight bytes.
    pub(crate) fn i64(&mut self, what: &'static str) -> Result<i64, Error> {
        Ok(i64::from_be_bytes(self.array(what)?))
    }

    /// An unsigned number of up to 32 bits, seven bits to the byte.
    pub(crate) fn uvarint(&mut self, what: &'static str) -> Result<u32, Error> {
        let mut value = 0_u64;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array::<1>(what)?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| Error::Length { what, length: value as i64 });
            }
        }
        Err(Error::Length { what, length: value as i64 })
    }

    /// A string with a two-byte length; -1 is null.
    pub(crate) fn nullable_string(&mut self, what: &'static str) -> Result<Option<String>, Error> {
        let length = self.i16(what)?;
        if length == -1 {
            return Ok(None);
        }
        let length =
            usize::try_from(length).map_err(|_| Error::Length { what, length: i64::from(length) })?;
        self.text(what, length).map(Some)
    }

    /// A string with a two-byte length that must not be null.
    pub(crate) fn string(&mut self, what: &'static str) -> Result<String, Error> {
        self.nullable_string(what)?.ok_or(Error::Length { what, length: -1 })
    }

    /// A string with a varint length plus one; 0 is null, which is refused.
    pub(crate) fn compact_string(&mut self, what: &'static str) -> Result<String, Error> {
        self.compact_nullable_string(what)?.ok_or(Error::Length { what, length: -1 })
    }

    /// A string with a varint length plus one; 0 is null.
    pub(crate) fn compact_nullable_string(&mut self, what: &'static str) -> Result<Option<String>, Error> {
        match self.uvarint(what)? {
            0 => Ok(None),
            plus_one => self.text(what, plus_one as usize - 1).map(Some),
        }
    }

    fn text(&mut self, what: &'static str, length: usize) -> Result<String, Error> {
        let bytes = self.take(what, length)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| Error::Text { what })
    }

    /// Bytes with a four-byte length that must not be null.
    pub(crate) fn bytes(&mut self, what: &'static str) -> Result<Bytes, Error> {
        let length = self.i32(what)?;
        let length =
            usize::try_from(length).map_err(|_| Error::Length { what, length: i64::from(length) })?;
        self.take(what, length)
    }

    /// Bytes with a varint length plus one that must not be null.
    pub(crate) fn compact_bytes(&mut self, what: &'static str) -> Result<Bytes, Error> {
        match self.uvarint(what)? {
            0 => Err(Error::Length { what, length: -1 }),
            plus_one => self.take(what, plus_one as usize - 1),
        }
    }

    /// Passes over `length` bytes.
    pub(crate) fn skip(&mut self, what: &'static str, length: usize) -> Result<(), Error> {
        self.take(what, length).map(drop)
    }

    /// Sixteen bytes of an id.
    pub(crate) fn uuid(&mut self, what: &'static str) -> Result<Uuid, Error> {
        Ok(Uuid::from_bytes(self.array(what)?))
    }

    /// A four-byte count of things of at least `each` bytes; -1 is null.
    pub(crate) fn count(&mut self, what: &'static str, each: usize) -> Result<Option<usize>, Error> {
        let count = self.i32(what)?;
        if count == -1 {
            return Ok(None);
        }
        let count = usize::try_from(count).map_err(|_| Error::Length { what, length: i64::from(count) })?;
        self.fits(what, count, each).map(Some)
    }

    /// A varint count plus one of things of at least `each` bytes; 0 is null.
    pub(crate) fn compact_count(&mut self, what: &'static str, each: usize) -> Result<Option<usize>, Error> {
        match self.uvarint(what)? {
            0 => Ok(None),
            plus_one => self.fits(what, plus_one as usize - 1, each).map(Some),
        }
    }

    fn fits(&self, what: &'static str, count: usize, each: usize) -> Result<usize, Error> {
        let wanted = (count as u64).saturating_mul(each as u64);
        if wanted > self.bytes.len() as u64 {
            return Err(Error::Short { what, wanted, left: self.bytes.len() });
        }
        Ok(count)
    }

    /// Tagged fields of the flexible form, as (tag, content) pairs in the order they stand.
    pub(crate) fn tagged(&mut self) -> Result<Vec<(u32, Bytes)>, Error> {
        let count = self.uvarint("tagged fields")?;
        let count = self.fits("tagged fields", count as usize, 2)?;
        let mut fields = Vec::with_capacity(count);
        for _ in 0..count {
            let tag = self.uvarint("tag")?;
            let length = self.uvarint("tagged field")? as usize;
            fields.push((tag, self.take("tagged field", length)?));
        }
        Ok(fields)
    }
}

/// Writes fields to the end of a record.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: BytesMut,
}

impl Writer {
    /// A record that begins with its format's version, as keys and values both do.
    pub(crate) fn versioned(version: i16) -> Self {
        let mut writer = Self::default();
        writer.i16(version);
        writer
    }

    /// The finished record.
    pub(crate) fn finish(self) -> Bytes {
        self.bytes.freeze()
    }

    /// A signed byte.
    pub(crate) fn i8(&mut self, value: i8) {
        self.bytes.put_i8(value);
    }

    /// Two bytes.
    pub(crate) fn i16(&mut self, value: i16) {
        self.bytes.put_i16(value);
    }

    /// Four bytes.
    pub(crate) fn i32(&mut self, value: i32) {
        self.bytes.put_i32(value);
    }

    /// Eight bytes.
    pub(crate) fn i64(&mut self, value: i64) {
        self.bytes.put_i64(value);
    }

    /// An unsigned number, seven bits to the byte.
    pub(crate) fn uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.bytes.put_u8((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.put_u8(value as u8);
    }

    /// A string with a two-byte length. Names that come from requests had such a length themselves, and what is
    /// longer is cut at a character's edge rather than written with a wrong length.
    pub(crate) fn string(&mut self, value: &str) {
        let value = cut(value, i16::MAX as usize);
        self.bytes.put_i16(value.len() as i16);
        self.bytes.put_slice(value.as_bytes());
    }

    /// A string with a two-byte length, or -1 for null.
    pub(crate) fn nullable_string(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.string(value),
            None => self.bytes.put_i16(-1),
        }
    }

    /// A string with a varint length plus one.
    pub(crate) fn compact_string(&mut self, value: &str) {
        self.uvarint(value.len() as u32 + 1);
        self.bytes.put_slice(value.as_bytes());
    }

    /// A string with a varint length plus one, or 0 for null.
    pub(crate) fn compact_nullable_string(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.compact_string(value),
            None => self.uvarint(0),
        }
    }

    /// Bytes with a varint length plus one.
    pub(crate) fn compact_bytes(&mut self, value: &[u8]) {
        self.uvarint(value.len() as u32 + 1);
        self.bytes.put_slice(value);
    }

    /// A varint count plus one.
    pub(crate) fn compact_count(&mut self, count: usize) {
        self.uvarint(count as u32 + 1);
    }

    /// Sixteen bytes of an id.
    pub(crate) fn uuid(&mut self, id: Uuid) {
        self.bytes.put_slice(id.as_bytes());
    }

    /// Bytes with a four-byte length; a frame's limit keeps them far below 2 GiB.
    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.bytes.put_i32(value.len() as i32);
        self.bytes.put_slice(value);
    }

    /// A four-byte count.
    pub(crate) fn count(&mut self, count: usize) {
        self.bytes.put_i32(count as i32);
    }

    /// Tagged fields of the flexible form, by rising tag.
    pub(crate) fn tagged(&mut self, fields: &[(u32, Bytes)]) {
        self.uvarint(fields.len() as u32);
        for (tag, content) in fields {
            self.uvarint(*tag);
            self.uvarint(content.len() as u32);
            self.bytes.put_slice(content);
        }
    }
}

fn cut(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_beyond_the_end_is_refused_before_it_is_allocated() {
        let mut writer = Writer::default();
        writer.i32(i32::MAX);
        assert_eq!(
            Reader::new(writer.finish()).count("members", 20),
            Err(Error::Short { what: "members", wanted: 42_949_672_940, left: 0 })
        );
        let mut writer = Writer::default();
        writer.i16(-2);
        assert_eq!(
            Reader::new(writer.finish()).string("topic"),
            Err(Error::Length { what: "topic", length: -2 })
        );
        let mut writer = Writer::default();
        writer.uvarint(u32::MAX);
        assert!(Reader::new(writer.finish()).compact_bytes("assignment").is_err());
    }

    #[test]
    fn a_varint_without_end_is_refused() {
        let bytes = Bytes::from_static(&[0xff; 12]);
        assert!(Reader::new(bytes).uvarint("tag").is_err());
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 3), "aé");
    }

    #[test]
    fn what_was_written_is_read() -> Result<(), Error> {
        let mut writer = Writer::versioned(3);
        writer.string("orders");
        writer.nullable_string(None);
        writer.compact_string("x");
        writer.uvarint(300);
        writer.tagged(&[(1, Bytes::from_static(b"ab"))]);
        let mut reader = Reader::new(writer.finish());
        assert_eq!(reader.i16("version")?, 3);
        assert_eq!(reader.string("topic")?, "orders");
        assert_eq!(reader.nullable_string("null")?, None);
        assert_eq!(reader.compact_string("x")?, "x");
        assert_eq!(reader.uvarint("n")?, 300);
        assert_eq!(reader.tagged()?, vec![(1, Bytes::from_static(b"ab"))]);
        Ok(())
    }
}
