//! Values.

use std::io::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use millrace_connector_encode::datum::Datum;
use millrace_connector_encode::types::{Field, Slot, Type, Unit};

use super::{Form, time};
use crate::json::push_string;

/// An object of the fields.
pub(super) fn put_fields(values: &[Datum], fields: &[Field], form: Form, out: &mut Vec<u8>) {
    out.push(b'{');
    for (at, (value, field)) in values.iter().zip(fields).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push_string(out, field.name.as_bytes());
        out.push(b':');
        put(value, &field.slot, form, out);
    }
    out.push(b'}');
}

fn put(datum: &Datum, slot: &Slot, form: Form, out: &mut Vec<u8>) {
    match (datum, &slot.ty) {
        (Datum::Null, _) => out.extend_from_slice(b"null"),
        (Datum::Boolean(value), _) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        (Datum::Int(days), Type::Date) if form == Form::Plain => {
            quoted(out, |out| time::put_date(i64::from(*days), out));
        }
        (Datum::Int(count), Type::Time(unit)) if form == Form::Plain => {
            put_time(i64::from(*count), *unit, out)
        }
        (Datum::Long(count), Type::Time(unit)) if form == Form::Plain => put_time(*count, *unit, out),
        (Datum::Long(count), Type::Timestamp { unit, local }) if is_text(*unit, *local, form) => {
            quoted(out, |out| {
                time::put_timestamp(*count, *unit, out);
                if !local {
                    out.push(b'Z');
                }
            });
        }
        (Datum::Int(value), _) => number(value, out),
        (Datum::Long(value), _) => number(value, out),
        (Datum::Float(value), _) if value.is_finite() => float(value, out),
        (Datum::Float(value), _) => special(f64::from(*value), out),
        (Datum::Double(value), _) if value.is_finite() => float(value, out),
        (Datum::Double(value), _) => special(*value, out),
        (Datum::Text(text), _) => push_string(out, text.as_bytes()),
        (Datum::Bytes(bytes), _) => base64(bytes, out),
        (Datum::Decimal(digits), Type::Decimal { scale, .. }) if form == Form::Plain => {
            quoted(out, |out| decimal(*digits, *scale, out));
        }
        (Datum::Decimal(digits), _) => base64(shortest(&digits.to_be_bytes()), out),
        (Datum::List(values), Type::List(element)) => {
            out.push(b'[');
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                put(value, element, form, out);
            }
            out.push(b']');
        }
        (Datum::Map(entries), Type::Map(of)) => {
            out.push(b'{');
            for (at, (key, value)) in entries.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                push_string(out, key.as_bytes());
                out.push(b':');
                put(value, of, form, out);
            }
            out.push(b'}');
        }
        (Datum::Struct(values), Type::Struct(fields)) => put_fields(values, fields, form, out),
        // A value is made by its slot.
        (Datum::List(_) | Datum::Map(_) | Datum::Struct(_), _) => out.extend_from_slice(b"null"),
    }
}

/// Whether a moment is text: Kafka Connect has numbers for milliseconds, and Debezium for what a clock showed.
fn is_text(unit: Unit, local: bool, form: Form) -> bool {
    form == Form::Plain || (!local && unit != Unit::Millis)
}

fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    write(out);
    out.push(b'"');
}

/// What is no time of a day stays a number.
fn put_time(count: i64, unit: Unit, out: &mut Vec<u8>) {
    let start = out.len();
    out.push(b'"');
    if time::put_time(count, unit, out) {
        out.push(b'"');
    } else {
        out.truncate(start);
        number(count, out);
    }
}

fn number(value: impl std::fmt::Display, out: &mut Vec<u8>) {
    // Writing to a Vec doesn't fail.
    let _ = write!(out, "{value}");
}

/// The shortest that gives the same again.
fn float(value: &impl serde::Serialize, out: &mut Vec<u8>) {
    // A finite number can be written, and a Vec takes it.
    let _ = serde_json::to_writer(out, value);
}

fn special(value: f64, out: &mut Vec<u8>) {
    let text = match value {
        value if value.is_nan() => "NaN",
        value if value > 0.0 => "Infinity",
        _ => "-Infinity",
    };
    push_string(out, text.as_bytes());
}

fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    push_string(out, BASE64_STANDARD.encode(bytes).as_bytes());
}

/// The fewest bytes of two's complement that keep the sign.
fn shortest(whole: &[u8]) -> &[u8] {
    let fill = if whole[0] >= 0x80 { 0xff } else { 0 };
    let is_spare = |at: usize| whole[at] == fill && (whole[at + 1] >= 0x80) == (fill == 0xff);
    let start = (0..whole.len() - 1).find(|at| !is_spare(*at)).unwrap_or(whole.len() - 1);
    &whole[start..]
}

fn decimal(digits: i128, scale: u32, out: &mut Vec<u8>) {
    let (sign, scale) = (if digits < 0 { "-" } else { "" }, scale as usize);
    let text = format!("{:0>width$}", digits.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = text.split_at(text.len() - scale);
    let point = if scale > 0 { "." } else { "" };
    let _ = write!(out, "{sign}{whole}{point}{fraction}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(digits: i128, scale: u32) -> String {
        let mut out = Vec::new();
        decimal(digits, scale, &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn decimals_keep_every_digit() {
        assert_eq!(text(1250, 2), "12.50");
        assert_eq!(text(-1, 3), "-0.001");
        assert_eq!(text(0, 0), "0");
        assert_eq!(text(7, 0), "7");
        assert_eq!(text(i128::MIN, 38), "-1.70141183460469231731687303715884105728");
        assert_eq!(shortest(&1250_i128.to_be_bytes()), [0x04, 0xe2]);
        assert_eq!(shortest(&(-1_i128).to_be_bytes()), [0xff]);
        assert_eq!(shortest(&128_i128.to_be_bytes()), [0, 0x80]);
    }
}
