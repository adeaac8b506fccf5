//! What the runtime tells operators: per connector and task under the names that Prometheus' JMX exporter gives Kafka Connect's own
//! metrics (`kafka_connect_<group>_<attribute>`), beside them what Kafka Connect doesn't have (`millrace_connect_*`) and
//! what guests keep themselves (`connector_*`).
//!
//! | file | what is in it |
//! |---|---|
//! | `names` | THE list of names and what they mean |
//! | `task` | the numbers of one task, and what raises them |
//! | `window` | averages, largest values and rates of the last minute |
//! | `scrape` | all of it as text, with a bounded number of series |
//! | `serve` | who asks for it over HTTP |
//!
//! Numbers change once per batch, under a lock that only a scrape wants besides. They are kept while the worker has the task, over
//! restarts of it; those of guests begin anew with each start. A counter may so begin again from 0, as Prometheus expects.

mod names;
mod scrape;
mod serve;
mod task;
#[cfg(test)]
mod tests;
mod window;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::component::Kind;
use crate::herder::ownership::TaskId;
use crate::trace::TraceCounts;

pub use self::serve::MetricsServer;
pub(crate) use self::task::TaskMetrics;

/// The numbers of one process's tasks; clones share them.
#[derive(Clone, Debug, Default)]
pub struct RuntimeMetrics(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    tasks: Mutex<BTreeMap<TaskId, Arc<TaskMetrics>>>,
    ready: AtomicBool,
    traces: OnceLock<Arc<TraceCounts>>,
}

impl RuntimeMetrics {
    /// Everything in the OpenMetrics format, without its end mark: more may follow.
    #[must_use]
    pub fn text(&self) -> String {
        scrape::text(&self.tasks(), self.0.traces.get())
    }

    /// Says whether the worker has begun: until then it should be given no work.
    pub fn set_ready(&self, ready: bool) {
        self.0.ready.store(ready, Ordering::Relaxed);
    }

    /// Tells of spans, too.
    pub fn set_traces(&self, counts: Arc<TraceCounts>) {
        // The process has one tracer.
        let _ = self.0.traces.set(counts);
    }

    fn is_ready(&self) -> bool {
        self.0.ready.load(Ordering::Relaxed)
    }

    fn tasks(&self) -> Vec<(TaskId, Arc<TaskMetrics>)> {
        self.0.tasks.lock().iter().map(|(id, task)| (id.clone(), Arc::clone(task))).collect()
    }

    /// The numbers of a task, from 0 if it has none yet.
    pub(crate) fn task(&self, connector: &str, task: u32, kind: Kind) -> Arc<TaskMetrics> {
        let id = TaskId { connector: connector.to_owned(), task };
        let mut tasks = self.0.tasks.lock();
        // A connector that was deleted and made again may be of the other kind.
        match tasks.get(&id).filter(|known| known.kind() == kind) {
            Some(known) => Arc::clone(known),
            None => {
                let new = Arc::new(TaskMetrics::new(kind));
                tasks.insert(id, Arc::clone(&new));
                new
            }
        }
    }

    /// The task is no longer this worker's.
    pub(crate) fn remove(&self, id: &TaskId) {
        self.0.tasks.lock().remove(id);
    }

    /// Only these are this worker's.
    pub(crate) fn retain(&self, wanted: impl Fn(&TaskId) -> bool) {
        self.0.tasks.lock().retain(|id, _| wanted(id));
    }
}
