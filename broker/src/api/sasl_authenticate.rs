//! SaslAuthenticate (key 36), versions 0 to 2. KIP-152, KIP-368.
//!
//! ILLEGAL_SASL_STATE, for the reason that `sasl_handshake` gives. The client's bytes are neither looked at nor logged.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{SaslAuthenticateRequest, SaslAuthenticateResponse};

use super::{RequestContext, reply};

/// Refuses.
pub(super) async fn handle(_: &RequestContext, _: SaslAuthenticateRequest) -> SaslAuthenticateResponse {
    SaslAuthenticateResponse::default()
        .with_error_code(ResponseError::IllegalSaslState.code())
        .with_error_message(Some(reply::text("this listener is plaintext: connect without SASL")))
}
