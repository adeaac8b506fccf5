//! AddOffsetsToTxn (key 25), versions 0 to 4. KIP-98, KIP-360 (v2), KIP-890 (v4).
//!
//! Adds the partition of `__consumer_offsets` that holds the group's offsets to the transaction.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};

use super::RequestContext;
use crate::coordinators::{Producer, TopicPartition};
use crate::internal_topic::InternalTopic;
use crate::transaction::event::AddPartitions;
use crate::transaction::state::Protocol;

/// The version from which on PRODUCER_FENCED is understood.
const KNOWS_FENCED: i16 = 2;

/// Adds a group's offsets to a transaction.
pub(super) async fn handle(ctx: &RequestContext, request: AddOffsetsToTxnRequest) -> AddOffsetsToTxnResponse {
    let result = add(ctx, request).await;
    let code = super::fenced_code(result, ctx.version >= KNOWS_FENCED);
    AddOffsetsToTxnResponse::default().with_error_code(code)
}

async fn add(ctx: &RequestContext, request: AddOffsetsToTxnRequest) -> Result<(), ResponseError> {
    if request.group_id.is_empty() {
        return Err(ResponseError::InvalidGroupId);
    }
    let offsets = InternalTopic::ConsumerOffsets;
    ctx.broker.ensure_internal(offsets).await?;
    let partition = ctx.broker.coordinators.groups.partition(&ctx.broker, &request.group_id);
    let add = AddPartitions {
        transactional_id: request.transactional_id.to_string(),
        producer: Producer { id: request.producer_id.0, epoch: request.producer_epoch },
        partitions: vec![TopicPartition::new(offsets.name(), partition)],
        protocol: Protocol::First,
    };
    ctx.broker.coordinators.add_partitions(&ctx.broker, add).await
}
