//! Dates and times as people write them (ISO 8601, RFC 3339).

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Unit as Span};

use super::Datum;
use crate::types::Unit;

/// Days since the epoch.
pub(super) fn date(text: &str) -> Option<i32> {
    let date: Date = text.parse().ok()?;
    let since = date.since((Span::Day, Date::constant(1970, 1, 1))).ok()?;
    Some(since.get_days())
}

/// Whether a count is a time of a day.
pub(super) fn is_of_day(count: i64, unit: Unit) -> bool {
    (0..86_400 * unit.per_second()).contains(&count)
}

/// A time of a day.
pub(super) fn of_day(text: &str, unit: Unit) -> Option<i64> {
    let time: Time = text.parse().ok()?;
    let seconds = i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second());
    Some(
        seconds * unit.per_second() + i64::from(time.subsec_nanosecond()) * unit.per_second() / 1_000_000_000,
    )
}

/// A moment, with its offset; or what a clock showed, without one.
pub(super) fn moment(text: &str, unit: Unit, local: bool) -> Option<i64> {
    let moment: Timestamp = if local {
        let shown: DateTime = text.parse().ok()?;
        TimeZone::UTC.to_timestamp(shown).ok()?
    } else {
        text.parse().ok()?
    };
    Some(match unit {
        Unit::Millis => moment.as_millisecond(),
        Unit::Micros => moment.as_microsecond(),
        // 64 bits of them end in the year 2262.
        Unit::Nanos => i64::try_from(moment.as_nanosecond()).ok()?,
    })
}

/// As columns hold it: milliseconds in 32 bits, others in 64.
pub(super) fn datum(count: i64, unit: Unit) -> Datum {
    match unit {
        Unit::Millis => Datum::Int(i32::try_from(count).unwrap_or(i32::MAX)),
        Unit::Micros | Unit::Nanos => Datum::Long(count),
    }
}
