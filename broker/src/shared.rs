//! What every request handler sees: configuration, metadata, partitions, coordinators, limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kafka_protocol::ResponseError;
use millrace_wire::ids::ProducerId;
use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;

use crate::blocking::Slots;
use crate::config::{Address, Config};
use crate::controller::topic_name::CLUSTER_METADATA;
use crate::controller::{Command, Controller, Image, Reply};
use crate::coordinators::Coordinators;
use crate::env::Env;
use crate::fetch_session::FetchSessions;
use crate::metrics::Metrics;
use crate::net::budget::{Budget, RESPONSE_BYTES_MAX};
use crate::net::log_limit::LogLimit;
use crate::quota::Quotas;
use crate::replica::Replicas;
use crate::transaction::turns::Turns;

/// Stands for "no limit" where the clock needs a number.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Limits of connections and requests, from the configuration.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// `socket.request.max.bytes`
    pub(crate) request_bytes_max: usize,
    /// `connections.max.idle.ms`
    pub(crate) connection_idle_max: Duration,
    /// `fetch.max.bytes`
    pub(crate) fetch_bytes_max: usize,
}

impl Limits {
    fn new(config: &Config) -> Self {
        let number = |name: &str| usize::try_from(config.long(name)).unwrap_or(0);
        let idle_ms = config.long("connections.max.idle.ms");
        Self {
            request_bytes_max: number("socket.request.max.bytes"),
            connection_idle_max: u64::try_from(idle_ms).map_or(FOR_EVER, Duration::from_millis).min(FOR_EVER),
            fetch_bytes_max: number("fetch.max.bytes"),
        }
    }
}

/// The broker's state, shared by all connections.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) env: Env,
    pub(crate) node_id: i32,
    pub(crate) cluster_id: String,
    /// Where clients are told to connect.
    pub(crate) advertised: Address,
    pub(crate) limits: Limits,
    pub(crate) request_budget: Budget,
    pub(crate) response_budget: Budget,
    pub(crate) replicas: Arc<Replicas>,
    pub(crate) controller: Arc<Controller>,
    pub(crate) coordinators: Coordinators,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) quotas: Quotas,
    pub(crate) fetch_sessions: FetchSessions,
    /// Reads from disk that may run at a time (`num.io.threads`).
    pub(crate) cold_reads: Slots,
    /// Everything is loaded, and the broker does not stop yet.
    ready: AtomicBool,
    /// Producer ids got from the controller and not given out yet.
    producer_ids: AsyncMutex<std::ops::Range<i64>>,
    /// Topics being created because somebody asked for their metadata, so that one burst of requests asks once.
    pub(crate) creating: Mutex<std::collections::BTreeSet<String>>,
    /// Transactional writes that wait for their coordinator.
    pub(crate) turns: Arc<Turns>,
    /// Log lines about connections that were closed for what their clients did.
    pub(crate) broken_connections: LogLimit,
}

impl Shared {
    /// All parts together.
    pub(crate) fn new(
        config: Config,
        env: Env,
        cluster_id: String,
        advertised: Address,
        replicas: Arc<Replicas>,
        controller: Arc<Controller>,
    ) -> Self {
        let limits = Limits::new(&config);
        let budget = usize::try_from(config.long("queued.max.request.bytes")).unwrap_or(usize::MAX);
        Self {
            node_id: config.node_id(),
            coordinators: Coordinators::new(&config),
            request_budget: Budget::new(budget),
            response_budget: Budget::new(RESPONSE_BYTES_MAX),
            limits,
            metrics: replicas.metrics().clone(),
            quotas: Quotas::new(&config),
            cold_reads: Slots::new(config.long("num.io.threads")),
            fetch_sessions: FetchSessions::new(
                usize::try_from(config.long("max.incremental.fetch.session.cache.slots")).unwrap_or(0),
                env.random.clone(),
            ),
            ready: AtomicBool::new(false),
            config,
            env,
            cluster_id,
            advertised,
            replicas,
            controller,
            producer_ids: AsyncMutex::new(0..0),
            creating: Mutex::default(),
            turns: Arc::default(),
            broken_connections: LogLimit::default(),
        }
    }

    /// All metadata, as of now.
    pub(crate) fn image(&self) -> Arc<Image> {
        self.controller.image()
    }

    /// Whether clients should be sent here.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// From now on clients should be sent here, or not any more.
    pub(crate) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    /// The logs that cannot be used: those that failed are opened again now and then, those that could not be opened at the start
    /// need another one.
    pub(crate) fn offline_logs(&self) -> Vec<String> {
        let mut offline: Vec<String> =
            self.replicas.logs().failed().into_iter().map(|(partition, _)| partition.to_string()).collect();
        for partition in self.replicas.all() {
            if partition.is_offline() && !partition.is_closed() {
                offline.push(format!("{}-{}", partition.topic, partition.index));
            }
        }
        if self.controller.has_failed() {
            offline.push(CLUSTER_METADATA.to_owned());
        }
        offline
    }

    /// The wall clock, in milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> i64 {
        self.env.clock.now_ms()
    }

    /// A producer id that nobody has.
    ///
    /// # Errors
    /// The controller can't give out any.
    pub(crate) async fn next_producer_id(&self) -> Result<ProducerId, ResponseError> {
        let mut ids = self.producer_ids.lock().await;
        if ids.is_empty() {
            let command = Command::AllocateProducerIds { broker_id: self.node_id };
            match self.controller.run_one(command).await {
                Ok(Reply::ProducerIds { first, count }) => *ids = first..first.saturating_add(count),
                Ok(_) => return Err(ResponseError::UnknownServerError),
                Err(refusal) => return Err(refusal.error),
            }
        }
        ids.next().map(ProducerId).ok_or(ResponseError::UnknownServerError)
    }
}
