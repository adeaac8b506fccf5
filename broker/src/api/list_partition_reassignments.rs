//! ListPartitionReassignments (key 46), version 0. KIP-455.
//!
//! Always empty: with one broker no partition is ever on its way to another one.

use kafka_protocol::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use super::RequestContext;

/// Lists nothing.
pub(super) async fn handle(
    _: &RequestContext,
    _: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse::default().with_error_message(None)
}
