//! The log cleaner: compacts logs, the ones with most to gain first.
//!
//! `log.cleaner.threads` at a time, beside everything else, each with its share of `log.cleaner.dedupe.buffer.size` and of
//! `log.cleaner.io.max.bytes.per.second`, which bounds what all of them read and write. A log that cannot be compacted (a batch in it is
//! corrupt, or can't be decoded) is reported once and left alone until the broker starts again; the others go on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_log::{Cleaner, CompactionError, Dirty, TopicPartition};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::config::Config;
use crate::shared::Shared;

/// Longest sleep at once while the limit on bytes holds it back, so that a stop is noticed.
const SLEEP_MAX: Duration = Duration::from_millis(100);
/// Most threads, whatever the setting says.
const THREADS_MAX: i64 = 16;

/// What the cleaner was told, read anew for each round.
#[derive(Clone, Copy)]
struct Settings {
    threads: usize,
    /// Of each thread.
    dedupe_buffer_bytes: usize,
    load_factor: f64,
    /// Of each thread.
    bytes_per_second_max: f64,
}

impl Settings {
    fn of(config: &Config, simulated: bool) -> Self {
        let decimal = |name: &str| config.current(name).trim().parse().unwrap_or(f64::MAX);
        let threads = usize::try_from(config.long("log.cleaner.threads").clamp(0, THREADS_MAX)).unwrap_or(0);
        // A simulation has one thread.
        let threads = if simulated { threads.min(1) } else { threads };
        let dedupe_buffer_bytes = usize::try_from(config.long("log.cleaner.dedupe.buffer.size")).unwrap_or(0);
        Self {
            threads,
            dedupe_buffer_bytes: dedupe_buffer_bytes / threads.max(1),
            load_factor: decimal("log.cleaner.io.buffer.load.factor"),
            bytes_per_second_max: decimal("log.cleaner.io.max.bytes.per.second") / threads.max(1) as f64,
        }
    }
}

/// What the threads of the cleaner tell each other.
#[derive(Default)]
struct Round {
    /// Not before the broker starts again.
    uncleanable: BTreeSet<TopicPartition>,
    /// Not in this round any more: one of the threads has it, or could not compact it just now.
    taken: BTreeSet<TopicPartition>,
}

impl Round {
    /// The log with most to gain, for the thread that asks.
    fn next(&mut self, shared: &Shared) -> Option<Dirty> {
        let except = self.uncleanable.union(&self.taken).cloned().collect();
        let dirty = shared.replicas.logs().dirtiest(shared.now_ms(), &except)?;
        self.taken.insert(dirty.partition.clone());
        Some(dirty)
    }
}

/// Runs until told to stop.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let round = Arc::new(Mutex::new(Round::default()));
    let simulated = shared.replicas.simulated();
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
        round.lock().taken.clear();
        let settings = Settings::of(&shared.config, simulated);
        let mut threads = JoinSet::new();
        for _ in 0..settings.threads {
            let (shared, round, stop) = (shared.clone(), round.clone(), stop.clone());
            threads.spawn(crate::blocking::run(simulated, move || {
                clean_all(&shared, &settings, &round, &stop);
            }));
        }
        while threads.join_next().await.is_some() {}
        let waiting = round.lock().taken.len();
        if waiting > 0 {
            info!(logs = waiting, "some logs wait for their next compaction");
        }
    }
}

/// Compacts until no log needs it.
fn clean_all(shared: &Shared, settings: &Settings, round: &Mutex<Round>, stop: &CancellationToken) {
    let logs = shared.replicas.logs();
    let mut cleaner = Cleaner::new(settings.dedupe_buffer_bytes, settings.load_factor);
    loop {
        let Some(dirty) = round.lock().next(shared) else { return };
        let (topic, partition) = (&dirty.partition.topic, dirty.partition.partition);
        let mut throttle = Throttle::new(settings.bytes_per_second_max, shared.replicas.simulated());
        let mut pace = |bytes| throttle.spent(bytes, stop);
        match logs.compact(&dirty, &mut cleaner, shared.now_ms(), &mut pace) {
            Ok(report) => {
                debug!(topic = %topic, partition, ?report, "log compacted");
                // It may need another round at once, if the keys did not fit.
                round.lock().taken.remove(&dirty.partition);
            }
            Err(CompactionError::Stopped) => return,
            Err(CompactionError::Overtaken) => {
                debug!(topic = %topic, partition, "compaction was overtaken; it is tried again");
            }
            Err(CompactionError::Log(error)) if is_lasting(&error) => {
                error!(topic = %topic, partition, %error, "the log can't be compacted and is left alone until the broker restarts");
                let mut round = round.lock();
                round.taken.remove(&dirty.partition);
                round.uncleanable.insert(dirty.partition);
            }
            Err(CompactionError::Log(error)) => {
                warn!(topic = %topic, partition, %error, "compaction failed; it is tried again");
            }
        }
    }
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
