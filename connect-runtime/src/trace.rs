//! Traces: spans of what tasks do with batches, and the W3C trace context in the headers of records, so that a record's way from
//! source through topic to sink is one trace.
//!
//! | file | what is in it |
//! |---|---|
//! | `context` | `traceparent`, read and written |
//! | `batch` | contexts of the records of a batch, and records that are given one |
//! | `export` | spans to a collector by OTLP, never at a task's cost |
//!
//! Without a [`Tracer`] none of it runs. With one, a span is a few hundred bytes in a bounded queue per batch, not per record; a full queue
//! drops spans and counts them. A record that has a `traceparent` keeps it; one without is given that of the poll that brought it.

pub(crate) mod batch;
pub(crate) mod context;
mod export;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use millrace_client::Random;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

pub use self::export::{Endpoint, Error};

use self::context::Context;
use self::export::Message;

/// Spans that may wait for the collector; more are dropped.
const QUEUE_MAX: usize = 2_048;
/// Most links of one span to other traces.
pub(crate) const LINKS_MAX: usize = 32;

/// Takes spans; clones share the way to the collector.
#[derive(Clone, Debug)]
pub struct Tracer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    queue: mpsc::Sender<Message>,
    random: Mutex<Random>,
    counts: Arc<TraceCounts>,
}

/// What became of spans.
#[derive(Debug, Default)]
pub struct TraceCounts {
    exported: AtomicU64,
    dropped: AtomicU64,
}

impl TraceCounts {
    /// Spans that the collector took.
    #[must_use]
    pub fn exported(&self) -> u64 {
        self.exported.load(Ordering::Relaxed)
    }

    /// Spans that there was no room for, or that the collector didn't take.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Tracer {
    /// Begins to send spans to `endpoint`. To be called in a tokio runtime; nothing is connected yet.
    #[must_use]
    pub fn start(endpoint: Endpoint, seed: u64) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let counts = Arc::<TraceCounts>::default();
        tokio::spawn(export::run(endpoint, waiting, Arc::clone(&counts)));
        Self(Arc::new(Inner { queue, random: Mutex::new(Random::new(seed)), counts }))
    }

    /// How many spans came through.
    #[must_use]
    pub fn counts(&self) -> Arc<TraceCounts> {
        Arc::clone(&self.0.counts)
    }

    /// Sends what waits, as far as `limit` allows.
    pub async fn flush(&self, limit: Duration) {
        let (done, flushed) = oneshot::channel();
        let flush = async {
            if self.0.queue.send(Message::Flush(done)).await.is_ok() {
                // An error means that the exporter is gone.
                let _ = flushed.await;
            }
        };
        let _ = tokio::time::timeout(limit, flush).await;
    }

    /// Begins a span: a part of `parents`' first trace, linked to the others; without any it begins a trace.
    pub(crate) fn span(&self, name: &'static str, kind: Kind, parents: &[Context]) -> Span {
        let mut random = self.0.random.lock();
        let context = match parents.first() {
            Some(parent) => Context { span_id: id(&mut random), ..*parent },
            None => Context::new([random.next_u64(), random.next_u64()], id(&mut random)),
        };
        Span {
            name,
            kind,
            context,
            parent: parents.first().map(|parent| parent.span_id),
            links: parents.iter().skip(1).take(LINKS_MAX).copied().collect(),
            begun: SystemTime::now(),
            ended: SystemTime::now(),
            attributes: Vec::new(),
            error: None,
        }
    }

    /// Hands an ended span over, unless its trace is not sampled.
    fn end(&self, span: Span) {
        if span.context.is_sampled() && self.0.queue.try_send(Message::Span(Box::new(span))).is_err() {
            self.0.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// An id that is not 0, which stands for none.
fn id(random: &mut Random) -> [u8; 8] {
    random.next_u64().max(1).to_be_bytes()
}

/// The side of the topic that a span is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Internal,
    Producer,
    Consumer,
}

/// Something that took time.
#[derive(Debug)]
pub(crate) struct Span {
    name: &'static str,
    kind: Kind,
    context: Context,
    parent: Option<[u8; 8]>,
    links: Vec<Context>,
    begun: SystemTime,
    ended: SystemTime,
    attributes: Vec<(&'static str, Value)>,
    error: Option<String>,
}

/// What an attribute holds.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(Arc<str>),
    Number(i64),
}

/// The spans of one task.
#[derive(Clone, Debug)]
pub(crate) struct TaskTracer {
    tracer: Tracer,
    connector: Arc<str>,
    topic: Arc<str>,
    task: u32,
}

impl TaskTracer {
    pub(crate) fn new(tracer: &Tracer, connector: &str, task: u32, topic: &Arc<str>) -> Self {
        Self { tracer: tracer.clone(), connector: connector.into(), topic: Arc::clone(topic), task }
    }

    /// Begins a span that stands beside the task's others.
    pub(crate) fn begin(
        &self,
        name: &'static str,
        kind: Kind,
        parents: &[Context],
        begun: SystemTime,
    ) -> Span {
        Span { begun, ..self.tracer.span(name, kind, parents) }
    }

    /// Ends a span of a batch of so many records.
    pub(crate) fn end(&self, span: Span, records: usize, failed: Option<&dyn std::fmt::Display>) {
        let mut span = Span { ended: SystemTime::now(), error: failed.map(ToString::to_string), ..span };
        span.attributes = vec![
            ("millrace.connector", Value::Text(Arc::clone(&self.connector))),
            ("millrace.task", Value::Number(i64::from(self.task))),
            ("messaging.system", Value::Text("kafka".into())),
            ("messaging.destination.name", Value::Text(Arc::clone(&self.topic))),
            ("messaging.batch.message_count", Value::Number(records as i64)),
        ];
        self.tracer.end(span);
    }
}

impl Span {
    /// What the spans within it, and records that it brought, name as their parent.
    pub(crate) fn context(&self) -> Context {
        self.context
    }
}
