//! The seeded simulation: a broker, its clients, its disk and its network in one thread of one process, on a clock that
//! jumps from event to event. A seed decides everything: what is sent, when connections break, when the process is
//! killed, when the power goes and which unsynced bytes had reached the disk by then.
//!
//! - `world`: the broker on its simulated disk, and the ways in which it is hurt
//! - `network`: the connections, slow and breakable
//! - `workload`: producers, transactions and readers; they write the `history`
//! - [`checker`]: judges the history
//!
//! What is simulated is everything outside of the code: the code is the broker's and the client's own.
//!
//! A seed repeats the faults, the network, the disk and what the clients do. The order in which tokio wakes the waiters of
//! one `watch` channel is drawn by tokio itself, so two runs of a seed are alike and not yet the same to the byte.

pub mod checker;
pub mod history;
mod lying_disk;
mod network;
mod workload;
mod world;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use parking_lot::Mutex;

use self::checker::Anomaly;
use self::history::{History, Outcome, Verdict};
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
    /// Records that were read by readers, the final reading not counted.
    pub read: usize,
    /// What hurt the broker, in order.
    pub faults: Vec<&'static str>,
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
    let faults = faults.lock().clone();
    let acknowledged = history.sent.iter().filter(|sent| sent.outcome != Outcome::Unknown).count();
    let committed = history.transactions.iter().filter(|verdict| **verdict == Verdict::Committed).count();
    if acknowledged == 0 || committed == 0 || history.sessions.iter().all(|session| session.seen.is_empty()) {
        let why = history.broken.first().map_or("no client says why", String::as_str);
        let idle = format!("nothing was achieved, so nothing was tested; {why}");
        return Err(Failure { seed, faults, anomalies: Vec::new(), broke: Some(idle) });
    }
    let read = history.sessions.iter().map(|session| session.seen.len()).sum();
    Ok(Report { seed, sent: history.sent.len(), acknowledged, committed, read, faults })
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
