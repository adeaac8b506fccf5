//! Spans to a collector by OTLP over HTTP, as protobuf.
//!
//! Runs beside the tasks and holds none of them up: it takes from a bounded queue, sends what has gathered, tries again a few times if
//! nobody answers or asks for it, and then drops and counts. Meanwhile the queue fills, and who ends a span drops it.
//! Plain HTTP only: a collector runs beside the process, or behind what encrypts.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValueKind;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use prost::Message as _;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::{Kind, Span, TraceCounts, Value};

/// Most spans of one request.
const BATCH_MAX: usize = 512;
/// How long spans gather.
const GATHER: Duration = Duration::from_millis(500);
/// How long a request may take.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(5);
/// How often a request is sent at most, and the first pause in between; it doubles.
const TRIES_MAX: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);
/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Longest text of an error in a span.
const ERROR_BYTES_MAX: usize = 1 << 10;
/// Where traces go below an endpoint (OTLP 1.0).
const PATH: &str = "/v1/traces";

/// What the queue holds.
#[derive(Debug)]
pub(super) enum Message {
    Span(Box<Span>),
    /// Send what is there and say so.
    Flush(oneshot::Sender<()>),
}

/// Where a collector is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `host:port`
    authority: String,
    path: String,
}

/// The endpoint can't be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "trace endpoint {url}: expected http://HOST:PORT, such as http://127.0.0.1:4318 (OTLP over HTTP; TLS is not supported)"
)]
pub struct Error {
    url: String,
}

impl Endpoint {
    /// `http://host[:port][/path]`, the base that `/v1/traces` is put behind.
    ///
    /// # Errors
    /// It is something else.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let wrong = || Error { url: url.to_owned() };
        let rest = url.trim().strip_prefix("http://").ok_or_else(wrong)?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let is_fit = |text: &str| !text.contains(['?', '#', '@', ' ']) && text.is_ascii();
        if authority.is_empty() || !is_fit(authority) || !is_fit(path) {
            return Err(wrong());
        }
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let authority = if has_port { authority.to_owned() } else { format!("{authority}:80") };
        Ok(Self { authority, path: format!("{}{PATH}", path.trim_end_matches('/')) })
    }
}

/// Sends until the last tracer is gone.
pub(super) async fn run(endpoint: Endpoint, mut queue: mpsc::Receiver<Message>, counts: Arc<TraceCounts>) {
    let mut waiting = Vec::with_capacity(BATCH_MAX);
    let mut is_down = false;
    while queue.recv_many(&mut waiting, BATCH_MAX).await > 0 {
        let is_urgent =
            |waiting: &[Message]| waiting.iter().any(|message| matches!(message, Message::Flush(_)));
        if waiting.len() < BATCH_MAX && !is_urgent(&waiting) {
            sleep(GATHER).await;
            while waiting.len() < BATCH_MAX
                && let Ok(message) = queue.try_recv()
            {
                waiting.push(message);
            }
        }
        let (mut spans, mut flushes) = (Vec::new(), Vec::new());
        for message in waiting.drain(..) {
            match message {
                Message::Span(span) => spans.push(wire(*span)),
                Message::Flush(done) => flushes.push(done),
            }
        }
        let count = spans.len() as u64;
        let delivered = if spans.is_empty() { Ok(()) } else { deliver(&endpoint, spans).await };
        match delivered {
            Ok(()) => {
                is_down = false;
                counts.exported.fetch_add(count, Ordering::Relaxed);
            }
            Err(error) => {
                counts.dropped.fetch_add(count, Ordering::Relaxed);
                // Told once, until it works again.
                if !std::mem::replace(&mut is_down, true) {
                    tracing::warn!(error, collector = endpoint.authority, "spans are dropped");
                }
            }
        }
        for done in flushes {
            // Who asked may have given up.
            let _ = done.send(());
        }
    }
}

async fn deliver(endpoint: &Endpoint, spans: Vec<otlp::Span>) -> Result<(), String> {
    let body = Bytes::from(request(spans).encode_to_vec());
    let mut pause = PAUSE;
    let mut tries = 0;
    loop {
        let sent = timeout(REQUEST_TIME_MAX, post(endpoint, body.clone())).await;
        tries += 1;
        let (error, may_help) = match sent {
            Ok(Ok(status)) if status.is_success() => return Ok(()),
            // What the protocol says may be sent again.
            Ok(Ok(status)) => {
                (format!("it answers {status}"), matches!(status.as_u16(), 429 | 502 | 503 | 504))
            }
            Ok(Err(error)) => (error, true),
            Err(_) => (format!("no answer within {REQUEST_TIME_MAX:?}"), true),
        };
        if !may_help || tries == TRIES_MAX {
            return Err(error);
        }
        sleep(pause).await;
        pause *= 2;
    }
}

async fn post(endpoint: &Endpoint, body: Bytes) -> Result<StatusCode, String> {
    let stream = TcpStream::connect(&endpoint.authority).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    // It ends with the exchange; its error is that of the request.
    tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .uri(&endpoint.path)
        .header(HOST, &endpoint.authority)
        .header(CONTENT_TYPE, "application/x-protobuf")
        .body(Full::new(body))
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = response.status();
    // Read so that the collector sees a whole exchange; what it says is of no use.
    let _ = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    Ok(status)
}

fn request(spans: Vec<otlp::Span>) -> ExportTraceServiceRequest {
    let service = text("service.name", "millrace");
    let version = text("service.version", env!("CARGO_PKG_VERSION"));
    let scope =
        InstrumentationScope { name: "millrace.connect".to_owned(), ..InstrumentationScope::default() };
    ExportTraceServiceRequest {
        resource_spans: vec![otlp::ResourceSpans {
            resource: Some(Resource { attributes: vec![service, version], ..Resource::default() }),
            scope_spans: vec![otlp::ScopeSpans { scope: Some(scope), spans, ..otlp::ScopeSpans::default() }],
            ..otlp::ResourceSpans::default()
        }],
    }
}

fn wire(span: Span) -> otlp::Span {
    let kind = match span.kind {
        Kind::Internal => otlp::span::SpanKind::Internal,
        Kind::Producer => otlp::span::SpanKind::Producer,
        Kind::Consumer => otlp::span::SpanKind::Consumer,
    };
    let link = |context: super::Context| otlp::span::Link {
        trace_id: context.trace_id.to_vec(),
        span_id: context.span_id.to_vec(),
        ..otlp::span::Link::default()
    };
    let attribute = |(name, value): (&'static str, Value)| match value {
        Value::Text(value) => text(name, &value),
        Value::Number(value) => pair(name, AnyValueKind::IntValue(value)),
    };
    let status = span.error.map(|error| otlp::Status {
        message: error.chars().take(ERROR_BYTES_MAX).collect(),
        code: otlp::status::StatusCode::Error.into(),
    });
    otlp::Span {
        trace_id: span.context.trace_id.to_vec(),
        span_id: span.context.span_id.to_vec(),
        parent_span_id: span.parent.map(Vec::from).unwrap_or_default(),
        name: span.name.to_owned(),
        kind: kind.into(),
        start_time_unix_nano: nanos(span.begun),
        end_time_unix_nano: nanos(span.ended).max(nanos(span.begun)),
        attributes: span.attributes.into_iter().map(attribute).collect(),
        links: span.links.into_iter().map(link).collect(),
        status,
        ..otlp::Span::default()
    }
}

fn text(name: &str, value: &str) -> KeyValue {
    pair(name, AnyValueKind::StringValue(value.to_owned()))
}

fn pair(name: &str, value: AnyValueKind) -> KeyValue {
    KeyValue { key: name.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        for (url, wanted) in [
            ("http://127.0.0.1:4318", Some(("127.0.0.1:4318", "/v1/traces"))),
            ("http://collector/", Some(("collector:80", "/v1/traces"))),
            ("http://collector:1/otlp/", Some(("collector:1", "/otlp/v1/traces"))),
            ("https://collector:4318", None),
            ("collector:4318", None),
            ("http://", None),
            ("http://u@c:1", None),
        ] {
            let parsed = Endpoint::parse(url).ok();
            let parsed = parsed.as_ref().map(|found| (found.authority.as_str(), found.path.as_str()));
            assert_eq!(parsed, wanted, "{url}");
        }
    }
}
