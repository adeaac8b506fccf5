//! `millrace run` and `millrace connect`: pipelines until they are done or a signal comes.

mod hints;
mod progress;

use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millrace_broker::{BrokerHandle, Config, MoreMetrics};
use millrace_client::Client;
use millrace_connect_runtime::component::ComponentHost;
use millrace_connect_runtime::metrics::{MetricsServer, RuntimeMetrics};
use millrace_connect_runtime::plan::Plan;
use millrace_connect_runtime::spec::{BrokerSpec, ClusterSpec};
use millrace_connect_runtime::trace::{Endpoint, Tracer};
use millrace_connect_runtime::worker::{Error, Worker, WorkerConfig};

use crate::args::{ConnectArgs, RunArgs};
use crate::exit::{Failure, Outcome};
use crate::signals::Stop;
use crate::validate::{self, Checked};
use crate::{broker, cluster, components, output, registry, signals};

/// Partitions of the topic of positions in a broker of our own: enough for one process, and quickly made.
const EMBEDDED_OFFSETS_PARTITIONS: i32 = 5;

/// How long an end waits for the last spans to reach the collector.
pub(crate) const FLUSH_TIME_MAX: Duration = Duration::from_secs(2);

/// Where the broker of this process listens when its usual port is taken and nobody asked for one.
const ANY_PORT: &str = "127.0.0.1:0";

/// A broker and the pipelines in one process.
pub(crate) async fn run(args: RunArgs) -> Outcome {
    let host = components::host()?;
    let checked = validate::check(&host, &args.files).await?;
    let mut stop = signals::watch()?;
    let spec = match checked.cluster() {
        ClusterSpec::Kafka(kafka)
            if args.data_dir.is_none() && args.listen.is_none() && args.registry.is_none() =>
        {
            let client = cluster::remote(&kafka.bootstrap, "millrace-connect")?;
            let plan = checked.plan.clone();
            let config = worker_config(args.exit_when_done);
            let config = traced(args.otlp.as_deref(), config)?;
            let _watched = watched(args.metrics.as_deref(), &config.metrics).await?;
            pipelines(host, client, plan, config, &mut stop).await?;
            return hints::show(&checked.plan, &kafka.bootstrap.join(","), None);
        }
        ClusterSpec::Kafka(_) => {
            return Err(Failure::validation(
                "--data-dir, --listen and --registry are for the broker in this process, but the file has `kafka:`; leave them out",
            ));
        }
        ClusterSpec::Embedded(spec) => spec.clone(),
        ClusterSpec::Unspecified => BrokerSpec::default(),
    };
    let config = config(&args, &spec)?;
    let data_dir = config.data_dir();
    let worker = WorkerConfig {
        offsets_partitions: EMBEDDED_OFFSETS_PARTITIONS,
        ..worker_config(args.exit_when_done)
    };
    let worker = traced(args.otlp.as_deref(), worker)?;
    let registry_listener = registry::listener(&config);
    let broker = broker::start(config, Some(Arc::new(More(worker.metrics.clone())))).await?;
    output::remark(format!("broker listens on {}, data in {}", broker.local_addr(), data_dir.display()));
    if let Some(address) = broker.metrics_addr() {
        output::remark(format!("metrics and health at http://{address}/metrics, /healthz, /readyz"));
    }
    let outcome = match registry::start(registry_listener, &broker).await {
        Ok(registry) => {
            let outcome = embedded(host, &checked, &broker, worker, &mut stop).await;
            if let Some(registry) = registry {
                registry.shutdown().await;
            }
            outcome
        }
        Err(failure) => Err(failure),
    };
    let stopped = broker.shutdown().await.map_err(Failure::runtime);
    if outcome.is_ok() {
        // A port that the system chose is gone with the broker.
        let listen = args.listen.or(spec.listen).filter(|listen| !listen.ends_with(":0"));
        let listen = listen.unwrap_or_else(|| broker::DEFAULT_LISTEN.to_owned());
        hints::show(&checked.plan, &listen, Some(&data_dir))?;
    }
    outcome.and(stopped)
}

async fn embedded(
    host: ComponentHost,
    checked: &Checked,
    broker: &BrokerHandle,
    config: WorkerConfig,
    stop: &mut Stop,
) -> Outcome {
    let client = cluster::embedded(broker, "millrace-connect")?;
    pipelines(host, client, checked.plan.clone(), config, stop).await
}

/// The pipelines alone, on somebody's cluster.
pub(crate) async fn connect(args: ConnectArgs) -> Outcome {
    let host = components::host_with(args.connections.as_ref())?;
    let checked = validate::check(&host, &args.files).await?;
    let mut stop = signals::watch()?;
    let client = cluster::remote(&args.bootstrap, "millrace-connect")?;
    let config = traced(args.otlp.as_deref(), worker_config(args.exit_when_done))?;
    let _watched = watched(args.metrics.as_deref(), &config.metrics).await?;
    pipelines(host, client, checked.plan.clone(), config, &mut stop).await?;
    hints::show(&checked.plan, &args.bootstrap.join(","), None)
}

/// The worker with spans, if a collector is given.
pub(crate) fn traced(url: Option<&str>, config: WorkerConfig) -> Result<WorkerConfig, Failure> {
    let Some(url) = url.filter(|url| !url.is_empty()) else { return Ok(config) };
    let endpoint = Endpoint::parse(url).map_err(Failure::validation)?;
    // The standard library's hasher keys are the randomness at hand.
    let tracer = Tracer::start(endpoint, RandomState::new().hash_one(0u8));
    config.metrics.set_traces(tracer.counts());
    Ok(WorkerConfig { tracer: Some(tracer), ..config })
}

/// The worker's metrics at the broker's address.
#[derive(Debug)]
struct More(RuntimeMetrics);

impl MoreMetrics for More {
    fn text(&self) -> String {
        self.0.text()
    }
}

/// Answers watchers of a worker without a broker, if an address is given.
pub(crate) async fn watched(
    address: Option<&str>,
    metrics: &RuntimeMetrics,
) -> Result<Option<MetricsServer>, Failure> {
    let Some(address) = address else { return Ok(None) };
    let server = MetricsServer::start(address, metrics.clone()).await.map_err(|error| {
        Failure::environment(format!(
            "metrics can't be served at {address}: {error}; --metrics chooses another address"
        ))
    })?;
    let listens = server.local_addr();
    output::remark(format!("metrics and health at http://{listens}/metrics, /healthz, /readyz"));
    Ok(Some(server))
}

fn worker_config(exit_when_done: bool) -> WorkerConfig {
    WorkerConfig { exit_when_done, ..WorkerConfig::default() }
}

/// The command line, then the file, then defaults.
fn config(args: &RunArgs, spec: &BrokerSpec) -> Result<Config, Failure> {
    let mut config = validate::broker_config(spec)?;
    match &args.data_dir {
        Some(dir) => config.set_data_dir(dir),
        None if spec.data.is_none()
            && config.explicit("log.dirs").is_none()
            && config.explicit("log.dir").is_none() =>
        {
            config.set_data_dir(Path::new(broker::DEFAULT_DATA_DIR));
        }
        None => {}
    }
    match &args.listen {
        Some(listen) => config.set_listen(listen).map_err(Failure::validation)?,
        None if config.explicit("listeners").is_none() => {
            config.set_listen(free_address()).map_err(Failure::validation)?;
        }
        None => {}
    }
    if let Some(metrics) = &args.metrics {
        config.set_metrics(metrics).map_err(Failure::validation)?;
    }
    if let Some(registry) = &args.registry {
        config.set_registry(registry).map_err(Failure::validation)?;
    }
    Ok(config)
}

/// The usual address, or any port if it is taken: a pipeline without `listen` doesn't depend on it.
fn free_address() -> &'static str {
    match TcpListener::bind(broker::DEFAULT_LISTEN) {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            output::remark(format!(
                "{} is in use: another port is taken; --listen chooses one",
                broker::DEFAULT_LISTEN
            ));
            ANY_PORT
        }
        _ => broker::DEFAULT_LISTEN,
    }
}

/// Runs until all is done, all has failed, or a signal; ends with a table.
async fn pipelines(
    host: ComponentHost,
    client: Client,
    plan: Plan,
    config: WorkerConfig,
    stop: &mut Stop,
) -> Outcome {
    let (exit_when_done, tracer) = (config.exit_when_done, config.tracer.clone());
    let worker = Worker::start(config, host, client, plan).await.map_err(|error| match error {
        Error::Topics(error) => Failure::client(error),
    })?;
    let stopper = worker.stopper();
    let view = worker.progress_view();
    let ended = worker.join();
    tokio::pin!(ended);
    let mut display = progress::Display::new();
    let summary = loop {
        tokio::select! {
            biased;
            summary = &mut ended => break summary,
            () = stop.asked(), if !stop.is_asked() => stopper.stop(),
            () = display.tick() => display.show(&view.snapshot()),
        }
    };
    display.clear();
    if let Some(tracer) = tracer {
        tracer.flush(FLUSH_TIME_MAX).await;
    }
    output::line(progress::table(&summary))?;
    if !summary.none_failed() {
        let failed =
            summary.connectors.iter().filter_map(|c| c.error.as_ref().filter(|_| progress::has_failed(c)));
        let told: Vec<&str> = failed.map(String::as_str).collect();
        return Err(Failure::Runtime(told.join("\nerror: ")));
    }
    if exit_when_done && !summary.all_done() {
        return Err(Failure::runtime(
            "stopped before everything had arrived; run it again to go on from here",
        ));
    }
    Ok(())
}
