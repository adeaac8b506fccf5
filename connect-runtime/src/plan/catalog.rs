//! What is known of the components a deployment names, gathered before planning.

use std::collections::BTreeMap;

use serde_json::Value;

use super::ComponentRef;
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
    /// What it exports: the roles it can play.
    pub roles: Vec<Role>,
}

/// The components that plans are made with.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// Names of the components in the binary.
    pub bundled: Vec<String>,
    /// What each component said, or why it couldn't be loaded (it may import what this host doesn't have).
    pub descriptions: BTreeMap<ComponentRef, Result<Description, String>>,
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
