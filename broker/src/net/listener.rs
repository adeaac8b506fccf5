//! Accepting clients: on TCP, and from within the process over an in-memory pipe with the same frames.
//!
//! Limits: past `max.connections`, or what the process's descriptors allow (`crate::descriptors`), nobody is accepted until
//! another has left (clients wait in the system's queue); past
//! `max.connections.per.ip` a new connection from that address is closed at once. Both as in Kafka, with one log line per
//! [`LOG_INTERVAL`]. Past `max.connection.creation.rate` the next one is accepted a little later; past its address's quota
//! `connection_creation_rate` a connection is kept waiting a little and then closed, so that its client doesn't try again
//! at once.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug_span, warn};

use super::connection;
use super::creation::CreationRates;
use super::transport::Transport;
use crate::api::Peer;
use crate::config::setting::items;
use crate::config::{Address, Config};
use crate::quota;
use crate::shared::Shared;

/// How often a reached limit is worth a log line.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// Pause after a failed accept (no file descriptors left, for one), so that it doesn't spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes that either end of an in-memory connection may be ahead of the other.
const DUPLEX_BYTES: usize = 1 << 18;

/// Opens the listening socket.
///
/// # Errors
/// The address doesn't resolve, or is taken.
pub(crate) fn bind(address: &Address, config: &Config) -> io::Result<TcpListener> {
    let host = if address.host.is_empty() { "0.0.0.0" } else { &address.host };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, address.port).to_socket_addrs()? {
        match bind_one(address, config) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind_one(address: SocketAddr, config: &Config) -> io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Set on the listener: accepted sockets inherit it, and it must stand before the handshake to have its full effect.
    if let Ok(bytes @ 1..) = usize::try_from(config.int("socket.receive.buffer.bytes")) {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Ok(bytes @ 1..) = usize::try_from(config.int("socket.send.buffer.bytes")) {
        socket.set_send_buffer_size(bytes)?;
    }
    socket.bind(&address.into())?;
    socket.listen(config.int("socket.listen.backlog.size"))?;
    TcpListener::from_std(socket.into())
}

/// The connections that are open, and what new ones need.
pub(crate) struct Connections {
    shared: Arc<Shared>,
    stop: CancellationToken,
    open: Mutex<Open>,
    /// A connection over TCP has ended.
    freed: Notify,
    rates: Mutex<CreationRates>,
}

#[derive(Default)]
struct Open {
    tasks: JoinSet<()>,
    /// Over TCP.
    total: usize,
    by_ip: HashMap<IpAddr, usize>,
    logged: Option<Instant>,
}

impl Open {
    /// Whether a reached limit is to be logged now.
    fn may_log(&mut self) -> bool {
        let now = Instant::now();
        let due = self.logged.is_none_or(|at| now.duration_since(at) >= LOG_INTERVAL);
        if due {
            self.logged = Some(now);
        }
        due
    }
}

impl Connections {
    /// No connections yet; all end when `stop` says so.
    pub(crate) fn new(shared: Arc<Shared>, stop: CancellationToken) -> Self {
        let rates = Mutex::new(CreationRates::new(shared.quotas.windows()));
        Self { shared, stop, open: Mutex::default(), freed: Notify::new(), rates }
    }

    /// Accepts until told to stop.
    pub(crate) async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = self.room() => {}
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => match accepted {
                    Ok((stream, address)) => {
                        let wait = self.creation_wait();
                        if !wait.is_zero() {
                            self.shared.metrics.connections_delayed_rate.add(1);
                            tokio::select! {
                                biased;
                                () = self.stop.cancelled() => return,
                                () = sleep(wait) => {}
                            }
                        }
                        self.admit(stream, address.ip());
                    }
                    Err(error) => {
                        warn!(%error, "cannot accept a connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }

    /// Returns when one more connection may be open.
    async fn room(&self) {
        let mut counted = false;
        loop {
            let freed = self.freed.notified();
            {
                let mut open = self.open.lock();
                let configured = usize::try_from(self.shared.config.long("max.connections")).unwrap_or(0);
                let possible = self.shared.env.descriptors.connections();
                if open.total < configured.min(possible) {
                    return;
                }
                if open.may_log() {
                    let limit = if configured <= possible {
                        "max.connections"
                    } else {
                        "as many as the limit on open files (ulimit -n) leaves room for"
                    };
                    warn!("no further connection is accepted until one ends: {limit} are open");
                }
            }
            if !std::mem::replace(&mut counted, true) {
                self.shared.metrics.connections_delayed_all.add(1);
            }
            freed.await;
        }
    }

    /// How long one more connection has to wait, as they must not be made too fast.
    fn creation_wait(&self) -> Duration {
        let bound = self.shared.config.long("max.connection.creation.rate");
        if bound >= i64::from(i32::MAX) {
            return Duration::ZERO;
        }
        self.rates.lock().made(bound as f64, self.shared.quotas.now_ms())
    }

    /// Whether an address makes connections too fast, and how long this one is to be held before it is closed.
    fn refused_for(&self, ip: IpAddr) -> Option<Duration> {
        let image = self.shared.image();
        if image.quotas.is_empty() {
            return None;
        }
        let bound = quota::entity::find_ip(&image.quotas, &ip.to_string())?;
        self.rates.lock().made_from(ip, bound, self.shared.quotas.now_ms())
    }

    fn admit(self: &Arc<Self>, stream: TcpStream, ip: IpAddr) {
        // Answers are written whole: waiting to fill a packet would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            warn!(%error, "cannot set TCP_NODELAY");
        }
        // A client that vanished without a word is noticed by the system.
        if let Err(error) = socket2::SockRef::from(&stream).set_keepalive(true) {
            warn!(%error, "cannot set SO_KEEPALIVE");
        }
        self.shared.metrics.connections_accepted.add(1);
        {
            let mut open = self.open.lock();
            while open.tasks.try_join_next().is_some() {}
            let per_ip_max = per_ip_max(&self.shared.config, ip);
            let from_here = open.by_ip.entry(ip).or_default();
            if *from_here >= per_ip_max {
                self.shared.metrics.connections_refused_ip.add(1);
                if open.may_log() {
                    warn!(client = %ip, "connection refused: max.connections.per.ip are open");
                }
                return;
            }
            *from_here += 1;
            open.total += 1;
        }
        if let Some(hold) = self.refused_for(ip) {
            self.shared.metrics.connections_refused_rate.add(1);
            let slot = IpSlot { connections: self.clone(), ip };
            self.open.lock().tasks.spawn(async move {
                sleep(hold).await;
                drop((stream, slot));
            });
            return;
        }
        self.spawn(stream, Peer { host: format!("/{ip}").into() }, Some(ip));
    }

    /// A connection from within the process.
    pub(crate) fn connect(self: &Arc<Self>) -> tokio::io::DuplexStream {
        let (near, far) = tokio::io::duplex(DUPLEX_BYTES);
        self.spawn(far, Peer { host: "/127.0.0.1".into() }, None);
        near
    }

    fn spawn<S>(self: &Arc<Self>, stream: S, peer: Peer, ip: Option<IpAddr>)
    where
        S: Transport + 'static,
    {
        let (connections, shared, stop) = (self.clone(), self.shared.clone(), self.stop.child_token());
        let span = debug_span!("connection", client = %peer.host);
        let task = async move {
            let slot = ip.map(|ip| IpSlot { connections, ip });
            connection::serve(stream, peer, shared, stop).await;
            drop(slot);
        };
        self.open.lock().tasks.spawn(task.instrument(span));
    }

    /// Waits until every connection has ended; `stop` must have been told.
    pub(crate) async fn closed(&self) {
        let mut tasks = std::mem::take(&mut self.open.lock().tasks);
        while tasks.join_next().await.is_some() {}
    }

    /// Ends every connection where it stands.
    pub(crate) fn abort(&self) {
        self.open.lock().tasks.abort_all();
    }
}

/// Most connections from one address: its own number (`max.connections.per.ip.overrides`), or everybody's.
fn per_ip_max(config: &Config, ip: IpAddr) -> usize {
    let overrides = config.current("max.connections.per.ip.overrides");
    let own = items(&overrides).find_map(|item| {
        let (address, count) = item.rsplit_once(':')?;
        let address: IpAddr = address.trim_matches(['[', ']']).parse().ok()?;
        (address == ip).then(|| count.trim().parse().ok()).flatten()
    });
    own.unwrap_or_else(|| usize::try_from(config.long("max.connections.per.ip")).unwrap_or(0))
}

/// A connection's place in the counts, also when its task is aborted.
struct IpSlot {
    connections: Arc<Connections>,
    ip: IpAddr,
}

impl Drop for IpSlot {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock();
        open.total -= 1;
        if let Some(count) = open.by_ip.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                open.by_ip.remove(&self.ip);
            }
        }
        drop(open);
        self.connections.freed.notify_one();
    }
}
