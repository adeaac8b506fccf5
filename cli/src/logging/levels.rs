//! Log levels that change while the process runs: the filter of the command line, and over it what was asked for since.

use std::collections::BTreeMap;
use std::fmt;

use millrace_broker::{Loggers, ROOT_LOGGER};
use parking_lot::Mutex;
use tracing_subscriber::EnvFilter;

/// Loggers that have modules of their own, each a crate.
const CRATES: [&str; 6] = [
    "millrace",
    "millrace_broker",
    "millrace_client",
    "millrace_connect_runtime",
    "millrace_log",
    "millrace_wire",
];

/// Puts a new filter in place of the old one.
type Reload = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>;

/// See the module's head.
pub(super) struct Levels {
    /// As given at start.
    filter: String,
    changed: Mutex<BTreeMap<String, String>>,
    reload: Reload,
}

impl fmt::Debug for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Levels").field("filter", &self.filter).finish_non_exhaustive()
    }
}

impl Levels {
    pub(super) fn new(filter: String, reload: Reload) -> Self {
        Self { filter, changed: Mutex::default(), reload }
    }
}

/// Levels by logger in a filter as `RUST_LOG` has it, in Kafka's words; what is more than a level for a module is left
/// out.
fn parse(filter: &str) -> BTreeMap<String, String> {
    let mut levels = BTreeMap::from([(ROOT_LOGGER.to_owned(), "ERROR".to_owned())]);
    for directive in filter.split(',').map(str::trim) {
        let (logger, level) = directive.split_once('=').unwrap_or((ROOT_LOGGER, directive));
        if level.parse::<tracing::Level>().is_ok() && !logger.contains('[') {
            levels.insert(logger.to_owned(), level.to_ascii_uppercase());
        }
    }
    levels
}

/// The filter with these changes over it.
fn with_changes(filter: &str, changed: &BTreeMap<String, String>) -> String {
    let mut text = filter.to_owned();
    for (logger, level) in changed {
        // What is fatal is an error here.
        let level = if level == "FATAL" { "error".to_owned() } else { level.to_ascii_lowercase() };
        text.push(',');
        if logger != ROOT_LOGGER {
            text.push_str(logger);
            text.push('=');
        }
        text.push_str(&level);
    }
    text
}

impl Loggers for Levels {
    fn levels(&self) -> BTreeMap<String, String> {
        let mut levels = parse(&self.filter);
        levels.extend(self.changed.lock().clone());
        levels
    }

    fn exists(&self, logger: &str) -> bool {
        let name = logger.split_once("::").map_or(logger, |(name, _)| name);
        let is_path = logger.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'));
        logger == ROOT_LOGGER || (CRATES.contains(&name) && is_path)
    }

    fn set(&self, changes: &[(String, Option<String>)]) -> Result<(), String> {
        let mut changed = self.changed.lock();
        let mut new = changed.clone();
        for (logger, level) in changes {
            match level {
                Some(level) => new.insert(logger.clone(), level.clone()),
                None => new.remove(logger),
            };
        }
        let filter =
            EnvFilter::try_new(with_changes(&self.filter, &new)).map_err(|error| error.to_string())?;
        (self.reload)(filter)?;
        *changed = new;
        Ok(())
    }
}

impl millrace_connect_runtime::loggers::Loggers for Levels {
    fn levels(&self) -> BTreeMap<String, String> {
        Loggers::levels(self)
    }

    fn exists(&self, logger: &str) -> bool {
        Loggers::exists(self, logger)
    }

    fn set(&self, logger: &str, level: &str) -> Result<(), String> {
        Loggers::set(self, &[(logger.to_owned(), Some(level.to_owned()))])
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn changes_lie_over_the_filter() {
        let seen = Arc::new(Mutex::new(String::new()));
        let shared = seen.clone();
        let reload = move |filter: EnvFilter| {
            *shared.lock() = filter.to_string();
            Ok(())
        };
        let levels = Levels::new("info,millrace_log=debug".to_owned(), Box::new(reload));
        let change = |logger: &str, level: Option<&str>| {
            levels.set(&[(logger.to_owned(), level.map(str::to_owned))]).expect("it can be changed");
        };
        let told =
            || levels.levels().into_iter().map(|(name, level)| format!("{name}={level}")).collect::<Vec<_>>();
        assert_eq!(told(), ["millrace_log=DEBUG", "root=INFO"]);
        change("millrace_broker::net", Some("TRACE"));
        change(ROOT_LOGGER, Some("FATAL"));
        assert_eq!(told(), ["millrace_broker::net=TRACE", "millrace_log=DEBUG", "root=FATAL"]);
        let filter = seen.lock().clone();
        assert!(filter.contains("millrace_broker::net=trace") && filter.contains("error"), "{filter}");
        change("millrace_broker::net", None);
        assert!(!seen.lock().contains("trace"));
        for (logger, exists) in [
            ("root", true),
            ("millrace_log::log", true),
            ("org.apache.kafka", false),
            ("millrace_log=x", false),
        ] {
            assert_eq!(levels.exists(logger), exists, "{logger}");
        }
    }
}
