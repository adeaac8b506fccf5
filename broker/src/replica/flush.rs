//! Syncing a partition's log: group commit by default, relaxed where the topic says so.
//!
//! Group commit: every append asks for a sync. If none is running, one starts on a blocking thread; appends that come
//! while it runs share the next one, which starts right after. When a sync returns, the high watermark moves to what
//! it made durable, and all who wait for that are answered together.
//!
//! Relaxed (`flush.messages` above 1, or `flush.ms` set): the high watermark follows the append, and a sync is asked
//! for when so many records or so much time have gone by.
//!
//! A failed sync may have lost any byte since the last good one, and a second try would lie about it. So the log goes
//! offline: nothing more is acknowledged, and clients are told KAFKA_STORAGE_ERROR, until it was opened again
//! ([`Partition::reopen`], by `crate::reopening`).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use millrace_wire::ids::Offset;
use tracing::error;

use super::Partition;

/// How long a sync takes in a simulation: longer than an answer is under way there, so that a power cut often falls between an
/// acknowledgement that did not wait for its sync and that sync.
const SIMULATED_SYNC: Duration = Duration::from_millis(5);

/// Who is syncing.
#[derive(Default)]
pub(super) struct Sync {
    running: bool,
    /// Something was appended since the running sync began.
    again: bool,
    /// Time of the first append that no sync has been asked for.
    pub(super) oldest_unsynced_ms: Option<i64>,
    /// The log end offset when a sync was last asked for.
    asked_at: i64,
    /// Why the log cannot be written until it was opened again.
    pub(super) failed: Option<Arc<millrace_log::Error>>,
}

impl Partition {
    /// After an append: sees that the high watermark follows.
    pub(super) fn appended(self: &Arc<Self>) {
        let config = self.config();
        if config.durable_before_ack() {
            self.request_sync();
            return;
        }
        let end = self.log.end_offset();
        self.advance_high_watermark(end);
        let due = {
            let mut sync = self.sync.lock();
            sync.oldest_unsynced_ms.get_or_insert_with(|| self.clock.now_ms());
            end.0.saturating_sub(sync.asked_at) >= config.flush_messages
        };
        if due {
            self.request_sync();
        }
    }

    /// Syncs if `flush.ms` has gone by since the oldest append that was not synced.
    pub(crate) fn flush_if_due(self: &Arc<Self>, now_ms: i64) {
        let after_ms = self.config().flush_ms;
        let due = self
            .sync
            .lock()
            .oldest_unsynced_ms
            .is_some_and(|oldest| now_ms.saturating_sub(oldest) >= after_ms);
        if due {
            self.request_sync();
        }
    }

    /// Sees that everything appended so far becomes durable soon.
    pub(super) fn request_sync(self: &Arc<Self>) {
        {
            let mut sync = self.sync.lock();
            sync.asked_at = self.log.end_offset().0;
            sync.oldest_unsynced_ms = None;
            if sync.failed.is_some() {
                return;
            }
            if sync.running {
                sync.again = true;
                return;
            }
            sync.running = true;
        }
        let partition = self.clone();
        if self.simulated {
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(SIMULATED_SYNC).await;
                    if !partition.sync_once() {
                        return;
                    }
                }
            });
        } else {
            tokio::task::spawn_blocking(move || while partition.sync_once() {});
        }
    }

    /// One sync for all who wait; whether another one is wanted already.
    fn sync_once(self: &Arc<Self>) -> bool {
        let started = Instant::now();
        let result = self.log.sync();
        self.metrics.sync.record(started.elapsed());
        let again = {
            let mut sync = self.sync.lock();
            if let Err(error) = &result {
                error!(
                    topic = %self.topic, partition = self.index, %error,
                    "the log cannot be synced and is offline until it was opened again; free or repair the disk"
                );
            }
            match result {
                Ok(durable) => {
                    if self.config().durable_before_ack() {
                        self.advance_high_watermark(durable);
                    }
                    sync.running = sync.again;
                    std::mem::take(&mut sync.again)
                }
                Err(error) => {
                    sync.failed = Some(Arc::new(error));
                    sync.running = false;
                    false
                }
            }
        };
        if !again && self.sync.lock().failed.is_some() {
            self.waiters.wake_all();
        }
        again
    }

    /// Opens the log again after it has failed. What is in it then is durable, and seen. Waits for the disk.
    ///
    /// # Errors
    /// The disk still refuses, or what had been synced is damaged.
    pub(crate) fn reopen(self: &Arc<Self>) -> Result<(), millrace_log::Error> {
        self.log.reopen(self.clock.now_ms())?;
        {
            let mut sync = self.sync.lock();
            (sync.failed, sync.oldest_unsynced_ms) = (None, None);
        }
        self.advance_high_watermark(self.log.durable_end());
        if self.log.end_offset() > self.log.durable_end() {
            // Somebody was quicker, and nobody has asked for its sync.
            self.request_sync();
        }
        Ok(())
    }

    /// Moves the high watermark up, never back, and wakes those who waited for it.
    pub(super) fn advance_high_watermark(&self, to: Offset) {
        if self.high_watermark.fetch_max(to.0, Ordering::SeqCst) < to.0 {
            self.log.set_high_watermark(to);
            self.waiters.advanced(to.0);
        }
    }
}
