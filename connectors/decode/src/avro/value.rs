//! Values as they stand in a block.

use millrace_connector_encode::datum::{Datum, decimal};
use millrace_connector_encode::types::{Field, Schema, Slot, Type};

use super::schema::Node;
use crate::row::VALUES_MAX;

/// Reads from the front of some bytes.
pub(super) struct Values<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Values of the row so far.
    count: usize,
}

impl<'a> Values<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, count: 0 }
    }

    /// Bytes that were read.
    pub(super) fn read(&self) -> usize {
        self.at
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or("it ends within a value")?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| "it ends within a value".to_owned())
    }

    /// Zigzag, seven bits at a time.
    pub(super) fn long(&mut self) -> Result<i64, String> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err("a number of more than 64 bits".to_owned())
    }

    /// Bytes behind their length.
    pub(super) fn counted(&mut self) -> Result<&'a [u8], String> {
        let length = self.long()?;
        self.take(usize::try_from(length).map_err(|_| "a length below zero or beyond memory".to_owned())?)
    }

    fn text(&mut self) -> Result<String, String> {
        let bytes = self.counted()?;
        String::from_utf8(bytes.to_vec()).map_err(|_| "text that is not UTF-8".to_owned())
    }

    /// A row of these columns.
    pub(super) fn row(&mut self, nodes: &[Node], schema: &Schema) -> Result<Vec<Datum>, String> {
        self.count = 0;
        self.fields(nodes, &schema.fields)
    }

    fn fields(&mut self, nodes: &[Node], fields: &[Field]) -> Result<Vec<Datum>, String> {
        let value = |(node, field): (&Node, &Field)| {
            self.value(node, &field.slot).map_err(|why| format!("{}: {why}", field.name))
        };
        nodes.iter().zip(fields).map(value).collect()
    }

    fn value(&mut self, node: &Node, slot: &Slot) -> Result<Datum, String> {
        self.count += 1;
        if self.count > VALUES_MAX {
            return Err(format!("more than {VALUES_MAX} values in one row"));
        }
        Ok(match (node, &slot.ty) {
            (Node::Optional(null, node), _) => match self.long()? {
                branch if branch == *null => Datum::Null,
                branch if branch == 1 - null => self.value(node, slot)?,
                _ => return Err("a union has no such branch".to_owned()),
            },
            (Node::Only(node), _) => match self.long()? {
                0 => self.value(node, slot)?,
                _ => return Err("a union has no such branch".to_owned()),
            },
            (Node::Boolean, _) => match self.array()? {
                [0] => Datum::Boolean(false),
                [1] => Datum::Boolean(true),
                _ => return Err("a boolean is neither 0 nor 1".to_owned()),
            },
            (Node::Int, _) => {
                Datum::Int(i32::try_from(self.long()?).map_err(|_| "an int of more than 32 bits".to_owned())?)
            }
            (Node::Long, _) => Datum::Long(self.long()?),
            (Node::Float, _) => Datum::Float(f32::from_le_bytes(self.array()?)),
            (Node::Double, _) => Datum::Double(f64::from_le_bytes(self.array()?)),
            (Node::Bytes, _) => Datum::Bytes(self.counted()?.to_vec()),
            (Node::Text, _) => Datum::Text(self.text()?),
            (Node::Fixed(size), _) => Datum::Bytes(self.take(*size)?.to_vec()),
            (Node::Uuid, _) => Datum::Text(crate::row::uuid(&self.array()?)),
            (Node::Duration, _) => {
                let mut part = || self.array().map(|bytes| Datum::Long(u32::from_le_bytes(bytes).into()));
                Datum::Struct(vec![part()?, part()?, part()?])
            }
            (Node::Enum(symbols), _) => {
                let symbol = usize::try_from(self.long()?).ok().and_then(|at| symbols.get(at));
                Datum::Text(symbol.ok_or("an enum has no such symbol")?.clone())
            }
            (Node::Decimal, Type::Decimal { precision, .. }) => digits(self.counted()?, *precision)?,
            (Node::FixedDecimal(size), Type::Decimal { precision, .. }) => {
                digits(self.take(*size)?, *precision)?
            }
            (Node::List(node), Type::List(element)) => {
                let mut values = Vec::new();
                self.blocks(|read| {
                    values.push(read.value(node, element)?);
                    Ok(())
                })?;
                Datum::List(values)
            }
            (Node::Map(node), Type::Map(of)) => {
                let mut entries = Vec::new();
                self.blocks(|read| {
                    entries.push((read.text()?, read.value(node, of)?));
                    Ok(())
                })?;
                Datum::Map(entries)
            }
            (Node::Struct(nodes), Type::Struct(fields)) => Datum::Struct(self.fields(nodes, fields)?),
            // Both were made together.
            _ => return Err("a value of another type than its column".to_owned()),
        })
    }

    /// Blocks of items, each with its count; a negative count is followed by the block's size in bytes.
    fn blocks(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), String>) -> Result<(), String> {
        loop {
            let count = self.long()?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                self.long()?;
            }
            // Each has a byte at least, and their number a limit.
            for _ in 0..count.unsigned_abs() {
                item(self)?;
            }
        }
    }
}

/// A decimal's digits, if there are no more of them than the schema says.
pub(crate) fn digits(bytes: &[u8], precision: u32) -> Result<Datum, String> {
    let digits = if bytes.is_empty() { Some(0) } else { decimal::unscaled(bytes) };
    let digits = digits.filter(|digits| decimal::fits(*digits, precision));
    digits.map(Datum::Decimal).ok_or_else(|| format!("a decimal of more than {precision} digits"))
}
