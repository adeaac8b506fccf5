//! Our types as Parquet's: physical types with logical ones over them (format 2.4 and later), lists and maps in three levels.

use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::errors::ParquetError;
use parquet::schema::types::Type as Node;

use crate::types::{Schema, Slot, Type, Unit};

/// Decimals of up to so many digits are 32-bit integers.
pub(super) const INT_DIGITS_MAX: u32 = 9;
/// Of up to so many, 64-bit integers; longer ones have as many bytes as they need.
pub(super) const LONG_DIGITS_MAX: u32 = 18;

/// The root of a file's schema. Columns have the given ids, if any, in the order of the schema: each before what is in it.
pub(super) fn of(schema: &Schema, ids: &[i32]) -> Result<Node, ParquetError> {
    let mut ids = ids.iter().copied();
    let fields: Result<Vec<_>, _> =
        schema.fields.iter().map(|field| node(&field.name, &field.slot, &mut ids).map(Arc::new)).collect();
    Node::group_type_builder(&schema.name).with_fields(fields?).build()
}

/// The fewest bytes that hold every number of so many digits, and its sign.
pub(super) fn decimal_bytes(precision: u32) -> usize {
    let most = 10_i128.checked_pow(precision).map_or(i128::MAX, |power| power - 1);
    // One bit more for the sign.
    ((i128::BITS - most.leading_zeros() + 1).div_ceil(8)) as usize
}

fn unit(unit: Unit) -> TimeUnit {
    match unit {
        Unit::Millis => TimeUnit::MILLIS,
        Unit::Micros => TimeUnit::MICROS,
        Unit::Nanos => TimeUnit::NANOS,
    }
}

fn node(name: &str, slot: &Slot, ids: &mut impl Iterator<Item = i32>) -> Result<Node, ParquetError> {
    let id = ids.next();
    let repetition = if slot.optional { Repetition::OPTIONAL } else { Repetition::REQUIRED };
    let group = |fields: Vec<Node>, logical: Option<LogicalType>| {
        let fields = fields.into_iter().map(Arc::new).collect();
        let builder = Node::group_type_builder(name).with_fields(fields).with_repetition(repetition);
        builder.with_logical_type(logical).with_id(id).build()
    };
    // The level between a list or a map and what is in it has no id.
    let repeated = |name: &str, fields: Vec<Node>| {
        let fields = fields.into_iter().map(Arc::new).collect();
        Node::group_type_builder(name).with_fields(fields).with_repetition(Repetition::REPEATED).build()
    };
    let leaf = |physical: Physical, logical: Option<LogicalType>| {
        Node::primitive_type_builder(name, physical)
            .with_repetition(repetition)
            .with_logical_type(logical)
            .with_id(id)
            .build()
    };
    match &slot.ty {
        Type::Boolean => leaf(Physical::BOOLEAN, None),
        Type::Int => leaf(Physical::INT32, None),
        Type::Long => leaf(Physical::INT64, None),
        Type::Float => leaf(Physical::FLOAT, None),
        Type::Double => leaf(Physical::DOUBLE, None),
        Type::Text => leaf(Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Type::Bytes => leaf(Physical::BYTE_ARRAY, None),
        Type::Date => leaf(Physical::INT32, Some(LogicalType::Date)),
        Type::Time(of) => {
            let physical = if *of == Unit::Millis { Physical::INT32 } else { Physical::INT64 };
            leaf(physical, Some(LogicalType::time(false, unit(*of))))
        }
        Type::Timestamp { unit: of, local } => {
            leaf(Physical::INT64, Some(LogicalType::timestamp(!local, unit(*of))))
        }
        Type::Decimal { precision, scale } => {
            let (digits, behind) = (i32::try_from(*precision)?, i32::try_from(*scale)?);
            let (physical, length) = match *precision {
                few if few <= INT_DIGITS_MAX => (Physical::INT32, -1),
                some if some <= LONG_DIGITS_MAX => (Physical::INT64, -1),
                more => (Physical::FIXED_LEN_BYTE_ARRAY, i32::try_from(decimal_bytes(more))?),
            };
            Node::primitive_type_builder(name, physical)
                .with_repetition(repetition)
                .with_length(length)
                .with_precision(digits)
                .with_scale(behind)
                .with_logical_type(Some(LogicalType::decimal(behind, digits)))
                .with_id(id)
                .build()
        }
        Type::List(element) => {
            let inner = repeated("list", vec![node("element", element, ids)?])?;
            group(vec![inner], Some(LogicalType::List))
        }
        Type::Map(values) => {
            let key = node("key", &Slot { ty: Type::Text, optional: false }, ids)?;
            let inner = repeated("key_value", vec![key, node("value", values, ids)?])?;
            group(vec![inner], Some(LogicalType::Map))
        }
        Type::Struct(fields) => {
            let fields: Result<Vec<_>, _> =
                fields.iter().map(|field| node(&field.name, &field.slot, ids)).collect();
            group(fields?, None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_have_as_many_bytes_as_they_need() {
        for (precision, bytes) in
            [(1, 1), (2, 1), (3, 2), (9, 4), (18, 8), (19, 9), (20, 9), (21, 9), (22, 10), (38, 16)]
        {
            assert_eq!(decimal_bytes(precision), bytes, "{precision} digits");
        }
    }
}
