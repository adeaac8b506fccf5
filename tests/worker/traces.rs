//! Traces from source through topic to sink, as a collector gets them; and collectors that are no use, which cost no pipeline anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::StatusCode;
use millrace_client::{ProduceRecord, Producer, ProducerConfig};
use millrace_connect_runtime::metrics::RuntimeMetrics;
use millrace_connect_runtime::plan::{Format, Plan};
use millrace_connect_runtime::trace::{Endpoint, Tracer};
use millrace_connect_runtime::worker::{RunSummary, Worker, WorkerConfig};
use millrace_listen::{Limits, plain};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use prost::Message;
use tokio::net::TcpListener;

use crate::setup::{Cluster, pipeline, sink, source, transform};

/// Longest run on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Takes spans by OTLP over HTTP.
struct Collector {
    url: String,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    /// One that answers `status`.
    async fn start(status: StatusCode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let spans = Arc::<Mutex<Vec<Span>>>::default();
        let taken = Arc::clone(&spans);
        let answer = move |request: hyper::Request<hyper::body::Incoming>| {
            let taken = Arc::clone(&taken);
            async move {
                assert_eq!(request.uri().path(), "/v1/traces");
                assert_eq!(request.headers()["content-type"], "application/x-protobuf");
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let decoded = ExportTraceServiceRequest::decode(body).unwrap();
                if status.is_success() {
                    for resource in decoded.resource_spans {
                        let scopes = resource.scope_spans.into_iter();
                        taken.lock().extend(scopes.flat_map(|scope| scope.spans));
                    }
                }
                plain(status, "")
            }
        };
        tokio::spawn(millrace_listen::serve(
            listener,
            Limits::WATCHERS,
            "collector",
            std::future::pending(),
            answer,
        ));
        Self { url, spans }
    }

    fn tracer(&self) -> Tracer {
        Tracer::start(Endpoint::parse(&self.url).unwrap(), 7)
    }
}

async fn run(cluster: &Cluster, plan: Plan, tracer: &Tracer) -> RunSummary {
    let metrics = RuntimeMetrics::default();
    metrics.set_traces(tracer.counts());
    let config = WorkerConfig {
        exit_when_done: true,
        offsets_partitions: 3,
        tracer: Some(tracer.clone()),
        metrics: metrics.clone(),
        ..WorkerConfig::default()
    };
    let worker = Worker::start(config, cluster.host().clone(), cluster.client().clone(), plan).await.unwrap();
    let summary = tokio::time::timeout(PATIENCE, worker.join()).await.expect("a collector holds up nobody");
    let (exported, dropped) = (tracer.counts().exported(), tracer.counts().dropped());
    let text = metrics.text();
    for (name, least) in [("exported", exported), ("dropped", dropped)] {
        let line =
            text.lines().find_map(|line| line.strip_prefix(&format!("millrace_trace_spans_{name}_total ")));
        assert!(line.unwrap().parse::<f64>().unwrap() >= least as f64, "{text}");
    }
    summary
}

fn attribute<'s>(span: &'s Span, name: &str) -> &'s Value {
    let found = span.attributes.iter().find(|attribute| attribute.key == name);
    found
        .and_then(|found| found.value.as_ref()?.value.as_ref())
        .unwrap_or_else(|| panic!("{name} in {span:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_records_way_is_one_trace() {
    let cluster = Cluster::start().await;
    let collector = Collector::start(StatusCode::OK).await;
    let tracer = collector.tracer();
    let mut numbers = source("count", 30);
    numbers.transforms = vec![transform("nothing", "")];
    // Not what the source gives, so that something is converted.
    numbers.formats.value = Format::String;
    let mut plan = pipeline("p", Some(numbers), vec![sink("nothing", "")]);
    plan.pipelines[0].sinks[0].transforms = vec![transform("nothing", "")];
    let summary = run(&cluster, plan, &tracer).await;
    assert!(summary.all_done(), "{summary:?}");
    tracer.flush(Duration::from_secs(30)).await;

    let spans = collector.spans.lock().clone();
    let named = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    let by_id: BTreeMap<&[u8], &Span> = spans.iter().map(|span| (&span.span_id[..], span)).collect();
    assert_eq!(by_id.len(), spans.len(), "every span has an id of its own");
    let parent = |span: &Span| by_id.get(&span.parent_span_id[..]).map(|parent| parent.name.as_str());
    // Ten records a poll.
    let polls = named("poll");
    assert_eq!(polls.len(), 3, "{spans:?}");
    assert!(polls.iter().all(|poll| poll.parent_span_id.is_empty()));
    assert_eq!(attribute(polls[0], "messaging.batch.message_count"), &Value::IntValue(10));
    assert_eq!(attribute(polls[0], "millrace.connector"), &Value::StringValue("p.source".to_owned()));
    for (name, parents, least) in [
        ("transform", &["poll", "fetch"][..], 4),
        ("convert", &["poll"], 3),
        ("produce", &["poll"], 1),
        ("fetch", &["poll"], 1),
        ("put", &["fetch"], 1),
    ] {
        let found = named(name);
        assert!(found.len() >= least, "{name}: {found:?}");
        for span in found {
            assert!(parent(span).is_some_and(|parent| parents.contains(&parent)), "{name}: {span:?}");
            let parent = by_id[&span.parent_span_id[..]];
            assert_eq!(span.trace_id, parent.trace_id);
            assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
            assert_eq!(span.status, None);
        }
    }
    // All polls' traces reach the sink: as its fetches' own, or linked.
    let polled: BTreeSet<&[u8]> = polls.iter().map(|poll| &poll.trace_id[..]).collect();
    let mut fetched = BTreeSet::new();
    for fetch in named("fetch") {
        fetched.insert(&fetch.trace_id[..]);
        fetched.extend(fetch.links.iter().map(|link| &link.trace_id[..]));
    }
    assert_eq!(polled, fetched);
    // And each record says whose it is.
    let records = cluster.records("p").await;
    assert_eq!(records.len(), 30);
    for record in records {
        let contexts: Vec<_> = record.headers.iter().filter(|(name, _)| name == "traceparent").collect();
        let [(_, context)] = contexts[..] else { panic!("{record:?}") };
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let of_a_poll =
            |poll: &&&Span| *context == format!("00-{}-{}-01", hex(&poll.trace_id), hex(&poll.span_id));
        assert!(polls.iter().any(|poll| of_a_poll(&poll)), "{record:?}");
    }
    assert_eq!((tracer.counts().exported(), tracer.counts().dropped()), (spans.len() as u64, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_that_comes_with_a_record_is_gone_on_with() {
    let cluster = Cluster::start().await;
    let collector = Collector::start(StatusCode::OK).await;
    let tracer = collector.tracer();
    // Makes the topic.
    let first = cluster.run(pipeline("p", Some(source("count", 0)), vec![])).await;
    assert!(first.all_done(), "{first:?}");
    let producer = Producer::start(cluster.client(), ProducerConfig::default()).await.unwrap();
    let trace = "0af7651916cd43dd8448eb211c80319c";
    for (number, flags) in [(0, "01"), (1, "00")] {
        let context = format!("00-{trace}-b7ad6b716920333{number}-{flags}");
        let record = ProduceRecord {
            topic: Arc::from("p"),
            partition: Some(number),
            value: Some(Bytes::from("1")),
            headers: vec![(Bytes::from("traceparent"), Some(Bytes::from(context)))],
            ..ProduceRecord::default()
        };
        producer.send(record).await.unwrap().wait().await.unwrap();
    }
    // One after the other, so that each record is a batch of its own.
    let mut plan = pipeline("p", None, vec![sink("nothing", "")]);
    plan.pipelines[0].sinks[0].tasks = 3;
    let summary = run(&cluster, plan, &tracer).await;
    assert!(summary.all_done(), "{summary:?}");
    tracer.flush(Duration::from_secs(30)).await;
    let spans = collector.spans.lock().clone();
    let names: BTreeSet<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["fetch", "put"]), "{spans:?}");
    // Who began the second trace does not want to see it.
    let fetches: Vec<&Span> = spans.iter().filter(|span| span.name == "fetch").collect();
    let [fetch] = fetches[..] else { panic!("{spans:?}") };
    let hex: String = fetch.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((hex.as_str(), fetch.parent_span_id.last()), (trace, Some(&0x30)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_refuses_or_hangs_costs_spans_only() {
    let cluster = Cluster::start().await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = format!("http://{}", gone.local_addr().unwrap());
    let refusing = Collector::start(StatusCode::BAD_REQUEST).await.url;
    // Accepted by the system, answered by nobody.
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hangs = format!("http://{}", hanging.local_addr().unwrap());
    for (name, url, records, least) in
        [("gone", gone, 100, 10), ("refuses", refusing, 100, 10), ("hangs", hangs, 60_000, 1_000)]
    {
        let tracer = Tracer::start(Endpoint::parse(&url).unwrap(), 7);
        let summary = run(&cluster, pipeline(name, Some(source("count", records)), vec![]), &tracer).await;
        assert!(summary.all_done(), "{name}: {summary:?}");
        assert_eq!(summary.connectors[0].records, records, "{name}");
        tracer.flush(Duration::from_secs(20)).await;
        let counts = tracer.counts();
        assert!(counts.exported() == 0 && counts.dropped() >= least, "{name}: {counts:?}");
    }
}
