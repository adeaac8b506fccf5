//! Numbers since the epoch, as PostgreSQL reads dates and times.

use millrace_sdk::calendar::civil;

/// Longest that a number may be from the epoch, in days: what PostgreSQL's own types reach, and some more that it refuses.
const DAYS_MAX: i64 = 3_000_000_000;

/// A date so many days after 1970-01-01.
pub fn date(days: i64) -> Option<String> {
    if days.abs() > DAYS_MAX {
        return None;
    }
    let (year, month, day) = civil(days);
    Some(match year {
        1.. => format!("{year:04}-{month:02}-{day:02}"),
        _ => format!("{:04}-{month:02}-{day:02} BC", 1 - year),
    })
}

/// A timestamp so many of the `unit`th parts of a second after 1970-01-01 00:00 UTC.
pub fn timestamp(number: i64, per_second: i64) -> Option<String> {
    let (seconds, parts) = (number.div_euclid(per_second), number.rem_euclid(per_second));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let date = date(days)?;
    let (date, era) = date.strip_suffix(" BC").map_or((date.as_str(), ""), |date| (date, " BC"));
    Some(format!("{date} {}{era}", clock(second, parts, per_second)))
}

/// A time so many parts of a second after midnight.
pub fn time(number: i64, per_second: i64) -> Option<String> {
    // 24:00 is a time of PostgreSQL's.
    let day = 86_400 * per_second;
    (0..=day).contains(&number).then(|| clock(number / per_second, number % per_second, per_second))
}

fn clock(second: i64, parts: i64, per_second: i64) -> String {
    let micros = i128::from(parts) * 1_000_000 / i128::from(per_second);
    let clock = format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60);
    if micros == 0 { clock } else { format!("{clock}.{micros:06}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times() {
        for (days, text) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (11_016, "2000-02-29"),
            (20_784, "2026-11-27"),
            (-719_163, "0001-12-31 BC"),
            (-719_162, "0001-01-01"),
            (2_932_896, "9999-12-31"),
        ] {
            assert_eq!(date(days).as_deref(), Some(text), "{days}");
        }
        assert_eq!(date(i64::MAX), None);
        assert_eq!(timestamp(-1, 1000).as_deref(), Some("1969-12-31 23:59:59.999000"));
        assert_eq!(
            timestamp(1_795_788_000_000_001, 1_000_000).as_deref(),
            Some("2026-11-27 14:00:00.000001")
        );
        assert_eq!(timestamp(i64::MIN, 1_000_000_000).as_deref(), Some("1677-09-21 00:12:43.145224"));
        assert_eq!(timestamp(i64::MAX, 1), None);
        assert_eq!(time(86_399_999_999, 1_000_000).as_deref(), Some("23:59:59.999999"));
        assert_eq!((time(-1, 1000), time(86_400_000, 1000).as_deref()), (None, Some("24:00:00")));
    }
}
