//! What a broker does on its own, now and then: `flush.ms`, retention, checkpoints, metadata snapshots, giving idle memory back, creating
//! logs for which there was no room.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::shared::Shared;

/// How often `flush.ms` is looked at, and whether a metadata snapshot is due.
const FLUSH_INTERVAL: Duration = Duration::from_millis(500);
/// How often files and caches that nobody used lately are closed and emptied.
const RELEASE_INTERVAL: Duration = Duration::from_secs(30);

/// Runs until told to stop.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let config = &shared.config;
    let mut flush = every(FLUSH_INTERVAL);
    let mut retention = every(setting(config.long("log.retention.check.interval.ms")));
    let mut release = every(RELEASE_INTERVAL);
    let mut checkpoint = every(setting(config.long("log.flush.offset.checkpoint.interval.ms")));
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = flush.tick() => {
                flush_due(&shared);
                shared.cold_reads.resize(config.long("num.io.threads"));
                shared.controller.snapshot_if_due().await;
            }
            _ = release.tick() => {
                shared.replicas.logs().release_idle();
                purge_deleted(&shared).await;
                if shared.replicas.lacks_logs() {
                    shared.controller.follow_again().await;
                }
            }
            _ = retention.tick() => retain(&shared).await,
            _ = checkpoint.tick() => write_checkpoints(&shared).await,
        }
    }
}

fn setting(interval_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(interval_ms).unwrap_or(1).max(1))
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut interval = interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

fn flush_due(shared: &Shared) {
    let now_ms = shared.now_ms();
    for partition in shared.replicas.all() {
        partition.flush_if_due(now_ms);
    }
}

/// Removes files of deleted segments once `file.delete.delay.ms` is over.
async fn purge_deleted(shared: &Arc<Shared>) {
    let (replicas, now_ms) = (shared.replicas.clone(), shared.now_ms());
    crate::blocking::run(shared.replicas.simulated(), move || replicas.logs().purge_deleted(now_ms)).await;
}

/// Deletes segments that are too old or too many.
async fn retain(shared: &Arc<Shared>) {
    let (replicas, now_ms) = (shared.replicas.clone(), shared.now_ms());
    crate::blocking::run(shared.replicas.simulated(), move || {
        for partition in replicas.all() {
            if let Err(error) = partition.log().retention(now_ms, partition.high_watermark()) {
                warn!(topic = %partition.topic, partition = partition.index, %error, "retention failed; it is tried again");
            }
        }
    })
    .await;
}

/// Writes recovery points and log start offsets, so that the next start reads little.
async fn write_checkpoints(shared: &Arc<Shared>) {
    let replicas = shared.replicas.clone();
    crate::blocking::run(shared.replicas.simulated(), move || {
        if let Err(error) = replicas.logs().checkpoint() {
            warn!(%error, "checkpoints cannot be written; it is tried again");
        }
    })
    .await;
}
