//! The seeded simulation: a broker, its clients, its disk and its network in one thread of one process, on a clock that
//! jumps from event to event. A seed decides everything: what is sent, when connections break, when the process is
//! killed, when the power goes and which unsynced bytes had reached the disk by then.
//!
//! - `world`: the broker on its simulated disk, and the ways in which it is hurt
//! - `network`: the connections, slow and breakable
//! - `workload`: producers, transactions, readers and consumer groups; they write the `history`
//! - [`checker`]: judges the history
//!
//! What is simulated is everything outside of the code: the code is the broker's and the client's own.
//!
//! Two runs of a seed are the same in all that the clients see. So nothing under simulation may depend on the order of a
//! hash table, on the time or the randomness of the machine, or on the order in which tokio wakes several waiters of one
//! `watch` channel, which tokio draws itself: what many wait for is a `Notify` or a `CancellationToken`.

pub mod checker;
pub mod history;
mod lying_disk;
mod network;
mod workload;
mod world;

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use parking_lot::Mutex;

use self::checker::Anomaly;
use self::history::{History, Outcome, Topic, Verdict};
use self::workload::Workload;
use self::world::World;
use millrace_client::Random;

/// What hurts the broker in a run.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many times something goes wrong.
    pub faults: u32,
    /// Whether the disk only says that it has synced. No broker can be safe on such a disk: the checker has to notice.
    pub lying_disk: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { faults: 8, lying_disk: false }
    }
}

/// A run that ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Records that were handed to producers.
    pub sent: usize,
    /// Those of them that were acknowledged.
    pub acknowledged: usize,
    /// Transactions that were committed.
    pub committed: usize,
    /// Records that were handed out to consumers, the final reading not counted.
    pub read: usize,
    /// Records that a group turned into output, exactly once.
    pub processed: usize,
    /// Assignments that members of groups were given.
    pub assignments: usize,
    /// What hurt the broker, in order.
    pub faults: Vec<&'static str>,
    /// Of all that the clients saw: two runs of a seed have the same.
    pub digest: u64,
}

/// A run that did not.
#[derive(Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What hurt the broker, in order.
    pub faults: Vec<&'static str>,
    /// What the checker found; empty when the run itself broke down.
    pub anomalies: Vec<Anomaly>,
    /// Why the run could not be ended, if so.
    pub broke: Option<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} failed after {}", self.seed, self.faults.join(", "))?;
        if let Some(broke) = &self.broke {
            writeln!(f, "  the run broke down: {broke}")?;
        }
        for anomaly in &self.anomalies {
            writeln!(f, "  {anomaly}")?;
        }
        write!(f, "  replay: cargo xtask sim --seeds 1 --from {}", self.seed)
    }
}

/// Longest run in simulated time: past it something waits for what never comes.
const RUN_MAX: Duration = Duration::from_secs(3600);

/// Runs one seed from an empty disk to the verdict.
pub fn run(seed: u64, options: Options) -> Result<Report, Failure> {
    let faults = Arc::new(Mutex::new(Vec::new()));
    let fail = |anomalies, broke| Failure { seed, faults: faults.lock().clone(), anomalies, broke };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let history = runtime.context("a tokio runtime").and_then(|runtime| {
        let story = story(seed, options, faults.clone());
        let in_time = async { tokio::time::timeout(RUN_MAX, story).await };
        runtime.block_on(in_time).context("not at its end after an hour of simulated time")?
    });
    let history = history.map_err(|error| fail(Vec::new(), Some(format!("{error:#}"))))?;
    let anomalies = checker::check(&history);
    if !anomalies.is_empty() {
        return Err(fail(anomalies, None));
    }
    let report = report(seed, &history, faults.lock().clone());
    if report.acknowledged == 0 || report.committed == 0 || report.read == 0 || report.processed == 0 {
        let why = history.broken.first().map_or("no client says why", String::as_str);
        return Err(fail(Vec::new(), Some(format!("nothing was achieved, so nothing was tested; {why}"))));
    }
    Ok(report)
}

fn report(seed: u64, history: &History, faults: Vec<&'static str>) -> Report {
    let output = history.last.committed.iter().filter(|(partition, _)| partition.topic == Topic::Output);
    Report {
        seed,
        sent: history.sent.len(),
        acknowledged: history.sent.iter().filter(|sent| sent.outcome != Outcome::Unknown).count(),
        committed: history.transactions.iter().filter(|t| t.verdict == Verdict::Committed).count(),
        read: history.sessions.iter().map(|session| session.seen.len()).sum(),
        processed: output.map(|(_, records)| records.len()).sum(),
        assignments: history.groups.iter().map(|group| group.assignments.len()).sum(),
        faults,
        digest: digest(history),
    }
}

fn digest(history: &History) -> u64 {
    let mut hasher = DefaultHasher::new();
    format!("{history:?}").hash(&mut hasher);
    hasher.finish()
}

/// The broker starts, clients work while it is hurt, the clients end, and what is there is read once more.
async fn story(
    seed: u64,
    options: Options,
    faults: Arc<Mutex<Vec<&'static str>>>,
) -> anyhow::Result<History> {
    let mut random = Random::new(seed);
    let mut world = World::start(random.split(), options.lying_disk).await?;
    let workload = Workload::start(world.network(), random.split()).await?;
    for _ in 0..options.faults {
        tokio::time::sleep(Duration::from_millis(random.below(1500))).await;
        let fault = world.hurt(&mut random).await?;
        faults.lock().push(fault);
    }
    workload.finish().await
}
