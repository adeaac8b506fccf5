//! The levels of the process's log, which the REST API shows and changes.
//!
//! The runtime only writes to the log; whoever set it up gives it a [`Loggers`]. Changes last until the process ends, as in
//! Kafka Connect.

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

    /// Gives a logger one of [`LOG_LEVELS`].
    ///
    /// # Errors
    /// Why the log can't be changed.
    fn set(&self, logger: &str, level: &str) -> Result<(), String>;
}
