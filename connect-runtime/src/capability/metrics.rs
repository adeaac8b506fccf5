//! Numbers that guests keep for operators.
//!
//! Each task has its own table; a name gets the prefix `connector_`. Names are those of Prometheus, and a guest can't take the labels
//! that say whose a number is. A task may make [`SERIES_MAX`] series: past that, new ones are dropped and counted, so that a
//! label that takes every value can't fill the memory. So is everything else that could not be shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use wasmtime::component::{HasSelf, Linker};

use crate::component::bindings::millrace::connect::metrics;
use crate::component::state::GuestState;
use crate::component::usage::Usage;

/// Most series of one task.
pub const SERIES_MAX: usize = 200;
/// Longest name or label.
const NAME_BYTES_MAX: usize = 128;
/// Most labels of one series.
const LABELS_MAX: usize = 8;
/// Labels that the host puts to each series.
const HOST_LABELS: [&str; 2] = ["connector", "task"];
/// Endings that stand for a part of a histogram or counter.
const ENDINGS: [&str; 6] = ["_total", "_count", "_sum", "_bucket", "_created", "_info"];

/// A series' name and labels in order.
pub type Series = (String, Vec<(String, String)>);

/// What a series holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// Sum of what was added.
    Counter(u64),
    /// What was set last.
    Gauge(f64),
    /// How many were observed, and their sum.
    Histogram {
        /// How many.
        count: u64,
        /// Their sum.
        sum: f64,
    },
}

impl Value {
    /// Takes in another of the same kind; false: it is of another kind, or no number.
    fn merge(&mut self, new: Self) -> bool {
        match (self, new) {
            (Self::Counter(old), Self::Counter(more)) => *old = old.saturating_add(more),
            (Self::Gauge(old), Self::Gauge(new)) => *old = new,
            (Self::Histogram { count, sum }, Self::Histogram { count: more, sum: new }) => {
                *count += more;
                *sum += new;
            }
            _ => return false,
        }
        true
    }

    /// Whether it is of the same kind.
    pub(crate) fn is_alike(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }

    fn is_finite(self) -> bool {
        match self {
            Self::Counter(_) => true,
            Self::Gauge(value) | Self::Histogram { sum: value, .. } => value.is_finite(),
        }
    }
}

/// The numbers of one task's instances; clones share them.
#[derive(Clone, Debug, Default)]
pub struct GuestMetrics {
    task: Arc<Mutex<Table>>,
    /// What the instance that this clone was given to uses up.
    usage: Arc<Usage>,
}

#[derive(Debug, Default)]
struct Table {
    series: BTreeMap<Series, Value>,
    dropped: u64,
    instances: Vec<(Arc<str>, Arc<Usage>)>,
}

impl GuestMetrics {
    /// For another instance of the task, of this component.
    pub(crate) fn instance(&self, component: &str) -> Self {
        let usage = Arc::new(Usage::default());
        self.task.lock().instances.push((component.into(), Arc::clone(&usage)));
        Self { task: Arc::clone(&self.task), usage }
    }

    /// The task's instances in the order in which they were started: the transforms', then the connector's own.
    pub(crate) fn instances(&self) -> Vec<(Arc<str>, Arc<Usage>)> {
        self.task.lock().instances.clone()
    }

    /// Of the instance that this was given to.
    pub(crate) fn usage(&self) -> &Arc<Usage> {
        &self.usage
    }

    /// All series now, in order.
    #[must_use]
    pub fn snapshot(&self) -> Vec<(Series, Value)> {
        self.task.lock().series.iter().map(|(series, value)| (series.clone(), *value)).collect()
    }

    /// How many updates were dropped: one series too many, a name that is none, a number that is none.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.task.lock().dropped
    }

    fn update(&self, name: &str, mut labels: Vec<(String, String)>, new: Value) {
        labels.sort();
        // The counter `lines` and `lines_total` is the same one.
        let name =
            if matches!(new, Value::Counter(_)) { name.strip_suffix("_total").unwrap_or(name) } else { name };
        let mut table = self.task.lock();
        if !is_metric(name) || !are_labels(&labels) || !new.is_finite() {
            table.dropped += 1;
            return;
        }
        let series = (format!("connector_{name}"), labels);
        let is_full = table.series.len() >= SERIES_MAX;
        // All series of a name are of the kind of the first one.
        let known = table.series.range((series.0.clone(), Vec::new())..).next();
        let is_alike = known.is_none_or(|((name, _), value)| *name != series.0 || value.is_alike(new));
        let taken = match table.series.get_mut(&series) {
            Some(old) => old.merge(new),
            None if is_full || !is_alike => false,
            None => table.series.insert(series, new).is_none(),
        };
        table.dropped += u64::from(!taken);
    }
}

fn is_metric(name: &str) -> bool {
    is_name(name) && !ENDINGS.iter().any(|ending| name.ends_with(ending))
}

fn are_labels(sorted: &[(String, String)]) -> bool {
    let is_free = |name: &str| is_name(name) && !name.starts_with("__") && !HOST_LABELS.contains(&name);
    sorted.len() <= LABELS_MAX
        && sorted.iter().all(|(name, value)| is_free(name) && value.len() <= NAME_BYTES_MAX)
        && sorted.windows(2).all(|pair| pair[0].0 != pair[1].0)
}

/// A name as Prometheus has them, without the colon of recording rules.
fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= NAME_BYTES_MAX
        && bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

pub(super) fn link(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    metrics::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

impl metrics::Host for GuestState {
    fn add(&mut self, counter: String, delta: u64, labels: Vec<(String, String)>) {
        self.metrics.update(&counter, labels, Value::Counter(delta));
    }

    fn set(&mut self, gauge: String, value: f64, labels: Vec<(String, String)>) {
        self.metrics.update(&gauge, labels, Value::Gauge(value));
    }

    fn observe(&mut self, histogram: String, value: f64, labels: Vec<(String, String)>) {
        self.metrics.update(&histogram, labels, Value::Histogram { count: 1, sum: value });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(name: &str, value: &str) -> Vec<(String, String)> {
        vec![(name.to_owned(), value.to_owned())]
    }

    #[test]
    fn series_are_limited() {
        let metrics = GuestMetrics::default();
        for n in 0..SERIES_MAX + 7 {
            metrics.update("lines", label("n", &n.to_string()), Value::Counter(1));
        }
        metrics.update("lines", label("n", &"x".repeat(NAME_BYTES_MAX + 1)), Value::Gauge(0.0));
        assert_eq!((metrics.snapshot().len(), metrics.dropped()), (SERIES_MAX, 8));
        assert_eq!(metrics.snapshot()[0].0.0, "connector_lines");
    }

    #[test]
    fn what_could_not_be_shown_is_dropped() {
        let metrics = GuestMetrics::default();
        for name in ["", "1a", "a b", "a\n", "a{", "ä", "a_bucket", "a_count"] {
            metrics.update(name, Vec::new(), Value::Gauge(1.0));
        }
        for name in ["", "__name__", "le\"", "connector", "task", "a-b"] {
            metrics.update("good", label(name, "x"), Value::Gauge(1.0));
        }
        let twice = [label("a", "1"), label("a", "2")].concat();
        metrics.update("good", twice, Value::Gauge(1.0));
        for value in [f64::NAN, f64::INFINITY] {
            metrics.update("good", Vec::new(), Value::Gauge(value));
        }
        assert_eq!((metrics.snapshot().len(), metrics.dropped()), (0, 17));
        // A series keeps its kind.
        metrics.update("lines_total", Vec::new(), Value::Counter(2));
        metrics.update("lines", Vec::new(), Value::Counter(3));
        metrics.update("lines", Vec::new(), Value::Gauge(9.0));
        metrics.update("lines", label("a", "b"), Value::Gauge(9.0));
        assert_eq!(metrics.snapshot(), [(("connector_lines".to_owned(), Vec::new()), Value::Counter(5))]);
        assert_eq!(metrics.dropped(), 19);
    }
}
