//! Log levels as settings of the resource BROKER_LOGGER (KIP-412), for DescribeConfigs and IncrementalAlterConfigs.
//!
//! An unknown logger or level is INVALID_CONFIG; taking the root's level back, or appending, INVALID_REQUEST. Nothing is
//! stored: after a restart the levels are those of the command line.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::incremental_alter_configs_request::AlterConfigsResource;

use crate::controller::Refusal;
use crate::loggers::{LOG_LEVELS, Loggers, ROOT_LOGGER};
use crate::shared::Shared;

/// The protocol's number for this kind of resource.
pub(super) const RESOURCE_BROKER_LOGGER: i8 = 8;

const SET: i8 = 0;
const DELETE: i8 = 1;

fn refuse<T>(error: ResponseError, message: String) -> Result<T, Refusal> {
    Err(Refusal { error, message })
}

/// The loggers of the broker with this number.
///
/// # Errors
/// It is another broker, or its log can't be changed.
pub(super) fn of<'a>(shared: &'a Shared, broker: &str) -> Result<&'a Arc<dyn Loggers>, Refusal> {
    if broker != shared.node_id.to_string() {
        let message = format!("this is broker {}, not {broker:?}; ask that one", shared.node_id);
        return refuse(ResponseError::InvalidRequest, message);
    }
    match &shared.env.loggers {
        Some(loggers) => Ok(loggers),
        None => {
            refuse(ResponseError::InvalidRequest, "this broker's log levels cannot be changed".to_owned())
        }
    }
}

/// Changes levels, all of them or none; only checks them if asked to.
///
/// # Errors
/// See the module's head.
pub(super) fn alter(
    shared: &Shared,
    resource: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), Refusal> {
    let loggers = of(shared, &resource.resource_name)?;
    let mut changes = Vec::with_capacity(resource.configs.len());
    for config in &resource.configs {
        let logger = config.name.to_string();
        if !loggers.exists(&logger) {
            return refuse(ResponseError::InvalidConfig, format!("logger {logger} does not exist"));
        }
        let level = match (config.config_operation, &config.value) {
            (SET, Some(level)) if LOG_LEVELS.contains(&&**level) => Some(level.to_string()),
            (SET, level) => {
                let level = level.as_deref().unwrap_or_default();
                let message = format!(
                    "logger {logger}: {level:?} is not a level; levels are {}",
                    LOG_LEVELS.join(", ")
                );
                return refuse(ResponseError::InvalidConfig, message);
            }
            (DELETE, _) if logger == ROOT_LOGGER => {
                return refuse(ResponseError::InvalidRequest, "the root logger must have a level".to_owned());
            }
            (DELETE, _) => None,
            _ => return refuse(ResponseError::InvalidRequest, format!("logger {logger} is not a list")),
        };
        changes.push((logger, level));
    }
    if validate_only {
        return Ok(());
    }
    loggers.set(&changes).map_err(|message| Refusal { error: ResponseError::UnknownServerError, message })
}
