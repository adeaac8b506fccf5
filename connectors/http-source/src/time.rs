//! Moments in UTC, as milliseconds since 1970.

use millrace_sdk::calendar::civil;
use serde::Deserialize;

const DAY_MS: i64 = 86_400_000;

/// How a moment is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub enum Format {
    /// 2026-01-01T06:00:00Z
    #[default]
    #[serde(rename = "rfc3339")]
    Rfc3339,
    /// Seconds since 1970.
    #[serde(rename = "unix")]
    Unix,
    /// Milliseconds since 1970.
    #[serde(rename = "unix_ms")]
    UnixMs,
}

/// `2026-01-01` or `2026-01-01T06:00:00Z`.
pub fn parse(text: &str) -> Option<i64> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, time.strip_suffix('Z')?),
        None => (text, "00:00:00"),
    };
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let fits = (1..=12).contains(&month) && hour < 24 && minute < 60 && second < 60;
    let days = days(year, month, day);
    // A day that the month doesn't have comes back as another one.
    let is_there = fits && civil(days) == (year, month, day);
    is_there.then(|| days * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1000)
}

/// Exactly three numbers of so many digits.
fn numbers(text: &str, between: char, digits: [usize; 3]) -> Option<[i64; 3]> {
    let parts: Vec<&str> = text.split(between).collect();
    let all: Vec<i64> = parts
        .iter()
        .zip(digits)
        .filter(|(part, digits)| part.len() == *digits && part.bytes().all(|byte| byte.is_ascii_digit()))
        .filter_map(|(part, _)| part.parse().ok())
        .collect();
    all.try_into().ok().filter(|_| parts.len() == 3)
}

/// A moment in this format.
pub fn write(moment_ms: i64, format: Format) -> String {
    match format {
        Format::Unix => moment_ms.div_euclid(1000).to_string(),
        Format::UnixMs => moment_ms.to_string(),
        Format::Rfc3339 => {
            let (year, month, day) = civil(moment_ms.div_euclid(DAY_MS));
            let rest = moment_ms.rem_euclid(DAY_MS);
            let (seconds, millis) = (rest / 1000, rest % 1000);
            let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            let part = if millis == 0 { String::new() } else { format!(".{millis:03}") };
            format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{part}Z")
        }
    }
}

/// Days since 1970 of a date of the Gregorian calendar (Howard Hinnant, chrono-compatible low-level date algorithms).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_and_written() {
        for (text, ms) in [
            ("1970-01-01", 0),
            ("2026-03-01", 1_772_323_200_000),
            ("2024-02-29T23:59:59Z", 1_709_251_199_000),
            ("1969-12-31T23:59:59Z", -1000),
        ] {
            assert_eq!(parse(text), Some(ms), "{text}");
            let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
            assert_eq!(write(ms, Format::Rfc3339), whole);
        }
        assert_eq!(write(1_709_251_199_123, Format::Rfc3339), "2024-02-29T23:59:59.123Z");
        assert_eq!((write(1999, Format::Unix), write(1999, Format::UnixMs)), ("1".into(), "1999".into()));
        for bad in [
            "",
            "2023-02-29",
            "2026-13-01",
            "2026-1-1",
            "2026-01-01T00:00:00",
            "2026-01-01T24:00:00Z",
            "2026-01-01-01",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
