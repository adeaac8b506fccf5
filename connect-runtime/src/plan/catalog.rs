//! What is known of the components a deployment names, gathered before planning.

use std::collections::BTreeMap;

use serde_json::Value;

use super::ComponentRef;
use crate::component::{Component, ComponentHost, Kind};
use crate::connection::Connections;
use crate::spec::{ConnectorSpec, Deployment, Role};

/// What a component says of itself (`connector.describe`), and what its exports say.
#[derive(Debug, Clone, Default)]
pub struct Description {
    /// As the component calls itself.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One line.
    pub summary: String,
    /// JSON Schema of its settings (the subset in docs/CONNECTORS.md); `Null` if it gave none.
    pub config_schema: Value,
    /// Encodings of keys that it knows, best first.
    pub key_formats: Vec<String>,
    /// The same of values.
    pub value_formats: Vec<String>,
    /// What it exports: the roles it can play.
    pub roles: Vec<Role>,
}

impl Description {
    /// What a loaded component says of itself.
    ///
    /// # Errors
    /// When its settings schema is not JSON.
    pub fn of(component: &Component) -> Result<Self, String> {
        let said = component.describe();
        let config_schema = match said.config_schema.trim() {
            "" => Value::Null,
            text => serde_json::from_str(text)
                .map_err(|error| format!("its settings schema is not JSON: {error}"))?,
        };
        let role = match component.kind() {
            Kind::Source => Role::Source,
            Kind::Sink => Role::Sink,
            Kind::Transform => Role::Transform,
        };
        Ok(Self {
            name: said.name.clone(),
            version: said.version.clone(),
            summary: said.summary.clone(),
            config_schema,
            key_formats: said.key_formats.clone(),
            value_formats: said.value_formats.clone(),
            roles: vec![role],
        })
    }
}

/// The components that plans are made with.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// Names of the components in the binary.
    pub bundled: Vec<String>,
    /// What each component said, or why it couldn't be loaded (it may import what this host doesn't have).
    pub descriptions: BTreeMap<ComponentRef, Result<Description, String>>,
    /// Connections that may be named besides those of the file.
    pub connections: Connections,
}

impl Catalog {
    /// Asks all of `wanted`. One that can't be loaded is an entry, not an error: the plan shows it at its place.
    pub async fn load(host: &ComponentHost, wanted: &[ComponentRef]) -> Self {
        let bundled = host.bundled().map(str::to_owned).collect();
        let connections = host.connections().clone();
        let mut catalog = Self { bundled, connections, ..Self::default() };
        for component in wanted {
            let described = match host.load(component).await {
                Ok(loaded) => Description::of(&loaded),
                Err(error) => Err(reason(component, &error.to_string())),
            };
            catalog.descriptions.insert(component.clone(), described);
        }
        catalog
    }
}

/// The reason in one line, without the path: the place in the file says which component it is.
fn reason(component: &ComponentRef, error: &str) -> String {
    let error = error.strip_prefix(&format!("component {component}: ")).unwrap_or(error);
    match error.split_once('\n') {
        // The engine goes on with a listing that the last part of the line introduces.
        Some((first, _)) => first.rsplit_once(": ").map_or(first, |(reason, _)| reason).to_owned(),
        None => error.to_owned(),
    }
}

/// The components that deployments name, each once: what to load before [`super::Draft::of`].
pub fn components(deployments: &[Deployment]) -> Vec<ComponentRef> {
    let pipelines = deployments.iter().flat_map(|deployment| &deployment.pipelines);
    let connectors = pipelines.flat_map(|pipeline| pipeline.source.iter().chain(&pipeline.sinks));
    let named = |connector: &ConnectorSpec| {
        let transforms = connector.transforms.iter().filter_map(|transform| transform.component.clone());
        connector.component.iter().cloned().chain(transforms).collect::<Vec<_>>()
    };
    let mut all: Vec<ComponentRef> = connectors.flat_map(named).collect();
    all.sort();
    all.dedup();
    all
}
