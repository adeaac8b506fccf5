//! The numbers of one task, and what raises them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::window::Window;
use crate::capability::metrics::GuestMetrics;
use crate::component::Kind;
use crate::worker::progress::{Counts, State};

/// See the module's head. Cheap to raise: once per batch.
#[derive(Debug)]
pub(crate) struct TaskMetrics {
    kind: Kind,
    numbers: Mutex<Numbers>,
    guests: Mutex<GuestMetrics>,
}

/// What `names` reads.
#[derive(Debug)]
pub(super) struct Numbers {
    pub(super) state: State,
    /// Starts of the task; of them those that came to run, and those that ended before.
    pub(super) starts: u64,
    pub(super) starts_succeeded: u64,
    pub(super) starts_failed: u64,
    /// Records per batch that came in.
    pub(super) batch: Window,
    /// Polled from the source, or read from the topic.
    pub(super) taken: u64,
    pub(super) taken_rate: Window,
    /// Written to the topic, or taken by the sink.
    pub(super) given: u64,
    pub(super) given_rate: Window,
    /// Milliseconds of a poll, or of a put.
    pub(super) call: Window,
    /// Records per transaction of a source.
    pub(super) transaction: Window,
    /// Polled, and not committed yet.
    pub(super) active: u64,
    /// Milliseconds of a commit of positions.
    pub(super) commit: Window,
    /// 1 for a commit that succeeded, 0 for one that didn't.
    pub(super) commit_success: Window,
    pub(super) commits: u64,
    pub(super) partitions: usize,
    /// Most records that any partition has and the target doesn't.
    pub(super) lag_max: Option<i64>,
    pub(super) errors: u64,
    pub(super) failures: u64,
    pub(super) skipped: u64,
    pub(super) retries: u64,
    pub(super) logged: u64,
    pub(super) letters: u64,
    pub(super) letters_failed: u64,
    /// Milliseconds since 1970; 0: never.
    pub(super) last_error_ms: u64,
    pub(super) bytes: u64,
    pub(super) dropped: u64,
}

impl TaskMetrics {
    pub(super) fn new(kind: Kind) -> Self {
        let numbers = Numbers {
            state: State::Starting,
            starts: 0,
            starts_succeeded: 0,
            starts_failed: 0,
            batch: Window::default(),
            taken: 0,
            taken_rate: Window::default(),
            given: 0,
            given_rate: Window::default(),
            call: Window::default(),
            transaction: Window::default(),
            active: 0,
            commit: Window::default(),
            commit_success: Window::default(),
            commits: 0,
            partitions: 0,
            lag_max: None,
            errors: 0,
            failures: 0,
            skipped: 0,
            retries: 0,
            logged: 0,
            letters: 0,
            letters_failed: 0,
            last_error_ms: 0,
            bytes: 0,
            dropped: 0,
        };
        Self { kind, numbers: Mutex::new(numbers), guests: Mutex::default() }
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn read<T>(&self, look: impl FnOnce(&Numbers) -> T) -> T {
        look(&self.numbers.lock())
    }

    pub(super) fn guests(&self) -> GuestMetrics {
        self.guests.lock().clone()
    }

    /// Another start of the task: its guests count anew, and nothing is under way.
    pub(crate) fn starting(&self) -> GuestMetrics {
        let mut numbers = self.numbers.lock();
        numbers.state = State::Starting;
        numbers.starts += 1;
        numbers.active = 0;
        let guests = GuestMetrics::default();
        *self.guests.lock() = guests.clone();
        guests
    }

    pub(crate) fn set_state(&self, state: State) {
        let mut numbers = self.numbers.lock();
        match (numbers.state, state) {
            (State::Starting, State::Running) => numbers.starts_succeeded += 1,
            (State::Starting, State::Failed | State::Restarting) => numbers.starts_failed += 1,
            _ => {}
        }
        numbers.state = state;
    }

    /// An error of the task stands in the log.
    pub(crate) fn logged_error(&self) {
        let mut numbers = self.numbers.lock();
        numbers.logged += 1;
        numbers.last_error_ms = now_ms();
    }

    /// A source was asked for records.
    pub(crate) fn polled(&self, records: usize, took: Duration) {
        let mut numbers = self.numbers.lock();
        let now = Instant::now();
        numbers.call.record(now, ms(took));
        if records > 0 {
            numbers.take(now, records);
            numbers.active += records as u64;
        }
    }

    /// A transaction of a source is committed.
    pub(crate) fn transaction(&self, counts: &Counts, took: Duration) {
        let mut numbers = self.numbers.lock();
        let now = Instant::now();
        numbers.given += counts.records;
        numbers.given_rate.record(now, counts.records as f64);
        numbers.transaction.record(now, counts.records as f64);
        numbers.active = numbers.active.saturating_sub(counts.taken);
        numbers.commit(now, took);
        numbers.moved(counts);
    }

    /// Records were read for a sink.
    pub(crate) fn read_records(&self, records: usize) {
        self.numbers.lock().take(Instant::now(), records);
    }

    /// A sink was offered records and took some.
    pub(crate) fn put(&self, taken: u64, took: Duration) {
        let mut numbers = self.numbers.lock();
        let now = Instant::now();
        numbers.call.record(now, ms(took));
        numbers.given += taken;
        numbers.given_rate.record(now, taken as f64);
    }

    /// What a sink took is durable.
    pub(crate) fn durable(&self, counts: &Counts) {
        self.numbers.lock().moved(counts);
    }

    /// Positions of a sink were committed.
    pub(crate) fn committed(&self, took: Duration) {
        self.numbers.lock().commit(Instant::now(), took);
    }

    pub(crate) fn commit_failed(&self) {
        self.numbers.lock().commit_success.record(Instant::now(), 0.0);
    }

    pub(crate) fn set_partitions(&self, count: usize) {
        self.numbers.lock().partitions = count;
    }

    pub(crate) fn set_lag_max(&self, lag: i64) {
        self.numbers.lock().lag_max = Some(lag);
    }

    /// A call is repeated.
    pub(crate) fn retried(&self) {
        self.numbers.lock().retries += 1;
    }

    /// A record was refused, and ends the task.
    pub(crate) fn record_error(&self) {
        let mut numbers = self.numbers.lock();
        numbers.refused();
        numbers.errors += 1;
    }

    /// A record was refused, and is passed over.
    pub(crate) fn record_skipped(&self) {
        let mut numbers = self.numbers.lock();
        numbers.refused();
        numbers.skipped += 1;
    }

    /// It goes to the dead letter topic, besides.
    pub(crate) fn dead_letter(&self) {
        self.numbers.lock().letters += 1;
    }

    pub(crate) fn dead_letters_failed(&self, count: u64) {
        self.numbers.lock().letters_failed += count;
    }
}

impl Numbers {
    fn take(&mut self, now: Instant, records: usize) {
        self.batch.record(now, records as f64);
        self.taken += records as u64;
        self.taken_rate.record(now, records as f64);
    }

    fn commit(&mut self, now: Instant, took: Duration) {
        self.commit.record(now, ms(took));
        self.commit_success.record(now, 1.0);
        self.commits += 1;
    }

    fn moved(&mut self, counts: &Counts) {
        self.bytes += counts.bytes;
        self.dropped += counts.dropped;
    }

    fn refused(&mut self) {
        self.failures += 1;
        self.last_error_ms = now_ms();
    }
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
