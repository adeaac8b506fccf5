//! A broker's life: start, serve, stop.
//!
//! Start: open the data directory (which recovers the logs), read the metadata log, bind the socket, register, bring up
//! the partitions, start the coordinators, accept. Stop: no new connections, requests in flight are finished or their
//! connections dropped, coordinators stop, logs are synced and closed cleanly.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use millrace_log::{FileBudget, LogConfig, LogManager, ManagerOptions, TopicPartition};
use tokio::io::DuplexStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::api::APIS;
use crate::config::{Address, Config, TopicConfig};
use crate::controller::metadata_log::{self, MetadataLog};
use crate::controller::topic_name::CLUSTER_METADATA;
use crate::controller::{Command, Controller};
use crate::env::Env;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::net::listener::{self, Connections};
use crate::observe::{self, Watched};
use crate::replica::{Replicas, manager};
use crate::shared::Shared;
use crate::{cleaner, housekeeping, reopening};

/// How long connections may take to end once the broker stops.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// The id that Kafka gives to the metadata log's topic.
const METADATA_TOPIC_ID: Uuid = Uuid::from_u128(1);

/// Starts brokers.
pub struct Broker;

/// A running broker. Dropping it ends the broker where it stands; [`BrokerHandle::shutdown`] ends it cleanly.
pub struct BrokerHandle {
    shared: Arc<Shared>,
    connections: Arc<Connections>,
    local_addr: SocketAddr,
    metrics_addr: Option<SocketAddr>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Broker {
    /// Starts a broker; it serves clients when this returns. To be called in a tokio runtime.
    ///
    /// # Errors
    /// The data directory, the metadata or the address can't be used.
    pub async fn start(config: Config, env: Env) -> Result<BrokerHandle, Error> {
        let simulated = env.disk.is_simulated();
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let watched = Watched::default();
        let metrics_addr = match config.explicit("metrics.listener").filter(|_| !simulated) {
            Some(address) => {
                let failed =
                    |error| Error::Listen { address: address.to_owned(), option: "--metrics", error };
                let listener = observe::bind(address).await.map_err(failed)?;
                let bound = listener.local_addr().map_err(failed)?;
                tasks.spawn(observe::serve(listener, watched.clone(), stop.clone()));
                Some(bound)
            }
            None => None,
        };
        let (opening, its_env) = (config.clone(), env.clone());
        let (replicas, controller, clean) =
            crate::blocking::run(simulated, move || open_storage(&opening, &its_env)).await?;

        let listener = listen(&config, simulated)?;
        let local_addr = match &listener {
            Some(listener) => listener.local_addr().map_err(|error| Error::Listen {
                address: config.listen().to_string(),
                option: "--listen",
                error,
            })?,
            None => SocketAddr::from(([127, 0, 0, 1], config.listen().port)),
        };
        let advertised = config.advertised().unwrap_or_else(|| reachable(&config.listen(), local_addr));
        let register = Command::StartBroker {
            id: config.node_id(),
            incarnation: env.random.uuid(),
            epoch: controller.next_offset(),
            host: advertised.host.clone(),
            port: advertised.port,
            rack: config.explicit("broker.rack").map(str::to_owned),
            clean,
        };
        controller.run_one(register).await?;

        let cluster_id = replicas.logs().meta().cluster_id.clone();
        let shared = Arc::new(Shared::new(config, env, cluster_id, advertised, replicas, controller));
        shared.coordinators.start(&shared).await;
        // Nobody else sets it.
        let _ = watched.set(shared.clone());

        let connections = Arc::new(Connections::new(shared.clone(), stop.clone()));
        if let Some(listener) = listener {
            tasks.spawn(connections.clone().accept(listener));
        }
        tasks.spawn(cleaner::run(shared.clone(), stop.clone()));
        tasks.spawn(reopening::run(shared.clone(), stop.clone()));
        tasks.spawn(housekeeping::run(shared.clone(), stop.clone()));
        tasks.spawn(ready_when_loaded(shared.clone()));
        info!(listen = %local_addr, advertised = %shared.advertised, cluster = shared.cluster_id, "broker started");
        Ok(BrokerHandle { shared, connections, local_addr, metrics_addr, stop, tasks })
    }
}

/// Says that the broker is ready once the coordinators have read their topics.
async fn ready_when_loaded(shared: Arc<Shared>) {
    shared.coordinators.loaded().await;
    shared.set_ready(true);
    info!("broker ready");
}

/// Everything that lies in the data directory; and whether the last stop was clean.
fn open_storage(config: &Config, env: &Env) -> Result<(Arc<Replicas>, Arc<Controller>, bool), Error> {
    let simulated = env.disk.is_simulated();
    let defaults = manager::log_config(&TopicConfig::resolve(&BTreeMap::new(), config), config);
    let options = ManagerOptions {
        cluster_id: config.explicit("cluster.id").map(str::to_owned),
        new_ids: [env.random.uuid(), env.random.uuid()],
        files: Arc::new(FileBudget::new(env.descriptors.files())),
        ..ManagerOptions::new(config.node_id(), defaults.clone(), env.clock.now_ms())
    };
    let (logs, report) = LogManager::open(env.disk.clone(), &config.data_dir(), options)?;
    for (partition, recovery) in &report.recovered {
        info!(topic = %partition.topic, partition = partition.partition, ?recovery, "log recovered");
    }
    let name = TopicPartition::new(CLUSTER_METADATA, 0);
    if let Some((_, error)) = logs.failed().into_iter().find(|(failed, _)| *failed == name) {
        return Err(Error::Metadata(format!("the metadata log cannot be opened: {error}")));
    }
    let metadata_config = metadata_log_config(config, defaults);
    let metadata = match logs.get(&name) {
        Some(log) => {
            // It was opened with the settings of topics, whose limits are not for it.
            log.set_config(metadata_config);
            log
        }
        None => logs.create(&name, METADATA_TOPIC_ID, metadata_config, env.clock.now_ms())?,
    };
    let metrics = Arc::new(Metrics::new(APIS.iter().map(|api| api.key)));
    let replicas = Arc::new(Replicas::new(logs, config.clone(), env.clock, simulated, metrics));
    let limits = metadata_log::Limits::of(config);
    let read = MetadataLog::open(env.disk.clone(), metadata, config.node_id(), limits, env.clock)?;
    let controller = Controller::new(read, replicas.clone(), simulated);
    // Before the replicas follow: a topic created anew must not find the files of the one deleted before it.
    replicas.clear_strays(&controller, CLUSTER_METADATA);
    Ok((replicas, Arc::new(controller), report.clean_shutdown))
}

/// The metadata log is never cut by age or size.
fn metadata_log_config(config: &Config, defaults: LogConfig) -> LogConfig {
    let segment_bytes = u64::try_from(config.long("metadata.log.segment.bytes")).unwrap_or(u64::MAX);
    LogConfig { segment_bytes, delete: false, max_message_bytes: usize::MAX, ..defaults }
}

/// The listening socket; none in a simulation, where clients connect in memory.
fn listen(config: &Config, simulated: bool) -> Result<Option<tokio::net::TcpListener>, Error> {
    if simulated {
        return Ok(None);
    }
    let address = config.listen();
    let listener = listener::bind(&address, config);
    listener.map(Some).map_err(|error| Error::Listen {
        address: address.to_string(),
        option: "--listen",
        error,
    })
}

/// What to tell clients if nobody said: the address listened on, or this machine's name if that is every interface.
fn reachable(configured: &Address, local: SocketAddr) -> Address {
    let host = if local.ip().is_unspecified() || configured.host.is_empty() {
        hostname().unwrap_or_else(|| "localhost".to_owned())
    } else {
        configured.host.clone()
    };
    Address { host, port: local.port() }
}

fn hostname() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

impl BrokerHandle {
    /// The broker's state, for tests of its rooms.
    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The address listened on, with the port that the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The address where metrics and health are answered, if it was asked for.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics_addr
    }

    /// The address that clients are told.
    pub fn advertised(&self) -> Address {
        self.shared.advertised.clone()
    }

    /// The cluster's id.
    pub fn cluster_id(&self) -> &str {
        &self.shared.cluster_id
    }

    /// A connection from within the process: the same frames as over TCP.
    pub fn connect(&self) -> DuplexStream {
        self.connections.connect()
    }

    /// A function that makes such connections, for as long as the broker runs.
    pub fn connector(&self) -> impl Fn() -> DuplexStream + Send + Sync + 'static {
        let connections = self.connections.clone();
        move || connections.connect()
    }

    /// Stops cleanly: connections end, everything is synced, the next start needs no recovery.
    ///
    /// # Errors
    /// Something couldn't be synced; the next start recovers what is on disk.
    pub async fn shutdown(mut self) -> Result<(), Error> {
        self.shared.set_ready(false);
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        if timeout(DRAIN_MAX, self.connections.closed()).await.is_err() {
            warn!("some connections did not end in time and are dropped");
            self.connections.abort();
        }
        self.shared.coordinators.stop().await;
        let replicas = self.shared.replicas.clone();
        crate::blocking::run(replicas.simulated(), move || {
            for partition in replicas.all() {
                partition.close();
            }
            replicas.logs().close()
        })
        .await?;
        info!("broker stopped");
        Ok(())
    }

    /// Ends everything where it stands, as a kill would: for tests and simulations.
    pub fn abort(mut self) {
        self.stop.cancel();
        self.tasks.abort_all();
        self.connections.abort();
        self.shared.coordinators.abort();
        for partition in self.shared.replicas.all() {
            partition.close();
        }
    }
}
