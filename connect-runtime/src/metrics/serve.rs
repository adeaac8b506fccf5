//! `/metrics`, `/healthz` and `/readyz` of a worker, on a listener of their own and without authentication: its address should be
//! one that only watchers reach.

use std::io;
use std::net::SocketAddr;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use millrace_listen::{Limits, OPENMETRICS, plain, reply};
use tokio::net::TcpListener;

use super::RuntimeMetrics;
use crate::worker::AbortOnDrop;

/// The end mark of the format.
const END: &str = "# EOF\n";

/// Answers watchers; dropping it ends it.
#[derive(Debug)]
pub struct MetricsServer {
    address: SocketAddr,
    _running: AbortOnDrop<()>,
}

impl MetricsServer {
    /// Opens the listening socket and begins to answer.
    ///
    /// # Errors
    /// The address doesn't resolve, or is taken.
    pub async fn start(address: &str, metrics: RuntimeMetrics) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let answer = move |request: Request<Incoming>| {
            let answer = answer(&metrics, request.method(), request.uri().path());
            async move { answer }
        };
        let stop = std::future::pending();
        let serving = millrace_listen::serve(listener, Limits::WATCHERS, "worker metrics", stop, answer);
        Ok(Self { address, _running: AbortOnDrop(tokio::spawn(serving)) })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

fn answer(metrics: &RuntimeMetrics, method: &Method, path: &str) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n");
    }
    match path {
        "/metrics" => reply(StatusCode::OK, OPENMETRICS, metrics.text() + END),
        "/healthz" => plain(StatusCode::OK, "healthy\n"),
        "/readyz" if metrics.is_ready() => plain(StatusCode::OK, "ready\n"),
        "/readyz" => plain(StatusCode::SERVICE_UNAVAILABLE, "the worker is starting\n"),
        _ => plain(StatusCode::NOT_FOUND, "here are /metrics, /healthz and /readyz\n"),
    }
}
