//! Numbers that guests keep for operators.
//!
//! Each task has its own table; a name gets the prefix `connector_`. A task may make [`SERIES_MAX`] series: past that, new ones
//! are dropped and counted, so that a label that takes every value can't fill the memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use wasmtime::component::{HasSelf, Linker};

use crate::component::bindings::millrace::connect::metrics;
use crate::component::state::GuestState;

/// Most series of one task.
pub const SERIES_MAX: usize = 200;
/// Longest name or label.
const NAME_BYTES_MAX: usize = 128;
/// Most labels of one series.
const LABELS_MAX: usize = 8;

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

/// The numbers of one task; clones share them.
#[derive(Clone, Debug, Default)]
pub struct GuestMetrics(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    series: BTreeMap<Series, Value>,
    dropped: u64,
}

impl GuestMetrics {
    /// All series now, in order.
    #[must_use]
    pub fn snapshot(&self) -> Vec<(Series, Value)> {
        self.0.lock().series.iter().map(|(series, value)| (series.clone(), *value)).collect()
    }

    /// How many updates were dropped because they would have made a series too many.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.lock().dropped
    }

    fn update(
        &self,
        name: &str,
        mut labels: Vec<(String, String)>,
        new: Value,
        merge: fn(&mut Value, Value),
    ) {
        let mut table = self.0.lock();
        let too_long = |text: &str| text.len() > NAME_BYTES_MAX;
        if too_long(name)
            || labels.len() > LABELS_MAX
            || labels.iter().any(|(n, v)| too_long(n) || too_long(v))
        {
            table.dropped += 1;
            return;
        }
        labels.sort();
        let series = (format!("connector_{name}"), labels);
        if let Some(old) = table.series.get_mut(&series) {
            merge(old, new);
        } else if table.series.len() < SERIES_MAX {
            table.series.insert(series, new);
        } else {
            table.dropped += 1;
        }
    }
}

pub(super) fn link(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    metrics::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

impl metrics::Host for GuestState {
    fn add(&mut self, counter: String, delta: u64, labels: Vec<(String, String)>) {
        self.metrics.update(&counter, labels, Value::Counter(delta), |old, new| {
            if let (Value::Counter(old), Value::Counter(new)) = (old, new) {
                *old = old.saturating_add(new);
            }
        });
    }

    fn set(&mut self, gauge: String, value: f64, labels: Vec<(String, String)>) {
        self.metrics.update(&gauge, labels, Value::Gauge(value), |old, new| *old = new);
    }

    fn observe(&mut self, histogram: String, value: f64, labels: Vec<(String, String)>) {
        self.metrics.update(&histogram, labels, Value::Histogram { count: 1, sum: value }, |old, new| {
            if let (Value::Histogram { count, sum }, Value::Histogram { sum: new, .. }) = (old, new) {
                *count += 1;
                *sum += new;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_limited() {
        let metrics = GuestMetrics::default();
        for n in 0..SERIES_MAX + 7 {
            let labels = vec![("n".to_owned(), n.to_string())];
            metrics.update("lines", labels, Value::Counter(1), |_, _| ());
        }
        metrics.update(
            "lines",
            vec![("n".into(), "x".repeat(NAME_BYTES_MAX + 1))],
            Value::Gauge(0.0),
            |_, _| (),
        );
        assert_eq!((metrics.snapshot().len(), metrics.dropped()), (SERIES_MAX, 8));
        assert_eq!(metrics.snapshot()[0].0.0, "connector_lines");
    }
}
