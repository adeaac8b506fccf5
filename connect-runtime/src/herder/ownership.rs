//! Who runs what: between the herder, which knows what there is to run, and whoever divides it among workers.
//!
//! Two values go back and forth, of which only the newest counts, so both are `watch` channels:
//!
//! ```text
//!           Report { work, held }
//!  herder ───────────────────────> ownership     work: all that is wanted, on whichever worker
//!         <───────────────────────               held: what this worker still runs
//!               Assignment
//! ```
//!
//! Invariants:
//! - The herder runs nothing that its newest assignment doesn't name. It ends what is no longer named, and only when that
//!   has ended it leaves `held`: nobody else may be given it before, unless this worker is lost.
//! - An assignment may name what this worker has not read of yet in the configurations' topic (or no longer has); it is then
//!   started when it has, or never.
//! - When the herder stops it reports what it holds until that is nothing, and then drops its end: whoever divides says
//!   goodbye to the others and comes back from [`Ownership::run`].
//!
//! Fencing is not this module's business: a worker that was only slow can't write because its transactional ids were taken
//! (see [`crate::worker`]).

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;

use tokio::sync::watch;

/// A task of a connector; shown as Kafka Connect does, `orders.source-0`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// The connector's name.
    pub connector: String,
    /// From 0.
    pub task: u32,
}

impl std::fmt::Display for TaskId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.connector, self.task)
    }
}

/// All that the configurations' topic asks for, on whichever worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Connectors with the number of their tasks; none while a connector is stopped or was not planned yet.
    pub connectors: BTreeMap<String, u32>,
    /// The next offset of the configurations' topic: who has a higher one knows more.
    pub offset: i64,
}

impl Work {
    /// Every task.
    pub fn tasks(&self) -> impl Iterator<Item = TaskId> {
        let of = |(connector, tasks): (&String, &u32)| {
            let connector = connector.clone();
            (0..*tasks).map(move |task| TaskId { connector: connector.clone(), task })
        };
        self.connectors.iter().flat_map(of)
    }
}

/// What one worker runs. A connector is held by who plans its tasks and writes its state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Connectors.
    pub connectors: BTreeSet<String>,
    /// Tasks, of connectors of any worker.
    pub tasks: BTreeSet<TaskId>,
}

impl Holdings {
    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connectors.is_empty() && self.tasks.is_empty()
    }

    /// What either has.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self { connectors: &self.connectors | &other.connectors, tasks: &self.tasks | &other.tasks }
    }

    /// Whether the other has nothing of it.
    #[must_use]
    pub fn is_disjoint(&self, other: &Self) -> bool {
        self.connectors.is_disjoint(&other.connectors) && self.tasks.is_disjoint(&other.tasks)
    }

    /// Whether the other has all of it.
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        self.connectors.is_subset(&other.connectors) && self.tasks.is_subset(&other.tasks)
    }
}

/// What the herder says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What there is to divide.
    pub work: Work,
    /// What this worker runs, or has not ended yet.
    pub held: Holdings,
    /// [`Assignment::revision`] of the newest assignment that was taken in: nothing but what that names is started any more.
    pub revision: u64,
}

/// What this worker is to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// Connectors to plan and to speak for.
    pub connectors: BTreeSet<String>,
    /// Tasks to run.
    pub tasks: BTreeSet<TaskId>,
    /// Whether this worker tidies up behind others: one among all does.
    pub leader: bool,
    /// Rises whenever anything is divided anew; kept with states, so that an older owner's word doesn't count.
    pub generation: i32,
    /// Rises with every assignment of this process; [`Report::revision`] answers it.
    pub revision: u64,
    /// This worker may have been taken for gone: what it runs has to end at once, as by a kill, before others are given it.
    pub lost: bool,
}

impl Assignment {
    /// What is to run.
    #[must_use]
    pub fn holdings(&self) -> Holdings {
        Holdings { connectors: self.connectors.clone(), tasks: self.tasks.clone() }
    }
}

/// A running [`Ownership`].
pub type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Divides the work among workers.
pub trait Ownership: Send + 'static {
    /// Gives assignments until the herder drops its end of `reports`, then takes leave and comes back.
    fn run(
        self: Box<Self>,
        reports: watch::Receiver<Report>,
        assignments: watch::Sender<Assignment>,
    ) -> Running;
}

/// The only worker: everything is its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Ownership for Alone {
    fn run(
        self: Box<Self>,
        mut reports: watch::Receiver<Report>,
        assignments: watch::Sender<Assignment>,
    ) -> Running {
        Box::pin(async move {
            loop {
                let work = reports.borrow_and_update().work.clone();
                let mine = Assignment {
                    tasks: work.tasks().collect(),
                    connectors: work.connectors.into_keys().collect(),
                    leader: true,
                    ..Assignment::default()
                };
                assignments.send_if_modified(|now| {
                    let news = *now != mine;
                    *now = mine;
                    news
                });
                if reports.changed().await.is_err() {
                    return;
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn alone_everything_is_mine() {
        let (report, reports) = watch::channel(Report::default());
        let (assign, mut assignments) = watch::channel(Assignment::default());
        let running = tokio::spawn(Box::new(Alone).run(reports, assign));
        report.send_modify(|report| {
            report.work.connectors = BTreeMap::from([("a".to_owned(), 2), ("b".to_owned(), 0)]);
        });
        let mine = assignments.wait_for(|assignment| !assignment.tasks.is_empty()).await.unwrap().clone();
        assert_eq!(mine.connectors, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
        assert_eq!(mine.tasks.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a-0", "a-1"]);
        assert!(mine.leader);
        drop(report);
        running.await.unwrap();
    }
}
