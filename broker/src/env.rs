//! Where time, randomness and the disk come from.
//!
//! On a machine: the system's clock, its randomness, its files. In a simulation: tokio's clock (which a test pauses),
//! numbers from a seed, a simulated disk. Everything in this crate that needs one of the three takes it from here, so
//! that a whole broker runs in one thread of a test and replays from its seed.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use millrace_log::disk::{Disk, RealDisk};
use parking_lot::Mutex;
use tokio::time::Instant;
use uuid::Uuid;

use crate::descriptors::Descriptors;
use crate::loggers::Loggers;
use crate::metrics::MoreMetrics;

/// The broker's surroundings.
#[derive(Clone, Debug)]
pub struct Env {
    /// The file system.
    pub disk: Arc<dyn Disk>,
    /// The wall clock.
    pub clock: Clock,
    /// For ids and jitter.
    pub random: Random,
    /// How many file descriptors there are.
    pub descriptors: Descriptors,
    /// The log's levels, if they can be changed.
    pub loggers: Option<Arc<dyn Loggers>>,
    /// What else is told at `metrics.listener`.
    pub more_metrics: Option<Arc<dyn MoreMetrics>>,
}

impl Env {
    /// The machine's own clock, randomness and files. Raises this process's limit on open files as far as it may.
    pub fn real() -> Self {
        let seed = Uuid::new_v4().as_u64_pair();
        Self {
            disk: Arc::new(RealDisk),
            clock: Clock::System,
            random: Random::new(seed.0 ^ seed.1),
            descriptors: Descriptors::raise(),
            loggers: None,
            more_metrics: None,
        }
    }

    /// Everything from `disk`, tokio's clock (beginning at `start_ms`) and `seed`. To be called in a tokio runtime.
    pub fn simulated(disk: Arc<dyn Disk>, seed: u64, start_ms: i64) -> Self {
        Self {
            disk,
            clock: Clock::Tokio { start_ms, start: Instant::now() },
            random: Random::new(seed),
            descriptors: Descriptors::UNLIMITED,
            loggers: None,
            more_metrics: None,
        }
    }
}

/// A wall clock in milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// The system's.
    System,
    /// Follows tokio's clock from a given moment.
    Tokio {
        /// What it showed at `start`.
        start_ms: i64,
        /// When that was.
        start: Instant,
    },
}

impl Clock {
    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        match self {
            Self::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
            }
            Self::Tokio { start_ms, start } => {
                start_ms.saturating_add(i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX))
            }
        }
    }
}

/// Numbers from a seed (SplitMix64). Good for ids, jitter and replayable tests; not for secrets.
#[derive(Clone)]
pub struct Random(Arc<Mutex<u64>>);

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random")
    }
}

impl Random {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(seed)))
    }

    /// The next number.
    pub fn next_u64(&self) -> u64 {
        let mut state = self.0.lock();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A random (version 4) id. None begins with '-' in Kafka's base64 form, which command lines would take for an
    /// option, and none is one of Kafka's reserved ids.
    pub fn uuid(&self) -> Uuid {
        loop {
            let bits = Uuid::from_u64_pair(self.next_u64(), self.next_u64());
            let id = uuid::Builder::from_random_bytes(bits.into_bytes()).into_uuid();
            // 62 is '-' in URL-safe base64; it comes from the first six bits.
            if id.as_bytes()[0] >> 2 != 62 {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_numbers() {
        let (a, b) = (Random::new(7), Random::new(7));
        assert_eq!(a.uuid(), b.uuid());
        assert_ne!(a.uuid(), Random::new(8).uuid());
    }

    #[test]
    fn ids_are_of_version_4_and_of_the_rfcs_variant() {
        let random = Random::new(7);
        for _ in 0..100 {
            let id = random.uuid();
            assert_eq!(id.get_version(), Some(uuid::Version::Random), "{id}");
            assert_eq!(id.get_variant(), uuid::Variant::RFC4122, "{id}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn simulated_clock_follows_tokio() {
        let clock = Clock::Tokio { start_ms: 1000, start: Instant::now() };
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        assert_eq!(clock.now_ms(), 1250);
    }
}
