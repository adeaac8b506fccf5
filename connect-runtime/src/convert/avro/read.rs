//! Avro to JSON.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use millrace_schema::avro::{Avro, Fixed, Logical, Record, Type, TypeId};

use super::{Bad, branch_name, branches, check_depth};
use crate::convert::time::{self, Unit};
use crate::convert::{Decimals, JSON_BYTES_MAX, decimal, put_text, unzigzag, varint};

/// Writes a record as JSON behind what is in `out`.
pub(in crate::convert) fn to_json(
    schema: &Avro,
    bytes: &[u8],
    decimals: Decimals,
    out: &mut Vec<u8>,
) -> Result<(), Bad> {
    let mut reader = Reader { schema, bytes, decimals, limit: out.len() + JSON_BYTES_MAX };
    reader.value(schema.root(), out, 0)?;
    match reader.bytes.len() {
        0 => Ok(()),
        rest => Err(Bad::new(format!(
            "{rest} bytes stand behind the record; was it written with another schema?"
        ))),
    }
}

struct Reader<'a> {
    schema: &'a Avro,
    bytes: &'a [u8],
    decimals: Decimals,
    /// Length of the output at which it is given up.
    limit: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, id: TypeId, out: &mut Vec<u8>, depth: usize) -> Result<(), Bad> {
        check_depth(depth)?;
        if out.len() > self.limit {
            return Err(Bad::new(format!("it comes to more than {JSON_BYTES_MAX} bytes of JSON")));
        }
        match self.schema.get(id) {
            Type::Null => out.extend_from_slice(b"null"),
            Type::Boolean => match self.take(1)? {
                [0] => out.extend_from_slice(b"false"),
                [1] => out.extend_from_slice(b"true"),
                _ => return Err(Bad::new("a boolean is neither 0 nor 1")),
            },
            Type::Int(logical) => {
                let value = self.long()?;
                let value = i32::try_from(value).map_err(|_| Bad::new("an int is out of range"))?;
                self.number(value.into(), *logical, out);
            }
            Type::Long(logical) => {
                let value = self.long()?;
                self.number(value, *logical, out);
            }
            Type::Float => {
                let bytes = self.array::<4>()?;
                put_float(f32::from_le_bytes(bytes), out);
            }
            Type::Double => {
                let bytes = self.array::<8>()?;
                put_float(f64::from_le_bytes(bytes), out);
            }
            Type::Bytes(logical) => {
                let bytes = self.counted()?;
                self.put_bytes(bytes, *logical, out)?;
            }
            Type::String(_) => put_text(self.text()?, out),
            Type::Fixed(of) => self.fixed(of, out)?,
            Type::Enum(of) => {
                let place = usize::try_from(self.long()?).ok();
                let symbol = place.and_then(|place| of.symbols.get(place));
                put_text(
                    symbol.ok_or_else(|| Bad::new(format!("enum {} has no such symbol", of.names.full)))?,
                    out,
                );
            }
            Type::Array(items) => {
                out.push(b'[');
                self.blocks(out, |reader, out| reader.value(*items, out, depth + 1))?;
                out.push(b']');
            }
            Type::Map(values) => {
                out.push(b'{');
                self.blocks(out, |reader, out| {
                    put_text(reader.text()?, out);
                    out.push(b':');
                    reader.value(*values, out, depth + 1)
                })?;
                out.push(b'}');
            }
            Type::Union(variants) => {
                let place = usize::try_from(self.long()?).ok();
                let variant = place.and_then(|place| variants.get(place));
                let variant = *variant.ok_or_else(|| Bad::new("a union has no such branch"))?;
                let of = self.schema.get(variant);
                if matches!(of, Type::Null) || branches(self.schema, variants) < 2 {
                    return self.value(variant, out, depth + 1);
                }
                out.push(b'{');
                put_text(branch_name(of), out);
                out.push(b':');
                self.value(variant, out, depth + 1)?;
                out.push(b'}');
            }
            Type::Record(of) => self.record(of, out, depth)?,
        }
        Ok(())
    }

    fn record(&mut self, of: &Record, out: &mut Vec<u8>, depth: usize) -> Result<(), Bad> {
        out.push(b'{');
        for (place, field) in of.fields.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            put_text(&field.name, out);
            out.push(b':');
            self.value(field.is, out, depth + 1).map_err(|bad| bad.within(&field.name))?;
        }
        out.push(b'}');
        Ok(())
    }

    /// Blocks of items, each with its count; a negative count is followed by the block's size in bytes.
    fn blocks(
        &mut self,
        out: &mut Vec<u8>,
        mut item: impl FnMut(&mut Self, &mut Vec<u8>) -> Result<(), Bad>,
    ) -> Result<(), Bad> {
        let mut is_first = true;
        loop {
            let count = self.long()?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                self.long()?;
            }
            // Items may have no bytes at all; the limit of the output ends that.
            for _ in 0..count.unsigned_abs() {
                if !std::mem::replace(&mut is_first, false) {
                    out.push(b',');
                }
                item(self, out)?;
            }
        }
    }

    fn fixed(&mut self, of: &Fixed, out: &mut Vec<u8>) -> Result<(), Bad> {
        let bytes = self.take(of.size)?;
        match (of.logical, bytes) {
            (Logical::Duration, &[a, b, c, d, e, f, g, h, i, j, k, l]) => {
                let [months, days, millis] =
                    [[a, b, c, d], [e, f, g, h], [i, j, k, l]].map(u32::from_le_bytes);
                // Writing to a Vec doesn't fail.
                let _ = write!(out, r#"{{"months":{months},"days":{days},"millis":{millis}}}"#);
            }
            (Logical::Uuid, &[..]) if bytes.len() == 16 => {
                out.push(b'"');
                for (place, byte) in bytes.iter().enumerate() {
                    if matches!(place, 4 | 6 | 8 | 10) {
                        out.push(b'-');
                    }
                    let _ = write!(out, "{byte:02x}");
                }
                out.push(b'"');
            }
            (logical, bytes) => self.put_bytes(bytes, logical, out)?,
        }
        Ok(())
    }

    fn put_bytes(&self, bytes: &[u8], logical: Logical, out: &mut Vec<u8>) -> Result<(), Bad> {
        match logical {
            Logical::Decimal { scale, .. } if self.decimals == Decimals::Numbers => {
                decimal::put(bytes, scale, out)
            }
            Logical::Decimal { scale, .. } => {
                out.push(b'"');
                decimal::put(bytes, scale, out)?;
                out.push(b'"');
                Ok(())
            }
            _ => {
                put_text(&STANDARD.encode(bytes), out);
                Ok(())
            }
        }
    }

    fn number(&self, value: i64, logical: Logical, out: &mut Vec<u8>) {
        let mut time = |unit| {
            let before = out.len();
            out.push(b'"');
            if time::put_time(value, unit, out) {
                out.push(b'"');
            } else {
                out.truncate(before);
                let _ = write!(out, "{value}");
            }
        };
        match logical {
            Logical::TimeMillis => time(Unit::Millis),
            Logical::TimeMicros => time(Unit::Micros),
            Logical::Date => {
                out.push(b'"');
                time::put_date(value, out);
                out.push(b'"');
            }
            Logical::TimestampMillis => put_timestamp(value, Unit::Millis, "Z", out),
            Logical::TimestampMicros => put_timestamp(value, Unit::Micros, "Z", out),
            Logical::TimestampNanos => put_timestamp(value, Unit::Nanos, "Z", out),
            Logical::LocalTimestampMillis => put_timestamp(value, Unit::Millis, "", out),
            Logical::LocalTimestampMicros => put_timestamp(value, Unit::Micros, "", out),
            Logical::LocalTimestampNanos => put_timestamp(value, Unit::Nanos, "", out),
            Logical::None | Logical::Decimal { .. } | Logical::Uuid | Logical::Duration => {
                let _ = write!(out, "{value}");
            }
        }
    }

    fn text(&mut self) -> Result<&'a str, Bad> {
        std::str::from_utf8(self.counted()?).map_err(|_| Bad::new("a string is not UTF-8"))
    }

    fn counted(&mut self) -> Result<&'a [u8], Bad> {
        let length = self.long()?;
        self.take(usize::try_from(length).map_err(|_| Bad::new("a negative length"))?)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Bad> {
        let (taken, rest) =
            self.bytes.split_at_checked(count).ok_or_else(|| Bad::new("it ends too early"))?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Bad> {
        let (taken, rest) =
            self.bytes.split_first_chunk::<N>().ok_or_else(|| Bad::new("it ends too early"))?;
        self.bytes = rest;
        Ok(*taken)
    }

    fn long(&mut self) -> Result<i64, Bad> {
        varint(&mut self.bytes).map(unzigzag)
    }
}

fn put_timestamp(value: i64, unit: Unit, zone: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    time::put_timestamp(value, unit, out);
    out.extend_from_slice(zone.as_bytes());
    out.push(b'"');
}

/// The shortest digits that give the same number again.
fn put_float(value: impl Into<f64> + std::fmt::Debug + Copy, out: &mut Vec<u8>) {
    let wide: f64 = value.into();
    if wide.is_finite() {
        // Debug, not Display: it has an exponent where that is shorter.
        let _ = write!(out, "{value:?}");
    } else if wide.is_nan() {
        out.extend_from_slice(b"\"NaN\"");
    } else {
        out.extend_from_slice(if wide > 0.0 { b"\"Infinity\"" } else { b"\"-Infinity\"" });
    }
}
