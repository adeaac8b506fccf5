//! How long a client is muted after an answer, because it is over a quota (KIP-124, KIP-219).

use std::time::Duration;

use super::RequestContext;
use crate::quota::{Mutations, Usage};

/// Whom connections belong to that have not said who they are.
const ANONYMOUS: &str = "ANONYMOUS";

/// As a response tells it.
pub(super) fn in_ms(mute: Duration) -> i32 {
    i32::try_from(mute.as_millis()).unwrap_or(i32::MAX)
}

impl RequestContext {
    fn who(&self) -> (&str, &str) {
        (ANONYMOUS, self.client_id.as_deref().unwrap_or_default())
    }

    /// Counts what a request took: a thread's time, and perhaps bytes. The larger wait of both quotas counts.
    pub(super) fn throttle(&self, busy: Duration, bytes: Option<Usage>) -> Duration {
        self.throttle_at_least(Duration::ZERO, busy, bytes)
    }

    /// The same for a client that has to wait anyway.
    pub(super) fn throttle_at_least(
        &self,
        least: Duration,
        busy: Duration,
        bytes: Option<Usage>,
    ) -> Duration {
        let image = self.broker.image();
        if image.quotas.is_empty() {
            return Duration::ZERO;
        }
        let record = |usage| self.broker.quotas.record(&image.quotas, self.who(), usage);
        let wait = record(Usage::busy(busy)).max(bytes.map_or(Duration::ZERO, record)).max(least);
        self.broker.metrics.throttled(wait);
        wait
    }

    /// The same for a request that has no answer: only its bytes count, as in Kafka.
    pub(super) fn throttle_unanswered(&self, bytes: Usage) -> Duration {
        let image = self.broker.image();
        let wait = self.broker.quotas.record(&image.quotas, self.who(), bytes);
        self.broker.metrics.throttled(wait);
        wait
    }

    /// How many partitions the client may have created and deleted. From version `strict_since` on it is refused what
    /// goes beyond.
    pub(super) fn mutations(&self, strict_since: i16) -> Mutations {
        let image = self.broker.image();
        self.broker.quotas.mutations(&image.quotas, self.who(), self.version >= strict_since)
    }

    /// Takes back bytes that were counted and then not sent.
    pub(super) fn not_used(&self, bytes: Usage) {
        self.broker.quotas.take_back(&self.broker.image().quotas, self.who(), bytes);
    }

    /// The most bytes that one answer may have without its client being muted whatever was before; none without quota.
    pub(super) fn most_at_once(&self, kind: crate::quota::Kind) -> Option<usize> {
        let most = self.broker.quotas.most_at_once(&self.broker.image().quotas, self.who(), kind)?;
        Some(most as usize)
    }
}
