//! Avro records to JSON and back, without a tree in between: one pass over the bytes, guided by the schema.
//!
//! | Avro | JSON |
//! |---|---|
//! | null, boolean, int, long, string, array, map, record, enum | as one expects |
//! | float, double | a number; `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | bytes, fixed | text in base64 |
//! | decimal | text (`"12.34"`), or a number if the pipeline says so |
//! | uuid | text |
//! | date, time, timestamp | ISO 8601 text; a number where it is no time of a day |
//! | duration | `{"months":1,"days":2,"millis":3}` |
//! | a union of null and one other type | null or the other |
//! | any other union | `{"<type>": value}` as in Avro's own JSON encoding, or null |
//!
//! Limits: [`DEPTH_MAX`] levels, [`super::JSON_BYTES_MAX`] of JSON. A schema that contains itself, and a count of things without
//! bytes, end there.

mod read;
#[cfg(test)]
mod tests;
mod write;

use millrace_schema::avro::{Avro, Type, TypeId};

pub(super) use read::to_json;
pub(super) use write::from_json;

use super::Bad;

/// Deepest nesting of a record.
const DEPTH_MAX: usize = 64;

/// Types of a union other than null.
fn branches(schema: &Avro, variants: &[TypeId]) -> usize {
    variants.iter().filter(|variant| !matches!(schema.get(**variant), Type::Null)).count()
}

/// What a branch of a union is called in Avro's JSON encoding.
pub(super) fn branch_name(of: &Type) -> &str {
    match of {
        Type::Null => "null",
        Type::Boolean => "boolean",
        Type::Int(_) => "int",
        Type::Long(_) => "long",
        Type::Float => "float",
        Type::Double => "double",
        Type::Bytes(_) => "bytes",
        Type::String(_) => "string",
        Type::Array(_) => "array",
        Type::Map(_) => "map",
        Type::Union(_) => "union",
        Type::Fixed(of) => &of.names.full,
        Type::Enum(of) => &of.names.full,
        Type::Record(of) => &of.names.full,
    }
}

fn check_depth(depth: usize) -> Result<(), Bad> {
    if depth > DEPTH_MAX { Err(Bad::new(format!("nested more than {DEPTH_MAX} levels"))) } else { Ok(()) }
}
