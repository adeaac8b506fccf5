//! `millrace broker`: the broker alone.

use std::path::Path;
use std::sync::Arc;

use millrace_broker::{Broker, BrokerHandle, Config, Env, Error, MoreMetrics};

use crate::args::BrokerArgs;
use crate::exit::{Failure, Outcome};
use crate::logging;
use crate::output::remark;
use crate::registry;
use crate::signals;

/// Where data goes if nobody says.
pub(crate) const DEFAULT_DATA_DIR: &str = "./data";
/// Where to listen if nobody says.
pub(crate) const DEFAULT_LISTEN: &str = "127.0.0.1:9092";

/// Runs until a signal.
pub(crate) async fn run(args: BrokerArgs) -> Outcome {
    let config = config(&args)?;
    let mut stop = signals::watch()?;
    let data_dir = config.data_dir();
    let registry_listener = registry::listener(&config);
    let broker = start(config, None).await?;
    remark(format!(
        "broker {} listens on {}, data in {}",
        broker.cluster_id(),
        broker.local_addr(),
        data_dir.display()
    ));
    if let Some(address) = broker.metrics_addr() {
        remark(format!("metrics and health at http://{address}/metrics, /healthz, /readyz"));
    }
    let registry = match registry::start(registry_listener, &broker).await {
        Ok(registry) => registry,
        Err(failure) => {
            broker.shutdown().await.map_err(Failure::runtime)?;
            return Err(failure);
        }
    };
    stop.asked().await;
    if let Some(registry) = registry {
        registry.shutdown().await;
    }
    broker.shutdown().await.map_err(Failure::runtime)
}

/// File, then options, then `--set`: the later wins.
fn config(args: &BrokerArgs) -> Result<Config, Failure> {
    let mut config = match &args.config {
        Some(path) => Config::load(path).map_err(Failure::validation)?,
        None => Config::new(),
    };
    if let Some(dir) = &args.data_dir {
        config.set_data_dir(dir);
    } else if config.explicit("log.dirs").is_none() && config.explicit("log.dir").is_none() {
        config.set_data_dir(Path::new(DEFAULT_DATA_DIR));
    }
    if let Some(listen) = &args.listen {
        config.set_listen(listen).map_err(Failure::validation)?;
    } else if config.explicit("listeners").is_none() {
        config.set_listen(DEFAULT_LISTEN).map_err(Failure::validation)?;
    }
    if let Some(metrics) = &args.metrics {
        config.set_metrics(metrics).map_err(Failure::validation)?;
    }
    if let Some(registry) = &args.registry {
        config.set_registry(registry).map_err(Failure::validation)?;
    }
    for pair in &args.set {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(Failure::validation(format!(
                "--set {pair}: expected KEY=VALUE, as in --set num.partitions=3"
            )));
        };
        config
            .set(name.trim(), value.trim())
            .map_err(|error| Failure::validation(format!("--set {pair}: {error}")))?;
    }
    Ok(config)
}

/// Starts a broker, with what else is told at its `metrics.listener`; what stands in the way is told by its exit code.
pub(crate) async fn start(
    config: Config,
    more_metrics: Option<Arc<dyn MoreMetrics>>,
) -> Result<BrokerHandle, Failure> {
    let env = Env { loggers: logging::loggers(), more_metrics, ..Env::real() };
    Broker::start(config, env).await.map_err(failure)
}

/// A refused setting is the user's, everything else the surroundings'.
pub(crate) fn failure(error: Error) -> Failure {
    match error {
        Error::Config(error) => Failure::validation(error),
        Error::Storage(_) | Error::Metadata(_) | Error::Listen { .. } => Failure::environment(error),
    }
}
