//! Pauses between attempts: doubling, with a ceiling and with jitter so that clients do not come back in step.
//!
//! The jitter comes from a small generator with a seed, so that a simulation replays.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::error::{Error, Result};

/// How long to pause.
#[derive(Debug, Clone, Copy)]
pub struct BackoffConfig {
    /// First pause (`retry.backoff.ms`).
    pub initial: Duration,
    /// Longest pause (`retry.backoff.max.ms`).
    pub max: Duration,
}

impl Default for BackoffConfig {
    fn default() -> Self {
        Self { initial: Duration::from_millis(100), max: Duration::from_secs(1) }
    }
}

/// The pauses of one operation.
#[derive(Debug, Clone)]
pub struct Backoff {
    config: BackoffConfig,
    attempts: u32,
    random: Random,
}

impl Backoff {
    /// Starts with the first pause.
    pub fn new(config: BackoffConfig, random: Random) -> Self {
        Self { config, attempts: 0, random }
    }

    /// The next pause, 80 to 120 percent of its nominal length (as KIP-580).
    pub fn next_pause(&mut self) -> Duration {
        let doubled = self.config.initial.saturating_mul(1 << self.attempts.min(16));
        self.attempts = self.attempts.saturating_add(1);
        let percent = 80 + self.random.below(41) as u32;
        doubled.min(self.config.max) * percent / 100
    }

    /// As if this many attempts had been made.
    pub fn after(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// Sleeps for the next pause.
    pub async fn pause(&mut self) {
        sleep(self.next_pause()).await;
    }

    /// Back to the first pause, after a success.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

/// The attempts of one operation, up to a limit of time.
#[derive(Debug)]
pub(crate) struct Retry {
    deadline: Instant,
    backoff: Backoff,
}

impl Retry {
    pub(crate) fn new(limit: Duration, backoff: Backoff) -> Self {
        Self { deadline: Instant::now() + limit, backoff }
    }

    /// Whether to try again after this error; pauses if so.
    pub(crate) async fn again(&mut self, error: &Error) -> bool {
        if !error.is_retriable() || Instant::now() >= self.deadline {
            return false;
        }
        tracing::debug!(%error, "retrying");
        self.backoff.pause().await;
        true
    }
}

/// A small random generator (splitmix64). Not for secrets.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The sequence that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit` (0 if the limit is 0).
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next_u64().checked_rem(limit).unwrap_or(0)
    }

    /// Another generator, whose sequence has nothing to do with this one's.
    pub fn split(&mut self) -> Self {
        Self(self.next_u64())
    }
}

/// Fails with [`Error::Timeout`] when `limit` passes first.
pub(crate) async fn within<T>(
    limit: Duration,
    what: impl FnOnce() -> String,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => Err(Error::Timeout { what: what(), after_ms: limit.as_millis() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_ceiling_and_stay_near_it() {
        let config = BackoffConfig { initial: Duration::from_millis(100), max: Duration::from_secs(1) };
        let mut backoff = Backoff::new(config, Random::new(1));
        for nominal in [100, 200, 400, 800, 1000, 1000, 1000] {
            let pause = backoff.next_pause().as_millis();
            assert!((nominal * 8 / 10..=nominal * 12 / 10).contains(&pause), "{pause} around {nominal}");
        }
        backoff.reset();
        assert!(backoff.next_pause() <= Duration::from_millis(120));
    }

    #[test]
    fn a_seed_gives_the_same_pauses() {
        let pauses = |seed| {
            let mut backoff = Backoff::new(BackoffConfig::default(), Random::new(seed));
            (0..5).map(|_| backoff.next_pause()).collect::<Vec<_>>()
        };
        assert_eq!(pauses(7), pauses(7));
        assert_ne!(pauses(7), pauses(8));
    }

    #[tokio::test(start_paused = true)]
    async fn retrying_stops_at_the_limit() {
        let started = Instant::now();
        let mut attempts = 0;
        let error = Error::broker("Metadata", "topic t", kafka_protocol::ResponseError::LeaderNotAvailable);
        let mut retry =
            Retry::new(Duration::from_secs(5), Backoff::new(BackoffConfig::default(), Random::new(1)));
        while retry.again(&error).await {
            attempts += 1;
        }
        assert!(attempts > 5 && started.elapsed() < Duration::from_secs(7), "{attempts} attempts");
    }
}
