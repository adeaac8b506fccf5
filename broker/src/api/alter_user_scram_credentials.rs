//! AlterUserScramCredentials (key 51), version 0. KIP-554.
//!
//! Deletions are answered as by a Kafka that has no credentials. Unlike Kafka, new ones are refused
//! (UNSUPPORTED_SASL_MECHANISM): they would be stored for a listener that doesn't exist, and whoever set them would
//! believe that the broker asks for them. One result per user, as in Kafka.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResult;
use kafka_protocol::messages::{AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse};
use kafka_protocol::protocol::StrBytes;

use super::{RequestContext, reply};

/// `SCRAM-SHA-256` and `SCRAM-SHA-512` in the protocol's numbers.
const MECHANISMS: std::ops::RangeInclusive<i8> = 1..=2;

/// Refuses each.
pub(super) async fn handle(
    _: &RequestContext,
    request: AlterUserScramCredentialsRequest,
) -> AlterUserScramCredentialsResponse {
    let mut refusals: BTreeMap<StrBytes, (ResponseError, &str)> = BTreeMap::new();
    for upsertion in request.upsertions {
        let no_sasl = (ResponseError::UnsupportedSaslMechanism, "no listener of this broker speaks SASL");
        refusals.insert(upsertion.name, no_sasl);
    }
    for deletion in request.deletions {
        let refusal = if deletion.name.is_empty() {
            (ResponseError::UnacceptableCredential, "the user's name is empty")
        } else if !MECHANISMS.contains(&deletion.mechanism) {
            (
                ResponseError::UnsupportedSaslMechanism,
                "mechanisms are 1 (SCRAM-SHA-256) and 2 (SCRAM-SHA-512)",
            )
        } else {
            (ResponseError::ResourceNotFound, "the user has no SCRAM credentials")
        };
        refusals.entry(deletion.name).or_insert(refusal);
    }
    let results = refusals.into_iter().map(|(user, (error, message))| {
        AlterUserScramCredentialsResult::default()
            .with_user(user)
            .with_error_code(error.code())
            .with_error_message(Some(reply::text(message)))
    });
    AlterUserScramCredentialsResponse::default().with_results(results.collect())
}
