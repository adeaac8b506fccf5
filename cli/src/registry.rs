//! The schema registry beside the broker of this process, when `registry.listener` asks for it.

use millrace_broker::{BrokerHandle, Config};
use millrace_registry::{Error, RegistryHandle};

use crate::cluster;
use crate::exit::Failure;
use crate::output::remark;

/// Where it is to listen; none: there is to be no registry.
pub(crate) fn listener(config: &Config) -> Option<String> {
    config
        .explicit("registry.listener")
        .map(str::trim)
        .filter(|address| !address.is_empty())
        .map(str::to_owned)
}

/// Serves it, with its topic in the broker.
pub(crate) async fn start(
    listener: Option<String>,
    broker: &BrokerHandle,
) -> Result<Option<RegistryHandle>, Failure> {
    let Some(listen) = listener else { return Ok(None) };
    let client = cluster::embedded(broker, "millrace-registry")?;
    let config = millrace_registry::Config { listen, ..millrace_registry::Config::default() };
    let registry = millrace_registry::start(config, &client).await.map_err(|error| match error {
        Error::Listen { .. } => Failure::environment(error),
        Error::Topic { .. } | Error::Partitions { .. } => Failure::runtime(error),
    })?;
    remark(format!("schema registry at http://{}", registry.address()));
    Ok(Some(registry))
}
