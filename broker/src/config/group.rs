//! THE table of group settings: what a single consumer group may have of its own (KIP-848).
//!
//! Names, types and defaults are Kafka's. Where a group has no value, the broker's setting of the same name with
//! `group.` before it holds; how far a group may go from there is set by the broker's `min` and `max` beside it. A value that was
//! within them when it was given and is not any more, since the broker's changed, is brought within them where it is used.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::setting::{Check, Kind, Setting, Unit, nearest};
use super::{Config, Error};

/// How often members come.
pub(crate) const HEARTBEAT_INTERVAL: &str = "consumer.heartbeat.interval.ms";
/// How long a member may be silent.
pub(crate) const SESSION_TIMEOUT: &str = "consumer.session.timeout.ms";

/// Every group setting, in the order of their names.
#[rustfmt::skip]
pub(crate) static GROUP_SETTINGS: &[Setting] = &[
    Setting { name: HEARTBEAT_INTERVAL, kind: Kind::Int, default: Some("5000"), check: Check::AtLeast(1), synonyms: &[("group.consumer.heartbeat.interval.ms", Unit::Same)], doc: "how often members of the group come" },
    Setting { name: SESSION_TIMEOUT, kind: Kind::Int, default: Some("45000"), check: Check::AtLeast(1), synonyms: &[("group.consumer.session.timeout.ms", Unit::Same)], doc: "how long a member of the group may be silent" },
];

/// How far groups may go, and where they are without settings of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    heartbeat_interval: Limit,
    session_timeout: Limit,
}

/// One setting's.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Limit {
    default: i32,
    range: RangeInclusive<i32>,
}

impl Limits {
    /// Those of a broker with this configuration.
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            heartbeat_interval: Limit {
                default: config.int("group.consumer.heartbeat.interval.ms"),
                range: config.int("group.consumer.min.heartbeat.interval.ms")
                    ..=config.int("group.consumer.max.heartbeat.interval.ms"),
            },
            session_timeout: Limit {
                default: config.int("group.consumer.session.timeout.ms"),
                range: config.int("group.consumer.min.session.timeout.ms")
                    ..=config.int("group.consumer.max.session.timeout.ms"),
            },
        }
    }

    /// How long a member of a group with this value of its own may be silent.
    pub(crate) fn session_timeout_ms(&self, own: Option<i32>) -> i32 {
        self.session_timeout.hold(own)
    }

    /// How often a member of a group with this value of its own comes.
    pub(crate) fn heartbeat_interval_ms(&self, own: Option<i32>) -> i32 {
        self.heartbeat_interval.hold(own)
    }

    /// Whether a group may have these settings: known, within the limits, and fitting each other.
    ///
    /// # Errors
    /// The first that may not be.
    pub(crate) fn check(&self, settings: &BTreeMap<String, String>) -> Result<(), Error> {
        for (name, value) in settings {
            setting(name).ok_or_else(|| unknown(name))?.validate(value)?;
        }
        let heartbeat_ms = self.heartbeat_interval.check(HEARTBEAT_INTERVAL, settings)?;
        let session_ms = self.session_timeout.check(SESSION_TIMEOUT, settings)?;
        if session_ms > heartbeat_ms {
            return Ok(());
        }
        let expected = format!("more than {HEARTBEAT_INTERVAL}, which is {heartbeat_ms}");
        Err(Error::InvalidValue { name: SESSION_TIMEOUT.to_owned(), value: session_ms.to_string(), expected })
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::of(&Config::new())
    }
}

impl Limit {
    fn hold(&self, own: Option<i32>) -> i32 {
        // Not `clamp`, which panics where the lower bound was set above the upper one.
        own.map_or(self.default, |own| own.max(*self.range.start()).min(*self.range.end()))
    }

    /// The value that the group would have.
    fn check(&self, name: &str, settings: &BTreeMap<String, String>) -> Result<i32, Error> {
        let Some(own) = settings.get(name) else { return Ok(self.default) };
        let parsed = own.trim().parse().ok().filter(|own| self.range.contains(own));
        parsed.ok_or_else(|| {
            let (low, high) = (self.range.start(), self.range.end());
            let expected = format!("from {low} to {high}, the broker's min and max in group.{name}");
            Error::InvalidValue { name: name.to_owned(), value: own.clone(), expected }
        })
    }
}

/// The row called `name`.
pub(crate) fn setting(name: &str) -> Option<&'static Setting> {
    GROUP_SETTINGS.iter().find(|row| row.name == name)
}

fn unknown(name: &str) -> Error {
    let nearest = nearest(name, GROUP_SETTINGS.iter().map(|row| row.name)).map(str::to_owned);
    Error::UnknownGroupSetting { name: name.to_owned(), nearest }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(settings: &[(&str, &str)]) -> Result<(), String> {
        let settings =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Limits::default().check(&settings).map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_within_the_brokers_limits() {
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&[(SESSION_TIMEOUT, "45000"), (HEARTBEAT_INTERVAL, "15000")]), Ok(()));
        for (name, value) in [
            (SESSION_TIMEOUT, "44999"),
            (SESSION_TIMEOUT, "60001"),
            (HEARTBEAT_INTERVAL, "4999"),
            (HEARTBEAT_INTERVAL, "15001"),
            (HEARTBEAT_INTERVAL, "x"),
            ("consumer.heartbeat.interval", "5000"),
        ] {
            let refused = check(&[(name, value)]).expect_err(value);
            assert!(refused.contains(name), "{refused}");
        }
    }

    #[test]
    fn a_session_is_longer_than_the_time_between_heartbeats() {
        let mut config = Config::new();
        config.set("group.consumer.min.session.timeout.ms", "5000").expect("a number");
        let limits = Limits::of(&config);
        let settings = |session: &str| BTreeMap::from([(SESSION_TIMEOUT.to_owned(), session.to_owned())]);
        assert!(limits.check(&settings("5001")).is_ok());
        let refused = limits.check(&settings("5000")).expect_err("not longer").to_string();
        assert!(refused.contains("more than consumer.heartbeat.interval.ms, which is 5000"), "{refused}");
    }

    #[test]
    fn what_the_broker_does_not_allow_any_more_is_brought_within_its_limits() {
        let limits = Limits::default();
        for (own, holds) in
            [(None, 45_000), (Some(50_000), 50_000), (Some(1), 45_000), (Some(i32::MAX), 60_000)]
        {
            assert_eq!(limits.session_timeout_ms(own), holds);
        }
        assert_eq!(limits.heartbeat_interval_ms(Some(20_000)), 15_000);
    }
}
