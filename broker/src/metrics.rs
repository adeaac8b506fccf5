//! The broker's metrics: THE list of their names, and the counters that the rest of the broker adds to.
//!
//! Recording is one or two atomic additions to a place that was made at start: no lock, no allocation, no look-up by
//! label. What has a value anyway (sizes, lags, how much of a budget is taken) is not recorded at all, but read when
//! somebody asks (`scrape`). A name is `<area>_<noun>_<unit>[_total]`; `millrace_` is put in front of all of them.
//!
//! Rooms: `histogram` (durations in fixed buckets), `scrape` (everything as text in the OpenMetrics format).

mod histogram;
mod scrape;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use kafka_protocol::messages::ApiKey;

pub(crate) use self::histogram::Histogram;
pub(crate) use self::scrape::scrape;

/// Error codes are counted from -1 (unknown server error) up to this one; later ones are counted with it.
const ERROR_CODE_MAX: i16 = 160;
/// API keys beyond this one are counted as this one, which the protocol doesn't use.
const API_KEY_MAX: usize = 127;

/// Metrics of something else in the broker's process.
pub trait MoreMetrics: std::fmt::Debug + Send + Sync {
    /// Families in the OpenMetrics format, without its end mark.
    fn text(&self) -> String;
}

/// A metric's name and what it tells.
#[derive(Debug)]
struct Metric {
    name: &'static str,
    help: &'static str,
}

/// Declares metrics, and a list of them for the tests.
macro_rules! metrics {
    ($($constant:ident = $name:literal, $help:literal;)*) => {
        $(const $constant: Metric = Metric { name: $name, help: $help };)*
        #[cfg(test)]
        const ALL: &[&Metric] = &[$(&$constant),*];
    };
}

metrics! {
    BROKER_READY = "broker_ready_state", "1 once logs and coordinators are loaded";
    CONNECTION_ACCEPTED = "connection_accepted_total", "Connections that were accepted";
    CONNECTION_DELAYED = "connection_delayed_total", "Connections that had to wait to be accepted, by the limit that made them";
    CONNECTION_OPEN = "connection_open_count", "Connections that are open";
    CONNECTION_REFUSED = "connection_refused_total", "Connections that were closed at once, by the limit that was reached";
    FETCH_SESSION_EVICTED = "fetch_session_evicted_total", "Fetch sessions that made room for others";
    FETCH_SESSION_OPEN = "fetch_session_open_count", "Incremental fetch sessions that are kept";
    FETCH_SESSION_PARTITIONS = "fetch_session_partition_count", "Partitions in all fetch sessions";
    GROUP_LAG = "group_lag_records", "Committed records that a group has not passed with its committed offset";
    LOG_APPENDED = "log_appended_bytes_total", "Record bytes that clients appended";
    LOG_FETCHED = "log_fetched_bytes_total", "Record bytes that clients fetched";
    LOG_FILES = "log_open_files_count", "Files of logs and indexes that are open";
    LOG_OFFLINE = "log_offline_count", "Partitions whose log cannot be used";
    LOG_PARTITIONS = "log_partition_count", "Partitions on this broker";
    LOG_REOPENED = "log_reopened_total", "Logs that had failed, were checked and are online again";
    LOG_REOPEN_FAILED = "log_reopen_failed_total", "Tries to open a log again that did not succeed";
    LOG_SIZE = "log_size_bytes", "Size of a partition's log";
    LOG_START = "log_start_offset", "First offset of a partition's log";
    LOG_END = "log_end_offset", "Offset that the next record of a partition gets";
    LOG_SYNC = "log_sync_seconds", "How long an fdatasync took";
    LOG_TOTAL_SIZE = "log_total_size_bytes", "Size of all logs";
    MEMORY_BUDGET = "memory_budget_bytes", "Most bytes that may be held, by what for";
    MEMORY_USED = "memory_used_bytes", "Bytes that are held, by what for";
    METRICS_OMITTED = "metrics_omitted_count", "Series left out because there are too many, by metric";
    NETWORK_RECEIVED = "network_received_bytes_total", "Bytes of requests";
    NETWORK_SENT = "network_sent_bytes_total", "Bytes of responses";
    PURGATORY_REQUESTS = "purgatory_requests_count", "Requests that wait, by API";
    QUOTA_THROTTLE = "quota_throttle_seconds", "How long clients were muted after an answer because they were over a quota";
    REQUEST_DURATION = "request_duration_seconds", "From a request's start to its answer, by API; waiting for records or for the disk is part of it";
    REQUEST_ERRORS = "request_errors_total", "Error codes in responses, by API and code";
    REQUEST_REFUSED = "request_refused_total", "Requests that cost a client its connection: unknown, malformed or too large";
}

/// A count that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: usize) {
        self.0.fetch_add(more as u64, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many there are now.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicI64);

impl Gauge {
    /// One more, until the guard is dropped.
    pub(crate) fn enter(&self) -> Entered<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Entered(self)
    }

    fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// See [`Gauge::enter`].
#[derive(Debug)]
pub(crate) struct Entered<'a>(&'a Gauge);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is counted; see [`metrics!`] for what each of them means.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) connections_accepted: Counter,
    pub(crate) connections_delayed_all: Counter,
    pub(crate) connections_open: Gauge,
    pub(crate) connections_refused_ip: Counter,
    pub(crate) appended_bytes: Counter,
    pub(crate) fetched_bytes: Counter,
    pub(crate) sync: Histogram,
    pub(crate) logs_reopened: Counter,
    pub(crate) reopens_failed: Counter,
    pub(crate) received_bytes: Counter,
    pub(crate) sent_bytes: Counter,
    pub(crate) fetches_waiting: Gauge,
    pub(crate) produces_waiting: Gauge,
    pub(crate) requests_refused: Counter,
    pub(crate) connections_delayed_rate: Counter,
    pub(crate) connections_refused_rate: Counter,
    throttles: Histogram,
    apis: Vec<Option<Box<ApiMetrics>>>,
}

/// What is counted for one API.
#[derive(Debug)]
struct ApiMetrics {
    key: ApiKey,
    duration: Histogram,
    errors: Vec<Counter>,
}

impl Metrics {
    /// All at zero; requests are counted for these APIs.
    pub(crate) fn new(served: impl Iterator<Item = ApiKey>) -> Self {
        let mut apis: Vec<Option<Box<ApiMetrics>>> = Vec::new();
        apis.resize_with(API_KEY_MAX + 1, || None);
        for key in served {
            let errors = (-1..=ERROR_CODE_MAX).map(|_| Counter::default()).collect();
            apis[index(key)] = Some(Box::new(ApiMetrics { key, duration: Histogram::default(), errors }));
        }
        Self {
            connections_accepted: Counter::default(),
            connections_delayed_all: Counter::default(),
            connections_open: Gauge::default(),
            connections_refused_ip: Counter::default(),
            appended_bytes: Counter::default(),
            fetched_bytes: Counter::default(),
            sync: Histogram::default(),
            logs_reopened: Counter::default(),
            reopens_failed: Counter::default(),
            received_bytes: Counter::default(),
            sent_bytes: Counter::default(),
            fetches_waiting: Gauge::default(),
            produces_waiting: Gauge::default(),
            requests_refused: Counter::default(),
            connections_delayed_rate: Counter::default(),
            connections_refused_rate: Counter::default(),
            throttles: Histogram::default(),
            apis,
        }
    }

    /// A request was answered.
    pub(crate) fn answered(&self, api: ApiKey, took: Duration) {
        if let Some(api) = &self.apis[index(api)] {
            api.duration.record(took);
        }
    }

    /// A client is muted for so long after an answer; nothing is counted if it isn't.
    pub(crate) fn throttled(&self, wait: Duration) {
        if !wait.is_zero() {
            self.throttles.record(wait);
        }
    }

    /// A response says this, somewhere in it. No error (0) is not counted.
    pub(crate) fn error(&self, api: ApiKey, code: i16) {
        if code == 0 {
            return;
        }
        if let Some(api) = &self.apis[index(api)] {
            let at = usize::try_from(code.clamp(-1, ERROR_CODE_MAX) + 1).unwrap_or_default();
            api.errors[at].add(1);
        }
    }
}

fn index(key: ApiKey) -> usize {
    usize::try_from(key as i16).unwrap_or(API_KEY_MAX).min(API_KEY_MAX)
}

impl ApiMetrics {
    /// Codes that were seen, with how often.
    fn errors(&self) -> impl Iterator<Item = (i16, u64)> {
        (-1..=ERROR_CODE_MAX)
            .zip(&self.errors)
            .map(|(code, count)| (code, count.get()))
            .filter(|(_, n)| *n > 0)
    }
}
