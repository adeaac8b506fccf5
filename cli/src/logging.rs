//! What happened, on stderr. Rooms: `levels` (which change while the process runs).

mod levels;

use std::io::IsTerminal;
use std::sync::{Arc, OnceLock};

use clap::ValueEnum;
use millrace_broker::Loggers;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, reload};

use levels::Levels;

/// The process has one log.
static LEVELS: OnceLock<Arc<Levels>> = OnceLock::new();

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Starts logging. `filter`: as `RUST_LOG`; empty: `info` for a server, else `warn`.
pub(crate) fn start(filter: &str, format: LogFormat, is_server: bool) {
    let default = if is_server { "info" } else { "warn" };
    let text = if filter.is_empty() { default } else { filter };
    let (text, filter) = match EnvFilter::try_new(text) {
        Ok(filter) => (text, filter),
        Err(_) => (default, EnvFilter::new(default)),
    };
    let (filter, handle) = reload::Layer::new(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    // A second start in one process can't happen; if it did, the first stays.
    let _ = match format {
        LogFormat::Text => {
            let lines = lines.with_ansi(std::io::stderr().is_terminal()).with_target(false);
            registry.with(lines).try_init()
        }
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    let put = move |filter| handle.reload(filter).map_err(|error| error.to_string());
    let _ = LEVELS.set(Arc::new(Levels::new(text.to_owned(), Box::new(put))));
}

/// The levels of this process's log, for a broker.
pub(crate) fn loggers() -> Option<Arc<dyn Loggers>> {
    LEVELS.get().map(|levels| levels.clone() as Arc<dyn Loggers>)
}

/// The same for a worker.
pub(crate) fn worker_loggers() -> Option<Arc<dyn millrace_connect_runtime::loggers::Loggers>> {
    LEVELS.get().map(|levels| levels.clone() as Arc<dyn millrace_connect_runtime::loggers::Loggers>)
}
