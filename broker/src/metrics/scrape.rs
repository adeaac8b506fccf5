//! All metrics as text, in the OpenMetrics format that Prometheus reads.
//!
//! Sizes and lags are read from their owners here. Their number of series is bounded: past [`SERIES_MAX`] partitions
//! (or lags) the rest is left out, and a metric says how many.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::*;
use crate::group::query::FetchedOffset;
use crate::replica::Partition;
use crate::shared::Shared;

/// Most series of one metric that has a label for topics or groups.
const SERIES_MAX: usize = 10_000;
/// Put in front of every name.
const PREFIX: &str = "millrace";

/// Everything that is told at one moment.
struct Scrape {
    shared: Arc<Shared>,
    partitions: Vec<Arc<Partition>>,
    lags: Vec<Lag>,
    lags_omitted: usize,
}

/// How far a group is behind in one partition.
struct Lag {
    group: String,
    topic: String,
    partition: i32,
    records: i64,
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrape")
    }
}

/// The text that `/metrics` answers.
pub(crate) async fn scrape(shared: &Arc<Shared>) -> String {
    let (lags, lags_omitted) = lags(shared).await;
    let partitions = shared.replicas.all();
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Scrape { shared: shared.clone(), partitions, lags, lags_omitted }));
    let mut text = String::new();
    // Writing to a string doesn't fail.
    let _ = encode_registry(&mut text, &registry);
    if let Some(more) = &shared.env.more_metrics {
        text.push_str(&more.text());
    }
    let _ = encode_eof(&mut text);
    text
}

/// Every group's lag, as far as coordinators answer; and how many there were beside those.
async fn lags(shared: &Arc<Shared>) -> (Vec<Lag>, usize) {
    let (mut lags, mut omitted) = (Vec::new(), 0);
    for shard in shared.coordinators.groups.all() {
        let committed = shard.look(|coordinator| {
            let groups = coordinator.list().into_iter();
            groups
                .map(|group| (coordinator.fetch_offsets(&group.group, None, false), group.group))
                .collect::<Vec<_>>()
        });
        // A shard that is loading or stopping has nothing to tell yet.
        let Ok(committed) = committed.await else { continue };
        for (offsets, group) in committed {
            for (at, offset) in offsets {
                let FetchedOffset::Committed(offset) = offset else { continue };
                let Ok(partition) = shared.replicas.partition(&at.topic, at.partition) else { continue };
                if lags.len() >= SERIES_MAX {
                    omitted += 1;
                    continue;
                }
                let records = partition.high_watermark().0.saturating_sub(offset.offset).max(0);
                lags.push(Lag { group: group.clone(), topic: at.topic, partition: at.partition, records });
            }
        }
    }
    (lags, omitted)
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Writer(encoder);
        self.connections(&mut out)?;
        self.requests(&mut out)?;
        self.logs(&mut out)?;
        self.memory(&mut out)
    }
}

impl Scrape {
    fn connections(&self, out: &mut Writer<'_>) -> fmt::Result {
        let metrics = &*self.shared.metrics;
        out.gauge(&BROKER_READY, i64::from(self.shared.is_ready()))?;
        out.counter(&CONNECTION_ACCEPTED, &metrics.connections_accepted)?;
        out.gauge(&CONNECTION_OPEN, metrics.connections_open.get())?;
        let delayed = [
            ([("limit", "max.connections")], &metrics.connections_delayed_all),
            ([("limit", "max.connection.creation.rate")], &metrics.connections_delayed_rate),
        ];
        out.counters(&CONNECTION_DELAYED, delayed)?;
        let refused = [
            ([("limit", "max.connections.per.ip")], &metrics.connections_refused_ip),
            ([("limit", "connection_creation_rate")], &metrics.connections_refused_rate),
        ];
        out.counters(&CONNECTION_REFUSED, refused)?;
        out.counter(&NETWORK_RECEIVED, &metrics.received_bytes)?;
        out.counter(&NETWORK_SENT, &metrics.sent_bytes)
    }

    fn requests(&self, out: &mut Writer<'_>) -> fmt::Result {
        let metrics = &*self.shared.metrics;
        let apis = || metrics.apis.iter().flatten();
        let mut durations = out.begin(&REQUEST_DURATION, MetricType::Histogram)?;
        for api in apis() {
            let read = api.duration.read();
            if read.count > 0 {
                let label = [("api", format!("{:?}", api.key))];
                histogram(&mut durations.encode_family(&label)?, &read)?;
            }
        }
        let mut errors = out.begin(&REQUEST_ERRORS, MetricType::Counter)?;
        for (api, code, count) in apis().flat_map(|api| api.errors().map(move |(code, n)| (api, code, n))) {
            let label = [("api", format!("{:?}", api.key)), ("code", code.to_string())];
            errors.encode_family(&label)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        let (sessions, partitions, evicted) = self.shared.fetch_sessions.counts();
        out.gauge(&FETCH_SESSION_OPEN, sessions as i64)?;
        out.gauge(&FETCH_SESSION_PARTITIONS, partitions as i64)?;
        out.begin(&FETCH_SESSION_EVICTED, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&evicted, None)?;
        out.counter(&REQUEST_REFUSED, &metrics.requests_refused)?;
        histogram(&mut out.begin(&QUOTA_THROTTLE, MetricType::Histogram)?, &metrics.throttles.read())?;
        let waiting = [
            ([("api", "Fetch")], metrics.fetches_waiting.get()),
            ([("api", "Produce")], metrics.produces_waiting.get()),
        ];
        out.gauges(&PURGATORY_REQUESTS, waiting)
    }

    fn logs(&self, out: &mut Writer<'_>) -> fmt::Result {
        let metrics = &*self.shared.metrics;
        out.counter(&LOG_APPENDED, &metrics.appended_bytes)?;
        out.counter(&LOG_FETCHED, &metrics.fetched_bytes)?;
        histogram(&mut out.begin(&LOG_SYNC, MetricType::Histogram)?, &metrics.sync.read())?;
        let sizes: Vec<u64> = self.partitions.iter().map(|partition| partition.log().size_bytes()).collect();
        out.gauge(&LOG_PARTITIONS, self.partitions.len() as i64)?;
        out.gauge(&LOG_TOTAL_SIZE, sizes.iter().sum::<u64>() as i64)?;
        out.gauge(&LOG_OFFLINE, self.shared.offline_logs().len() as i64)?;
        out.gauge(&LOG_FILES, self.shared.replicas.logs().open_files() as i64)?;
        out.counter(&LOG_REOPENED, &metrics.logs_reopened)?;
        out.counter(&LOG_REOPEN_FAILED, &metrics.reopens_failed)?;
        let shown = || self.partitions.iter().take(SERIES_MAX);
        let label = |partition: &Partition| {
            [("topic", partition.topic.to_string()), ("partition", partition.index.to_string())]
        };
        out.gauges(&LOG_SIZE, shown().zip(sizes).map(|(partition, size)| (label(partition), size as i64)))?;
        out.gauges(
            &LOG_START,
            shown().map(|partition| (label(partition), partition.log().start_offset().0)),
        )?;
        out.gauges(&LOG_END, shown().map(|partition| (label(partition), partition.log().end_offset().0)))?;
        let lags = self.lags.iter().map(|lag| {
            let label = [
                ("group", lag.group.clone()),
                ("topic", lag.topic.clone()),
                ("partition", lag.partition.to_string()),
            ];
            (label, lag.records)
        });
        out.gauges(&GROUP_LAG, lags)?;
        let omitted = [
            ([("metric", LOG_SIZE.name)], self.partitions.len().saturating_sub(SERIES_MAX) as i64),
            ([("metric", GROUP_LAG.name)], self.lags_omitted as i64),
        ];
        out.gauges(&METRICS_OMITTED, omitted)
    }

    fn memory(&self, out: &mut Writer<'_>) -> fmt::Result {
        let budgets =
            [("requests", &self.shared.request_budget), ("responses", &self.shared.response_budget)];
        let limits = budgets.map(|(what, budget)| ([("kind", what)], budget.bytes_max() as i64));
        out.gauges(&MEMORY_BUDGET, limits)?;
        out.gauges(&MEMORY_USED, budgets.map(|(what, budget)| ([("kind", what)], budget.bytes_used() as i64)))
    }
}

/// Writes metric by metric.
struct Writer<'a>(DescriptorEncoder<'a>);

impl Writer<'_> {
    fn begin<'s>(
        &'s mut self,
        metric: &'s Metric,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        // The encoder puts the ending of counters after the name itself.
        let name = metric.name.strip_suffix("_total").unwrap_or(metric.name);
        self.0.encode_descriptor(name, metric.help, None, kind)
    }

    fn counter(&mut self, metric: &Metric, counter: &Counter) -> fmt::Result {
        let mut encoder = self.begin(metric, MetricType::Counter)?;
        encoder.encode_counter::<NoLabelSet, _, u64>(&counter.get(), None)
    }

    fn counters<'c, const N: usize>(
        &mut self,
        metric: &Metric,
        counters: impl IntoIterator<Item = ([(&'c str, &'c str); N], &'c Counter)>,
    ) -> fmt::Result {
        let mut encoder = self.begin(metric, MetricType::Counter)?;
        for (label, counter) in counters {
            encoder.encode_family(&label)?.encode_counter::<NoLabelSet, _, u64>(&counter.get(), None)?;
        }
        Ok(())
    }

    fn gauge(&mut self, metric: &Metric, value: i64) -> fmt::Result {
        self.begin(metric, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn gauges<L, const N: usize>(
        &mut self,
        metric: &Metric,
        values: impl IntoIterator<Item = ([(&'static str, L); N], i64)>,
    ) -> fmt::Result
    where
        L: prometheus_client::encoding::EncodeLabelValue,
    {
        let mut encoder = self.begin(metric, MetricType::Gauge)?;
        for (label, value) in values {
            encoder.encode_family(&label)?.encode_gauge(&value)?;
        }
        Ok(())
    }
}

fn histogram(encoder: &mut MetricEncoder<'_>, read: &histogram::Buckets) -> fmt::Result {
    encoder.encode_histogram::<NoLabelSet>(read.sum_seconds, read.count, &read.buckets, None)
}
