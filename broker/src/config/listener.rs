//! Listener addresses: `NAME://host:port`, Kafka's form of `listeners` and `advertised.listeners`.

use std::fmt;

use super::Error;
use super::setting::items;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name or an IP address; empty means every interface.
    pub host: String,
    /// 0 lets the system choose.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// `NAME`, host and port of one listener.
fn parse(text: &str) -> Option<(&str, Address)> {
    let (name, rest) = text.split_once("://")?;
    let (host, port) = rest.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some((name, Address { host: host.to_owned(), port: port.parse().ok()? }))
}

/// Refuses a listener setting that can't be parsed; other settings pass.
pub(super) fn check(name: &str, value: &str) -> Result<(), Error> {
    let listeners = name == "listeners" || (name == "advertised.listeners" && !value.trim().is_empty());
    if matches!(name, "metrics.listener" | "registry.listener") {
        let address = value.trim().rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        return if address || value.trim().is_empty() {
            Ok(())
        } else {
            Err(invalid(name, value, "host:port"))
        };
    }
    let good =
        !listeners || (items(value).next().is_some() && items(value).all(|item| parse(item).is_some()));
    if good {
        return Ok(());
    }
    Err(invalid(name, value, "PLAINTEXT://host:port"))
}

fn invalid(name: &str, value: &str, expected: &str) -> Error {
    Error::InvalidValue { name: name.to_owned(), value: value.to_owned(), expected: expected.to_owned() }
}

/// The first address that is not a controller's; the table's check made sure that it parses.
pub(super) fn client_address(text: &str, controllers: &[&str]) -> Address {
    items(text)
        .filter_map(parse)
        .find(|(name, _)| !controllers.contains(name))
        .map_or(Address { host: "127.0.0.1".to_owned(), port: 9092 }, |(_, address)| address)
}
