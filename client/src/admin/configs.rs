//! Settings of topics and brokers: look at them, change single ones (KIP-226, KIP-339).

use std::fmt;

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};

use super::{Admin, Each};
use crate::error::{Error, Result};
use crate::topic::str_bytes;

/// What has settings.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigResource {
    /// A topic by name.
    Topic(String),
    /// A broker by id.
    Broker(i32),
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Kafka's name of it.
    pub name: String,
    /// Its value; `None` if it is secret or not set.
    pub value: Option<String>,
    /// Whether it is the default, not set anywhere.
    pub is_default: bool,
    /// Whether it cannot be changed while the broker runs.
    pub is_read_only: bool,
    /// Whether its value is kept secret.
    pub is_sensitive: bool,
}

/// A change of one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterConfig {
    /// Kafka's name of it.
    pub name: String,
    /// What to do.
    pub operation: ConfigOperation,
}

/// What to do with a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigOperation {
    /// Give it this value.
    Set(String),
    /// Back to the default.
    Delete,
    /// Add to a list.
    Append(String),
    /// Take from a list.
    Subtract(String),
}

impl ConfigResource {
    fn parts(&self) -> (i8, String) {
        match self {
            Self::Topic(name) => (2, name.clone()),
            Self::Broker(id) => (4, id.to_string()),
        }
    }
}

impl fmt::Display for ConfigResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(name) => write!(f, "topic {name}"),
            Self::Broker(id) => write!(f, "broker {id}"),
        }
    }
}

/// `DynamicTopicConfig` and its kin are above it; 5 is the default.
const SOURCE_DEFAULT: i8 = 5;

impl Admin {
    /// All settings of each resource.
    pub async fn describe_configs(&self, resources: &[ConfigResource]) -> Result<Each<Vec<ConfigEntry>>> {
        let asked = resources.iter().map(|resource| {
            let (kind, name) = resource.parts();
            DescribeConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(str_bytes(&name))
                .with_configuration_keys(None)
        });
        let request = DescribeConfigsRequest::default().with_resources(asked.collect());
        let response = self.request(&request, |_| Ok(())).await?;
        let results = response.results.into_iter().map(|result| {
            let name = result.resource_name.to_string();
            let message = result.error_message.as_deref();
            let checked = Error::check_with("DescribeConfigs", || name.clone(), result.error_code, message);
            let entries = result.configs.into_iter().map(|config| ConfigEntry {
                name: config.name.to_string(),
                value: config.value.map(|value| value.to_string()),
                is_default: config.config_source == SOURCE_DEFAULT,
                is_read_only: config.read_only,
                is_sensitive: config.is_sensitive,
            });
            (name, checked.map(|()| entries.collect()))
        });
        Ok(results.collect())
    }

    /// Changes single settings, leaving the others.
    pub async fn alter_configs(&self, changes: &[(ConfigResource, Vec<AlterConfig>)]) -> Result<Each<()>> {
        let resources = changes.iter().map(|(resource, configs)| {
            let (kind, name) = resource.parts();
            let configs = configs.iter().map(|config| {
                let (operation, value) = match &config.operation {
                    ConfigOperation::Set(value) => (0, Some(str_bytes(value))),
                    ConfigOperation::Delete => (1, None),
                    ConfigOperation::Append(value) => (2, Some(str_bytes(value))),
                    ConfigOperation::Subtract(value) => (3, Some(str_bytes(value))),
                };
                AlterableConfig::default()
                    .with_name(str_bytes(&config.name))
                    .with_config_operation(operation)
                    .with_value(value)
            });
            AlterConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(str_bytes(&name))
                .with_configs(configs.collect())
        });
        let request = IncrementalAlterConfigsRequest::default().with_resources(resources.collect());
        let response = self.request(&request, |_| Ok(())).await?;
        let results = response.responses.into_iter().map(|result| {
            let name = result.resource_name.to_string();
            let message = result.error_message.as_deref();
            let subject = || name.clone();
            let checked = Error::check_with("IncrementalAlterConfigs", subject, result.error_code, message);
            (name, checked)
        });
        Ok(results.collect())
    }
}
