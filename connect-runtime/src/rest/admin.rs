//! What the worker is, its health, its log levels.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::StatusCode;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Outcome, Problem, Reply};
use super::{Api, Ask};
use crate::loggers::{LOG_LEVELS, Loggers};

pub(super) async fn root(api: &Api) -> Outcome {
    let cluster = api.herder.cluster_id().await.map_err(Problem::internal)?;
    Ok(Reply::ok(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "commit": option_env!("MILLRACE_COMMIT").unwrap_or("unknown"),
        "kafka_cluster_id": cluster,
    })))
}

pub(super) async fn health(api: &Api) -> Outcome {
    let (status, state, message) = match api.herder.is_ready() {
        true => (StatusCode::OK, "healthy", "Worker has completed startup and is ready to handle requests."),
        false => (StatusCode::SERVICE_UNAVAILABLE, "starting", "Worker is still starting up."),
    };
    Ok(Reply::with_status(status, json!({ "status": state, "message": message })))
}

/// The process's log levels, and when they were changed.
#[derive(Debug)]
pub(super) struct Levels {
    loggers: Option<Arc<dyn Loggers>>,
    /// In milliseconds since 1970.
    modified: Mutex<BTreeMap<String, i64>>,
}

impl Levels {
    pub(super) fn new(loggers: Option<Arc<dyn Loggers>>) -> Self {
        Self { loggers, modified: Mutex::default() }
    }

    fn all(&self) -> BTreeMap<String, Value> {
        let modified = self.modified.lock();
        let levels = self.loggers.as_ref().map(|loggers| loggers.levels()).unwrap_or_default();
        let shown = |(name, level)| {
            let value = json!({ "level": level, "last_modified": modified.get(&name) });
            (name, value)
        };
        levels.into_iter().map(shown).collect()
    }
}

pub(super) fn loggers(api: &Api) -> Outcome {
    Ok(Reply::ok(json!(api.levels.all())))
}

pub(super) fn logger(api: &Api, logger: &str) -> Outcome {
    let found = api.levels.all().remove(logger);
    found.map(Reply::ok).ok_or_else(|| Problem::not_found(format!("Logger {logger} not found.")))
}

#[derive(Deserialize)]
struct Level {
    level: Option<String>,
}

pub(super) async fn set_logger(api: &Api, logger: &str, ask: &Ask) -> Outcome {
    let Level { level } = ask.json()?;
    let level = level
        .ok_or_else(|| Problem::bad_request("Desired 'level' parameter was not specified in request."))?;
    let level = level.to_uppercase();
    if !LOG_LEVELS.contains(&level.as_str()) {
        return Err(Problem::not_found(format!("invalid log level '{level}'.")));
    }
    if ask.parameters("scope").last().is_some_and(|scope| scope.eq_ignore_ascii_case("cluster")) {
        return Err(Problem::bad_request(
            "log levels can be changed on one worker at a time: ask each without scope=cluster",
        ));
    }
    let loggers = api.levels.loggers.as_ref().filter(|loggers| loggers.exists(logger));
    let loggers = loggers.ok_or_else(|| Problem::not_found(format!("Logger {logger} not found.")))?;
    loggers.set(logger, &level).map_err(Problem::internal)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    api.levels.modified.lock().insert(logger.to_owned(), now);
    Ok(Reply::ok(json!([logger])))
}
