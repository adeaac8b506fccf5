//! A connector of a YAML file to its map.

mod format;

use serde_json::Value;

use super::ConnectorConfig;
use super::keys::{self, TRANSFORM_TYPE};
use super::settings::flatten;
use crate::plan::{Access, Catalog, ComponentRef, ErrorPlan, FolderGrant, Limits, PredicatePlan, Tolerance};
use crate::spec::deployment::{ConnectorSpec, Deployment, Pipeline, Role, TopicSpec};
use crate::spec::{Settings, clean, predicate};

/// A setting has no text that would mean it: its connector's schema doesn't allow it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "setting {setting} of connector {connector} does not fit the connector's schema; `millrace validate` says why"
)]
pub struct Unwritable {
    /// The connector.
    pub connector: String,
    /// The setting, dotted.
    pub setting: String,
}

/// The map of a source or sink of `pipeline`, which stands in the file of `deployment`.
///
/// # Errors
/// [`Unwritable`], which doesn't happen to a deployment that was planned without problems.
pub fn write(
    deployment: &Deployment,
    pipeline: &Pipeline,
    spec: &ConnectorSpec,
    catalog: &Catalog,
) -> Result<ConnectorConfig, Unwritable> {
    let mut writer =
        Writer { connector: &spec.name, catalog, config: ConnectorConfig::new(), has_paths: false };
    writer.connector(pipeline, spec)?;
    let mut config = writer.config;
    let names_files = config.values().any(|text| text.contains("${file:"));
    if writer.has_paths || names_files {
        // The folder of a file that is named without one is empty.
        let folder = clean(&deployment.file.folder().join("."));
        config.insert(keys::BASE_FOLDER.to_owned(), folder.to_string_lossy().into_owned());
    }
    Ok(config)
}

struct Writer<'a> {
    connector: &'a str,
    catalog: &'a Catalog,
    config: ConnectorConfig,
    /// Whether relative paths may be among the settings.
    has_paths: bool,
}

impl Writer<'_> {
    fn put(&mut self, key: impl Into<String>, value: impl ToString) {
        self.config.insert(key.into(), value.to_string());
    }

    fn connector(&mut self, pipeline: &Pipeline, spec: &ConnectorSpec) -> Result<(), Unwritable> {
        self.put(keys::NAME, &spec.name);
        self.put(keys::TASKS_MAX, spec.tasks_max);
        let topic = if spec.role == Role::Sink { keys::TOPICS } else { keys::TOPIC };
        self.put(topic, &pipeline.topic.name);
        self.topic(&pipeline.topic);
        self.errors(&spec.errors);
        self.formats(spec)?;
        if let Some(interval) = spec.flush_interval {
            self.put(keys::FLUSH_INTERVAL, interval.as_millis());
        }
        self.guest(
            "",
            keys::CONNECTOR_CLASS,
            spec.component.as_ref(),
            &spec.settings,
            &spec.files,
            spec.limits,
        )?;
        if !spec.transforms.is_empty() {
            let aliases: Vec<String> = (0..spec.transforms.len()).map(|at| format!("t{at}")).collect();
            self.put(keys::TRANSFORMS, aliases.join(","));
            for (alias, transform) in aliases.iter().zip(&spec.transforms) {
                let prefix = format!("{}.{alias}.", keys::TRANSFORMS);
                let component = transform.component.as_ref();
                self.guest(
                    &prefix,
                    TRANSFORM_TYPE,
                    component,
                    &transform.settings,
                    &transform.files,
                    transform.limits,
                )?;
                if let Some(predicate) = &transform.predicate {
                    self.predicate(alias, predicate);
                }
            }
            let predicates: Vec<_> = aliases
                .iter()
                .zip(&spec.transforms)
                .filter(|(_, transform)| transform.predicate.is_some())
                .collect();
            if !predicates.is_empty() {
                let aliases: Vec<&str> = predicates.iter().map(|(alias, _)| alias.as_str()).collect();
                self.put(keys::PREDICATES, aliases.join(","));
            }
        }
        Ok(())
    }

    /// A transform's predicate has the transform's alias.
    fn predicate(&mut self, alias: &str, plan: &PredicatePlan) {
        self.put(format!("{}.{alias}.{}", keys::TRANSFORMS, keys::TRANSFORM_PREDICATE), alias);
        if plan.negate {
            self.put(format!("{}.{alias}.{}", keys::TRANSFORMS, keys::TRANSFORM_NEGATE), true);
        }
        let (kind, setting) = predicate::parts_of(&plan.test);
        self.put(format!("{}.{alias}.{TRANSFORM_TYPE}", keys::PREDICATES), kind);
        if let Some((name, value)) = setting {
            // What stands in the map is filled in again when it is read.
            self.put(format!("{}.{alias}.{name}", keys::PREDICATES), value.replace("${", "$${"));
        }
    }

    fn topic(&mut self, topic: &TopicSpec) {
        let creation = |name: &str| format!("{}{name}", keys::TOPIC_CREATION);
        if let Some(partitions) = topic.partitions {
            self.put(creation("partitions"), partitions);
        }
        if let Some(factor) = topic.replication_factor {
            self.put(creation("replication.factor"), factor);
        }
        for (name, value) in &topic.config {
            self.put(creation(name), value);
        }
    }

    fn errors(&mut self, errors: &ErrorPlan) {
        let default = ErrorPlan::default();
        if errors.tolerance == Tolerance::All {
            self.put(keys::ERRORS_TOLERANCE, "all");
        }
        if let Some(topic) = &errors.dead_letter_topic {
            self.put(keys::DEAD_LETTER_TOPIC, topic);
        }
        if errors.retry_timeout != default.retry_timeout {
            self.put(keys::ERRORS_RETRY_TIMEOUT, errors.retry_timeout.as_millis());
        }
        if errors.retry_delay_max != default.retry_delay_max {
            self.put(keys::ERRORS_RETRY_DELAY, errors.retry_delay_max.as_millis());
        }
    }

    fn guest(
        &mut self,
        prefix: &str,
        class: &str,
        component: Option<&ComponentRef>,
        settings: &Settings,
        files: &[FolderGrant],
        limits: Limits,
    ) -> Result<(), Unwritable> {
        if let Some(component) = component {
            self.put(format!("{prefix}{class}"), component);
        }
        for (key, access) in [(keys::FILES_READ, Access::Read), (keys::FILES_WRITE, Access::Write)] {
            let folders: Vec<&str> = files
                .iter()
                .filter(|grant| grant.access == access)
                .map(|grant| grant.guest.as_str())
                .collect();
            if !folders.is_empty() {
                self.has_paths = true;
                self.put(format!("{prefix}{key}"), Value::from(folders));
            }
        }
        let default = Limits::default();
        if limits.memory_bytes_max != default.memory_bytes_max {
            self.put(format!("{prefix}{}", keys::LIMITS_MEMORY), format!("{}B", limits.memory_bytes_max));
        }
        if limits.call_timeout != default.call_timeout {
            let millis = format!("{}ms", limits.call_timeout.as_millis());
            self.put(format!("{prefix}{}", keys::LIMITS_CALL_TIMEOUT), millis);
        }
        let described =
            component.and_then(|component| self.catalog.descriptions.get(component)?.as_ref().ok());
        let schema = described.map_or(&Value::Null, |described| &described.config_schema);
        let noted = |name: &str| schema["properties"][name].get("x-path").is_some();
        self.has_paths |= settings.raw.keys().any(|name| noted(name));
        let flat = flatten(&settings.raw, schema)
            .map_err(|setting| Unwritable { connector: self.connector.to_owned(), setting })?;
        for (name, text) in flat {
            self.put(format!("{prefix}{name}"), text);
        }
        Ok(())
    }
}
