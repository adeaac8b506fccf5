//! ApiVersions (key 18), versions 0 to 4. KIP-35, KIP-482, KIP-511, KIP-584.
//!
//! - An unknown version gets a version 0 body with UNSUPPORTED_VERSION and the range of ApiVersions itself, so that a
//!   newer client can step down.
//! - The response's header is always version 0.
//! - From version 3 on the client names its software; a malformed name is INVALID_REQUEST.
//! - Produce is advertised from version 0 on although 0 to 2 are refused: older librdkafka takes a missing version 0 as
//!   a sign that the broker can't compress (KAFKA-18659).
//! - Features are those of the controller's table. Before version 4 the supported ones that begin at level 0 are left out,
//!   because older clients can't read such a range (KAFKA-17492). Their epoch is the offset of the metadata that says so.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::protocol::StrBytes;

use super::{APIS, Error, Outcome, Reply, RequestContext, decode, reply, throttle};
use crate::controller::feature::{FEATURES, Feature};

/// Answers at once.
pub(super) fn start(context: RequestContext, body: Bytes) -> Result<Outcome, Error> {
    let request: ApiVersionsRequest = decode(&context, body)?;
    let valid = context.version < 3
        || (is_software_name(&request.client_software_name)
            && is_software_name(&request.client_software_version));
    let mut response = if valid { response(&context) } else { refusal(ResponseError::InvalidRequest) };
    let mute = context.throttle(Duration::ZERO, None);
    response.throttle_time_ms = throttle::in_ms(mute);
    Ok(Outcome::Done(reply::encode(&context, &response).muting(mute)))
}

/// The answer to a version that is not served.
pub(super) fn unsupported(context: &RequestContext) -> Reply {
    let mut response = refusal(ResponseError::UnsupportedVersion);
    response.api_keys = APIS.iter().filter(|api| api.key == ApiKey::ApiVersions).map(advertised).collect();
    reply::encode_as(context, &response, 0)
}

fn refusal(error: ResponseError) -> ApiVersionsResponse {
    ApiVersionsResponse::default().with_error_code(error.code())
}

fn response(context: &RequestContext) -> ApiVersionsResponse {
    let mut response = ApiVersionsResponse::default();
    response.api_keys = APIS.iter().map(advertised).collect();
    if context.version >= 3 {
        let image = context.broker.image();
        let readable = |feature: &&Feature| context.version >= 4 || feature.min > 0;
        let supported = FEATURES.iter().filter(readable).map(|feature| {
            SupportedFeatureKey::default()
                .with_name(StrBytes::from_static_str(feature.name))
                .with_min_version(feature.min)
                .with_max_version(feature.max)
        });
        let finalized = image.features.iter().map(|(name, level)| {
            FinalizedFeatureKey::default()
                .with_name(reply::text(name))
                .with_min_version_level(*level)
                .with_max_version_level(*level)
        });
        response.supported_features = supported.collect();
        response.finalized_features = finalized.collect();
        response.finalized_features_epoch = image.offset;
    }
    response
}

fn advertised(api: &super::Api) -> ApiVersion {
    let min = if api.key == ApiKey::Produce { 0 } else { api.min };
    ApiVersion::default().with_api_key(api.key as i16).with_min_version(min).with_max_version(api.max)
}

/// `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`, as Kafka checks it.
fn is_software_name(name: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}
