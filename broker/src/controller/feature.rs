//! THE table of features (KIP-584): what this broker can do, in levels that the whole cluster agrees on.
//!
//! A feature's level is a record of the metadata log. A new cluster gets the table's levels; one that is older keeps what
//! it has until an operator raises it (`kafka-features.sh upgrade`, [`update`]). A level of 0 is the same as no record.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;

use super::record::MetadataRecord;
use super::step::{Refusal, refuse};

/// Which group protocols there are: 1 with consumer groups (KIP-848).
pub(crate) const GROUP: &str = "group.version";
/// The records that the metadata log consists of.
pub(crate) const METADATA: &str = "metadata.version";
/// How transactions are spoken: 0 and 1 as KIP-98 has them, 2 with an epoch for each (KIP-890).
pub(crate) const TRANSACTION: &str = "transaction.version";

/// `metadata.version` of Kafka 4.0 (4.0-IV3), whose record versions are written here.
const METADATA_VERSION: i16 = 25;

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Feature {
    /// As Kafka calls it.
    pub(crate) name: &'static str,
    /// The lowest level that works here.
    pub(crate) min: i16,
    /// The highest.
    pub(crate) max: i16,
    /// What a new cluster gets.
    pub(crate) default: i16,
}

/// Every feature, by name.
pub(crate) static FEATURES: &[Feature] = &[
    Feature { name: GROUP, min: 0, max: 1, default: 1 },
    Feature { name: METADATA, min: 7, max: METADATA_VERSION, default: METADATA_VERSION },
    Feature { name: TRANSACTION, min: 0, max: 2, default: 2 },
];

/// How far a change may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UpgradeType {
    /// Up only.
    Upgrade,
    /// Down, if nothing is lost by it.
    SafeDowngrade,
    /// Down.
    UnsafeDowngrade,
    /// A number that Kafka doesn't have.
    Unknown,
}

impl UpgradeType {
    /// The number in an UpdateFeatures request.
    pub(crate) fn from_number(number: i8) -> Self {
        match number {
            1 => Self::Upgrade,
            2 => Self::SafeDowngrade,
            3 => Self::UnsafeDowngrade,
            _ => Self::Unknown,
        }
    }
}

/// A feature's new level.
#[derive(Clone, Debug)]
pub(crate) struct FeatureUpdate {
    pub(crate) name: String,
    pub(crate) level: i16,
    pub(crate) upgrade_type: UpgradeType,
}

/// What a new cluster begins with.
pub(crate) fn bootstrap() -> impl Iterator<Item = MetadataRecord> {
    let given = FEATURES.iter().filter(|feature| feature.default > 0);
    given
        .map(|feature| MetadataRecord::FeatureLevel { name: feature.name.to_owned(), level: feature.default })
}

/// Changes levels: all, or none.
///
/// # Errors
/// INVALID_UPDATE_VERSION, in Kafka's words.
pub(crate) fn update(
    levels: &BTreeMap<String, i16>,
    updates: &[FeatureUpdate],
) -> Result<Vec<MetadataRecord>, Refusal> {
    let mut records = Vec::with_capacity(updates.len());
    for FeatureUpdate { name, level, upgrade_type } in updates {
        let current = levels.get(name).copied().unwrap_or(0);
        if let Some(reason) = refusal(name, current, *level, *upgrade_type) {
            let message = format!("Invalid update version {level} for feature {name}. {reason}");
            return refuse(ResponseError::InvalidUpdateVersion, message);
        }
        if *level != current {
            records.push(MetadataRecord::FeatureLevel { name: name.clone(), level: *level });
        }
    }
    Ok(records)
}

fn refusal(name: &str, current: i16, level: i16, upgrade_type: UpgradeType) -> Option<String> {
    if upgrade_type == UpgradeType::Unknown {
        return Some("The controller does not support the given upgrade type.".to_owned());
    }
    if level < 0 {
        return Some("A feature version cannot be less than 0.".to_owned());
    }
    let Some(feature) = FEATURES.iter().find(|feature| feature.name == name) else {
        return Some("Local controller does not support this feature.".to_owned());
    };
    let (min, max) = (feature.min, feature.max);
    if !(min..=max).contains(&level) {
        return Some(format!("Local controller only supports versions {min}-{max}"));
    }
    if level < current && upgrade_type == UpgradeType::Upgrade {
        let message = "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.";
        return Some(message.to_owned());
    }
    if level > current && upgrade_type != UpgradeType::Upgrade {
        return Some("Can't downgrade to a newer version.".to_owned());
    }
    if name == METADATA && level != current {
        let message =
            "Refusing to perform the requested downgrade because it might delete metadata information.";
        return Some(message.to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(name: &str, level: i16, upgrade_type: UpgradeType) -> Result<usize, ResponseError> {
        let levels = BTreeMap::from([(METADATA.to_owned(), METADATA_VERSION), (TRANSACTION.to_owned(), 1)]);
        let update = FeatureUpdate { name: name.to_owned(), level, upgrade_type };
        super::update(&levels, &[update]).map(|records| records.len()).map_err(|refusal| refusal.error)
    }

    #[test]
    fn the_table_is_sorted_and_its_levels_fit() {
        assert!(FEATURES.is_sorted_by_key(|feature| feature.name));
        for feature in FEATURES {
            assert!((feature.min..=feature.max).contains(&feature.default), "{feature:?}");
        }
    }

    #[test]
    fn levels_go_up_and_down_as_asked() {
        let invalid = Err(ResponseError::InvalidUpdateVersion);
        assert_eq!(change(TRANSACTION, 1, UpgradeType::Upgrade), Ok(0));
        assert_eq!(change(TRANSACTION, 0, UpgradeType::Upgrade), invalid);
        assert_eq!(change(TRANSACTION, 0, UpgradeType::SafeDowngrade), Ok(1));
        assert_eq!(change(TRANSACTION, 0, UpgradeType::UnsafeDowngrade), Ok(1));
        assert_eq!(change(TRANSACTION, 0, UpgradeType::Unknown), invalid);
        assert_eq!(change(TRANSACTION, 99, UpgradeType::Upgrade), invalid);
        assert_eq!(change(TRANSACTION, -1, UpgradeType::SafeDowngrade), invalid);
        assert_eq!(change("no.such.feature", 1, UpgradeType::Upgrade), invalid);
        assert_eq!(change(METADATA, METADATA_VERSION, UpgradeType::Upgrade), Ok(0));
        assert_eq!(change(METADATA, METADATA_VERSION - 1, UpgradeType::SafeDowngrade), invalid);
    }
}
