//! `--from`: where to begin reading.

use std::str::FromStr;

/// Where to begin reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// The first record there is.
    Earliest,
    /// What comes from now on.
    Latest,
    /// This offset, in each partition.
    Offset(i64),
    /// So many before the end, in each partition.
    BeforeEnd(i64),
    /// The first record at or after this time, in milliseconds since the epoch.
    Time(i64),
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || {
            format!(
                "`{text}` is no place; expected earliest, latest, an offset, -N, 2026-11-21T08:00:00Z or @1795248000000"
            )
        };
        match text {
            "earliest" | "beginning" => return Ok(From::Earliest),
            "latest" | "end" => return Ok(From::Latest),
            _ => {}
        }
        if let Some(ms) = text.strip_prefix('@') {
            return ms.parse().map(From::Time).map_err(|_| unknown());
        }
        match text.parse::<i64>() {
            Ok(offset) if offset >= 0 && !text.starts_with('-') => Ok(From::Offset(offset)),
            Ok(back) => Ok(From::BeforeEnd(back.saturating_neg())),
            Err(_) => rfc3339_ms(text).map(From::Time).ok_or_else(unknown),
        }
    }
}

/// Milliseconds since the epoch of `2026-11-21T08:00:00[.123](Z|+01:00)`.
fn rfc3339_ms(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let zone_at = time.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = time.split_at(zone_at);
    let mut clock = clock.splitn(3, ':');
    let (hour, minute): (i64, i64) = (clock.next()?.parse().ok()?, clock.next()?.parse().ok()?);
    let second: f64 = clock.next()?.parse().ok()?;
    let zone_minutes = match zone {
        "Z" | "z" => 0,
        _ => {
            let (sign, rest) = (if zone.starts_with('-') { -1 } else { 1 }, zone.get(1..)?);
            let (hours, minutes) = rest.split_once(':')?;
            sign * (hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?)
        }
    };
    let legal = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0.0..61.0).contains(&second);
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + (minute - zone_minutes) * 60;
    legal.then(|| seconds * 1_000 + (second * 1_000.0).round() as i64)
}

/// Days since 1970-01-01 (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        for (text, place) in [
            ("earliest", From::Earliest),
            ("latest", From::Latest),
            ("0", From::Offset(0)),
            ("17", From::Offset(17)),
            ("-5", From::BeforeEnd(5)),
            ("@1795248000000", From::Time(1_795_248_000_000)),
            ("1970-01-01T00:00:00Z", From::Time(0)),
            ("2026-11-21T08:00:00.250Z", From::Time(1_795_248_000_250)),
            ("2026-11-21T09:00:00+01:00", From::Time(1_795_248_000_000)),
            ("2024-02-29T00:00:00Z", From::Time(1_709_164_800_000)),
        ] {
            assert_eq!(text.parse(), Ok(place), "{text}");
        }
        for text in [
            "",
            "early",
            "@x",
            "2026-11-21",
            "2026-13-01T00:00:00Z",
            "2026-11-21T25:00:00Z",
            "T",
            "a-b-cT1:2:3Z",
        ] {
            assert!(text.parse::<From>().is_err(), "{text}");
        }
    }
}
