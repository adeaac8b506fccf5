//! The log cleaner: compacts one log after the other, the one with most to gain first.
//!
//! One thread, beside everything else; `log.cleaner.io.max.bytes.per.second` bounds what it reads and writes. A log that
//! cannot be compacted (a batch in it is corrupt, or can't be decoded) is reported once and left alone until the broker
//! starts again; the others go on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_log::{Cleaner, CompactionError, TopicPartition};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::config::Config;
use crate::shared::Shared;

/// Longest sleep at once while the limit on bytes holds it back, so that a stop is noticed.
const SLEEP_MAX: Duration = Duration::from_millis(100);

/// What the cleaner was told, read anew for each round.
struct Settings {
    dedupe_buffer_bytes: usize,
    load_factor: f64,
    bytes_per_second_max: f64,
}

impl Settings {
    fn of(config: &Config) -> Self {
        let decimal = |name: &str| config.current(name).trim().parse().unwrap_or(f64::MAX);
        Self {
            dedupe_buffer_bytes: usize::try_from(config.long("log.cleaner.dedupe.buffer.size")).unwrap_or(0),
            load_factor: decimal("log.cleaner.io.buffer.load.factor"),
            bytes_per_second_max: decimal("log.cleaner.io.max.bytes.per.second"),
        }
    }
}

/// Runs until told to stop.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut uncleanable = BTreeSet::new();
    loop {
        let backoff_ms = shared.config.long("log.cleaner.backoff.ms");
        let backoff = Duration::from_millis(u64::try_from(backoff_ms).unwrap_or(0).max(1));
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(backoff) => {}
        }
        if !shared.config.boolean("log.cleaner.enable") {
            continue;
        }
        let (work, stopped) = (shared.clone(), stop.clone());
        uncleanable = crate::blocking::run(shared.replicas.simulated(), move || {
            clean_all(&work, uncleanable, &stopped)
        })
        .await;
    }
}

/// Compacts until no log needs it.
fn clean_all(
    shared: &Shared,
    mut uncleanable: BTreeSet<TopicPartition>,
    stop: &CancellationToken,
) -> BTreeSet<TopicPartition> {
    let logs = shared.replicas.logs();
    let settings = Settings::of(&shared.config);
    let mut cleaner = Cleaner::new(settings.dedupe_buffer_bytes, settings.load_factor);
    let mut except = uncleanable.clone();
    while let Some(dirty) = logs.dirtiest(shared.now_ms(), &except) {
        let (topic, partition) = (&dirty.partition.topic, dirty.partition.partition);
        let mut throttle = Throttle::new(settings.bytes_per_second_max, shared.replicas.simulated());
        let mut pace = |bytes| throttle.spent(bytes, stop);
        match logs.compact(&dirty, &mut cleaner, shared.now_ms(), &mut pace) {
            Ok(report) => {
                debug!(topic = %topic, partition, ?report, "log compacted");
            }
            Err(CompactionError::Stopped) => return uncleanable,
            Err(CompactionError::Overtaken) => {
                debug!(topic = %topic, partition, "compaction was overtaken; it is tried again");
                except.insert(dirty.partition);
            }
            Err(CompactionError::Log(error)) if is_lasting(&error) => {
                error!(topic = %topic, partition, %error, "the log can't be compacted and is left alone until the broker restarts");
                uncleanable.insert(dirty.partition.clone());
                except.insert(dirty.partition);
            }
            Err(CompactionError::Log(error)) => {
                warn!(topic = %topic, partition, %error, "compaction failed; it is tried again");
                except.insert(dirty.partition);
            }
        }
    }
    if except.len() > uncleanable.len() {
        info!(logs = except.len() - uncleanable.len(), "some logs wait for their next compaction");
    }
    uncleanable
}

/// Whether trying again is pointless.
fn is_lasting(error: &millrace_log::Error) -> bool {
    matches!(error, millrace_log::Error::Corrupt { .. } | millrace_log::Error::Undecodable { .. })
}

/// Sleeps as long as needed to stay below so many bytes per second.
struct Throttle {
    bytes_per_second_max: f64,
    began: Instant,
    bytes: u64,
    simulated: bool,
}

impl Throttle {
    fn new(bytes_per_second_max: f64, simulated: bool) -> Self {
        Self { bytes_per_second_max, began: Instant::now(), bytes: 0, simulated }
    }

    /// `false`: the broker stops.
    fn spent(&mut self, bytes: u64, stop: &CancellationToken) -> bool {
        self.bytes += bytes;
        while !stop.is_cancelled() {
            let ahead =
                self.bytes as f64 / self.bytes_per_second_max.max(1.0) - self.began.elapsed().as_secs_f64();
            if self.simulated || ahead <= 0.0 {
                return true;
            }
            std::thread::sleep(Duration::from_secs_f64(ahead.min(SLEEP_MAX.as_secs_f64())));
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_throttle_holds_back_and_lets_go_on_a_stop() {
        let stop = CancellationToken::new();
        let mut throttle = Throttle::new(1_000_000.0, false);
        let began = Instant::now();
        assert!(throttle.spent(20_000, &stop) && throttle.spent(20_000, &stop));
        assert!(began.elapsed() >= Duration::from_millis(40));
        assert!(Throttle::new(f64::MAX, false).spent(u64::MAX, &stop));
        stop.cancel();
        assert!(!throttle.spent(u64::MAX / 2, &stop));
    }
}
