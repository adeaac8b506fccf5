//! Makes a body by a message's table, with a few elements in every array, and remembers where its lengths stand.

use super::super::schema::{Field, Kind, Message};
use crate::varint;

/// A valid body.
pub(super) struct Sample {
    pub(super) bytes: Vec<u8>,
    lengths: Vec<Length>,
}

/// A length or count in the body.
struct Length {
    at: usize,
    /// Bytes that it takes.
    size: usize,
    compact: bool,
}

/// The body that belongs to `seed`.
pub(super) fn sample(message: &Message, version: i16, seed: u64) -> Sample {
    let mut writer = Writer {
        out: Sample { bytes: Vec::new(), lengths: Vec::new() },
        version,
        flexible: message.is_flexible(version),
        random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
    };
    writer.fields(&message.fields);
    writer.out
}

impl Sample {
    /// The body once for each of its lengths, which is replaced by one that cannot be true.
    pub(super) fn lies(&self) -> impl Iterator<Item = Vec<u8>> {
        self.lengths.iter().flat_map(|length| {
            let lies: &[&[u8]] = match (length.compact, length.size) {
                (true, _) => &[&[0xff, 0xff, 0xff, 0xff, 0x07], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[0xff; 5]],
                (false, 2) => &[&[0x7f, 0xff], &[0xff, 0xfe]],
                (false, _) => &[&[0x7f, 0xff, 0xff, 0xff], &[0xff, 0xff, 0xff, 0xfe]],
            };
            lies.iter().map(|lie| {
                let (before, after) = (&self.bytes[..length.at], &self.bytes[length.at + length.size..]);
                [before, lie, after].concat()
            })
        })
    }
}

struct Writer {
    out: Sample,
    version: i16,
    flexible: bool,
    random: u64,
}

impl Writer {
    /// xorshift64: the tests need variety, not quality.
    fn below(&mut self, limit: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % limit
    }

    fn fields(&mut self, fields: &[Field]) {
        let here: Vec<_> = fields.iter().filter(|field| field.versions.contains(&self.version)).collect();
        for field in here.iter().filter(|field| field.tag.is_none()) {
            self.value(&field.kind, field.nullable);
        }
        if !self.flexible {
            return;
        }
        let known: Vec<_> = here
            .iter()
            .filter_map(|field| Some((field.tag?, field)))
            .filter(|_| self.below(2) == 0)
            .collect();
        let unknown = self.below(2);
        varint::write_u64(&mut self.out.bytes, known.len() as u64 + unknown);
        for (tag, field) in known {
            varint::write_u64(&mut self.out.bytes, u64::from(tag));
            self.tagged_value(field);
        }
        if unknown == 1 {
            varint::write_u64(&mut self.out.bytes, 1000);
            self.length(3);
            self.out.bytes.extend_from_slice(b"new");
        }
    }

    /// The value's size stands in front of it, so it is written aside first.
    fn tagged_value(&mut self, field: &Field) {
        let outer = std::mem::replace(&mut self.out, Sample { bytes: Vec::new(), lengths: Vec::new() });
        self.value(&field.kind, field.nullable);
        let inner = std::mem::replace(&mut self.out, outer);
        let at = self.out.bytes.len();
        varint::write_u64(&mut self.out.bytes, inner.bytes.len() as u64);
        let start = self.out.bytes.len();
        self.out.lengths.push(Length { at, size: start - at, compact: true });
        self.out.bytes.extend_from_slice(&inner.bytes);
        self.out.lengths.extend(inner.lengths.into_iter().map(|l| Length { at: l.at + start, ..l }));
    }

    fn value(&mut self, kind: &Kind, nullable: bool) {
        let null = nullable && self.below(4) == 0;
        match kind {
            Kind::Fixed(1) => {
                // Booleans come back as 0 or 1 only.
                let byte = self.below(2) as u8;
                self.out.bytes.push(byte);
            }
            Kind::Fixed(size) => {
                for _ in 0..*size {
                    let byte = self.below(256) as u8;
                    self.out.bytes.push(byte);
                }
            }
            Kind::Str | Kind::Bytes => {
                let len = self.below(6);
                self.count(kind, if null { -1 } else { len as i64 });
                if !null {
                    for _ in 0..len {
                        let letter = b'a' + self.below(26) as u8;
                        self.out.bytes.push(letter);
                    }
                }
            }
            Kind::Array(element) => {
                let len = self.below(4);
                self.count(kind, if null { -1 } else { len as i64 });
                for _ in 0..if null { 0 } else { len } {
                    self.value(element, false);
                }
            }
            Kind::Struct(fields) if nullable => {
                self.out.bytes.push(if null { 0xff } else { 1 });
                if !null {
                    self.fields(fields);
                }
            }
            Kind::Struct(fields) => self.fields(fields),
        }
    }

    fn count(&mut self, kind: &Kind, count: i64) {
        let at = self.out.bytes.len();
        match kind {
            _ if self.flexible => return self.length((count + 1) as u64),
            Kind::Str => self.out.bytes.extend_from_slice(&(count as i16).to_be_bytes()),
            _ => self.out.bytes.extend_from_slice(&(count as i32).to_be_bytes()),
        }
        self.out.lengths.push(Length { at, size: self.out.bytes.len() - at, compact: false });
    }

    fn length(&mut self, value: u64) {
        let at = self.out.bytes.len();
        varint::write_u64(&mut self.out.bytes, value);
        self.out.lengths.push(Length { at, size: self.out.bytes.len() - at, compact: true });
    }
}
