//! `millrace connect` without files: a REST API, and whatever the topics say there is to run.

use std::time::Duration;

use millrace_connect_runtime::herder::membership::{Membership, MembershipConfig};
use millrace_connect_runtime::herder::service::{
    DEFAULT_UPGRADE_PROBATION, Error, HerderConfig, HerderService,
};
use millrace_connect_runtime::rest::{RestListener, RestServer};
use millrace_connect_runtime::worker::WorkerConfig;

use crate::args::ConnectArgs;
use crate::exit::{Failure, Outcome};
use crate::run::{FLUSH_TIME_MAX, traced, watched};
use crate::{cluster, components, logging, output, signals};

/// Where the REST API is if nobody says.
const DEFAULT_REST: &str = "127.0.0.1:8083";

/// Runs until a signal.
pub(crate) async fn run(args: ConnectArgs) -> Outcome {
    let Properties { membership, upgrade_probation } = properties(&args)?;
    let host = components::host_with(args.connections.as_ref())?;
    let mut stop = signals::watch()?;
    let address = args.rest.as_deref().unwrap_or(DEFAULT_REST);
    let listener = RestListener::bind(address).await.map_err(|error| {
        Failure::environment(format!(
            "the REST API can't listen on {address}: {error}; --rest chooses another address"
        ))
    })?;
    let listens = listener.local_addr().map_err(Failure::environment)?;
    let client = cluster::remote(&args.bootstrap, "millrace-connect")?;
    let membership = Membership::new(&client, membership).map_err(Failure::validation)?;
    let worker = WorkerConfig { group: args.group, ..WorkerConfig::default() };
    let worker = traced(args.otlp.as_deref(), worker)?;
    let tracer = worker.tracer.clone();
    let _watched = watched(args.metrics.as_deref(), &worker.metrics).await?;
    let config = HerderConfig { worker, upgrade_probation, ..HerderConfig::new(listens.to_string()) };
    let started = HerderService::start(config, host, client, Box::new(membership)).await;
    let service = started.map_err(|Error::Topics(error)| Failure::client(error))?;
    let server = RestServer::start(listener, service.handle(), logging::worker_loggers());
    let server = server.map_err(Failure::environment)?;
    let handle = service.handle();
    tokio::select! {
        biased;
        () = stop.asked() => {}
        () = handle.ready() => {
            output::remark(format!("worker runs {} connectors, REST API at http://{listens}", handle.connectors().len()));
            stop.asked().await;
        }
    }
    drop(server);
    service.stop().await;
    if let Some(tracer) = tracer {
        tracer.flush(FLUSH_TIME_MAX).await;
    }
    Ok(())
}

/// What `--set` says.
struct Properties {
    /// How it behaves towards the other workers.
    membership: MembershipConfig,
    /// How long new components have to run before they are taken for good.
    upgrade_probation: Duration,
}

/// The property of [`Properties::upgrade_probation`], which is not Kafka Connect's.
const PROBATION: &str = "upgrade.probation.ms";

fn properties(args: &ConnectArgs) -> Result<Properties, Failure> {
    let membership = MembershipConfig { group_id: args.group.clone(), ..MembershipConfig::default() };
    let mut set = Properties { membership, upgrade_probation: DEFAULT_UPGRADE_PROBATION };
    for property in &args.set {
        let (name, value) = property
            .split_once('=')
            .ok_or_else(|| Failure::validation(format!("--set {property}: expected KEY=VALUE")))?;
        if name == PROBATION {
            let millis: u32 = value.parse().map_err(|_| {
                Failure::validation(format!(
                    "worker property {name} is {value:?}; expected a number of milliseconds"
                ))
            })?;
            set.upgrade_probation = Duration::from_millis(u64::from(millis));
        } else {
            set.membership.set(name, value).map_err(Failure::validation)?;
        }
    }
    Ok(set)
}
