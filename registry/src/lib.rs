//! A schema registry: schemas by subject and id in one compacted topic, asked and changed over Confluent's REST API.
//!
//! ```text
//! HTTP ──> http: path, query, body ──> registry: reads are answered from memory
//!                                          │ a change: decided on the state, written, read back, then answered
//!                                      store ──transaction──> topic _schemas ──reader──> state
//! ```
//!
//! | room | what is there |
//! |---|---|
//! | `http` | the listener, routes, JSON of requests and answers |
//! | `registry` | each call: what it asks of the state, what it writes |
//! | `state` | what the topic holds, in memory; decisions without I/O |
//! | `record` | Confluent's records of the topic |
//! | `store` | reads the topic all the time; writes so that two writers can't both |
//! | `error` | Confluent's error codes |
//!
//! Invariants:
//! - a change is answered only after it was read back from the topic;
//! - an id means one schema for ever: two registries on one topic fence each other by their transactional id, whoever was
//!   fenced reads on to the end and decides anew; ids of schemas that were deleted for good are not given again;
//! - bodies, texts, subjects and the whole state have limits, see `limits`.
//!
//! It speaks Kafka's protocol to its cluster, through `millrace-client`, and knows no broker's code. Deliberately absent:
//! authentication (its address should be one that only friends reach), rule sets and metadata, forwarding between instances.

mod error;
mod http;
mod limits;
mod record;
mod registry;
mod state;
mod store;

use std::net::SocketAddr;

use millrace_client::Client;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How a registry behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address to listen on, `host:port`; port 0 lets the system choose.
    pub listen: String,
    /// The topic (Confluent: `kafkastore.topic`).
    pub topic: String,
    /// Its replication factor when it has to be made; -1: the cluster's default.
    pub replication_factor: i16,
}

impl Default for Config {
    fn default() -> Self {
        Self { listen: "127.0.0.1:8081".to_owned(), topic: "_schemas".to_owned(), replication_factor: -1 }
    }
}

/// Why a registry does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken, or is none.
    #[error("schema registry: cannot listen on {address}: {source}")]
    Listen {
        /// As it was asked for.
        address: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The topic can't be made or read.
    #[error("schema registry: topic {topic}: {source}")]
    Topic {
        /// The topic.
        topic: String,
        /// Why not.
        #[source]
        source: millrace_client::Error,
    },
    /// The topic is not one that a registry can use.
    #[error(
        "schema registry: topic {topic} has {partitions} partitions, but schemas are kept in one; name another topic"
    )]
    Partitions {
        /// The topic.
        topic: String,
        /// How many it has.
        partitions: usize,
    },
}

/// A registry that is being served. Dropping it ends it.
#[derive(Debug)]
pub struct RegistryHandle {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl RegistryHandle {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it; changes that were not answered may or may not have happened.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        let _ = (&mut self.serving).await;
    }
}

impl Drop for RegistryHandle {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Makes the topic if it is not there, reads it, and serves.
///
/// # Errors
/// The address can't be listened on, or the topic can't be used.
pub async fn start(config: Config, client: &Client) -> Result<RegistryHandle, Error> {
    let listen = |source| Error::Listen { address: config.listen.clone(), source };
    let listener = TcpListener::bind(&config.listen).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    let store = store::Store::open(&config, client).await?;
    let registry = registry::Registry::new(store);
    let (stop, stopping) = watch::channel(false);
    let serving = tokio::spawn(http::serve(listener, registry, stopping));
    Ok(RegistryHandle { address, stop, serving })
}
