//! A cluster as one part of the client sees it: connections by broker, metadata, coordinators.
//!
//! Invariant: at most one connection per broker and `Cluster`; who finds it closed opens the next. Brokers answer a
//! connection's requests one after another, which is why each producer and consumer has a `Cluster` of its own.

mod coordinator;
mod metadata;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafka_protocol::protocol::Request;
use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, watch};

pub(crate) use self::coordinator::{CoordinatorKind, Coordinators};
pub use self::metadata::{Broker, Metadata, PartitionInfo, TopicInfo};
use crate::backoff::{Backoff, Random, within};
use crate::client::{ClientConfig, parse_address};
use crate::connection::{Connection, ConnectionConfig, Finalized};
use crate::error::{Error, Result};
use crate::topic::str_bytes;

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Cluster {
    config: Arc<ClientConfig>,
    /// One slot per address; the lock of a slot is held while it connects, so that only one does.
    slots: Mutex<BTreeMap<String, Slot>>,
    metadata: watch::Sender<Arc<Metadata>>,
    /// Topics that metadata is asked for.
    topics: Mutex<BTreeSet<Arc<str>>>,
    /// Held while metadata is fetched.
    refreshing: AsyncMutex<()>,
    random: Mutex<Random>,
    /// The latest that any broker has said.
    transaction_version: Mutex<Finalized>,
}

type Slot = Arc<AsyncMutex<Option<Arc<Connection>>>>;

impl Cluster {
    pub(crate) fn new(config: Arc<ClientConfig>, random: Random) -> Self {
        Self {
            config,
            slots: Mutex::default(),
            metadata: watch::Sender::new(Arc::default()),
            topics: Mutex::default(),
            refreshing: AsyncMutex::default(),
            random: Mutex::new(random),
            transaction_version: Mutex::default(),
        }
    }

    pub(crate) fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// A generator of its own for whoever needs randomness.
    pub(crate) fn random(&self) -> Random {
        self.random.lock().split()
    }

    pub(crate) fn backoff(&self) -> Backoff {
        self.config.backoff(self.random())
    }

    /// The cluster's `transaction.version`, as far as brokers have said when they were connected to.
    pub(crate) fn transaction_version(&self) -> i16 {
        self.transaction_version.lock().level
    }

    fn note(&self, told: Finalized) {
        let mut known = self.transaction_version.lock();
        if told.epoch >= known.epoch {
            *known = told;
        }
    }

    /// The connection to a broker of the metadata.
    pub(crate) async fn broker(&self, id: i32) -> Result<Arc<Connection>> {
        let metadata = self.metadata();
        let Some(broker) = metadata.brokers.get(&id) else {
            let last = Arc::new(Error::State {
                call: "connecting",
                reason: format!("broker {id} is not in the metadata"),
            });
            return Err(Error::NoBroker { tried: "none".to_owned(), last });
        };
        self.connection(&broker.host, broker.port).await
    }

    /// A connection to whichever broker answers first: known ones in a random turn, then the bootstrap addresses.
    pub(crate) async fn any(&self) -> Result<Arc<Connection>> {
        let metadata = self.metadata();
        let mut candidates: Vec<_> = metadata.brokers.values().map(|b| (b.host.clone(), b.port)).collect();
        if !candidates.is_empty() {
            let turn = self.random.lock().below(candidates.len() as u64) as usize;
            candidates.rotate_left(turn);
        }
        let bootstrap = self.config.bootstrap.iter().filter_map(|address| parse_address(address));
        candidates.extend(bootstrap.map(|(host, port)| (host.to_owned(), port)));
        let mut last = Error::Closed("client");
        for (host, port) in &candidates {
            match self.connection(host, *port).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error,
            }
        }
        let tried =
            candidates.iter().map(|(host, port)| format!("{host}:{port}")).collect::<Vec<_>>().join(", ");
        Err(Error::NoBroker { tried, last: Arc::new(last) })
    }

    /// Sends a request to any broker.
    pub(crate) async fn request_any<R: Request>(&self, request: &R) -> Result<R::Response> {
        self.any().await?.request(request).await
    }

    async fn connection(&self, host: &str, port: u16) -> Result<Arc<Connection>> {
        let address = format!("{host}:{port}");
        let slot = self.slots.lock().entry(address.clone()).or_default().clone();
        let mut slot = slot.lock().await;
        if let Some(connection) = slot.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(connection.clone());
        }
        let connection = Arc::new(self.connect(host, port, address).await?);
        self.note(connection.transaction_version());
        *slot = Some(connection.clone());
        Ok(connection)
    }

    async fn connect(&self, host: &str, port: u16, address: String) -> Result<Connection> {
        let limit = self.config.connect_timeout;
        let what = || format!("connecting to broker {address}");
        let stream = within(limit, what, async {
            let failed = |source| Error::Connect { address: address.clone(), source: Arc::new(source) };
            self.config.transport.connect(host, port).await.map_err(failed)
        })
        .await?;
        let config = ConnectionConfig {
            client_id: str_bytes(&self.config.client_id),
            request_timeout: self.config.request_timeout,
            max_response_bytes: self.config.max_response_bytes,
        };
        Connection::start(stream, address.into(), config).await
    }

    /// Closes all connections.
    pub(crate) fn close(&self) {
        for slot in std::mem::take(&mut *self.slots.lock()).into_values() {
            if let Ok(mut slot) = slot.try_lock()
                && let Some(connection) = slot.take()
            {
                connection.close();
            }
        }
    }
}
