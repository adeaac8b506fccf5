//! Levels and values put together again into rows, the reverse of what the writer does.
//!
//! A value that its type doesn't have (text that is not UTF-8) spoils its row; levels that don't fit the schema spoil the file.

use std::ops::Range;

use millrace_connector_encode::datum::Datum;
use parquet::data_type::{AsBytes, Int96};

use super::column::{Column, Values};
use crate::avro::digits;
use crate::row::{VALUES_MAX, uuid};

/// A place in the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// The level from which on something is there.
    pub(super) def: i16,
    /// The columns of it.
    pub(super) leaves: Range<usize>,
    pub(super) shape: Shape,
}

/// What is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Leaf(Leaf),
    Struct(Vec<Node>),
    List {
        /// The level from which on there is an entry.
        entry: i16,
        /// The repetition level of entries behind the first.
        rep: i16,
        element: Box<Node>,
    },
    /// Keys are text.
    Map {
        entry: i16,
        rep: i16,
        key: Box<Node>,
        value: Box<Node>,
    },
}

/// How a column's values are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaf {
    Boolean,
    Int,
    /// 32 bits without a sign
    UnsignedInt,
    Long,
    /// 64 bits without a sign
    UnsignedLong,
    /// A day, and nanoseconds in it
    Moment96,
    Float,
    Double,
    /// A float in two bytes
    Half,
    Text,
    Uuid,
    Bytes,
    Decimal {
        precision: u32,
    },
}

const JULIAN_DAY_OF_EPOCH: i64 = 2_440_588;
const DAY_NANOS: i64 = 86_400_000_000_000;

/// Goes through the next row of some columns.
pub(super) struct Walk<'c> {
    columns: &'c mut [Column],
    bad: Option<String>,
    count: usize,
}

impl<'c> Walk<'c> {
    pub(super) fn new(columns: &'c mut [Column]) -> Self {
        Self { columns, bad: None, count: 0 }
    }

    /// What is wrong with a value of the row.
    pub(super) fn bad(self) -> Option<String> {
        self.bad
    }

    /// The next row.
    pub(super) fn row(&mut self, nodes: &[Node]) -> Result<Vec<Datum>, String> {
        nodes.iter().map(|node| self.value(node)).collect()
    }

    fn def(&self, node: &Node) -> Result<i16, String> {
        self.columns.get(node.leaves.start).ok_or("a structure without columns")?.def()
    }

    /// Passes over what isn't there: each column has an entry that says so.
    fn pass(&mut self, node: &Node) -> Result<(), String> {
        let columns = self.columns.get_mut(node.leaves.clone()).ok_or("a column that is missing")?;
        columns.iter_mut().try_for_each(Column::pass)
    }

    fn value(&mut self, node: &Node) -> Result<Datum, String> {
        self.count += 1;
        if self.count > VALUES_MAX {
            return Err(format!("more than {VALUES_MAX} values in one row"));
        }
        let def = self.def(node)?;
        if let Shape::Leaf(leaf) = node.shape {
            return self.leaf(node, leaf);
        }
        if def < node.def {
            self.pass(node)?;
            return Ok(Datum::Null);
        }
        Ok(match &node.shape {
            Shape::Leaf(_) => Datum::Null,
            Shape::Struct(fields) => {
                Datum::Struct(fields.iter().map(|field| self.value(field)).collect::<Result<_, _>>()?)
            }
            Shape::List { entry, rep, element } => {
                let mut values = Vec::new();
                self.entries(node, def >= *entry, *rep, |walk| {
                    values.push(walk.value(element)?);
                    Ok(())
                })?;
                Datum::List(values)
            }
            Shape::Map { entry, rep, key, value } => {
                let mut entries = Vec::new();
                self.entries(node, def >= *entry, *rep, |walk| {
                    let key = walk.value(key)?;
                    let value = walk.value(value)?;
                    match key {
                        Datum::Text(key) => entries.push((key, value)),
                        _ => walk.spoil("a map with an entry without a key".to_owned()),
                    }
                    Ok(())
                })?;
                Datum::Map(entries)
            }
        })
    }

    fn entries(
        &mut self,
        node: &Node,
        any: bool,
        rep: i16,
        mut entry: impl FnMut(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        if !any {
            return self.pass(node);
        }
        loop {
            entry(self)?;
            if self.columns[node.leaves.start].rep() != Some(rep) {
                return Ok(());
            }
        }
    }

    fn spoil(&mut self, why: String) {
        self.bad.get_or_insert(why);
    }

    fn leaf(&mut self, node: &Node, leaf: Leaf) -> Result<Datum, String> {
        let column = &mut self.columns[node.leaves.start];
        let Some(at) = column.take()? else { return Ok(Datum::Null) };
        let made = datum(column.values(), at, leaf).ok_or("a column has fewer values than it says")?;
        Ok(made.unwrap_or_else(|why| {
            self.spoil(why);
            Datum::Null
        }))
    }
}

/// None: there is no such value. An error: it is none of its type.
fn datum(values: &Values, at: usize, leaf: Leaf) -> Option<Result<Datum, String>> {
    Some(match (values, leaf) {
        (Values::Boolean(values), _) => Ok(Datum::Boolean(*values.get(at)?)),
        (Values::Int(values), Leaf::UnsignedInt) => Ok(Datum::Long((*values.get(at)? as u32).into())),
        (Values::Int(values), Leaf::Decimal { precision }) => {
            digits(&values.get(at)?.to_be_bytes(), precision)
        }
        (Values::Int(values), _) => Ok(Datum::Int(*values.get(at)?)),
        (Values::Long(values), Leaf::UnsignedLong) => match *values.get(at)? {
            value if value < 0 => Err(format!("{} has more than 63 bits", value as u64)),
            value => Ok(Datum::Long(value)),
        },
        (Values::Long(values), Leaf::Decimal { precision }) => {
            digits(&values.get(at)?.to_be_bytes(), precision)
        }
        (Values::Long(values), _) => Ok(Datum::Long(*values.get(at)?)),
        (Values::Int96(values), _) => moment(values.get(at)?),
        (Values::Float(values), _) => Ok(Datum::Float(*values.get(at)?)),
        (Values::Double(values), _) => Ok(Datum::Double(*values.get(at)?)),
        (Values::Bytes(values), leaf) => bytes(values.get(at)?.as_bytes(), leaf),
        (Values::Fixed(values), leaf) => bytes(values.get(at)?.as_bytes(), leaf),
    })
}

fn bytes(bytes: &[u8], leaf: Leaf) -> Result<Datum, String> {
    match leaf {
        Leaf::Text => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Datum::Text(text.to_owned())),
            Err(_) => Err("text that is not UTF-8".to_owned()),
        },
        Leaf::Decimal { precision } => digits(bytes, precision),
        Leaf::Uuid => match bytes.try_into() {
            Ok(whole) => Ok(Datum::Text(uuid(whole))),
            Err(_) => Err("a UUID of another length than 16 bytes".to_owned()),
        },
        Leaf::Half => match bytes.try_into() {
            Ok(two) => Ok(Datum::Float(half(u16::from_le_bytes(two)))),
            Err(_) => Err("half a float of another length than 2 bytes".to_owned()),
        },
        _ => Ok(Datum::Bytes(bytes.to_vec())),
    }
}

/// A day, and nanoseconds in it, as Impala and Spark wrote moments once.
fn moment(value: &Int96) -> Result<Datum, String> {
    let [low, high, day] = value.data() else { return Err("a moment without a day".to_owned()) };
    let nanos = (i64::from(*high) << 32) | i64::from(*low);
    let day = i64::from(*day) - JULIAN_DAY_OF_EPOCH;
    let whole = day.checked_mul(DAY_NANOS).and_then(|start| start.checked_add(nanos));
    whole.map(Datum::Long).ok_or_else(|| "a moment before 1677 or after 2262".to_owned())
}

/// IEEE 754 binary16.
fn half(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f32::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2_f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        exponent => (1.0 + fraction / 1024.0) * 2_f32.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_and_old_moments() {
        for (bits, value) in [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_95),
            (1, 5.960_464_5e-8),
            (0x7c00, f32::INFINITY),
        ] {
            assert_eq!(half(bits), value, "{bits:x}");
        }
        assert!(half(0x7e00).is_nan());
        let mut old = Int96::new();
        old.set_data(1_000_000_000, 0, 2_440_589);
        assert_eq!(moment(&old), Ok(Datum::Long(DAY_NANOS + 1_000_000_000)));
        old.set_data(0, 0, u32::MAX);
        assert!(moment(&old).is_err());
    }
}
