//! Settings that can be changed while the broker runs (KIP-226), and what they were changed to.
//!
//! Two layers lie over what the broker was started with: what holds for all brokers, and above it what holds for this
//! one. Both live in the metadata log; the broker lays them over its [`Config`](super::Config) at start and after each
//! change. Which settings may be changed, and where, is Kafka's `DynamicBrokerConfig`, but for `listeners` and what
//! belongs to them, which need a restart here.

use std::collections::BTreeMap;

use super::topic::TOPIC_SETTINGS;
use super::{BROKER_SETTINGS, Error, broker_setting, setting};

/// Settings by name.
pub(crate) type Overrides = BTreeMap<String, String>;

/// May be changed beside the ones that give topics their defaults.
const CHANGEABLE: &[&str] = &[
    "background.threads",
    "log.cleaner.backoff.ms",
    "log.cleaner.dedupe.buffer.size",
    "log.cleaner.io.buffer.load.factor",
    "log.cleaner.io.buffer.size",
    "log.cleaner.io.max.bytes.per.second",
    "log.cleaner.threads",
    "max.connection.creation.rate",
    "max.connections",
    "max.connections.per.ip",
    "max.connections.per.ip.overrides",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
    "producer.id.expiration.ms",
    "transaction.partition.verification.enable",
];

/// The two layers, this broker's first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dynamic {
    /// For this broker alone.
    pub(crate) broker: Overrides,
    /// For all brokers.
    pub(crate) default: Overrides,
}

impl Dynamic {
    /// The stronger layer's value.
    pub(crate) fn get(&self, name: &str) -> Option<&String> {
        self.broker.get(name).or_else(|| self.default.get(name))
    }
}

/// Whether a setting may be changed while the broker runs: those above, and the first synonym of each topic setting.
pub(crate) fn is_changeable(name: &str) -> bool {
    let of_topics = || TOPIC_SETTINGS.iter().filter_map(|row| row.synonyms.first());
    CHANGEABLE.contains(&name) || of_topics().any(|(synonym, _)| *synonym == name)
}

/// Checks a change of a broker's setting; no value takes it back.
///
/// # Errors
/// An unknown name, one that needs a restart, or a value that the setting doesn't take.
pub(crate) fn validate(name: &str, value: Option<&str>) -> Result<(), Error> {
    let Some(row) = broker_setting(name) else {
        let nearest = setting::nearest(name, BROKER_SETTINGS.iter().map(|row| row.name)).map(str::to_owned);
        return Err(Error::UnknownSetting { name: name.to_owned(), nearest });
    };
    if !is_changeable(name) {
        return Err(Error::ReadOnly { name: name.to_owned() });
    }
    value.map_or(Ok(()), |value| row.validate(value))
}

/// The names under which a broker's setting may be given, itself among them, the strongest first.
pub(crate) fn synonyms(name: &'static str) -> Vec<&'static str> {
    let mut groups = TOPIC_SETTINGS.iter().map(|row| row.synonyms).filter(|synonyms| synonyms.len() > 1);
    match groups.find(|synonyms| synonyms.iter().any(|(synonym, _)| *synonym == name)) {
        Some(group) => group.iter().map(|(synonym, _)| *synonym).collect(),
        None => vec![name],
    }
}
