//! One configuration setting: its name, type, default and what values it takes.
//!
//! Kafka's own names, types and defaults (Kafka 4.x), so that a server.properties carries over and DescribeConfigs
//! answers what tools expect. A value is kept as the text it was given; it is parsed where it is used, after it was
//! checked here once.

use super::Error;

/// The type of a value, with the code that DescribeConfigs gives it (`ConfigEntry.ConfigType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `true` or `false`.
    Boolean = 1,
    /// Any text.
    Text = 2,
    /// A 32-bit whole number.
    Int = 3,
    /// A 16-bit whole number.
    Short = 4,
    /// A 64-bit whole number.
    Long = 5,
    /// A decimal number.
    Double = 6,
    /// Comma-separated items.
    List = 7,
    /// Never shown.
    Password = 9,
}

/// What else must hold for a value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Check {
    /// Anything of the type.
    Any,
    /// A number no smaller.
    AtLeast(i64),
    /// A number within both bounds.
    Between(i64, i64),
    /// A number within the first two, or the third.
    BetweenOr(i64, i64, i64),
    /// A decimal number from 0 to 1.
    Fraction,
    /// Items `partition:broker`, or `*` for all.
    Replicas,
    /// One of these words (each item, for a list).
    OneOf(&'static [&'static str]),
}

/// A row of a settings table.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Kafka's name of it.
    pub(crate) name: &'static str,
    /// Its type.
    pub(crate) kind: Kind,
    /// Its default; `None` is null.
    pub(crate) default: Option<&'static str>,
    /// What a value must satisfy.
    pub(crate) check: Check,
    /// Broker settings that give a topic setting its default, the strongest first, each with how its unit converts.
    /// Empty in the broker's table.
    pub(crate) synonyms: &'static [(&'static str, Unit)],
    /// One sentence for people.
    pub(crate) doc: &'static str,
}

/// How a broker setting's number becomes the topic setting's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// The same unit.
    Same,
    /// Minutes to milliseconds.
    Minutes,
    /// Hours to milliseconds.
    Hours,
}

impl Unit {
    /// `value` in the topic setting's unit; -1 keeps its meaning of "no limit".
    pub(crate) fn convert(self, value: &str) -> String {
        let factor: i64 = match self {
            Unit::Same => return value.to_owned(),
            Unit::Minutes => 60_000,
            Unit::Hours => 3_600_000,
        };
        match value.parse::<i64>() {
            Ok(-1) | Err(_) => value.to_owned(),
            Ok(number) => number.saturating_mul(factor).to_string(),
        }
    }
}

impl Setting {
    /// Whether `value` can be taken; the error names the setting, the value and what is allowed.
    pub(crate) fn validate(&self, value: &str) -> Result<(), Error> {
        let refuse = |expected: String| Error::InvalidValue {
            name: self.name.to_owned(),
            value: if self.kind == Kind::Password { "[hidden]".to_owned() } else { value.to_owned() },
            expected,
        };
        let value = value.trim();
        let number = match self.kind {
            Kind::Boolean => {
                if !value.eq_ignore_ascii_case("true") && !value.eq_ignore_ascii_case("false") {
                    return Err(refuse("true or false".to_owned()));
                }
                None
            }
            Kind::Short => {
                Some(value.parse::<i16>().map_err(|_| refuse("a 16-bit whole number".to_owned()))?.into())
            }
            Kind::Int => {
                Some(value.parse::<i32>().map_err(|_| refuse("a 32-bit whole number".to_owned()))?.into())
            }
            Kind::Long => Some(value.parse::<i64>().map_err(|_| refuse("a 64-bit whole number".to_owned()))?),
            Kind::Double => {
                let number = value.parse::<f64>().map_err(|_| refuse("a decimal number".to_owned()))?;
                if matches!(self.check, Check::Fraction) && !(0.0..=1.0).contains(&number) {
                    return Err(refuse("a number from 0 to 1".to_owned()));
                }
                None
            }
            Kind::Text | Kind::List | Kind::Password => None,
        };
        match (self.check, number) {
            (Check::AtLeast(low), Some(number)) if number < low => Err(refuse(format!("at least {low}"))),
            (Check::Between(low, high), Some(number)) if number < low || number > high => {
                Err(refuse(format!("from {low} to {high}")))
            }
            (Check::BetweenOr(low, high, special), Some(number))
                if number != special && !(low..=high).contains(&number) =>
            {
                Err(refuse(format!("from {low} to {high}, or {special}")))
            }
            (Check::Replicas, _) if value != "*" && !items(value).all(is_replica) => {
                Err(refuse("* or a list of partition:broker".to_owned()))
            }
            (Check::OneOf(words), _) => {
                let good = match self.kind {
                    Kind::List => items(value).all(|item| words.contains(&item)),
                    _ => words.contains(&value),
                };
                if good { Ok(()) } else { Err(refuse(format!("one of {}", words.join(", ")))) }
            }
            _ => Ok(()),
        }
    }
}

/// Whether an item is a partition's number and a broker's.
fn is_replica(item: &str) -> bool {
    item.split_once(':').is_some_and(|(partition, broker)| {
        [partition, broker].into_iter().all(|number| number.parse::<u32>().is_ok())
    })
}

/// The items of a comma-separated list, trimmed, without empty ones.
pub(crate) fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// The name in `names` that is closest to `name`, if any is close enough to be what was meant.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .min()
        .filter(|(distance, known)| *distance <= 2.max(known.len() / 4))
        .map(|(_, known)| known)
}
