//! What the runtime counts, against what a pipeline moved; and guests that try to break what is told of them.

use millrace_client::{Admin, NewTopic};
use millrace_connect_runtime::metrics::RuntimeMetrics;
use millrace_connect_runtime::plan::Tolerance;
use millrace_connect_runtime::worker::{Worker, WorkerConfig};

use crate::setup::{Cluster, errors, pipeline, sink, source, transform};

/// The value of a series, by the beginning of its line.
#[track_caller]
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
    let line = line.unwrap_or_else(|| panic!("{series} is missing in\n{text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_say_what_was_moved() {
    let cluster = Cluster::start().await;
    let mut numbers = source("reject", 70);
    numbers.errors = errors(Tolerance::All, Some("p.dlq"));
    let mut picky = sink("reject", "3");
    picky.errors = errors(Tolerance::All, None);
    let mut doubled = sink("metrics", "");
    doubled.transforms = vec![transform("double", "")];
    let plan = pipeline("p", Some(numbers), vec![picky, doubled]);
    let metrics = RuntimeMetrics::default();
    let config = WorkerConfig {
        exit_when_done: true,
        offsets_partitions: 3,
        metrics: metrics.clone(),
        ..WorkerConfig::default()
    };
    let worker = Worker::start(config, cluster.host().clone(), cluster.client().clone(), plan).await.unwrap();
    let summary = worker.join().await;
    assert!(summary.all_done(), "{summary:?}");
    let written = cluster.numbers("p").await;
    let threes = written.iter().filter(|number| number.to_string().contains('3')).count() as f64;
    assert_eq!(written.len(), 60);

    let text = metrics.text();
    let of = |group: &str, attribute: &str, connector: &str| {
        value(&text, &format!(r#"kafka_connect_{group}_{attribute}{{connector="p.{connector}",task="0"}}"#))
    };
    let (source, sink, error) = ("source_task_metrics", "sink_task_metrics", "task_error_metrics");
    assert_eq!(of(source, "source_record_poll_total", "source"), 70.0);
    assert_eq!(of(source, "source_record_write_total", "source"), 60.0);
    assert_eq!(of(source, "source_record_active_count", "source"), 0.0);
    assert_eq!(of(error, "total_record_failures", "source"), 10.0);
    assert_eq!(of(error, "total_records_skipped", "source"), 10.0);
    assert_eq!(of(error, "deadletterqueue_produce_requests", "source"), 10.0);
    assert_eq!(cluster.records("p.dlq").await.len(), 10);
    assert_eq!(of(sink, "sink_record_read_total", "sink0"), 60.0);
    assert_eq!(of(sink, "sink_record_send_total", "sink0"), 60.0 - threes);
    assert_eq!(of(error, "total_records_skipped", "sink0"), threes);
    assert_eq!(of(error, "deadletterqueue_produce_requests", "sink0"), 0.0);
    assert_eq!(of(sink, "sink_record_read_total", "sink1"), 60.0);
    assert_eq!(of(sink, "sink_record_send_total", "sink1"), 120.0);
    for connector in ["sink0", "sink1"] {
        assert_eq!(of(sink, "sink_record_lag_max", connector), 0.0);
        assert_eq!(of(sink, "partition_count", connector), 3.0);
        assert!(of(sink, "offset_commit_completion_total", connector) >= 1.0);
        assert!(of(sink, "put_batch_max_time_ms", connector) > 0.0);
        assert_eq!(of("connector_task_metrics", "offset_commit_success_percentage", connector), 1.0);
    }
    let done = r#"kafka_connect_connector_task_metrics_status{connector="p.sink0",task="0",status="done"}"#;
    assert_eq!(value(&text, done), 1.0);
    // One instance for the transform, one for the sink.
    for (number, component) in [("0", "transform"), ("1", "sink")] {
        let labels =
            format!(r#"{{connector="p.sink1",task="0",component="{component}",instance="{number}"}}"#);
        assert!(value(&text, &format!("millrace_connect_component_calls_total{labels}")) >= 2.0);
        assert!(value(&text, &format!("millrace_connect_component_busy_seconds_total{labels}")) > 0.0);
    }

    // What the guest keeps itself: the good name is told, the others are dropped, and no line is broken.
    let taken = r#"connector_taken_total{connector="p.sink1",task="0",kind="a\"b\nc\\"}"#;
    assert_eq!(value(&text, taken), 120.0);
    let many = text.lines().filter(|line| line.starts_with("connector_many_total{")).count();
    assert!((150..200).contains(&many), "{many} series in\n{text}");
    let dropped =
        value(&text, r#"millrace_connect_guest_updates_dropped_total{connector="p.sink1",task="0"}"#);
    assert!(dropped >= 800.0, "{dropped}");
    let is_known = |line: &str| {
        ["# HELP ", "# TYPE ", "kafka_connect_", "millrace_connect_", "connector_"]
            .iter()
            .any(|start| line.starts_with(start))
    };
    assert_eq!(text.lines().find(|line| !is_known(line)), None);
    assert!(!text.contains("millrace_fake"));
}

/// A record that is skipped without a letter is lost: so the task fails, and the counter says of what.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_is_refused_fails_its_task_and_is_counted() {
    let cluster = Cluster::start().await;
    let mut topic = NewTopic::new("p.dlq", 1);
    topic.configs.insert("max.message.bytes".to_owned(), "64".to_owned());
    Admin::new(cluster.client()).create_topics(&[topic]).await.unwrap().remove(0).1.unwrap();
    let mut rejecting = source("reject", 70);
    rejecting.errors = errors(Tolerance::All, Some("p.dlq"));
    let metrics = RuntimeMetrics::default();
    let config = WorkerConfig {
        exit_when_done: true,
        offsets_partitions: 3,
        metrics: metrics.clone(),
        ..WorkerConfig::default()
    };
    let plan = pipeline("p", Some(rejecting), vec![]);
    let worker = Worker::start(config, cluster.host().clone(), cluster.client().clone(), plan).await.unwrap();
    let summary = worker.join().await;
    assert!(!summary.all_done(), "{summary:?}");
    let error = summary.connectors[0].error.as_deref().unwrap_or_default();
    assert!(error.contains("p.dlq"), "{error}");
    let failures =
        r#"kafka_connect_task_error_metrics_deadletterqueue_produce_failures{connector="p.source",task="0"}"#;
    assert!(value(&metrics.text(), failures) >= 1.0);
    assert!(
        cluster.numbers("p").await.is_empty(),
        "records were committed without the letters of their transaction"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_log_lines_costs_the_guest_its_lines_only() {
    let cluster = Cluster::start().await;
    let mut flood = sink("log", "");
    flood.guest.limits.call_timeout = std::time::Duration::from_secs(60);
    let summary = cluster.run(pipeline("p", Some(source("count", 100)), vec![flood])).await;
    assert!(summary.all_done(), "{summary:?}");
    assert_eq!(summary.connectors[1].records, 100);
}
