//! The listener: HTTP/1.1 with JSON both ways.
//!
//! Limits: [`CONNECTIONS_MAX`] at a time, [`HEADER_BYTES_MAX`] of request header, [`crate::limits::BODY_BYTES_MAX`] of body,
//! [`REQUEST_TIME_MAX`] for a body to come; an idle connection is closed after [`HEADER_TIME_MAX`].

mod query;
mod routes;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use self::routes::Answer;
use crate::error::Refused;
use crate::limits::BODY_BYTES_MAX;
use crate::registry::Registry;

/// Connections at a time; others wait in the system's queue.
const CONNECTIONS_MAX: usize = 256;
/// How long a request's header may take to come, idle time before it included.
const HEADER_TIME_MAX: Duration = Duration::from_secs(60);
/// Largest request header.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// How long a request's body may take to come.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);
/// Pause after a failed accept, so that it doesn't spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const JSON: HeaderValue = HeaderValue::from_static("application/vnd.schemaregistry.v1+json");

/// Answers until told to stop.
pub(crate) async fn serve(listener: TcpListener, registry: Registry, mut stop: watch::Receiver<bool>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accept = async {
            // Never closed; without a slot nobody is accepted.
            let slot = Arc::clone(&slots).acquire_owned().await.ok();
            (listener.accept().await, slot)
        };
        let (accepted, slot) = tokio::select! {
            biased;
            _ = stop.changed() => return,
            accepted = accept => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let registry = registry.clone();
                connections.spawn(async move {
                    connection(stream, registry).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "schema registry: cannot accept a connection; it is tried again");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, registry: Registry) {
    // Answers are small and waited for.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let registry = registry.clone();
        async move { Ok::<_, Infallible>(answer(&registry, request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection to the schema registry failed");
    }
}

async fn answer(registry: &Registry, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let body = timeout(REQUEST_TIME_MAX, Limited::new(body, BODY_BYTES_MAX).collect()).await;
    let outcome = match body {
        Ok(Ok(body)) => routes::answer(registry, &parts.method, &parts.uri, &body.to_bytes()).await,
        Ok(Err(_)) => Err(Refused::too_large(BODY_BYTES_MAX)),
        Err(_) => Err(Refused::bad_request("the request's body did not come in time")),
    };
    let (status, text) = match outcome {
        Ok(Answer::Json(value)) => (StatusCode::OK, value.to_string()),
        Ok(Answer::Raw(text)) => (StatusCode::OK, text),
        Err(refused) => {
            let status = StatusCode::from_u16(refused.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            if status.is_server_error() {
                tracing::warn!(error = %refused, path = parts.uri.path(), "schema registry: a request failed");
            }
            (status, json!({ "error_code": refused.code, "message": refused.message }).to_string())
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}
