//! CreateAcls (key 30), versions 1 to 3. KIP-140, KIP-290.
//!
//! SECURITY_DISABLED for each, as `describe_acls` says: an ACL that nobody enforces must not be taken.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_acls_response::AclCreationResult;
use kafka_protocol::messages::{CreateAclsRequest, CreateAclsResponse};

use super::describe_acls::NO_AUTHORIZER;
use super::{RequestContext, reply};

/// Refuses each.
pub(super) async fn handle(_: &RequestContext, request: CreateAclsRequest) -> CreateAclsResponse {
    let refused = AclCreationResult::default()
        .with_error_code(ResponseError::SecurityDisabled.code())
        .with_error_message(Some(reply::text(NO_AUTHORIZER)));
    CreateAclsResponse::default().with_results(vec![refused; request.creations.len()])
}
