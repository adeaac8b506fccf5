//! Finds where to begin: the committed offset, else the earliest or latest one.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use super::config::OffsetReset;
use super::{Position, Shared};
use crate::error::{Error, Result};
use crate::offsets::{self, OffsetSpec};
use crate::topic::TopicPartition;

/// A partition whose position is looked for, and the epoch in which.
pub(super) type Lost = BTreeMap<TopicPartition, (u64, Position)>;

/// Looks positions up and notes them. What fails is noted as the partitions' error, or tried again later.
pub(super) async fn find(shared: Arc<Shared>, lost: Lost) {
    let found = look_up(&shared, &lost).await;
    let mut state = shared.state.lock();
    for (tp, (epoch, _)) in &lost {
        let Some(partition) = state.partitions.get_mut(tp).filter(|p| p.epoch == *epoch) else { continue };
        partition.is_asked = false;
        match &found {
            Ok(found) => match found.get(tp) {
                Some(offset) => partition.found(*offset),
                None => {
                    partition.not_before = Some(Instant::now() + super::fetcher::ERROR_PAUSE);
                    partition.error = Some(Error::NoPosition { subject: tp.to_string() });
                }
            },
            Err(error) => {
                partition.not_before = Some(Instant::now() + super::fetcher::ERROR_PAUSE);
                partition.error = Some(error.clone()).filter(|error| !error.is_retriable());
            }
        }
    }
    drop(state);
    shared.wanted.notify_one();
    shared.arrived.notify_one();
}

async fn look_up(shared: &Shared, lost: &Lost) -> Result<BTreeMap<TopicPartition, i64>> {
    let mut found = BTreeMap::new();
    let committed: Vec<_> = lost
        .iter()
        .filter(|(_, (_, wanted))| *wanted == Position::Committed)
        .map(|(tp, _)| tp.clone())
        .collect();
    if let (Some(coordinator), Some(group), false) =
        (&shared.coordinator, &shared.config.group_id, committed.is_empty())
    {
        let offsets = offsets::committed(coordinator, group, Some(&committed)).await?;
        found.extend(offsets.into_iter().map(|(tp, offset)| (tp, offset.offset)));
    }
    let mut wanted = BTreeMap::new();
    for (tp, (_, position)) in lost.iter().filter(|(tp, _)| !found.contains_key(tp)) {
        let spec = match (position, shared.config.auto_offset_reset) {
            (Position::Earliest, _) | (Position::Committed, OffsetReset::Earliest) => OffsetSpec::Earliest,
            (Position::Latest, _) | (Position::Committed, OffsetReset::Latest) => OffsetSpec::Latest,
            (Position::Offset(_), _) | (Position::Committed, OffsetReset::None) => continue,
        };
        wanted.insert(tp.clone(), spec);
    }
    let listed = offsets::list_offsets(&shared.cluster, &wanted, shared.config.isolation).await?;
    found.extend(listed.into_iter().filter_map(|(tp, listed)| Some((tp, listed.offset?))));
    Ok(found)
}
