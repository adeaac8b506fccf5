//! What a name makes of a type: Kafka Connect's logical types, and Debezium's.
//!
//! Debezium's times without a zone are readings of a clock; what it gives as text (`ZonedTimestamp`, intervals, `Json`) stays text, and
//! what has no type elsewhere (`Bits`, `NanoTime`, `Year`) what it is.

use super::{ConnectSchema, Is};
use crate::convert::time::Unit;

pub(super) const DECIMAL: &str = "org.apache.kafka.connect.data.Decimal";
pub(super) const DATE: &str = "org.apache.kafka.connect.data.Date";
pub(super) const TIME: &str = "org.apache.kafka.connect.data.Time";
pub(super) const TIMESTAMP: &str = "org.apache.kafka.connect.data.Timestamp";
pub(super) const MICRO_TIME: &str = "io.debezium.time.MicroTime";
pub(super) const LOCAL_MILLIS: &str = "io.debezium.time.Timestamp";
pub(super) const LOCAL_MICROS: &str = "io.debezium.time.MicroTimestamp";
pub(super) const LOCAL_NANOS: &str = "io.debezium.time.NanoTimestamp";
pub(super) const ZONED: &str = "io.debezium.time.ZonedTimestamp";
pub(super) const UUID: &str = "io.debezium.data.Uuid";

/// The parameter that says where a decimal's point is.
pub(super) const SCALE: &str = "scale";
/// Most digits behind the point that are taken; what has more stays bytes.
const SCALE_MAX: usize = 1_000;

/// See the head of this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Semantics {
    /// The type itself.
    None,
    /// Bytes: a whole number divided by ten to the power of this.
    Decimal(usize),
    /// Days.
    Date,
    /// A time of a day.
    Time(Unit),
    /// An instant.
    Instant(Unit),
    /// A reading of a clock.
    Local(Unit),
    /// Text.
    Uuid,
}

impl Semantics {
    pub(super) fn of(schema: &ConnectSchema) -> Self {
        let Some(name) = schema.name.as_deref() else { return Self::None };
        match (&schema.is, name) {
            (Is::Bytes, DECIMAL) => {
                let scale = schema.parameters.get(SCALE).and_then(|scale| scale.parse().ok());
                scale.filter(|scale| *scale <= SCALE_MAX).map_or(Self::None, Self::Decimal)
            }
            (Is::Int32, DATE | "io.debezium.time.Date") => Self::Date,
            (Is::Int32, TIME | "io.debezium.time.Time") => Self::Time(Unit::Millis),
            (Is::Int64, MICRO_TIME) => Self::Time(Unit::Micros),
            (Is::Int64, TIMESTAMP) => Self::Instant(Unit::Millis),
            (Is::Int64, LOCAL_MILLIS) => Self::Local(Unit::Millis),
            (Is::Int64, LOCAL_MICROS) => Self::Local(Unit::Micros),
            (Is::Int64, LOCAL_NANOS) => Self::Local(Unit::Nanos),
            (Is::String, UUID) => Self::Uuid,
            _ => Self::None,
        }
    }

    /// Avro's name.
    pub(super) fn avro(self) -> Option<&'static str> {
        Some(match self {
            Self::None => return None,
            Self::Decimal(_) => "decimal",
            Self::Date => "date",
            Self::Time(Unit::Millis) => "time-millis",
            Self::Time(_) => "time-micros",
            Self::Instant(Unit::Millis) => "timestamp-millis",
            Self::Instant(Unit::Micros) => "timestamp-micros",
            Self::Instant(Unit::Nanos) => "timestamp-nanos",
            Self::Local(Unit::Millis) => "local-timestamp-millis",
            Self::Local(Unit::Micros) => "local-timestamp-micros",
            Self::Local(Unit::Nanos) => "local-timestamp-nanos",
            Self::Uuid => "uuid",
        })
    }
}
