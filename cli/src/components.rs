//! The component host with the bundled connectors, and what is known of the connectors that pipelines name.

use std::path::PathBuf;
use std::sync::Arc;

use millrace_connect_runtime::component::{BundledComponent, Component, ComponentHost, HostConfig, Kind};
use millrace_connect_runtime::plan::{Catalog, ComponentRef, Description};
use millrace_connect_runtime::spec::Role;

use crate::exit::Failure;

/// Starts the host. Compiled code is kept in the user's cache folder.
pub(crate) fn host() -> Result<ComponentHost, Failure> {
    let bundled = millrace_connectors::bundled();
    let bundled = bundled.iter().map(|c| BundledComponent { name: c.name, wasm: c.wasm }).collect();
    ComponentHost::new(HostConfig { cache_dir: cache_dir(), bundled }).map_err(Failure::environment)
}

/// Folder for compiled code within the cache.
const COMPONENTS: &str = "components";

/// In `MILLRACE_CACHE_DIR`, else `$XDG_CACHE_HOME/millrace`, else `~/.cache/millrace`; none without a home.
fn cache_dir() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let shared = || variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
    let cache = variable("MILLRACE_CACHE_DIR").or_else(|| shared().map(|cache| cache.join("millrace")));
    cache.map(|cache| cache.join(COMPONENTS))
}

/// Asks all of `wanted`. One that can't be loaded is an entry, not an error: the plan shows it at its place.
pub(crate) async fn catalog(host: &ComponentHost, wanted: &[ComponentRef]) -> Catalog {
    let mut catalog = Catalog { bundled: host.bundled().map(str::to_owned).collect(), ..Catalog::default() };
    for component in wanted {
        let described = match host.load(component).await {
            Ok(loaded) => describe(&loaded),
            Err(error) => Err(reason(component, &error.to_string())),
        };
        catalog.descriptions.insert(component.clone(), described);
    }
    catalog
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

/// What a component says of itself, for the planner.
pub(crate) fn describe(component: &Arc<Component>) -> Result<Description, String> {
    let said = component.describe();
    let config_schema = match said.config_schema.trim() {
        "" => serde_json::Value::Null,
        text => {
            serde_json::from_str(text).map_err(|error| format!("its settings schema is not JSON: {error}"))?
        }
    };
    let role = match component.kind() {
        Kind::Source => Role::Source,
        Kind::Sink => Role::Sink,
        Kind::Transform => Role::Transform,
    };
    Ok(Description {
        name: said.name.clone(),
        version: said.version.clone(),
        summary: said.summary.clone(),
        config_schema,
        roles: vec![role],
    })
}
