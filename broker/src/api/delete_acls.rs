//! DeleteAcls (key 31), versions 1 to 3. KIP-140, KIP-290.
//!
//! SECURITY_DISABLED for each filter, as `describe_acls` says.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_acls_response::DeleteAclsFilterResult;
use kafka_protocol::messages::{DeleteAclsRequest, DeleteAclsResponse};

use super::describe_acls::NO_AUTHORIZER;
use super::{RequestContext, reply};

/// Refuses each.
pub(super) async fn handle(_: &RequestContext, request: DeleteAclsRequest) -> DeleteAclsResponse {
    let refused = DeleteAclsFilterResult::default()
        .with_error_code(ResponseError::SecurityDisabled.code())
        .with_error_message(Some(reply::text(NO_AUTHORIZER)));
    DeleteAclsResponse::default().with_filter_results(vec![refused; request.filters.len()])
}
