//! Durations (`1m30s`) and sizes (`64MiB`) as people write them.
//!
//! A bare number is refused: whether `30` means seconds or milliseconds is what such files are misread about.

use std::time::Duration;

/// What a duration looks like, for messages.
pub(crate) const DURATION_SHAPE: &str = "a duration such as \"500ms\", \"5s\", \"1m30s\" or \"2h\"";
/// What a size looks like, for messages.
pub(crate) const SIZE_SHAPE: &str = "a size such as \"512B\", \"64KiB\", \"8MiB\" or \"1GiB\"";

const DURATION_UNITS_MS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZE_UNITS_BYTES: &[(&str, u64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// `None` unless `text` is one or more of digits with a unit, and fits.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total_ms: u64 = 0;
    while !rest.is_empty() {
        let (amount, after) = number(rest)?;
        let unit_len = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_len);
        total_ms = total_ms.checked_add(amount.checked_mul(factor(DURATION_UNITS_MS, unit)?)?)?;
        rest = next;
    }
    (!text.is_empty()).then(|| Duration::from_millis(total_ms))
}

/// Bytes; `None` unless `text` is digits with a unit, and fits.
pub(crate) fn size(text: &str) -> Option<u64> {
    let (amount, unit) = number(text)?;
    amount.checked_mul(factor(SIZE_UNITS_BYTES, unit.strip_prefix(' ').unwrap_or(unit))?)
}

/// `Err` says what a duration looks like.
pub(crate) fn is_duration(text: &str) -> Result<(), &'static str> {
    duration(text).map(|_| ()).ok_or(DURATION_SHAPE)
}

/// `Err` says what a size looks like.
pub(crate) fn is_size(text: &str) -> Result<(), &'static str> {
    size(text).map(|_| ()).ok_or(SIZE_SHAPE)
}

fn number(text: &str) -> Option<(u64, &str)> {
    let len = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..len].parse().ok()?, &text[len..]))
}

fn factor(units: &[(&str, u64)], unit: &str) -> Option<u64> {
    units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same table holds for `millrace_sdk::settings`.
    const EXAMPLES: &str = include_str!("../../../tests/units.txt");

    #[test]
    fn units_are_those_of_the_sdk() {
        for line in EXAMPLES.lines().filter(|line| !line.starts_with('#')) {
            let [kind, text, wanted] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let found = match kind {
                "duration" => duration(text).map(|duration| duration.as_millis() as u64),
                _ => size(text),
            };
            assert_eq!(found, wanted.parse().ok(), "{line}");
        }
    }
}
