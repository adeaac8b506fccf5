//! The listener: HTTP/1.1 with JSON both ways.
//!
//! Limits: `LIMITS` of connections and headers, [`crate::limits::BODY_BYTES_MAX`] of body, [`REQUEST_TIME_MAX`] for it to come.

mod query;
mod routes;

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use millrace_listen::Limits;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;

use self::routes::Answer;
use crate::error::Refused;
use crate::limits::BODY_BYTES_MAX;
use crate::registry::Registry;

/// What the listener takes on. Serializers keep a connection for as long as they live: it ends when it is idle for as long as a
/// header may take.
const LIMITS: Limits = Limits {
    connections: 256,
    connection_time: Duration::MAX,
    header_time: Duration::from_secs(60),
    header_bytes: 16 << 10,
    farewell: Duration::ZERO,
};
/// How long a request's body may take to come.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);

const JSON: HeaderValue = HeaderValue::from_static("application/vnd.schemaregistry.v1+json");

/// Answers until told to stop.
pub(crate) async fn serve(listener: TcpListener, registry: Registry, mut stop: watch::Receiver<bool>) {
    let answer = move |request: Request<Incoming>| {
        let registry = registry.clone();
        async move { answer(&registry, request).await }
    };
    let stopped = async move { drop(stop.changed().await) };
    millrace_listen::serve(listener, LIMITS, "schema registry", stopped, answer).await;
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
