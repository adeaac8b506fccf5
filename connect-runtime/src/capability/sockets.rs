//! TCP over connections of kind `tcp`, through the sockets of a guest's own language (`wasi:sockets`; docs/adr/0026).
//!
//! A guest looks up the connection's name, or its host's, and connects to a port that the connection names. Each address is checked when
//! it is connected to: against what the host's name stands for now, and against what may be reached at all
//! ([`super::http::address`]). Everything else is refused: other names, addresses and ports, listening, UDP. A guest without
//! such a connection still imports the interfaces, because language runtimes do so without need.
//!
//! Deliberately absent: credentials and TLS, which a guest brings itself.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};
use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::SocketError;
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::{self, ResolveAddressStream};
use wasmtime_wasi::p2::bindings::sockets::network::{self, ErrorCode, IpAddress, Network};
use wasmtime_wasi::sockets::{SocketAddrUse, WasiSocketsView};

use super::http::address::{Reach, is_localhost, literal};
use crate::component::state::GuestState;
use crate::connection::settings::read;
use crate::connection::{self, Connection, Connections, Fault, Surroundings};
use crate::doctor::{Reached, Unreached};
use crate::plan::Grants;

/// A connection of kind `tcp`.
pub(crate) struct Target {
    host: String,
    ports: BTreeSet<u16>,
    reach: Reach,
}

/// As `settings.schema.json` has it.
#[derive(Deserialize)]
struct Raw {
    host: String,
    ports: Vec<u16>,
    #[serde(default)]
    private: bool,
}

/// See [`connection::Kind::open`].
pub(crate) fn open(
    settings: &Map<String, Value>,
    _: &Surroundings<'_>,
) -> Result<connection::Target, Vec<Fault>> {
    let raw: Raw = read(settings, "tcp")?;
    let is_name =
        |host: &str| host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'));
    let address = literal(&raw.host);
    if address.is_none() && !is_name(&raw.host) {
        return Err(vec![Fault::new(
            "/host",
            "is neither a name nor an address",
            "such as mqtt.example.com, or 10.0.0.7",
        )]);
    }
    if address.is_some_and(|address| address.is_unspecified()) {
        return Err(vec![Fault::new(
            "/host",
            "is no machine's address",
            "such as mqtt.example.com, or 10.0.0.7",
        )]);
    }
    let reach = Reach {
        private: raw.private,
        addresses: address.into_iter().collect(),
        localhost: is_localhost(&raw.host),
    };
    // Without the brackets of an address of version 6.
    let host = address.map_or(raw.host, |address| address.to_string());
    Ok(connection::Target::Tcp(Target { host, ports: raw.ports.into_iter().collect(), reach }))
}

/// The rest of the sockets comes with WASI; names are ours to look up.
pub(super) fn link(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    ip_name_lookup::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    linker.allow_shadowing(false);
    Ok(())
}

pub(super) fn prepare(grants: &Grants, wasi: &mut WasiCtxBuilder) -> Result<(), String> {
    let granted: Arc<[Arc<Connection>]> =
        tcp(&grants.connections).map(|(granted, _)| Arc::clone(granted)).collect();
    let any = !granted.is_empty();
    wasi.allow_udp(false).allow_tcp(any).allow_ip_name_lookup(any);
    // The task's, for what is told of refusals.
    let span = tracing::Span::current();
    wasi.socket_addr_check(move |address, wanted| {
        let (granted, span) = (Arc::clone(&granted), span.clone());
        Box::pin(async move {
            match wanted {
                // What every outgoing connection begins with.
                SocketAddrUse::TcpBind => address.ip().is_unspecified() && address.port() == 0,
                SocketAddrUse::TcpConnect => may_connect(&granted, address, &span).await,
                _ => false,
            }
        })
    });
    Ok(())
}

/// The connections of this kind.
fn tcp(connections: &Connections) -> impl Iterator<Item = (&Arc<Connection>, &Target)> {
    connections.values().filter_map(|connection| match connection.target() {
        connection::Target::Tcp(target) => Some((connection, target)),
        _ => None,
    })
}

async fn may_connect(granted: &[Arc<Connection>], address: SocketAddr, span: &tracing::Span) -> bool {
    let mut why = "no connection of kind `tcp` that it was granted leads there".to_owned();
    for connection in granted {
        let connection::Target::Tcp(target) = connection.target() else { continue };
        match target.check(address).await {
            Ok(true) => return true,
            Ok(false) => {}
            Err(refused) => why = format!("connection {}: {refused}", connection.name()),
        }
    }
    span.in_scope(|| tracing::warn!(%address, why, "a guest may not connect there"));
    false
}

impl Target {
    /// Whether the address is this connection's; an error if it is, and may not be reached all the same.
    async fn check(&self, address: SocketAddr) -> Result<bool, String> {
        let ip = address.ip().to_canonical();
        if !self.ports.contains(&address.port()) || !self.is_at(ip, address.port()).await? {
            return Ok(false);
        }
        self.reach.check(&self.host, ip).map_err(|refused| refused.to_string())?;
        Ok(true)
    }

    async fn is_at(&self, ip: IpAddr, port: u16) -> Result<bool, String> {
        if let Some(address) = literal(&self.host) {
            return Ok(address == ip);
        }
        let found = tokio::net::lookup_host((self.host.as_str(), port)).await;
        let mut found = found.map_err(|error| format!("{} can't be looked up: {error}", self.host))?;
        Ok(found.any(|found| found.ip().to_canonical() == ip))
    }
}

impl GuestState {
    /// What is looked up for a name: of its connections' names and hosts only.
    fn host_of(&self, name: &str) -> Option<String> {
        let meant = |(connection, target): &(&Arc<Connection>, &Target)| {
            connection.name() == name || target.host.eq_ignore_ascii_case(name)
        };
        tcp(&self.connections).find(meant).map(|(_, target)| target.host.clone())
    }
}

impl ip_name_lookup::Host for GuestState {
    fn resolve_addresses(
        &mut self,
        network: Resource<Network>,
        name: String,
    ) -> Result<Resource<ResolveAddressStream>, SocketError> {
        // What is an address already stands for itself; whether it may be reached is checked then.
        let host = self.host_of(&name).or_else(|| literal(&name).map(|address| address.to_string()));
        let Some(host) = host else {
            let name: String = name.chars().take(100).collect();
            tracing::warn!(
                name,
                "a guest may not look up this name; it is no connection of kind `tcp` of its"
            );
            return Err(ErrorCode::AccessDenied.into());
        };
        self.sockets().resolve_addresses(network, host)
    }
}

impl ip_name_lookup::HostResolveAddressStream for GuestState {
    fn resolve_next_address(
        &mut self,
        stream: Resource<ResolveAddressStream>,
    ) -> Result<Option<IpAddress>, SocketError> {
        self.sockets().resolve_next_address(stream)
    }

    fn subscribe(
        &mut self,
        stream: Resource<ResolveAddressStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        self.sockets().subscribe(stream)
    }

    fn drop(&mut self, stream: Resource<ResolveAddressStream>) -> wasmtime::Result<()> {
        ip_name_lookup::HostResolveAddressStream::drop(&mut self.sockets(), stream)
    }
}

/// As in the rest of the sockets: looking up names is linked together with it.
impl network::Host for GuestState {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        self.sockets().convert_error_code(error)
    }

    fn network_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        self.sockets().network_error_code(error)
    }
}

impl network::HostNetwork for GuestState {
    fn drop(&mut self, network: Resource<Network>) -> wasmtime::Result<()> {
        network::HostNetwork::drop(&mut self.sockets(), network)
    }
}

/// Whether the machine is reached, for [`crate::doctor`]: connects to each port, and says nothing.
pub(crate) async fn check(target: &Target) -> Result<Reached, Unreached> {
    let Target { host, ports, reach } = target;
    let unreached = |said: String, mend: &str| Unreached { said, mend: mend.to_owned() };
    for &port in ports {
        let found = tokio::net::lookup_host((host.as_str(), port)).await;
        let found: Vec<SocketAddr> = found
            .map_err(|error| {
                unreached(format!("{host} can't be looked up: {error}"), "correct `host` of the connection")
            })?
            .collect();
        let refused = found.iter().filter_map(|address| reach.check(host, address.ip().to_canonical()).err());
        if let Some(refused) = refused.into_iter().next() {
            return Err(unreached(refused.to_string(), "correct the connection"));
        }
        let connected = tokio::net::TcpStream::connect(found.as_slice()).await;
        connected.map_err(|error| {
            unreached(
                format!("{host}:{port} can't be reached: {error}"),
                "start the service, or correct the connection",
            )
        })?;
    }
    let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
    Ok(Reached { said: format!("{host} takes connections on {}", ports.join(", ")), ..Reached::default() })
}
