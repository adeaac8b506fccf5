//! The levels of the process's log, which can be changed while it runs (KIP-412).
//!
//! The broker only writes to the log; whoever set it up gives it a [`Loggers`] in its [`Env`](crate::Env) if levels can
//! be changed. Changes last until the process ends, as in Kafka.

use std::collections::BTreeMap;
use std::fmt;

/// The logger whose level holds for all that have none of their own.
pub const ROOT_LOGGER: &str = "root";

/// Levels by Kafka's names, from the most to the least that is logged.
pub const LOG_LEVELS: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];

/// See the module's head.
pub trait Loggers: fmt::Debug + Send + Sync {
    /// The level of each logger that has one, [`ROOT_LOGGER`] among them.
    fn levels(&self) -> BTreeMap<String, String>;

    /// Whether there is such a logger.
    fn exists(&self, logger: &str) -> bool;

    /// Gives loggers one of [`LOG_LEVELS`], or takes their own level back.
    ///
    /// # Errors
    /// Why the log can't be changed.
    fn set(&self, changes: &[(String, Option<String>)]) -> Result<(), String>;
}
