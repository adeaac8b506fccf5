//! All metrics as text, in the OpenMetrics format that Prometheus reads.
//!
//! The number of series is bounded: past [`TASKS_MAX`] tasks and [`GUEST_SERIES_MAX`] series of guests the rest is left out, and a
//! metric says how many. A guest's name that already means something of another kind is left out, too.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use super::TaskMetrics;
use super::names::{
    COMPONENT, CONNECTOR_TYPE, Form, GUEST_DROPPED, Name, OMITTED, SINK, SOURCE, TASK, TASK_STATUS,
    TRACE_DROPPED, TRACE_EXPORTED, WORKER,
};
use super::task::Numbers;
use crate::capability::metrics::{GuestMetrics, Value};
use crate::component::Kind;
use crate::herder::ownership::TaskId;
use crate::trace::TraceCounts;
use crate::worker::progress::State;

/// Most tasks that are told of.
const TASKS_MAX: usize = 1_000;
/// Most series of all guests together.
const GUEST_SERIES_MAX: usize = 10_000;

/// Labels of a series.
type Labels = Vec<(String, String)>;

/// Everything that is told at one moment.
#[derive(Debug)]
struct Scrape {
    tasks: Vec<(TaskId, Arc<TaskMetrics>, GuestMetrics)>,
    omitted: usize,
    traces: Option<Arc<TraceCounts>>,
}

/// The text, without its end mark.
pub(super) fn text(tasks: &[(TaskId, Arc<TaskMetrics>)], traces: Option<&Arc<TraceCounts>>) -> String {
    let shown = tasks.iter().take(TASKS_MAX);
    let shown = shown.map(|(id, task)| (id.clone(), Arc::clone(task), task.guests())).collect();
    let omitted = tasks.len().saturating_sub(TASKS_MAX);
    let scrape = Scrape { tasks: shown, omitted, traces: traces.cloned() };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(scrape));
    let mut text = String::new();
    // Writing to a string doesn't fail.
    let _ = encode_registry(&mut text, &registry);
    text
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Writer(encoder);
        let now = Instant::now();
        self.statuses(&mut out)?;
        self.worker(&mut out)?;
        for (names, of) in [(TASK, None), (SOURCE, Some(Kind::Source)), (SINK, Some(Kind::Sink))] {
            for name in names {
                let of_kind = |task: &TaskMetrics| of.is_none_or(|kind| kind == task.kind());
                let tasks = self.tasks.iter().filter(|(_, task, _)| of_kind(task));
                let value = |task: &TaskMetrics| task.read(|numbers| (name.value)(numbers, now));
                out.named(name, tasks.filter_map(|(id, task, _)| Some((labels(id), value(task)?))))?;
            }
        }
        self.components(&mut out)?;
        if let Some(traces) = &self.traces {
            let one = |value: u64| [(Labels::new(), value as f64)];
            out.counters(TRACE_EXPORTED, "Spans that the collector took", one(traces.exported()))?;
            let help = "Spans that there was no room for, or that the collector did not take";
            out.counters(TRACE_DROPPED, help, one(traces.dropped()))?;
        }
        self.guests(&mut out)
    }
}

impl Scrape {
    fn statuses(&self, out: &mut Writer<'_>) -> fmt::Result {
        let status = |(id, task, _): &(TaskId, Arc<TaskMetrics>, GuestMetrics)| {
            let state = status(task.read(|numbers| numbers.state));
            (with(labels(id), "status", state), 1.0)
        };
        out.gauges(TASK_STATUS, "1 for the state that the task is in", self.tasks.iter().map(status))?;
        let kinds: BTreeMap<&str, Kind> =
            self.tasks.iter().map(|(id, task, _)| (id.connector.as_str(), task.kind())).collect();
        let kind = kinds.iter().map(|(name, kind)| (with(connector(name), "type", &kind.to_string()), 1.0));
        out.gauges(CONNECTOR_TYPE, "1 for the kind that the connector is of", kind)
    }

    fn worker(&self, out: &mut Writer<'_>) -> fmt::Result {
        let mut connectors: BTreeMap<&str, Vec<State>> = BTreeMap::new();
        for (id, task, _) in &self.tasks {
            connectors.entry(&id.connector).or_default().push(task.read(|numbers| numbers.state));
        }
        let sum =
            |count: fn(&Numbers) -> u64| self.tasks.iter().map(|(_, task, _)| task.read(count)).sum::<u64>();
        let name = |attribute: &str| format!("{WORKER}_{attribute}");
        let one = |value: usize| [(Labels::new(), value as f64)];
        out.gauges(&name("connector_count"), "Connectors with tasks on this worker", one(connectors.len()))?;
        out.gauges(&name("task_count"), "Tasks on this worker", one(self.tasks.len() + self.omitted))?;
        for (attribute, help, value) in [
            ("task_startup_attempts", "Starts of the tasks that are on this worker", sum(|n| n.starts)),
            ("task_startup_success", "Starts that came to run", sum(|n| n.starts_succeeded)),
            ("task_startup_failure", "Starts that failed", sum(|n| n.starts_failed)),
        ] {
            out.counters(&name(attribute), help, [(Labels::new(), value as f64)])?;
        }
        for (state, is) in [
            ("total", None),
            ("unassigned", Some(State::Starting)),
            ("running", Some(State::Running)),
            ("restarting", Some(State::Restarting)),
            ("failed", Some(State::Failed)),
        ] {
            let of =
                |states: &Vec<State>| states.iter().filter(|state| is.is_none_or(|is| is == **state)).count();
            let counts = connectors.iter().map(|(name, states)| (connector(name), of(states) as f64));
            out.gauges(
                &name(&format!("connector_{state}_task_count")),
                "Tasks of the connector on this worker, all or in this state",
                counts,
            )?;
        }
        Ok(())
    }

    fn components(&self, out: &mut Writer<'_>) -> fmt::Result {
        let mut instances = Vec::new();
        for (id, _, guests) in &self.tasks {
            for (number, (component, usage)) in guests.instances().into_iter().enumerate() {
                let labels = with(labels(id), "component", &component);
                instances.push((with(labels, "instance", &number.to_string()), usage));
            }
        }
        let each = |value: fn(&crate::component::usage::Usage) -> f64| {
            instances.iter().map(move |(labels, usage)| (labels.clone(), value(usage)))
        };
        let name = |what: &str| format!("{COMPONENT}_{what}");
        out.gauges(
            &name("memory_bytes"),
            "Memory that the instance of a component holds",
            each(|usage| usage.memory_bytes() as f64),
        )?;
        out.counters(
            &name("busy_seconds"),
            "Time that calls of the instance ran, without waiting",
            each(|usage| usage.busy().as_secs_f64()),
        )?;
        out.counters(&name("calls"), "Calls of the instance", each(|usage| usage.calls() as f64))
    }

    fn guests(&self, out: &mut Writer<'_>) -> fmt::Result {
        let mut families: BTreeMap<String, Vec<(Labels, Value)>> = BTreeMap::new();
        let (mut shown, mut left_out) = (0, self.omitted);
        for (id, _, guests) in &self.tasks {
            for ((name, own), value) in guests.snapshot() {
                let family = families.entry(name).or_default();
                let is_alike = family.first().is_none_or(|(_, first)| first.is_alike(value));
                if shown == GUEST_SERIES_MAX || !is_alike {
                    left_out += 1;
                    continue;
                }
                shown += 1;
                family.push((labels(id).into_iter().chain(own).collect(), value));
            }
        }
        for (name, series) in families {
            out.guest(&name, &series)?;
        }
        let dropped = self.tasks.iter().map(|(id, _, guests)| (labels(id), guests.dropped() as f64));
        let name = GUEST_DROPPED.strip_suffix("_total").unwrap_or(GUEST_DROPPED);
        out.counters(
            name,
            "Updates of metrics by guests that were dropped: too many series, or no name",
            dropped,
        )?;
        let help = "Series left out: too many, or a name that means something of another kind";
        out.gauges(OMITTED, help, [(Labels::new(), left_out as f64)])
    }
}

/// Kafka Connect's words, and two that it doesn't need: its sources have no end, its stopped tasks are gone.
fn status(state: State) -> &'static str {
    match state {
        State::Starting => "unassigned",
        State::Running => "running",
        State::Restarting => "restarting",
        State::Failed => "failed",
        State::Stopped => "stopped",
        State::Done => "done",
    }
}

fn connector(name: &str) -> Labels {
    vec![("connector".to_owned(), name.to_owned())]
}

fn labels(id: &TaskId) -> Labels {
    with(connector(&id.connector), "task", &id.task.to_string())
}

fn with(mut labels: Labels, name: &str, value: &str) -> Labels {
    labels.push((name.to_owned(), value.to_owned()));
    labels
}

/// Writes metric by metric; one without series is left out.
struct Writer<'a>(DescriptorEncoder<'a>);

impl Writer<'_> {
    fn named(&mut self, name: &Name, series: impl IntoIterator<Item = (Labels, f64)>) -> fmt::Result {
        match name.form {
            // The encoder puts the ending of counters after the name itself.
            Form::Counter => {
                self.counters(name.name.strip_suffix("_total").unwrap_or(name.name), name.help, series)
            }
            Form::Count => self.values(name.name, name.help, MetricType::Unknown, series),
            Form::Gauge => self.gauges(name.name, name.help, series),
        }
    }

    fn gauges(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels, f64)>,
    ) -> fmt::Result {
        self.values(name, help, MetricType::Gauge, series)
    }

    fn counters(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels, f64)>,
    ) -> fmt::Result {
        self.values(name, help, MetricType::Counter, series)
    }

    fn values(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        series: impl IntoIterator<Item = (Labels, f64)>,
    ) -> fmt::Result {
        let mut series = series.into_iter().peekable();
        if series.peek().is_none() {
            return Ok(());
        }
        let mut encoder = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in series {
            if labels.is_empty() {
                value_of(&mut encoder, kind, value)?;
            } else {
                value_of(&mut encoder.encode_family(&labels)?, kind, value)?;
            }
        }
        Ok(())
    }

    fn guest(&mut self, name: &str, series: &[(Labels, Value)]) -> fmt::Result {
        let kind = match series.first() {
            Some((_, Value::Counter(_))) => MetricType::Counter,
            Some((_, Value::Gauge(_))) => MetricType::Gauge,
            Some((_, Value::Histogram { .. })) => MetricType::Histogram,
            None => return Ok(()),
        };
        let mut encoder = self.0.encode_descriptor(name, "Kept by the connector itself", None, kind)?;
        for (labels, value) in series {
            let mut encoder = encoder.encode_family(labels)?;
            match *value {
                Value::Counter(count) => encoder.encode_counter::<NoLabelSet, _, u64>(&count, None)?,
                Value::Gauge(value) => encoder.encode_gauge(&value)?,
                Value::Histogram { count, sum } => {
                    encoder.encode_histogram::<NoLabelSet>(sum, count, &[(f64::INFINITY, count)], None)?;
                }
            }
        }
        Ok(())
    }
}

fn value_of(encoder: &mut MetricEncoder<'_>, kind: MetricType, value: f64) -> fmt::Result {
    match kind {
        MetricType::Counter => encoder.encode_counter::<NoLabelSet, _, u64>(&value, None),
        _ => encoder.encode_gauge(&value),
    }
}
