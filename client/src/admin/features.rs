//! Levels of features (KIP-584).

use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};

use super::Admin;
use crate::error::{Error, Result};
use crate::topic::str_bytes;

/// Which way a feature's level may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeatureChange {
    /// Up.
    Upgrade = 1,
    /// Down, if nothing is lost by it.
    SafeDowngrade = 2,
}

impl Admin {
    /// Sets the level of a feature, such as `transaction.version`.
    pub async fn update_feature(&self, name: &str, level: i16, change: FeatureChange) -> Result<()> {
        let update = FeatureUpdateKey::default()
            .with_feature(str_bytes(name))
            .with_max_version_level(level)
            .with_upgrade_type(change as i8);
        let request = UpdateFeaturesRequest::default()
            .with_timeout_ms(self.timeout_ms())
            .with_feature_updates(vec![update]);
        let check = |response: &UpdateFeaturesResponse| {
            let message = response.error_message.as_deref();
            Error::check_with("UpdateFeatures", || format!("feature {name}"), response.error_code, message)
        };
        self.request(&request, check).await.map(drop)
    }
}
