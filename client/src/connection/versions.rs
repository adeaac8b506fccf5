//! Which version of each request is spoken, agreed with ApiVersions (KIP-35) when a connection opens.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::protocol::{Request, StrBytes};
use millrace_wire::guard;

use super::Connection;
use crate::error::{Error, Result};

/// What the broker speaks: key to oldest and newest version.
#[derive(Debug, Clone, Default)]
pub(crate) struct Versions {
    ranges: BTreeMap<i16, (i16, i16)>,
    /// See [`Self::transaction_version`].
    transaction_version: Finalized,
}

/// The level of a feature that the cluster agreed on (KIP-584), and the epoch of that agreement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finalized {
    /// Later ones hold.
    pub(crate) epoch: i64,
    /// 0 if there is none.
    pub(crate) level: i16,
}

/// Requests that this client speaks only up to an older version than the crate knows, and why.
const CEILINGS: &[(ApiKey, i16)] = &[
    // From 13 on topics go by id instead of name.
    (ApiKey::Produce, 12),
    (ApiKey::Fetch, 12),
    // Tiered storage's special timestamps are not asked for.
    (ApiKey::ListOffsets, 7),
    (ApiKey::Metadata, 12),
    // From 8 on several groups in one request.
    (ApiKey::OffsetFetch, 7),
    (ApiKey::OffsetCommit, 8),
    // From 4 on several keys in one request.
    (ApiKey::FindCoordinator, 3),
    // From 6 on by topic id.
    (ApiKey::DeleteTopics, 5),
    // From 4 on brokers ask, for many transactions at once.
    (ApiKey::AddPartitionsToTxn, 3),
    // From 6 on a transaction may be prepared and outlive its producer (KIP-939).
    (ApiKey::InitProducerId, 5),
];

impl Versions {
    /// The newest version of `R` that both sides speak.
    pub(super) fn pick<R: Request>(&self, address: &str) -> Result<i16> {
        self.pick_up_to::<R>(i16::MAX, address)
    }

    /// The same, and no newer than `limit`.
    pub(super) fn pick_up_to<R: Request>(&self, limit: i16, address: &str) -> Result<i16> {
        let (min, max) = range_of::<R>();
        let ours = (min, max.min(limit));
        let common = self.ranges.get(&R::KEY).map(|(min, max)| (ours.0.max(*min), ours.1.min(*max)));
        match common {
            Some((min, max)) if min <= max => Ok(max),
            _ => Err(Error::Unsupported {
                address: address.to_owned(),
                api: guard::api_name(R::KEY),
                min: ours.0,
                max: ours.1,
            }),
        }
    }

    /// `transaction.version`: from 2 on every transaction has an epoch of its own (KIP-890).
    pub(crate) fn transaction_version(&self) -> Finalized {
        self.transaction_version
    }
}

fn range_of<R: Request>() -> (i16, i16) {
    let ceiling = CEILINGS.iter().find(|(key, _)| *key as i16 == R::KEY).map_or(i16::MAX, |(_, max)| *max);
    (R::VERSIONS.min, R::VERSIONS.max.min(ceiling))
}

/// Asks in version 3; a broker that is older says so in version 0, and is asked again in that.
pub(super) async fn negotiate(connection: &Connection) -> Result<Versions> {
    let request = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("millrace"))
        .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
    let limit = connection.config.request_timeout;
    let response = match ask(connection, &request, 3, limit).await {
        // The body of the refusal is in version 0 and does not fit version 3.
        Err(Error::Malformed { .. }) => ask(connection, &request, 0, limit).await?,
        Ok(response) if response.error_code == ResponseError::UnsupportedVersion.code() => {
            ask(connection, &request, 0, limit).await?
        }
        other => other?,
    };
    Error::check("ApiVersions", || format!("broker {}", connection.address()), response.error_code)?;
    let ranges = response.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version)));
    let feature = response.finalized_features.iter().find(|feature| &*feature.name == "transaction.version");
    let level = feature.map_or(0, |feature| feature.max_version_level);
    let transaction_version = Finalized { epoch: response.finalized_features_epoch, level };
    Ok(Versions { ranges: ranges.collect(), transaction_version })
}

async fn ask(
    connection: &Connection,
    request: &ApiVersionsRequest,
    version: i16,
    limit: Duration,
) -> Result<ApiVersionsResponse> {
    let blank = ApiVersionsRequest::default();
    let request = if version >= 3 { request } else { &blank };
    connection.request_within(request, version, limit).await
}
