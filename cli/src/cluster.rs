//! Ways to a cluster: over TCP, or into the broker of this process.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use millrace_broker::BrokerHandle;
use millrace_client::transport::{BoxFuture, Stream};
use millrace_client::{Client, ClientConfig, Transport};
use tokio::io::DuplexStream;

use crate::exit::Failure;

/// How long commands wait for a cluster to answer at all.
const API_TIMEOUT: Duration = Duration::from_secs(5);
/// Where the broker of this process is found; the transport doesn't look at it.
const EMBEDDED_ADDRESS: &str = "embedded:9092";

/// A client of a cluster elsewhere. Nothing is connected yet.
pub(crate) fn remote(bootstrap: &[String], client_id: &str) -> Result<Client, Failure> {
    let config = ClientConfig {
        bootstrap: bootstrap.to_vec(),
        client_id: client_id.to_owned(),
        api_timeout: API_TIMEOUT,
        ..ClientConfig::default()
    };
    Client::new(config).map_err(Failure::client)
}

/// A client of the broker in this process.
pub(crate) fn embedded(broker: &BrokerHandle, client_id: &str) -> Result<Client, Failure> {
    let config = ClientConfig {
        bootstrap: vec![EMBEDDED_ADDRESS.to_owned()],
        client_id: client_id.to_owned(),
        transport: Arc::new(Embedded(Arc::new(broker.connector()))),
        ..ClientConfig::default()
    };
    Client::new(config).map_err(Failure::client)
}

/// In-memory connections with the same frames as over TCP. There is one broker, so every address leads to it.
struct Embedded(Arc<dyn Fn() -> DuplexStream + Send + Sync>);

impl Transport for Embedded {
    fn connect<'a>(&'a self, _host: &'a str, _port: u16) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        let stream = (self.0)();
        Box::pin(async move { Ok(Box::new(stream) as Box<dyn Stream>) })
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Embedded")
    }
}
