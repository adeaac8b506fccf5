//! SaslHandshake (key 17), versions 0 and 1. KIP-43, KIP-152.
//!
//! The listener is plaintext: there is no authentication that could begin, and no mechanism to offer. ILLEGAL_SASL_STATE,
//! as a plaintext listener of Kafka answers; the connection stays.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{SaslHandshakeRequest, SaslHandshakeResponse};

use super::RequestContext;

/// Refuses.
pub(super) async fn handle(_: &RequestContext, _: SaslHandshakeRequest) -> SaslHandshakeResponse {
    SaslHandshakeResponse::default().with_error_code(ResponseError::IllegalSaslState.code())
}
