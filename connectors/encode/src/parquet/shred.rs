//! Rows into columns with repetition and definition levels (Melnik et al., Dremel, 2010).
//!
//! A column's definition level says how much of the path to it is there; its repetition level, at which list of the path a new
//! entry begins. A value is written only where the whole path is there.

use parquet::data_type::{ByteArray, FixedLenByteArray};

use super::schema::{INT_DIGITS_MAX, LONG_DIGITS_MAX, decimal_bytes};
use crate::datum::Datum;
use crate::types::{Field, Slot, Type};

/// One leaf of the schema.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) def: Vec<i16>,
    pub(super) rep: Vec<i16>,
    pub(super) values: Values,
    pub(super) def_max: i16,
    pub(super) rep_max: i16,
}

/// The values of a leaf, as Parquet holds them.
#[derive(Debug)]
pub(super) enum Values {
    Boolean(Vec<bool>),
    Int(Vec<i32>),
    Long(Vec<i64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Bytes(Vec<ByteArray>),
    /// Numbers of so many bytes.
    Fixed(usize, Vec<FixedLenByteArray>),
}

/// The leaves in the schema's order.
pub(super) fn columns(fields: &[Field]) -> Vec<Column> {
    let mut out = Vec::new();
    fields.iter().for_each(|field| leaves(&field.slot, 0, 0, &mut out));
    out
}

fn leaves(slot: &Slot, def: i16, rep: i16, out: &mut Vec<Column>) {
    let def = def + i16::from(slot.optional);
    let values = match &slot.ty {
        Type::List(element) => return leaves(element, def + 1, rep + 1, out),
        Type::Map(values) => {
            leaves(&Slot { ty: Type::Text, optional: false }, def + 1, rep + 1, out);
            return leaves(values, def + 1, rep + 1, out);
        }
        Type::Struct(fields) => return fields.iter().for_each(|field| leaves(&field.slot, def, rep, out)),
        Type::Boolean => Values::Boolean(Vec::new()),
        Type::Int | Type::Date | Type::Time(crate::types::Unit::Millis) => Values::Int(Vec::new()),
        Type::Long | Type::Timestamp { .. } | Type::Time(_) => Values::Long(Vec::new()),
        Type::Decimal { precision, .. } if *precision <= INT_DIGITS_MAX => Values::Int(Vec::new()),
        Type::Decimal { precision, .. } if *precision <= LONG_DIGITS_MAX => Values::Long(Vec::new()),
        Type::Decimal { precision, .. } => Values::Fixed(decimal_bytes(*precision), Vec::new()),
        Type::Float => Values::Float(Vec::new()),
        Type::Double => Values::Double(Vec::new()),
        Type::Text | Type::Bytes => Values::Bytes(Vec::new()),
    };
    out.push(Column { def: Vec::new(), rep: Vec::new(), values, def_max: def, rep_max: rep });
}

/// Appends a row.
pub(super) fn row(row: &[Datum], fields: &[Field], columns: &mut [Column]) {
    let mut walk = Walk { columns, at: 0 };
    for (datum, field) in row.iter().zip(fields) {
        walk.slot(Some(datum), &field.slot, Levels { def: 0, rep: 0, depth: 0 });
    }
}

/// Where a value stands.
#[derive(Clone, Copy)]
struct Levels {
    /// How much of the path is there.
    def: i16,
    /// At which list the entry begins.
    rep: i16,
    /// Lists above it.
    depth: i16,
}

/// Goes through the leaves in order; each slot leaves `at` behind its own.
struct Walk<'c> {
    columns: &'c mut [Column],
    at: usize,
}

impl Walk<'_> {
    fn slot(&mut self, datum: Option<&Datum>, slot: &Slot, levels: Levels) {
        let datum = datum.filter(|datum| **datum != Datum::Null);
        let def = levels.def + i16::from(slot.optional && datum.is_some());
        let levels = Levels { def, ..levels };
        match (&slot.ty, datum) {
            (Type::List(element), Some(Datum::List(values))) => {
                self.entries(values.len(), levels, |walk, at, levels| {
                    walk.slot(at.map(|at| &values[at]), element, levels);
                });
            }
            (Type::List(element), _) => self.slot(None, element, levels),
            (Type::Map(values), Some(Datum::Map(entries))) => {
                let key = Slot { ty: Type::Text, optional: false };
                self.entries(entries.len(), levels, |walk, at, levels| {
                    let key_of = at.map(|at| Datum::Text(entries[at].0.clone()));
                    walk.slot(key_of.as_ref(), &key, levels);
                    walk.slot(at.map(|at| &entries[at].1), values, levels);
                });
            }
            (Type::Map(values), _) => {
                self.slot(None, &Slot { ty: Type::Text, optional: false }, levels);
                self.slot(None, values, levels);
            }
            (Type::Struct(fields), datum) => {
                for (at, field) in fields.iter().enumerate() {
                    let value = match datum {
                        Some(Datum::Struct(values)) => values.get(at),
                        _ => None,
                    };
                    self.slot(value, &field.slot, levels);
                }
            }
            (_, datum) => {
                self.columns[self.at].push(datum, levels);
                self.at += 1;
            }
        }
    }

    /// The entries of a list or a map; an empty one is an entry that isn't there.
    fn entries(
        &mut self,
        count: usize,
        levels: Levels,
        mut entry: impl FnMut(&mut Self, Option<usize>, Levels),
    ) {
        if count == 0 {
            return entry(self, None, levels);
        }
        let (begin, depth) = (self.at, levels.depth + 1);
        for at in 0..count {
            self.at = begin;
            let rep = if at == 0 { levels.rep } else { depth };
            entry(self, Some(at), Levels { def: levels.def + 1, rep, depth });
        }
    }
}

impl Column {
    fn push(&mut self, datum: Option<&Datum>, levels: Levels) {
        self.def.push(levels.def);
        self.rep.push(levels.rep);
        match (&mut self.values, datum) {
            (Values::Boolean(values), Some(Datum::Boolean(value))) => values.push(*value),
            (Values::Int(values), Some(Datum::Int(value))) => values.push(*value),
            (Values::Long(values), Some(Datum::Long(value))) => values.push(*value),
            // Nine digits fit, and eighteen.
            (Values::Int(values), Some(Datum::Decimal(digits))) => {
                values.push(i32::try_from(*digits).unwrap_or(i32::MAX));
            }
            (Values::Long(values), Some(Datum::Decimal(digits))) => {
                values.push(i64::try_from(*digits).unwrap_or(i64::MAX));
            }
            (Values::Float(values), Some(Datum::Float(value))) => values.push(*value),
            (Values::Double(values), Some(Datum::Double(value))) => values.push(*value),
            (Values::Bytes(values), Some(Datum::Text(text))) => values.push(text.as_str().into()),
            (Values::Bytes(values), Some(Datum::Bytes(bytes))) => values.push(bytes.clone().into()),
            (Values::Fixed(bytes, values), Some(Datum::Decimal(digits))) => {
                let whole = digits.to_be_bytes();
                values.push(ByteArray::from(whole[whole.len() - *bytes..].to_vec()).into());
            }
            _ => {}
        }
    }
}
