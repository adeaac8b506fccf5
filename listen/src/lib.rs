//! HTTP connections, accepted within limits: what the broker's watchers, the runtime's and the REST API come in through.
//!
//! Whoever serves gives the limits and a function from request to response; nothing else is decided here. A connection that
//! lasts too long is closed, a request's header has to come in time and fit; bodies are the function's own business.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Pause after a failed accept, so that it doesn't spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Media type of metrics.
pub const OPENMETRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
/// Media type of words.
pub const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// How much one listener takes on.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; others wait in the system's queue.
    pub connections: usize,
    /// How long one connection may last, however many requests it carries; its client makes a new one.
    pub connection_time: Duration,
    /// How long a request's header may take to come.
    pub header_time: Duration,
    /// Largest request header.
    pub header_bytes: usize,
    /// How long requests under way may take to be answered after a stop; zero: they end with it.
    pub farewell: Duration,
}

impl Limits {
    /// For the few who look at metrics and health.
    pub const WATCHERS: Self = Self {
        connections: 16,
        connection_time: Duration::from_secs(60),
        header_time: Duration::from_secs(10),
        header_bytes: 16 << 10,
        farewell: Duration::ZERO,
    };
}

/// Answers until `stop` is ready; then nobody is accepted, and open connections end, at the latest after the farewell. `what` names the listener in the log.
pub async fn serve<A, F>(
    listener: TcpListener,
    limits: Limits,
    what: &'static str,
    stop: impl Future<Output = ()>,
    answer: A,
) where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    let (leave, leaving) = watch::channel(());
    tokio::pin!(stop);
    loop {
        while connections.try_join_next().is_some() {}
        let accept = async {
            // Never closed; without a slot nobody is accepted.
            let slot = slots.clone().acquire_owned().await.ok();
            (listener.accept().await, slot)
        };
        let (accepted, slot) = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = accept => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (answer, leaving) = (answer.clone(), leaving.clone());
                connections.spawn(async move {
                    let served = connection(stream, limits, what, leaving, answer);
                    if timeout(limits.connection_time, served).await.is_err() {
                        tracing::debug!(listener = what, "a connection lasted too long and is closed");
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, listener = what, "cannot accept a connection; it is tried again");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop((listener, leave));
    let _ = timeout(limits.farewell, async { while connections.join_next().await.is_some() {} }).await;
}

async fn connection<A, F>(
    stream: TcpStream,
    limits: Limits,
    what: &'static str,
    mut leaving: watch::Receiver<()>,
    answer: A,
) where
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Full<Bytes>>>,
{
    // Answers are small and waited for.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_buf_size(limits.header_bytes)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    let ended = tokio::select! {
        ended = &mut served => ended,
        // An error: the sender is gone.
        _ = leaving.changed() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, listener = what, "a connection failed");
    }
}

/// An answer of words.
#[must_use]
pub fn plain(status: StatusCode, text: impl Into<String>) -> Response<Full<Bytes>> {
    reply(status, TEXT, text)
}

/// An answer.
#[must_use]
pub fn reply(status: StatusCode, kind: HeaderValue, text: impl Into<String>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests;
