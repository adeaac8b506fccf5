//! THE list of the names, with what each means and where its value is.
//!
//! Kafka Connect's are written as the JMX exporter writes them: dashes become underscores, and what only grows is a counter here if its
//! name ends in `total`. Attributes of which Kafka says "percentage" are shares from 0 to 1, as there.

use tokio::time::Instant;

use super::task::Numbers;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Only grows, too, but under a name that OpenMetrics doesn't allow a counter.
    Count,
    Gauge,
}

/// A metric of a task.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) form: Form,
    /// None: nothing is known now, and no series is shown.
    pub(super) value: fn(&Numbers, Instant) -> Option<f64>,
}

macro_rules! names {
    ($(#[$doc:meta])* $list:ident: $($form:ident $name:literal, $help:literal, $value:expr;)*) => {
        $(#[$doc])*
        pub(super) const $list: &[Name] = &[$(Name { name: $name, help: $help, form: Form::$form, value: $value }),*];
    };
}

names! {
    /// Of every task.
    TASK:
    Gauge "kafka_connect_connector_task_metrics_batch_size_avg", "Records per batch that came in, on average", |n, now| n.batch.average(now);
    Gauge "kafka_connect_connector_task_metrics_batch_size_max", "Records of the largest batch that came in", |n, now| n.batch.max(now);
    Gauge "kafka_connect_connector_task_metrics_offset_commit_avg_time_ms", "Time to commit positions, on average", |n, now| n.commit.average(now);
    Gauge "kafka_connect_connector_task_metrics_offset_commit_max_time_ms", "Longest time to commit positions", |n, now| n.commit.max(now);
    Gauge "kafka_connect_connector_task_metrics_offset_commit_success_percentage", "Share of commits of positions that succeeded", |n, now| n.commit_success.average(now);
    Gauge "kafka_connect_connector_task_metrics_offset_commit_failure_percentage", "Share of commits of positions that failed", |n, now| n.commit_success.average(now).map(|share| 1.0 - share);
    Count "kafka_connect_task_error_metrics_total_record_errors", "Records that could not be processed and ended the task", |n, _| Some(n.errors as f64);
    Count "kafka_connect_task_error_metrics_total_record_failures", "Records that could not be processed", |n, _| Some(n.failures as f64);
    Count "kafka_connect_task_error_metrics_total_records_skipped", "Records that could not be processed and were passed over, as dead letters or without", |n, _| Some(n.skipped as f64);
    Count "kafka_connect_task_error_metrics_total_retries", "Calls that were repeated", |n, _| Some(n.retries as f64);
    Count "kafka_connect_task_error_metrics_total_errors_logged", "Errors of the task that stand in the log", |n, _| Some(n.logged as f64);
    Count "kafka_connect_task_error_metrics_deadletterqueue_produce_requests", "Records sent to the dead letter topic", |n, _| Some(n.letters as f64);
    Count "kafka_connect_task_error_metrics_deadletterqueue_produce_failures", "Dead letters that could not be written", |n, _| Some(n.letters_failed as f64);
    Gauge "kafka_connect_task_error_metrics_last_error_timestamp", "When the last error was, in milliseconds since 1970; 0: never", |n, _| Some(n.last_error_ms as f64);
    Counter "millrace_connect_task_starts_total", "Starts of the task, the first one included", |n, _| Some(n.starts as f64);
    Counter "millrace_connect_task_bytes_total", "Bytes of keys, values and headers that were committed to the topic or made durable in the target", |n, _| Some(n.bytes as f64);
    Counter "millrace_connect_task_dropped_records_total", "Records that transforms dropped on purpose", |n, _| Some(n.dropped as f64);
}

names! {
    /// Of sources' tasks.
    SOURCE:
    Counter "kafka_connect_source_task_metrics_source_record_poll_total", "Records polled, before transforms", |n, _| Some(n.taken as f64);
    Gauge "kafka_connect_source_task_metrics_source_record_poll_rate", "Records polled per second", |n, now| n.taken_rate.rate(now);
    Counter "kafka_connect_source_task_metrics_source_record_write_total", "Records committed to topics, after transforms", |n, _| Some(n.given as f64);
    Gauge "kafka_connect_source_task_metrics_source_record_write_rate", "Records committed to topics per second", |n, now| n.given_rate.rate(now);
    Gauge "kafka_connect_source_task_metrics_source_record_active_count", "Records polled that are not committed yet", |n, _| Some(n.active as f64);
    Gauge "kafka_connect_source_task_metrics_poll_batch_avg_time_ms", "Time of a poll, on average", |n, now| n.call.average(now);
    Gauge "kafka_connect_source_task_metrics_poll_batch_max_time_ms", "Time of the longest poll", |n, now| n.call.max(now);
    Gauge "kafka_connect_source_task_metrics_transaction_size_avg", "Records per transaction, on average", |n, now| n.transaction.average(now);
    Gauge "kafka_connect_source_task_metrics_transaction_size_max", "Records of the largest transaction", |n, now| n.transaction.max(now);
}

names! {
    /// Of sinks' tasks.
    SINK:
    Counter "kafka_connect_sink_task_metrics_sink_record_read_total", "Records read from the topic, before transforms", |n, _| Some(n.taken as f64);
    Gauge "kafka_connect_sink_task_metrics_sink_record_read_rate", "Records read from the topic per second", |n, now| n.taken_rate.rate(now);
    Counter "kafka_connect_sink_task_metrics_sink_record_send_total", "Records that the sink took, after transforms", |n, _| Some(n.given as f64);
    Gauge "kafka_connect_sink_task_metrics_sink_record_send_rate", "Records that the sink took per second", |n, now| n.given_rate.rate(now);
    Gauge "kafka_connect_sink_task_metrics_sink_record_lag_max", "Records of a partition that are not durable in the target, of the partition that has the most", |n, _| n.lag_max.map(|lag| lag as f64);
    Gauge "kafka_connect_sink_task_metrics_partition_count", "Partitions that the task reads", |n, _| Some(n.partitions as f64);
    Gauge "kafka_connect_sink_task_metrics_put_batch_avg_time_ms", "Time of a put, on average", |n, now| n.call.average(now);
    Gauge "kafka_connect_sink_task_metrics_put_batch_max_time_ms", "Time of the longest put", |n, now| n.call.max(now);
    Counter "kafka_connect_sink_task_metrics_offset_commit_completion_total", "Commits of positions that succeeded", |n, _| Some(n.commits as f64);
}

/// Of a task, with its state as the label `status`.
pub(super) const TASK_STATUS: &str = "kafka_connect_connector_task_metrics_status";
/// Of a connector, with its kind as the label `type`.
pub(super) const CONNECTOR_TYPE: &str = "kafka_connect_connector_metrics_connector_type";
/// In front of what is counted per worker, and per connector of a worker.
pub(super) const WORKER: &str = "kafka_connect_connect_worker_metrics";
/// In front of what is counted per instance of a component.
pub(super) const COMPONENT: &str = "millrace_connect_component";
/// Series left out because there are too many, or because their names mean something else already.
pub(super) const OMITTED: &str = "millrace_connect_metrics_omitted_count";
/// Updates of guests that were dropped.
pub(super) const GUEST_DROPPED: &str = "millrace_connect_guest_updates_dropped_total";
/// Spans; the encoder adds `_total`.
pub(super) const TRACE_EXPORTED: &str = "millrace_trace_spans_exported";
pub(super) const TRACE_DROPPED: &str = "millrace_trace_spans_dropped";
