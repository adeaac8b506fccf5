//! Kafka Connect's REST API over a [herder](crate::herder).
//!
//! | file | what is in it |
//! |---|---|
//! | `route` | THE table of paths |
//! | `connectors` | connectors: read, made, changed, removed, started and stopped |
//! | `tasks` | their tasks, and the topics they use |
//! | `offsets` | their positions |
//! | `plugins`, `definition` | the components, their settings as Kafka's `ConfigDef` shows them, and the check of a configuration |
//! | `admin` | what the worker is, its health, its log levels |
//! | `answer` | answers and errors |
//!
//! Paths, shapes, states and codes are those of Kafka Connect 4; `tests/connect_rest` compares them with a real worker's and lists what
//! differs. Handlers translate; the herder decides.
//!
//! Limits: `LIMITS` of connections and headers, `BODY_BYTES_MAX` of body. There is no authentication: who reaches the address commands the worker, and can make it read
//! and write files. It is loopback unless told otherwise, and then answers only to requests for an address or `localhost`, so that
//! no web page can reach it through a name of its own.

mod admin;
mod answer;
mod components;
mod connectors;
mod definition;
mod offsets;
mod plugins;
mod route;
mod tasks;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, ORIGIN};
use hyper::{Method, Request};
use millrace_listen::Limits;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;

use self::admin::Levels;
use self::answer::{Problem, Reply};
use crate::herder::handle::HerderHandle;
use crate::loggers::Loggers;

/// What the listener takes on.
const LIMITS: Limits = Limits {
    connections: 64,
    connection_time: Duration::from_secs(600),
    header_time: READ_TIME_MAX,
    header_bytes: 16 << 10,
    farewell: Duration::ZERO,
};
/// How long a request's header may take to come, and its body.
const READ_TIME_MAX: Duration = Duration::from_secs(10);
/// Largest body: a configuration has to fit in one record.
const BODY_BYTES_MAX: usize = 1 << 20;

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Api {
    herder: HerderHandle,
    levels: Levels,
}

/// Answers requests; dropping it ends it.
#[derive(Debug)]
pub struct RestServer {
    address: SocketAddr,
    _stop: watch::Sender<()>,
}

/// An address that requests will come to.
#[derive(Debug)]
pub struct RestListener(TcpListener);

impl RestListener {
    /// Opens the listening socket; nothing is answered yet.
    ///
    /// # Errors
    /// The address doesn't resolve, or is taken.
    pub async fn bind(address: &str) -> io::Result<Self> {
        Ok(Self(TcpListener::bind(address).await?))
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system doesn't say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl RestServer {
    /// Begins to answer.
    ///
    /// # Errors
    /// The system doesn't say where the listener listens.
    pub fn start(
        listener: RestListener,
        herder: HerderHandle,
        loggers: Option<Arc<dyn Loggers>>,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (stop, stopping) = watch::channel(());
        let api = Arc::new(Api { herder, levels: Levels::new(loggers) });
        tokio::spawn(serve(listener.0, api, address.ip(), stopping));
        Ok(Self { address, _stop: stop })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

async fn serve(listener: TcpListener, api: Arc<Api>, ip: IpAddr, mut stop: watch::Receiver<()>) {
    let answer = move |request: Request<Incoming>| {
        let api = Arc::clone(&api);
        async move {
            let is_head = *request.method() == Method::HEAD;
            answer(&api, ip, request).await.response(is_head)
        }
    };
    // An error means that the server was dropped.
    let stopped = async move { drop(stop.changed().await) };
    millrace_listen::serve(listener, LIMITS, "REST API", stopped, answer).await;
}

/// A request, taken apart.
#[derive(Debug)]
pub(crate) struct Ask {
    method: Method,
    path: String,
    query: String,
    /// Whether the body is said to be JSON, or nothing is said.
    is_json: bool,
    body: Bytes,
}

async fn answer(api: &Api, ip: IpAddr, request: Request<Incoming>) -> Reply {
    let host = request.headers().get(HOST).map(|host| host.to_str().unwrap_or_default());
    if ip.is_loopback() && !host.is_none_or(is_local) {
        return Problem::forbidden("this address answers only to an IP address or localhost").into();
    }
    let origin = request.headers().get(ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
    if origin.is_some_and(|origin| !is_same_origin(origin, host)) {
        return Problem::forbidden("this API is not for the pages of other sites").into();
    }
    let kind = request.headers().get(CONTENT_TYPE).map(|kind| kind.to_str().unwrap_or_default().to_owned());
    let is_json = kind.is_none_or(|kind| kind.trim_start().starts_with("application/json"));
    let (head, body) = request.into_parts();
    let body = match timeout(READ_TIME_MAX, Limited::new(body, BODY_BYTES_MAX).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => return Problem::too_large(BODY_BYTES_MAX).into(),
        Err(_) => return Problem::bad_request("the request's body did not come in time").into(),
    };
    let query = head.uri.query().unwrap_or_default().to_owned();
    let ask = Ask { method: head.method, path: head.uri.path().to_owned(), query, is_json, body };
    tracing::debug!(method = %ask.method, path = ask.path, "request");
    match route::answer(api, &ask).await {
        Ok(reply) => reply,
        Err(problem) => problem.into(),
    }
}

/// Whether a page that names this `Origin` came from the address that it asks now. A browser lets any page send requests; only
/// the header tells.
fn is_same_origin(origin: &str, host: Option<&str>) -> bool {
    origin
        .split_once("://")
        .is_some_and(|(_, place)| host.is_some_and(|host| place.eq_ignore_ascii_case(host)))
}

/// Whether a `Host` header names an address, or this machine.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}
