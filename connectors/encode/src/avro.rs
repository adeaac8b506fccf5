//! Avro object container files (specification 1.12): a header with the schema, then blocks of rows.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Write;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

use crate::datum::Datum;
use crate::types::{Field, Schema, Slot, Type, avro};
use crate::{Codec, zstd};

/// A block is written when it has this many bytes.
const BLOCK_BYTES: usize = 64 << 10;

/// Writes one file.
#[derive(Debug)]
pub struct AvroFile {
    fields: Vec<Field>,
    codec: Codec,
    sync: [u8; 16],
    block: Vec<u8>,
    rows: i64,
}

impl AvroFile {
    /// Begins a file: appends its header.
    pub fn begin(schema: &Schema, codec: Codec, out: &mut Vec<u8>) -> Result<Self, String> {
        Ok(Self::begin_as(&avro::write(schema)?, &[], &schema.fields, codec, out))
    }

    /// Begins a file of rows whose schema the caller has as text: it must say the same as the fields, with unions `["null", TYPE]` for
    /// what is optional. The header may have further entries.
    pub fn begin_as(
        text: &str,
        header: &[(&str, &str)],
        fields: &[Field],
        codec: Codec,
        out: &mut Vec<u8>,
    ) -> Self {
        let name = match codec {
            Codec::None => "null",
            Codec::Gzip => "deflate",
            Codec::Snappy => "snappy",
            Codec::Zstd => "zstandard",
        };
        // Random, so that it is not found in rows: the hasher's keys are.
        let mut sync = [0; 16];
        for (half, seed) in sync.chunks_mut(8).zip([1, 2]) {
            let mut hasher = RandomState::new().build_hasher();
            hasher.write_u8(seed);
            half.copy_from_slice(&hasher.finish().to_be_bytes());
        }
        out.extend_from_slice(b"Obj\x01");
        let own = [("avro.schema", text), ("avro.codec", name)];
        long((own.len() + header.len()) as i64, out);
        for (key, value) in own.iter().chain(header) {
            bytes(key.as_bytes(), out);
            bytes(value.as_bytes(), out);
        }
        long(0, out);
        out.extend_from_slice(&sync);
        Self { fields: fields.to_vec(), codec, sync, block: Vec::new(), rows: 0 }
    }

    /// Adds a row that was made for this file's schema.
    pub fn push(&mut self, row: &[Datum], out: &mut Vec<u8>) -> Result<(), String> {
        for (datum, field) in row.iter().zip(&self.fields) {
            value(datum, &field.slot, &mut self.block);
        }
        self.rows += 1;
        if self.block.len() >= BLOCK_BYTES { self.end_block(out) } else { Ok(()) }
    }

    /// Rows that are not in `out` yet, in bytes.
    pub fn pending_bytes(&self) -> usize {
        self.block.len()
    }

    /// Writes what is pending.
    pub fn end_block(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        if self.rows == 0 {
            return Ok(());
        }
        long(self.rows, out);
        let packed;
        let block = match self.codec {
            Codec::None => &self.block,
            Codec::Gzip => {
                let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(&self.block).map_err(|error| error.to_string())?;
                packed = encoder.finish().map_err(|error| error.to_string())?;
                &packed
            }
            Codec::Snappy => {
                let mut data =
                    snap::raw::Encoder::new().compress_vec(&self.block).map_err(|error| error.to_string())?;
                let mut crc = Crc::new();
                crc.update(&self.block);
                data.extend_from_slice(&crc.sum().to_be_bytes());
                packed = data;
                &packed
            }
            Codec::Zstd => {
                packed = zstd::frame(&self.block);
                &packed
            }
        };
        bytes(block, out);
        out.extend_from_slice(&self.sync);
        self.block.clear();
        self.rows = 0;
        Ok(())
    }
}

/// Zigzag, seven bits at a time.
fn long(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn bytes(value: &[u8], out: &mut Vec<u8>) {
    long(value.len() as i64, out);
    out.extend_from_slice(value);
}

fn value(datum: &Datum, slot: &Slot, out: &mut Vec<u8>) {
    if slot.optional {
        // The union is ["null", type].
        long(i64::from(*datum != Datum::Null), out);
    }
    match datum {
        Datum::Null => {}
        Datum::Boolean(value) => out.push(u8::from(*value)),
        Datum::Int(value) => long(i64::from(*value), out),
        Datum::Long(value) => long(*value, out),
        Datum::Float(value) => out.extend_from_slice(&value.to_le_bytes()),
        Datum::Double(value) => out.extend_from_slice(&value.to_le_bytes()),
        Datum::Text(text) => bytes(text.as_bytes(), out),
        Datum::Bytes(value) => bytes(value, out),
        Datum::Decimal(digits) => {
            let whole = digits.to_be_bytes();
            // The fewest bytes that keep the sign.
            let fill = if *digits < 0 { 0xff } else { 0 };
            let same = |at: usize| whole[at] == fill && (whole[at + 1] >= 0x80) == (fill == 0xff);
            let start = (0..15).find(|at| !same(*at)).unwrap_or(15);
            bytes(&whole[start..], out);
        }
        Datum::List(values) => {
            if let (Type::List(element), false) = (&slot.ty, values.is_empty()) {
                long(values.len() as i64, out);
                values.iter().for_each(|datum| value(datum, element, out));
            }
            long(0, out);
        }
        Datum::Map(entries) => {
            if let (Type::Map(values), false) = (&slot.ty, entries.is_empty()) {
                long(entries.len() as i64, out);
                for (key, datum) in entries {
                    bytes(key.as_bytes(), out);
                    value(datum, values, out);
                }
            }
            long(0, out);
        }
        Datum::Struct(values) => {
            if let Type::Struct(fields) = &slot.ty {
                values.iter().zip(fields).for_each(|(datum, field)| value(datum, &field.slot, out));
            }
        }
    }
}
