//! What a scrape says, also of names and values that were chosen to break it.

use std::time::Duration;

use super::*;
use crate::worker::progress::{Counts, State};

#[tokio::test(start_paused = true)]
async fn numbers_of_a_source_and_a_sink() {
    let metrics = RuntimeMetrics::default();
    let source = metrics.task("p.source", 0, Kind::Source);
    source.starting();
    source.set_state(State::Running);
    source.polled(10, Duration::from_millis(4));
    source.polled(0, Duration::from_millis(2));
    let counts = Counts { taken: 7, records: 6, bytes: 60, dropped: 1, ..Counts::default() };
    source.transaction(&counts, Duration::from_millis(8));
    source.record_skipped();
    source.dead_letter();
    source.retried();
    let sink = metrics.task("p.sink", 3, Kind::Sink);
    sink.starting();
    sink.set_state(State::Restarting);
    sink.logged_error();
    sink.read_records(5);
    sink.put(4, Duration::from_millis(3));
    sink.committed(Duration::from_millis(6));
    sink.commit_failed();
    sink.set_lag_max(11);
    sink.set_partitions(2);

    let text = metrics.text();
    let source = r#"{connector="p.source",task="0"}"#;
    let sink = r#"{connector="p.sink",task="3"}"#;
    for line in [
        r#"kafka_connect_connector_task_metrics_status{connector="p.source",task="0",status="running"} 1.0"#,
        r#"kafka_connect_connector_task_metrics_status{connector="p.sink",task="3",status="restarting"} 1.0"#,
        r#"kafka_connect_connector_metrics_connector_type{connector="p.sink",type="sink"} 1.0"#,
        "kafka_connect_connect_worker_metrics_connector_count 2.0",
        "kafka_connect_connect_worker_metrics_task_startup_success_total 1.0",
        "kafka_connect_connect_worker_metrics_task_startup_failure_total 1.0",
        r#"kafka_connect_connect_worker_metrics_connector_running_task_count{connector="p.source"} 1.0"#,
        &format!("kafka_connect_connector_task_metrics_batch_size_avg{source} 10.0"),
        &format!("kafka_connect_source_task_metrics_source_record_poll_total{source} 10.0"),
        &format!("kafka_connect_source_task_metrics_source_record_write_total{source} 6.0"),
        &format!("kafka_connect_source_task_metrics_source_record_active_count{source} 3.0"),
        &format!("kafka_connect_source_task_metrics_poll_batch_avg_time_ms{source} 3.0"),
        &format!("kafka_connect_source_task_metrics_source_record_write_rate{source} 0.2"),
        &format!("kafka_connect_task_error_metrics_total_records_skipped{source} 1.0"),
        &format!("kafka_connect_task_error_metrics_deadletterqueue_produce_requests{source} 1.0"),
        &format!("kafka_connect_task_error_metrics_total_retries{source} 1.0"),
        &format!("millrace_connect_task_bytes_total{source} 60.0"),
        &format!("millrace_connect_task_dropped_records_total{source} 1.0"),
        &format!("kafka_connect_sink_task_metrics_sink_record_read_total{sink} 5.0"),
        &format!("kafka_connect_sink_task_metrics_sink_record_send_total{sink} 4.0"),
        &format!("kafka_connect_sink_task_metrics_sink_record_lag_max{sink} 11.0"),
        &format!("kafka_connect_sink_task_metrics_partition_count{sink} 2.0"),
        &format!("kafka_connect_connector_task_metrics_offset_commit_success_percentage{sink} 0.5"),
        &format!("kafka_connect_task_error_metrics_total_errors_logged{sink} 1.0"),
    ] {
        assert!(text.lines().any(|told| told == line), "{line} is missing in\n{text}");
    }
    // A source's numbers are not a sink's, and what is not known is not told.
    assert!(!text.contains(r#"sink_record_read_total{connector="p.source""#), "{text}");
    assert!(!text.contains(r#"poll_batch_avg_time_ms{connector="p.sink""#), "{text}");

    metrics.retain(|id| id.connector != "p.source");
    metrics.remove(&TaskId { connector: "p.sink".to_owned(), task: 3 });
    assert!(!metrics.text().contains("p.s"), "{}", metrics.text());
}

#[test]
fn names_cannot_break_the_format() {
    let metrics = RuntimeMetrics::default();
    metrics.task("a\"b\\c\nd{", 0, Kind::Source).starting();
    let text = metrics.text();
    let line = r#"kafka_connect_connector_task_metrics_status{connector="a\"b\\c\nd{",task="0",status="unassigned"} 1.0"#;
    assert!(text.lines().any(|told| told == line), "{text}");
}

#[test]
fn tasks_and_series_of_guests_are_limited() {
    let metrics = RuntimeMetrics::default();
    for task in 0..1_100 {
        metrics.task("many", task, Kind::Sink);
    }
    let text = metrics.text();
    let statuses =
        text.lines().filter(|line| line.starts_with("kafka_connect_connector_task_metrics_status{"));
    assert_eq!(statuses.count(), 1_000);
    assert!(text.contains("millrace_connect_metrics_omitted_count 100.0\n"), "{text}");
    assert!(text.contains("kafka_connect_connect_worker_metrics_task_count 1100.0\n"), "{text}");
}
