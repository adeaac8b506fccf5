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
    // From 8 on reasons and a leader that may skip the assignment.
    (ApiKey::JoinGroup, 7),
    // From 6 on by topic id.
    (ApiKey::DeleteTopics, 5),
    // The versions of the first transaction protocol (KIP-98); the next ones belong to KIP-890's.
    (ApiKey::AddPartitionsToTxn, 3),
    (ApiKey::AddOffsetsToTxn, 3),
    (ApiKey::EndTxn, 3),
    (ApiKey::TxnOffsetCommit, 3),
    (ApiKey::InitProducerId, 4),
];

impl Versions {
    /// The newest version of `R` that both sides speak.
    pub(super) fn pick<R: Request>(&self, address: &str) -> Result<i16> {
        let ours = range_of::<R>();
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
    Ok(Versions { ranges: ranges.collect() })
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
