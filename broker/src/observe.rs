//! What a watcher of the broker asks for over HTTP, on a listener of its own (`metrics.listener`): `/metrics` for
//! Prometheus, `/healthz` for whoever restarts it, `/readyz` for whoever sends it clients.
//!
//! The listener opens before the logs are read, so that a long recovery is seen as "alive, not ready". Not ready: logs
//! or coordinators are still being loaded, or the broker stops. Not healthy: a log cannot be written, so that clients are
//! refused, until the disk is repaired and it was opened again.
//!
//! Limits: [`CONNECTIONS_MAX`] at a time, [`CONNECTION_TIME_MAX`] for each, [`HEADER_BYTES_MAX`] of request header; no
//! body is read. There is no authentication: the setting's address should be one that only watchers reach.

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::metrics::scrape;
use crate::shared::Shared;

/// Connections at a time; others wait in the system's queue.
const CONNECTIONS_MAX: usize = 16;
/// How long one connection may last, however many requests it carries; its client makes a new one.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(60);
/// How long a request's header may take to come.
const HEADER_TIME_MAX: Duration = Duration::from_secs(10);
/// Largest request header.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// Pause after a failed accept, so that it doesn't spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const OPENMETRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

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
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accept = async {
            // Never closed; without a slot nobody is accepted.
            let slot = slots.clone().acquire_owned().await.ok();
            (listener.accept().await, slot)
        };
        let (accepted, slot) = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = accept => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let watched = watched.clone();
                connections.spawn(async move {
                    if timeout(CONNECTION_TIME_MAX, connection(stream, watched)).await.is_err() {
                        debug!("a watcher's connection lasted too long and is closed");
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                warn!(%error, "cannot accept a connection at metrics.listener; it is tried again");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, watched: Watched) {
    let service = service_fn(move |request: Request<Incoming>| {
        let watched = watched.clone();
        async move { Ok::<_, Infallible>(answer(watched.get(), request.method(), request.uri().path()).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        debug!(%error, "a watcher's connection failed");
    }
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

fn plain(status: StatusCode, text: impl Into<String>) -> Response<Full<Bytes>> {
    reply(status, TEXT, text.into())
}

fn reply(status: StatusCode, kind: HeaderValue, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
