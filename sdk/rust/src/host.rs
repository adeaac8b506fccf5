//! What the host provides without a grant: a log, metrics, waiting.
//!
//! Natively (in tests) log lines at `warn` and above go to stderr, metrics go nowhere and nothing is ever stopping.

/// How much an operator has to care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The only level at which a line per record is allowed.
    Trace,
    /// For developers.
    Debug,
    /// Start, stop, a file done.
    Info,
    /// Recovered, but someone may want to know.
    Warn,
    /// An operator must act.
    Error,
}

/// Writes a log line: `info!("rotated"; "file" => path, "records" => count)` or, in format style, `info!("rotated {path}")`.
#[macro_export]
macro_rules! log_at {
    ($level:expr, $message:literal; $($name:literal => $value:expr),+ $(,)?) => {
        if $crate::host::log_enabled($level) {
            $crate::host::log_line($level, &format!($message), &[$(($name, ($value).to_string())),+]);
        }
    };
    ($level:expr, $($message:tt)+) => {
        if $crate::host::log_enabled($level) {
            $crate::host::log_line($level, &format!($($message)+), &[]);
        }
    };
}

/// [`log_at!`] for developers.
#[macro_export]
macro_rules! debug { ($($rest:tt)+) => { $crate::log_at!($crate::host::Level::Debug, $($rest)+) }; }
/// [`log_at!`] for what happens seldom and is worth a line.
#[macro_export]
macro_rules! info { ($($rest:tt)+) => { $crate::log_at!($crate::host::Level::Info, $($rest)+) }; }
/// [`log_at!`] for what was recovered from.
#[macro_export]
macro_rules! warn { ($($rest:tt)+) => { $crate::log_at!($crate::host::Level::Warn, $($rest)+) }; }
/// [`log_at!`] for what an operator must act on.
#[macro_export]
macro_rules! error { ($($rest:tt)+) => { $crate::log_at!($crate::host::Level::Error, $($rest)+) }; }

#[cfg(target_family = "wasm")]
mod imports {
    use super::Level;
    use crate::bindings::connector::millrace::connect::{control, log, metrics};

    fn level(level: Level) -> log::Level {
        match level {
            Level::Trace => log::Level::Trace,
            Level::Debug => log::Level::Debug,
            Level::Info => log::Level::Info,
            Level::Warn => log::Level::Warn,
            Level::Error => log::Level::Error,
        }
    }

    fn owned(labels: &[(&str, &str)]) -> Vec<(String, String)> {
        labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    pub(super) fn log_enabled(at: Level) -> bool {
        log::enabled(level(at))
    }

    pub(super) fn log_line(at: Level, message: &str, fields: &[(&str, String)]) {
        let fields: Vec<_> = fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        log::log(level(at), message, &fields);
    }

    pub(super) fn count(name: &str, delta: u64, labels: &[(&str, &str)]) {
        metrics::add(name, delta, &owned(labels));
    }

    pub(super) fn gauge(name: &str, value: f64, labels: &[(&str, &str)]) {
        metrics::set(name, value, &owned(labels));
    }

    pub(super) fn observe(name: &str, value: f64, labels: &[(&str, &str)]) {
        metrics::observe(name, value, &owned(labels));
    }

    pub(super) fn sleep(ms: u32) -> bool {
        control::sleep(ms)
    }

    pub(super) fn stopping() -> bool {
        control::stopping()
    }
}

#[cfg(not(target_family = "wasm"))]
mod imports {
    use super::Level;

    pub(super) fn log_enabled(at: Level) -> bool {
        at >= Level::Warn
    }

    pub(super) fn log_line(at: Level, message: &str, fields: &[(&str, String)]) {
        eprintln!("{at:?} {message} {fields:?}");
    }

    pub(super) fn count(_name: &str, _delta: u64, _labels: &[(&str, &str)]) {}

    pub(super) fn gauge(_name: &str, _value: f64, _labels: &[(&str, &str)]) {}

    pub(super) fn observe(_name: &str, _value: f64, _labels: &[(&str, &str)]) {}

    pub(super) fn sleep(ms: u32) -> bool {
        std::thread::sleep(std::time::Duration::from_millis(u64::from(ms)));
        false
    }

    pub(super) fn stopping() -> bool {
        false
    }
}

/// Whether lines of this level are kept: the cheap test before building one. The macros make it.
pub fn log_enabled(level: Level) -> bool {
    imports::log_enabled(level)
}

/// Writes one line with its fields. Connector and task are added by the host.
pub fn log_line(level: Level, message: &str, fields: &[(&str, String)]) {
    imports::log_line(level, message, fields);
}

/// Adds to a counter.
pub fn count(name: &str, delta: u64, labels: &[(&str, &str)]) {
    imports::count(name, delta, labels);
}

/// Sets a gauge.
pub fn gauge(name: &str, value: f64, labels: &[(&str, &str)]) {
    imports::gauge(name, value, labels);
}

/// Adds an observation to a histogram.
pub fn observe(name: &str, value: f64, labels: &[(&str, &str)]) {
    imports::observe(name, value, labels);
}

/// Waits up to `ms`; true, at once, when the task is being stopped.
pub fn sleep(ms: u32) -> bool {
    imports::sleep(ms)
}

/// Whether the task is being stopped.
pub fn stopping() -> bool {
    imports::stopping()
}
