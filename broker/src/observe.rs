//! What a watcher of the broker asks for over HTTP, on a listener of its own (`metrics.listener`): `/metrics` for
//! Prometheus, `/healthz` for whoever restarts it, `/readyz` for whoever sends it clients.
//!
//! The listener opens before the logs are read, so that a long recovery is seen as "alive, not ready". Not ready: logs
//! or coordinators are still being loaded, or the broker stops. Not healthy: a log cannot be written, so that clients are
//! refused, until the disk is repaired and it was opened again.
//!
//! Its limits are [`Limits::WATCHERS`]; no body is read. There is no authentication: the setting's address should be one that only watchers reach.

#[cfg(test)]
mod tests;

use std::io;
use std::sync::{Arc, OnceLock};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Method, Response, StatusCode};
use millrace_listen::{Limits, OPENMETRICS, plain, reply};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::scrape;
use crate::shared::Shared;

/// The broker, once it has been put together.
pub(crate) type Watched = Arc<OnceLock<Arc<Shared>>>;

/// Opens the listening socket.
///
/// # Errors
/// The address doesn't resolve, or is taken.
pub(crate) async fn bind(address: &str) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Answers until told to stop.
pub(crate) async fn serve(listener: TcpListener, watched: Watched, stop: CancellationToken) {
    let answer = move |request: hyper::Request<hyper::body::Incoming>| {
        let watched = watched.clone();
        async move { answer(watched.get(), request.method(), request.uri().path()).await }
    };
    millrace_listen::serve(listener, Limits::WATCHERS, "metrics.listener", stop.cancelled_owned(), answer)
        .await;
}

/// The answer to one request; `shared` is there once the broker is put together.
async fn answer(shared: Option<&Arc<Shared>>, method: &Method, path: &str) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n");
    }
    match (path, shared) {
        ("/metrics", Some(shared)) => reply(StatusCode::OK, OPENMETRICS, scrape(shared).await),
        ("/metrics" | "/readyz", None) => plain(StatusCode::SERVICE_UNAVAILABLE, "logs are being loaded\n"),
        ("/readyz", Some(shared)) if shared.is_ready() => plain(StatusCode::OK, "ready\n"),
        ("/readyz", Some(_)) => plain(StatusCode::SERVICE_UNAVAILABLE, "coordinators are being loaded\n"),
        ("/healthz", shared) => match shared.map(|shared| shared.offline_logs()).unwrap_or_default() {
            offline if offline.is_empty() => plain(StatusCode::OK, "healthy\n"),
            offline => {
                let text = format!("logs that cannot be used: {}\n", offline.join(", "));
                plain(StatusCode::SERVICE_UNAVAILABLE, text)
            }
        },
        _ => plain(StatusCode::NOT_FOUND, "here are /metrics, /healthz and /readyz\n"),
    }
}
