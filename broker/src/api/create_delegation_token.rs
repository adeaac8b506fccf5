//! CreateDelegationToken (key 38), versions 1 to 3. KIP-48, KIP-373.
//!
//! Tokens need a key that signs them and a listener with SASL, and there is neither: DELEGATION_TOKEN_REQUEST_NOT_ALLOWED,
//! with the client's principal and the times as Kafka fills them in. The other three token requests are refused alike.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{CreateDelegationTokenRequest, CreateDelegationTokenResponse};

use super::{RequestContext, reply};

/// A time that is not set.
pub(super) const NO_TIME_MS: i64 = -1;
/// Who a client of a plaintext listener is: `KafkaPrincipal.ANONYMOUS`.
const PRINCIPAL_TYPE: &str = "User";
const PRINCIPAL_NAME: &str = "ANONYMOUS";

/// What a token request over a connection without authentication gets.
pub(super) const REFUSAL: ResponseError = ResponseError::DelegationTokenRequestNotAllowed;

/// Refuses.
pub(super) async fn handle(
    ctx: &RequestContext,
    _: CreateDelegationTokenRequest,
) -> CreateDelegationTokenResponse {
    let mut response = CreateDelegationTokenResponse::default()
        .with_error_code(REFUSAL.code())
        .with_principal_type(reply::text(PRINCIPAL_TYPE))
        .with_principal_name(reply::text(PRINCIPAL_NAME))
        .with_issue_timestamp_ms(NO_TIME_MS)
        .with_expiry_timestamp_ms(NO_TIME_MS)
        .with_max_timestamp_ms(NO_TIME_MS);
    if ctx.version >= 3 {
        response.token_requester_principal_type = reply::text(PRINCIPAL_TYPE);
        response.token_requester_principal_name = reply::text(PRINCIPAL_NAME);
    }
    response
}
