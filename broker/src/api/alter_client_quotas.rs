//! AlterClientQuotas (key 49), versions 0 and 1. KIP-546, KIP-612 (addresses).
//!
//! Sets quotas of a user, a client id, both, or an address, or takes them back. An entity or a value that can't be is
//! INVALID_REQUEST for that entry; an entry's changes are made together or not at all.

use kafka_protocol::messages::alter_client_quotas_request::EntryData as AskedEntry;
use kafka_protocol::messages::alter_client_quotas_response::{EntityData, EntryData};
use kafka_protocol::messages::{AlterClientQuotasRequest, AlterClientQuotasResponse};

use super::{RequestContext, reply};
use crate::controller::Command;

/// Changes quotas, or says whether they could be changed.
pub(super) async fn handle(
    ctx: &RequestContext,
    request: AlterClientQuotasRequest,
) -> AlterClientQuotasResponse {
    let commands = request.entries.iter().map(command).collect();
    let done = ctx.broker.controller.run(commands, request.validate_only).await;
    let entries = request.entries.into_iter().zip(done).map(|(asked, done)| {
        let entity = asked.entity.into_iter().map(|part| {
            EntityData::default().with_entity_type(part.entity_type).with_entity_name(part.entity_name)
        });
        let entry = EntryData::default().with_entity(entity.collect()).with_error_message(None);
        match done {
            Ok(_) => entry,
            Err(refusal) => entry
                .with_error_code(refusal.error.code())
                .with_error_message(Some(reply::text(refusal.message))),
        }
    });
    AlterClientQuotasResponse::default().with_entries(entries.collect())
}

fn command(entry: &AskedEntry) -> Command {
    let name = |name: &kafka_protocol::protocol::StrBytes| name.to_string();
    Command::AlterQuotas {
        entity: entry
            .entity
            .iter()
            .map(|part| (name(&part.entity_type), part.entity_name.as_ref().map(name)))
            .collect(),
        changes: entry.ops.iter().map(|op| (name(&op.key), (!op.remove).then_some(op.value))).collect(),
    }
}
