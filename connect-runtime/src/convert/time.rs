//! Dates and times as text: ISO 8601 over the whole range of Avro's types, so that none is lost.
//!
//! Years from 0000 to 9999 have four digits, others a sign and at least six (`+012345`, `-000001`), as in ISO 8601's expanded
//! form. The calendar is the proleptic Gregorian one. Days to dates after Howard Hinnant's `chrono` algorithms.

use std::io::Write;

const DAY_SECONDS: i64 = 86_400;

/// Parts of a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Thousandths.
    Millis,
    /// Millionths.
    Micros,
    /// Billionths.
    Nanos,
}

impl Unit {
    fn per_second(self) -> i64 {
        match self {
            Self::Millis => 1_000,
            Self::Micros => 1_000_000,
            Self::Nanos => 1_000_000_000,
        }
    }

    fn digits(self) -> usize {
        match self {
            Self::Millis => 3,
            Self::Micros => 6,
            Self::Nanos => 9,
        }
    }
}

/// `2026-01-31`.
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
pub(super) fn put_time(value: i64, unit: Unit, out: &mut Vec<u8>) -> bool {
    let (seconds, part) = (value.div_euclid(unit.per_second()), value.rem_euclid(unit.per_second()));
    if !(0..DAY_SECONDS).contains(&seconds) {
        return false;
    }
    let (hours, minutes, digits) = (seconds / 3_600, seconds / 60 % 60, unit.digits());
    let _ = write!(out, "{hours:02}:{minutes:02}:{:02}.{part:0digits$}", seconds % 60);
    true
}

/// `2026-01-31T12:34:56.789`.
pub(super) fn put_timestamp(value: i64, unit: Unit, out: &mut Vec<u8>) {
    let per_day = DAY_SECONDS * unit.per_second();
    put_date(value.div_euclid(per_day), out);
    out.push(b'T');
    put_time(value.rem_euclid(per_day), unit, out);
}

/// The reverse of [`put_date`]; none: something else.
pub(super) fn date(text: &str) -> Option<i64> {
    let (days, rest) = leading_date(text)?;
    rest.is_empty().then_some(days)
}

/// The reverse of [`put_time`]; seconds and fractions may be missing, but no digit is cut off.
pub(super) fn time(text: &str, unit: Unit) -> Option<i64> {
    let (value, rest) = leading_time(text, unit)?;
    rest.is_empty().then_some(i64::try_from(value).ok()?)
}

/// The reverse of [`put_timestamp`]. `zoned`: `Z` or an offset such as `+01:00` has to follow; else nothing may.
pub(super) fn timestamp(text: &str, unit: Unit, zoned: bool) -> Option<i64> {
    let (days, rest) = leading_date(text)?;
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (time, zone) = leading_time(rest, unit)?;
    let offset_seconds = match (zone, zoned) {
        ("Z" | "z", true) | ("", false) => 0,
        (zone, true) => {
            let (sign, rest) = match zone.split_at_checked(1)? {
                ("+", rest) => (1, rest),
                ("-", rest) => (-1, rest),
                _ => return None,
            };
            let (hours, minutes) = rest.split_once(':').or_else(|| rest.split_at_checked(2))?;
            let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            sign * (hours * 3_600 + minutes * 60)
        }
        _ => return None,
    };
    let per_second = i128::from(unit.per_second());
    let seconds = i128::from(days) * i128::from(DAY_SECONDS) - i128::from(offset_seconds);
    i64::try_from(seconds * per_second + time).ok()
}

fn leading_date(text: &str) -> Option<(i64, &str)> {
    let (sign, unsigned) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => (0, text),
    };
    let (year, rest) = unsigned.split_once('-')?;
    // Without a sign four digits, with one six or more; no more than i64 has room for.
    let well_formed = if sign == 0 { year.len() == 4 } else { (6..=12).contains(&year.len()) };
    if !well_formed {
        return None;
    }
    let year = digits(year, year.len())? * if sign < 0 { -1 } else { 1 };
    let (month, rest) = rest.split_once('-')?;
    let (day, rest) = rest.split_at_checked(2)?;
    let (month, day) = (digits(month, 2)?, digits(day, 2)?);
    let days = days_of(year, month, day);
    // A day that the month doesn't have gives another date back.
    (civil(days) == (year, month, day)).then_some((days, rest))
}

fn leading_time(text: &str, unit: Unit) -> Option<(i128, &str)> {
    let (hours, rest) = text.split_at_checked(2)?;
    let (minutes, rest) = rest.strip_prefix(':')?.split_at_checked(2)?;
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    let (mut seconds, mut part, mut rest) = (0, 0, rest);
    if let Some(after) = rest.strip_prefix(':') {
        let (text, after) = after.split_at_checked(2)?;
        seconds = digits(text, 2)?;
        rest = after;
        if let Some(after) = rest.strip_prefix(['.', ',']) {
            let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
            let (fraction, after) = after.split_at(end);
            let kept = fraction.len().min(unit.digits());
            if fraction.is_empty() || fraction[kept..].bytes().any(|digit| digit != b'0') {
                return None;
            }
            part = digits(&fraction[..kept], kept)? * 10_i64.pow((unit.digits() - kept) as u32);
            rest = after;
        }
    }
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let whole = i128::from(hours * 3_600 + minutes * 60 + seconds);
    Some((whole * i128::from(unit.per_second()) + i128::from(part), rest))
}

/// So many digits, and nothing else.
fn digits(text: &str, count: usize) -> Option<i64> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Days since 1970 to year, month and day (Howard Hinnant, "chrono-compatible low-level date algorithms").
pub fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The reverse of [`civil`].
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(put: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        put(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn known_dates() {
        for (days, text) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (19_782, "2024-02-29"),
            (-719_528, "0000-01-01"),
            (-719_529, "-000001-12-31"),
            (2_932_897, "+010000-01-01"),
        ] {
            assert_eq!(shown(|out| put_date(days, out)), text);
            assert_eq!(date(text), Some(days));
        }
        let stamp = |value| shown(|out| put_timestamp(value, Unit::Millis, out));
        assert_eq!(stamp(-1), "1969-12-31T23:59:59.999");
        assert_eq!(
            timestamp("2026-01-31T12:34:56.789+01:00", Unit::Millis, true),
            timestamp("2026-01-31T11:34:56.789Z", Unit::Millis, true)
        );
        assert_eq!(timestamp("1970-01-01 00:00Z", Unit::Micros, true), Some(0));
        assert_eq!(time("01:02:03.5", Unit::Nanos), Some(3_723_500_000_000));
    }

    #[test]
    fn what_is_no_date_is_refused_and_no_digit_is_lost() {
        for text in [
            "",
            "-",
            "2026",
            "2026-02-30",
            "2026-13-01",
            "2026-1-01",
            "+2026-01-01",
            "20260101",
            "2026-01-01x",
            "９999-01-01",
            "-99999999999999-01-01",
        ] {
            assert_eq!(date(text), None, "{text}");
        }
        for text in ["", "24:00:00", "1:00:00", "12:60", "12:00:00.", "12:00:00.0001", "12:00:60"] {
            assert_eq!(time(text, Unit::Millis), None, "{text}");
        }
        assert_eq!(timestamp("2026-01-31T12:34:56.789", Unit::Millis, true), None, "an instant needs a zone");
        assert_eq!(timestamp("2026-01-31T12:34:56.789Z", Unit::Millis, false), None);
        assert_eq!(timestamp("+999999999999-01-01T00:00:00Z", Unit::Nanos, true), None);
        assert!(
            !put_time(-1, Unit::Millis, &mut Vec::new())
                && !put_time(86_400_000, Unit::Millis, &mut Vec::new())
        );
    }

    proptest! {
        #[test]
        fn every_value_comes_back(value in any::<i64>(), days in any::<i32>()) {
            for unit in [Unit::Millis, Unit::Micros, Unit::Nanos] {
                let text = shown(|out| put_timestamp(value, unit, out));
                prop_assert_eq!(timestamp(&text, unit, false), Some(value), "{}", text);
                prop_assert_eq!(timestamp(&format!("{text}Z"), unit, true), Some(value));
            }
            prop_assert_eq!(date(&shown(|out| put_date(days.into(), out))), Some(days.into()));
        }

        #[test]
        fn any_text_is_taken_calmly(text in "[-+0-9T:.Z ]{0,40}|\\PC{0,20}") {
            let _ = (date(&text), time(&text, Unit::Nanos), timestamp(&text, Unit::Millis, true));
        }
    }
}
