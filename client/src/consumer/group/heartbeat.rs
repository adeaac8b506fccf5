//! Heartbeats between two rebalances. They tell the coordinator that the member lives, and bring the news that the group
//! rebalances. A member whose application has stopped polling leaves, so that others get its partitions (KIP-62).

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::ResponseError as Code;
use tokio::time::{Instant, sleep};

use super::Membership;

/// Runs until the membership ends or the task is aborted.
pub(super) async fn run(shared: Arc<Membership>, partition_counts: Option<BTreeMap<Arc<str>, i32>>) {
    let mut last_success = Instant::now();
    loop {
        sleep(shared.config.heartbeat_interval).await;
        if shared.signals.lock().last_poll.elapsed() > shared.config.max_poll_interval {
            tracing::warn!(group = shared.id(), "no poll within max.poll.interval.ms, leaving the group");
            if let Err(error) = shared.requests.leave().await {
                tracing::debug!(%error, "leaving failed; the session will time out");
            }
            return shared.signal(|signals| signals.lost = true);
        }
        match shared.requests.beat(&shared.requests.identity()).await {
            Ok(()) => last_success = Instant::now(),
            Err(error) => match error.code() {
                Some(Code::RebalanceInProgress) => {
                    last_success = Instant::now();
                    shared.signal(|signals| signals.rejoin = true);
                }
                Some(Code::UnknownMemberId | Code::IllegalGeneration) => {
                    return shared.signal(|signals| signals.lost = true);
                }
                _ if error.is_retriable() => {
                    if last_success.elapsed() > shared.config.session_timeout {
                        return shared.signal(|signals| signals.lost = true);
                    }
                }
                _ => return shared.signal(|signals| signals.fatal = Some(error)),
            },
        }
        if let Some(counts) = &partition_counts
            && shared.cluster.metadata_is_stale()
            && shared.has_other_partitions(counts).await
        {
            shared.signal(|signals| signals.rejoin = true);
        }
    }
}

impl Membership {
    /// Whether topics have grown or shrunk since the leader assigned them.
    async fn has_other_partitions(&self, counts: &BTreeMap<Arc<str>, i32>) -> bool {
        let seen = self.cluster.metadata().version;
        let Ok(metadata) = self.cluster.refresh(seen).await else { return false };
        counts.iter().any(|(topic, count)| {
            let now = metadata.topics.get(topic).map_or(0, |info| info.partitions.len() as i32);
            now != *count
        })
    }
}
