//! What one instance uses up.
//!
//! Busy time is that in which the host polled one of the instance's calls: the guest's own code and what it asked the host to do at
//! once. Waiting (`control.sleep`, files that are read in the background) is not part of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

/// Counted by the host while an instance runs.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    memory_bytes: AtomicU64,
    busy_ns: AtomicU64,
    calls: AtomicU64,
}

impl Usage {
    /// Linear memory that the instance has now; none once it is gone.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    /// Time that its calls took.
    pub(crate) fn busy(&self) -> Duration {
        Duration::from_nanos(self.busy_ns.load(Ordering::Relaxed))
    }

    /// How often it was called.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub(crate) fn set_memory_bytes(&self, bytes: usize) {
        self.memory_bytes.store(bytes as u64, Ordering::Relaxed);
    }

    /// Runs one call, and counts the time in which it did something.
    pub(crate) async fn timed<R>(&self, call: impl Future<Output = R>) -> R {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let mut call = std::pin::pin!(call);
        std::future::poll_fn(|context| {
            let begun = Instant::now();
            let polled: Poll<R> = call.as_mut().poll(context);
            let took = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.busy_ns.fetch_add(took, Ordering::Relaxed);
            polled
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waiting_is_not_busy() {
        let usage = Usage::default();
        usage.timed(tokio::time::sleep(Duration::from_secs(3600))).await;
        usage.timed(async { std::thread::sleep(Duration::from_millis(20)) }).await;
        assert_eq!(usage.calls(), 2);
        assert!(usage.busy() >= Duration::from_millis(20), "{:?}", usage.busy());
        assert!(usage.busy() < Duration::from_secs(3600), "{:?}", usage.busy());
    }
}
