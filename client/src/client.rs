//! The door: a [`Client`] knows how to reach a cluster; producers, consumers and admins are made from it.

use std::sync::Arc;
use std::time::Duration;

use crate::backoff::{Backoff, BackoffConfig, Random};
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::transport::{TcpTransport, Transport};

/// Where the cluster is and how to behave towards it. Names and defaults are Kafka's.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// `bootstrap.servers`: `host:port`, at least one.
    pub bootstrap: Vec<String>,
    /// `client.id`: what brokers log.
    pub client_id: String,
    /// How bytes get there.
    pub transport: Arc<dyn Transport>,
    /// `request.timeout.ms`
    pub request_timeout: Duration,
    /// `socket.connection.setup.timeout.ms`
    pub connect_timeout: Duration,
    /// `default.api.timeout.ms`: how long admin calls and look-ups repeat what may yet succeed.
    pub api_timeout: Duration,
    /// `retry.backoff.ms` and `retry.backoff.max.ms`
    pub retry_backoff: BackoffConfig,
    /// `metadata.max.age.ms`
    pub metadata_max_age: Duration,
    /// Largest response that is accepted, in bytes. A fetch may exceed its own limits by one batch.
    pub max_response_bytes: usize,
    /// Seed of the jitter and of the sticky partitioner. `None`: another one each time.
    pub seed: Option<u64>,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            bootstrap: Vec::new(),
            client_id: "millrace".to_owned(),
            transport: Arc::new(TcpTransport),
            request_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            api_timeout: Duration::from_secs(60),
            retry_backoff: BackoffConfig::default(),
            metadata_max_age: Duration::from_secs(300),
            max_response_bytes: 128 * 1024 * 1024,
            seed: None,
        }
    }
}

/// A way to a cluster. Cheap to clone; connections are opened when they are needed, by each part for itself, so that a
/// consumer's long poll never stands before a producer's batch.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) config: Arc<ClientConfig>,
}

impl Client {
    /// Checks the configuration. Nothing is connected yet.
    pub fn new(config: ClientConfig) -> Result<Self> {
        let refuse = |value: &str, expected| Error::Config {
            name: "bootstrap.servers",
            value: value.to_owned(),
            expected,
        };
        if config.bootstrap.is_empty() {
            return Err(refuse("", "expected at least one host:port"));
        }
        if let Some(bad) = config.bootstrap.iter().find(|address| parse_address(address).is_none()) {
            return Err(refuse(bad, "expected host:port, as in 127.0.0.1:9092"));
        }
        Ok(Self { config: Arc::new(config) })
    }

    /// What it was made with.
    pub fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// A set of connections of its own.
    pub(crate) fn cluster(&self) -> Cluster {
        Cluster::new(self.config.clone(), self.random())
    }

    fn random(&self) -> Random {
        use std::hash::{BuildHasher, RandomState};
        // The standard library's hasher keys are the randomness at hand.
        Random::new(self.config.seed.unwrap_or_else(|| RandomState::new().hash_one(0u8)))
    }
}

impl ClientConfig {
    pub(crate) fn backoff(&self, random: Random) -> Backoff {
        Backoff::new(self.retry_backoff, random)
    }
}

/// `host:port`, where an IPv6 host may stand in brackets.
pub(crate) fn parse_address(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    Some((host, port.parse().ok()?)).filter(|(host, _)| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_at_once() {
        assert_eq!(parse_address("a.b:9092"), Some(("a.b", 9092)));
        assert_eq!(parse_address("[::1]:9092"), Some(("::1", 9092)));
        let refuse = |bootstrap: &[&str]| {
            let bootstrap = bootstrap.iter().map(|s| s.to_string()).collect();
            Client::new(ClientConfig { bootstrap, ..Default::default() }).unwrap_err().to_string()
        };
        assert_eq!(refuse(&[]), "client setting bootstrap.servers is \"\"; expected at least one host:port");
        assert_eq!(
            refuse(&["a:1", "b"]),
            "client setting bootstrap.servers is \"b\"; expected host:port, as in 127.0.0.1:9092"
        );
    }
}
