//! Dates and times as text (ISO 8601), over the whole range of the types, so that none is lost. Years from 0000 to 9999 have four digits, others
//! a sign and at least six.

use std::io::Write;

use millrace_connector_encode::types::Unit;
use millrace_sdk::calendar::civil;

const DAY_SECONDS: i64 = 86_400;

fn digits(unit: Unit) -> usize {
    match unit {
        Unit::Millis => 3,
        Unit::Micros => 6,
        Unit::Nanos => 9,
    }
}

/// `2026-01-31`
pub(super) fn put_date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = civil(days);
    // Writing to a Vec doesn't fail.
    let _ = match year {
        0..=9_999 => write!(out, "{year:04}"),
        _ => write!(out, "{year:+07}"),
    };
    let _ = write!(out, "-{month:02}-{day:02}");
}

/// `12:34:56.789`; false, and nothing written, for what is no time of a day.
pub(super) fn put_time(count: i64, unit: Unit, out: &mut Vec<u8>) -> bool {
    let (seconds, part) = (count.div_euclid(unit.per_second()), count.rem_euclid(unit.per_second()));
    if !(0..DAY_SECONDS).contains(&seconds) {
        return false;
    }
    let (hours, minutes, width) = (seconds / 3_600, seconds / 60 % 60, digits(unit));
    let _ = write!(out, "{hours:02}:{minutes:02}:{:02}.{part:0width$}", seconds % 60);
    true
}

/// `2026-01-31T12:34:56.789`
pub(super) fn put_timestamp(count: i64, unit: Unit, out: &mut Vec<u8>) {
    let per_day = DAY_SECONDS * unit.per_second();
    put_date(count.div_euclid(per_day), out);
    out.push(b'T');
    put_time(count.rem_euclid(per_day), unit, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(put: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        put(&mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn moments_are_written_to_the_last_digit() {
        let timestamp = |count, unit| text(|out| put_timestamp(count, unit, out));
        assert_eq!(timestamp(0, Unit::Millis), "1970-01-01T00:00:00.000");
        assert_eq!(timestamp(-1, Unit::Nanos), "1969-12-31T23:59:59.999999999");
        assert_eq!(timestamp(1_795_766_400_000_001, Unit::Micros), "2026-11-27T08:00:00.000001");
        assert_eq!(timestamp(951_782_400_000, Unit::Millis), "2000-02-29T00:00:00.000");
        for extreme in [i64::MIN, i64::MAX] {
            for unit in [Unit::Millis, Unit::Micros, Unit::Nanos] {
                assert!(timestamp(extreme, unit).contains('T'));
            }
        }
        assert_eq!(text(|out| put_date(i64::from(i32::MAX), out)), "+5881580-07-11");
        assert_eq!(text(|out| assert!(put_time(86_399_999, Unit::Millis, out))), "23:59:59.999");
        assert_eq!(text(|out| assert!(!put_time(86_400_000, Unit::Millis, out))), "");
    }
}
