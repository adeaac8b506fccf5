//! DescribeUserScramCredentials (key 50), version 0. KIP-554.
//!
//! No user has credentials, since no listener would ask for them: all users are an empty list, a named one is
//! RESOURCE_NOT_FOUND, and one that is named twice DUPLICATE_RESOURCE.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_user_scram_credentials_response::DescribeUserScramCredentialsResult;
use kafka_protocol::messages::{DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse};
use kafka_protocol::protocol::StrBytes;

use super::{RequestContext, reply};

/// Describes nobody.
pub(super) async fn handle(
    _: &RequestContext,
    request: DescribeUserScramCredentialsRequest,
) -> DescribeUserScramCredentialsResponse {
    let mut times: BTreeMap<StrBytes, usize> = BTreeMap::new();
    for user in request.users.unwrap_or_default() {
        *times.entry(user.name).or_default() += 1;
    }
    let results = times.into_iter().map(|(user, times)| {
        let (error, message) = if times > 1 {
            (ResponseError::DuplicateResource, format!("user {user} is named {times} times"))
        } else {
            (ResponseError::ResourceNotFound, format!("user {user} has no SCRAM credentials"))
        };
        DescribeUserScramCredentialsResult::default()
            .with_user(user)
            .with_error_code(error.code())
            .with_error_message(Some(reply::text(message)))
    });
    DescribeUserScramCredentialsResponse::default()
        .with_error_message(Some(StrBytes::default()))
        .with_results(results.collect())
}
