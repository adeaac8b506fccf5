//! DescribeAcls (key 29), versions 1 to 3. KIP-140, KIP-290.
//!
//! There is no authorizer, so there are no ACLs to tell: SECURITY_DISABLED, as Kafka answers without
//! `authorizer.class.name`.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{DescribeAclsRequest, DescribeAclsResponse};

use super::{RequestContext, reply};

/// What all three ACL requests are told.
pub(super) const NO_AUTHORIZER: &str =
    "no authorizer is configured: whoever reaches the listener may do everything";

/// Refuses.
pub(super) async fn handle(_: &RequestContext, _: DescribeAclsRequest) -> DescribeAclsResponse {
    DescribeAclsResponse::default()
        .with_error_code(ResponseError::SecurityDisabled.code())
        .with_error_message(Some(reply::text(NO_AUTHORIZER)))
}
