//! The component host with the bundled connectors.

use std::path::PathBuf;

use millrace_connect_runtime::component::{BundledComponent, ComponentHost, HostConfig};
use millrace_connect_runtime::connection::Connections;
use millrace_connect_runtime::spec::{self, ProcessEnvironment};

use crate::exit::Failure;
use crate::validate::refused;

/// Starts the host. Compiled code is kept in the user's cache folder.
pub(crate) fn host() -> Result<ComponentHost, Failure> {
    with_connections(Connections::new())
}

/// The same with the connections of a file of their own, if there is one.
pub(crate) fn host_with(connections: Option<&PathBuf>) -> Result<ComponentHost, Failure> {
    let Some(file) = connections else { return host() };
    let found = spec::load_connections(file, &ProcessEnvironment);
    with_connections(found.map_err(|problems| refused(&problems))?)
}

fn with_connections(connections: Connections) -> Result<ComponentHost, Failure> {
    let bundled = millrace_connectors::bundled();
    let bundled = bundled.iter().map(|c| BundledComponent { name: c.name, wasm: c.wasm }).collect();
    ComponentHost::new(HostConfig { cache_dir: cache_dir(), bundled, connections })
        .map_err(Failure::environment)
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
