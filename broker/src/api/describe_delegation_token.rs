//! DescribeDelegationToken (key 41), versions 1 to 3. KIP-48. Refused, for the reason that `create_delegation_token` gives.

use kafka_protocol::messages::{DescribeDelegationTokenRequest, DescribeDelegationTokenResponse};

use super::RequestContext;
use super::create_delegation_token::REFUSAL;

/// Refuses.
pub(super) async fn handle(
    _: &RequestContext,
    _: DescribeDelegationTokenRequest,
) -> DescribeDelegationTokenResponse {
    DescribeDelegationTokenResponse::default().with_error_code(REFUSAL.code())
}
