//! RenewDelegationToken (key 39), versions 1 and 2. KIP-48. Refused, for the reason that `create_delegation_token` gives.

use kafka_protocol::messages::{RenewDelegationTokenRequest, RenewDelegationTokenResponse};

use super::RequestContext;
use super::create_delegation_token::{NO_TIME_MS, REFUSAL};

/// Refuses.
pub(super) async fn handle(
    _: &RequestContext,
    _: RenewDelegationTokenRequest,
) -> RenewDelegationTokenResponse {
    RenewDelegationTokenResponse::default()
        .with_error_code(REFUSAL.code())
        .with_expiry_timestamp_ms(NO_TIME_MS)
}
