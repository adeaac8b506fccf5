//! Settings: one JSON object into the author's struct.
//!
//! The host has checked them against the connector's JSON Schema already, so an error here is a schema that says less than
//! the struct asks for. It names the setting by JSON pointer all the same.

use std::time::Duration;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};

use crate::error::Error;

/// A duration in settings: `500ms`, `5s`, `1m30s`, `2h`, `1d`. In the schema: a string with `"x-unit": "duration"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

/// A number of bytes in settings: `512B`, `64KiB`, `8MiB`, `1GB`. In the schema: a string with `"x-unit": "size"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

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

impl Span {
    /// So many milliseconds.
    pub const fn from_ms(ms: u32) -> Self {
        Self(Duration::from_millis(ms as u64))
    }

    /// Milliseconds; what does not fit is the most that does.
    pub fn ms(self) -> u32 {
        u32::try_from(self.0.as_millis()).unwrap_or(u32::MAX)
    }

    /// The duration.
    pub fn duration(self) -> Duration {
        self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let (mut rest, mut total_ms) = (text, 0u64);
        while !rest.is_empty() {
            let (amount, after) = number(rest)?;
            let (unit, next) =
                after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
            total_ms = total_ms.checked_add(amount.checked_mul(factor(DURATION_UNITS_MS, unit)?)?)?;
            rest = next;
        }
        (!text.is_empty()).then(|| Self(Duration::from_millis(total_ms)))
    }
}

impl Size {
    /// So many bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Bytes in memory; what does not fit is the most that does.
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// Bytes on disk.
    pub fn bytes_u64(self) -> u64 {
        self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let (amount, unit) = number(text)?;
        let unit = unit.strip_prefix(' ').unwrap_or(unit);
        amount.checked_mul(factor(SIZE_UNITS_BYTES, unit)?).map(Self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom(format!("{text:?} is no duration such as \"5s\"")))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom(format!("{text:?} is no size such as \"8MiB\"")))
    }
}

fn number(text: &str) -> Option<(u64, &str)> {
    let len = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..len].parse().ok()?, &text[len..]))
}

fn factor(units: &[(&str, u64)], unit: &str) -> Option<u64> {
    units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor)
}

/// Reads settings. The error has the code `settings` and names the place: `/rotate/every: invalid type …`.
pub fn parse<T: DeserializeOwned>(json: &str) -> Result<T, Error> {
    let deserializer = &mut serde_json::Deserializer::from_str(json);
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let pointer = pointer(error.path());
        let place = if pointer.is_empty() { "settings" } else { &pointer };
        Error::fatal("settings", format!("{place}: {}", error.inner()))
    })
}

/// The path as a JSON pointer (RFC 6901).
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path.iter() {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Unknown => {}
        }
    }
    pointer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[serde(rename = "a/b")]
        _inner: Vec<Inner>,
    }

    #[derive(Debug, serde::Deserialize)]
    struct Inner {
        _n: u32,
    }

    /// The same table holds for pipelines (`millrace-connect-runtime`).
    const EXAMPLES: &str = include_str!("../../../tests/units.txt");

    #[test]
    fn durations_and_sizes_have_units() {
        for line in EXAMPLES.lines().filter(|line| !line.starts_with('#')) {
            let [kind, text, wanted] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let found = match kind {
                "duration" => Span::parse(text).map(|span| span.duration().as_millis() as u64),
                _ => Size::parse(text).map(Size::bytes_u64),
            };
            assert_eq!(found, wanted.parse().ok(), "{line}");
        }
        let error = parse::<Vec<Size>>(r#"["8"]"#).expect_err("no unit");
        assert!(error.message.starts_with("/0: \"8\" is no size"), "{error}");
    }

    #[test]
    fn errors_name_the_setting() {
        let error = parse::<Outer>(r#"{"a/b": [{"_n": 1}, {"_n": "x"}]}"#).expect_err("a text is no number");
        assert_eq!(error.code, "settings");
        assert!(error.message.starts_with("/a~1b/1/_n: invalid type: string \"x\""), "{error}");
        let error = parse::<Outer>(r#"{"b": 1}"#).expect_err("no such setting");
        assert!(error.message.contains("unknown field `b`"), "{error}");
    }
}
