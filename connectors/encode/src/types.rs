//! What a column can be: the types that Avro, Parquet and Kafka Connect have in common.
//!
//! Rooms: `connect` (schemas in the records' envelope), `avro` (schemas in Avro's JSON), `infer` (from the values themselves).

pub mod avro;
pub mod connect;
pub mod infer;

/// Most digits of a decimal: what 128 bits hold.
pub const PRECISION_MAX: u32 = 38;

/// The type of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// true or false
    Boolean,
    /// 32 bits
    Int,
    /// 64 bits
    Long,
    /// 32 bits, IEEE 754
    Float,
    /// 64 bits, IEEE 754
    Double,
    /// UTF-8
    Text,
    /// Bytes; base64 in JSON.
    Bytes,
    /// An exact number with `scale` digits behind the point.
    Decimal {
        /// Digits altogether.
        precision: u32,
        /// Digits behind the point.
        scale: u32,
    },
    /// Days since the epoch.
    Date,
    /// Time of a day.
    Time(Unit),
    /// A moment; or, if `local`, what a clock on a wall showed.
    Timestamp {
        /// What is counted.
        unit: Unit,
        /// Whether it belongs to no time zone.
        local: bool,
    },
    /// Values of one type.
    List(Box<Slot>),
    /// Values of one type by text.
    Map(Box<Slot>),
    /// Named values.
    Struct(Vec<Field>),
}

/// What a time counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Milliseconds
    Millis,
    /// Microseconds
    Micros,
    /// Nanoseconds
    Nanos,
}

impl Unit {
    /// How many a second has.
    pub fn per_second(self) -> i64 {
        match self {
            Self::Millis => 1_000,
            Self::Micros => 1_000_000,
            Self::Nanos => 1_000_000_000,
        }
    }
}

/// A place for a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// What may stand in it.
    pub ty: Type,
    /// Whether nothing may.
    pub optional: bool,
}

/// A named place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// The place.
    pub slot: Slot,
}

/// What rows of a file are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// The record's name.
    pub name: String,
    /// Its columns.
    pub fields: Vec<Field>,
}

impl Schema {
    /// Columns of a type that is a struct.
    pub fn of(name: &str, ty: Type) -> Result<Self, String> {
        match ty {
            Type::Struct(fields) if fields.is_empty() => {
                Err("a record without fields has no columns".to_owned())
            }
            Type::Struct(fields) => Ok(Self { name: name.to_owned(), fields }),
            _ => Err("rows are made of objects; this value is none".to_owned()),
        }
    }
}
