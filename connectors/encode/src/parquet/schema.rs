//! Our types as Parquet's: physical types with logical ones over them (format 2.4 and later), lists and maps in three levels.

use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::errors::ParquetError;
use parquet::schema::types::Type as Node;

use crate::types::{Schema, Slot, Type, Unit};

/// Decimals of up to so many digits are 64-bit integers; longer ones are 16 bytes.
pub(super) const LONG_DIGITS_MAX: u32 = 18;

/// The root of a file's schema.
pub(super) fn of(schema: &Schema) -> Result<Node, ParquetError> {
    let fields: Result<Vec<_>, _> =
        schema.fields.iter().map(|field| node(&field.name, &field.slot).map(Arc::new)).collect();
    Node::group_type_builder(&schema.name).with_fields(fields?).build()
}

fn unit(unit: Unit) -> TimeUnit {
    match unit {
        Unit::Millis => TimeUnit::MILLIS,
        Unit::Micros => TimeUnit::MICROS,
        Unit::Nanos => TimeUnit::NANOS,
    }
}

fn node(name: &str, slot: &Slot) -> Result<Node, ParquetError> {
    let repetition = if slot.optional { Repetition::OPTIONAL } else { Repetition::REQUIRED };
    let group = |fields: Vec<Node>, logical: Option<LogicalType>, repetition: Repetition, name: &str| {
        let fields = fields.into_iter().map(Arc::new).collect();
        let builder = Node::group_type_builder(name).with_fields(fields).with_repetition(repetition);
        builder.with_logical_type(logical).build()
    };
    let leaf = |physical: Physical, logical: Option<LogicalType>| {
        Node::primitive_type_builder(name, physical)
            .with_repetition(repetition)
            .with_logical_type(logical)
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
            let (physical, length) = match *precision <= LONG_DIGITS_MAX {
                true => (Physical::INT64, -1),
                false => (Physical::FIXED_LEN_BYTE_ARRAY, 16),
            };
            Node::primitive_type_builder(name, physical)
                .with_repetition(repetition)
                .with_length(length)
                .with_precision(digits)
                .with_scale(behind)
                .with_logical_type(Some(LogicalType::decimal(behind, digits)))
                .build()
        }
        Type::List(element) => {
            let inner = group(vec![node("element", element)?], None, Repetition::REPEATED, "list")?;
            group(vec![inner], Some(LogicalType::List), repetition, name)
        }
        Type::Map(values) => {
            let key = node("key", &Slot { ty: Type::Text, optional: false })?;
            let inner = group(vec![key, node("value", values)?], None, Repetition::REPEATED, "key_value")?;
            group(vec![inner], Some(LogicalType::Map), repetition, name)
        }
        Type::Struct(fields) => {
            let fields: Result<Vec<_>, _> =
                fields.iter().map(|field| node(&field.name, &field.slot)).collect();
            group(fields?, None, repetition, name)
        }
    }
}
