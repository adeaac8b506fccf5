//! The clients of a run. Each writes down what it learns, and starts over with a new session when its session breaks.
//!
//! - `writers`: producers with and without transactions, which write the input; the transactional ones read as well
//! - `readers`: follow the input from its first offset
//! - `members`: consumer groups; one turns input into output exactly once
//! - `operators`: changes the transaction protocol, watches the groups' offsets

mod members;
mod operators;
mod readers;
mod writers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use millrace_client::{
    Admin, BackoffConfig, Client, ClientConfig, Consumer, ConsumerConfig, FetchedPartition, Isolation,
    NewTopic, OffsetReset, OffsetSpec, Polled, Position, Random, TopicPartition,
};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use self::members::GROUPS;
use crate::history::{Final, History, Id, Partition, Seen, Session, Topic};
use crate::network::Network;
use crate::world::START_MS;

/// Partitions of each topic.
const PARTITIONS: i32 = 3;
/// Producers outside of transactions.
const PLAIN: u32 = 2;
/// Producers with transactions.
const TRANSACTIONAL: u32 = 2;
/// Longest pause between two sends, in milliseconds.
const PAUSE_MAX_MS: u64 = 30;
/// When the coordinator aborts what a killed client left open.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time for the clients' end and for each last reading: by then every fault is long over.
const FINISH_MAX: Duration = Duration::from_secs(600);

/// The clients at work.
pub(crate) struct Workload {
    shared: Shared,
    phase: watch::Sender<Phase>,
    writers: JoinSet<()>,
    members: JoinSet<()>,
}

/// What every client has.
#[derive(Clone)]
struct Shared {
    client: Client,
    history: Arc<Mutex<History>>,
    phase: watch::Receiver<Phase>,
    sessions: Arc<AtomicU32>,
    began: Instant,
}

/// How far the run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// All work.
    Work,
    /// Nobody writes to the input any more, and the groups come to its end.
    Drain,
    /// All end.
    End,
}

impl Workload {
    /// Makes the topics and starts the clients.
    pub(crate) async fn start(network: Network, mut random: Random) -> anyhow::Result<Self> {
        let client = Client::new(ClientConfig {
            bootstrap: vec!["sim:9092".to_owned()],
            transport: Arc::new(network),
            request_timeout: Duration::from_secs(5),
            retry_backoff: BackoffConfig {
                initial: Duration::from_millis(20),
                max: Duration::from_millis(500),
            },
            seed: Some(random.next_u64()),
            ..ClientConfig::default()
        })?;
        let topics = [Topic::Input, Topic::Output].map(|topic| NewTopic::new(topic.name(), PARTITIONS));
        for (name, result) in Admin::new(&client).create_topics(&topics).await? {
            result.with_context(|| format!("creating {name}"))?;
        }
        let history = History { groups: GROUPS.map(members::Kind::history).into(), ..History::default() };
        let (phase, followed) = watch::channel(Phase::Work);
        let shared = Shared {
            client,
            history: Arc::new(Mutex::new(history)),
            phase: followed,
            sessions: Arc::default(),
            began: Instant::now(),
        };
        let (mut writers, mut members) = (JoinSet::new(), JoinSet::new());
        match random.below(3) {
            // A cluster of the first transaction protocol, one of the second, and one that goes back and forth.
            0 => shared.speak(1).await?,
            1 => {}
            _ => drop(members.spawn(shared.clone().change_of_mind(random.split()))),
        }
        for _ in 0..PLAIN {
            writers.spawn(shared.clone().plain(random.split()));
        }
        for number in 0..TRANSACTIONAL {
            writers.spawn(shared.clone().transactional(number, random.split()));
        }
        for committed_only in [false, true] {
            writers.spawn(shared.clone().reader(committed_only, random.split()));
        }
        for (index, kind) in GROUPS.iter().enumerate() {
            for number in 0..kind.members {
                members.spawn(shared.clone().member(index, number, random.split()));
            }
            members.spawn(shared.clone().watcher(index, random.split()));
        }
        Ok(Self { shared, phase, writers, members })
    }

    /// The clients end, and what is there is read once more.
    pub(crate) async fn finish(mut self) -> anyhow::Result<History> {
        self.enter(Phase::Drain);
        join(&mut self.writers).await.context("a producer or reader is stuck long after the last fault")?;
        // What a dead client left open is aborted by then, and hides nothing any more.
        sleep(TRANSACTION_TIMEOUT * 3).await;
        let input = self.last_reading(Topic::Input, Isolation::ReadCommitted).await?;
        for index in 0..GROUPS.len() {
            self.shared.drained(index, &input).await?;
        }
        self.enter(Phase::End);
        join(&mut self.members).await.context("a group's member is stuck long after the last fault")?;
        sleep(TRANSACTION_TIMEOUT * 3).await;
        for index in 0..GROUPS.len() {
            let observed = timeout(FINISH_MAX, self.shared.observe_once(index));
            observed.await.context("the last look at a group's offsets is stuck")??;
        }
        let mut last = Final::default();
        for topic in [Topic::Input, Topic::Output] {
            last.all.extend(self.last_reading(topic, Isolation::ReadUncommitted).await?);
            last.committed.extend(self.last_reading(topic, Isolation::ReadCommitted).await?);
        }
        let mut history = std::mem::take(&mut *self.shared.history.lock());
        history.last = last;
        Ok(history)
    }

    fn enter(&self, phase: Phase) {
        // Fails only when no client is left to be told.
        let _ = self.phase.send(phase);
    }

    /// Everything of a topic from the first offset to the end.
    async fn last_reading(
        &self,
        topic: Topic,
        isolation: Isolation,
    ) -> anyhow::Result<BTreeMap<Partition, Vec<(i64, Id)>>> {
        let reading = timeout(FINISH_MAX, self.read_to_the_end(topic, isolation));
        reading.await.with_context(|| format!("the last reading of {topic:?} ({isolation:?}) is stuck"))?
    }

    async fn read_to_the_end(
        &self,
        topic: Topic,
        isolation: Isolation,
    ) -> anyhow::Result<BTreeMap<Partition, Vec<(i64, Id)>>> {
        let mut consumer = self.shared.consumer(&[topic], Position::Offset(0), isolation).await?;
        let latest = topic.partitions().map(|partition| (partition.place(), OffsetSpec::Latest));
        let ends = consumer.list_offsets(&latest.collect()).await?;
        let mut read: BTreeMap<Partition, Vec<(i64, Id)>> = BTreeMap::new();
        loop {
            let mut behind = false;
            for (partition, end) in &ends {
                behind |= consumer.position(partition).is_none_or(|position| Some(position) < end.offset);
            }
            if !behind {
                return Ok(read);
            }
            for seen in poll(&mut consumer, POLL_MAX).await? {
                read.entry(seen.partition).or_default().push((seen.offset, seen.id));
            }
        }
    }
}

async fn join(tasks: &mut JoinSet<()>) -> Result<(), tokio::time::error::Elapsed> {
    timeout(FINISH_MAX, async { while tasks.join_next().await.is_some() {} }).await
}

impl Shared {
    fn is_in(&self, phase: Phase) -> bool {
        *self.phase.borrow() >= phase
    }

    /// The simulation's wall clock, in milliseconds since 1970.
    fn now_ms(&self) -> i64 {
        START_MS + i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// A number that no other producer session has.
    fn new_producer(&self) -> u32 {
        self.sessions.fetch_add(1, Ordering::Relaxed)
    }

    /// Begins a consumer session in the history; returns its index.
    fn new_session(&self, committed_only: bool, from_start: bool) -> usize {
        let sessions = &mut self.history.lock().sessions;
        sessions.push(Session { committed_only, from_start, seen: Vec::new() });
        sessions.len() - 1
    }

    /// Writes down what a session was given.
    fn note_seen(&self, session: usize, seen: &[Seen]) {
        let history = &mut *self.history.lock();
        let at = history.tick();
        history.sessions[session].seen.extend(seen.iter().map(|seen| Seen { at, ..*seen }));
    }

    /// A session that breaks has written down what it knew; its successor starts over.
    fn end_of_session(&self, client: &str, session: anyhow::Result<()>) {
        if let Err(error) = session {
            self.history.lock().broken.push(format!("{client}: {error:#}"));
        }
    }

    /// A reader of all partitions of some topics.
    async fn consumer(
        &self,
        topics: &[Topic],
        from: Position,
        isolation: Isolation,
    ) -> anyhow::Result<Consumer> {
        let config =
            ConsumerConfig { isolation, auto_offset_reset: OffsetReset::None, ..ConsumerConfig::default() };
        let mut consumer = Consumer::start(&self.client, config).await?;
        let all = topics.iter().flat_map(|topic| topic.partitions());
        consumer.assign(all.map(|partition| (partition.place(), from)).collect())?;
        Ok(consumer)
    }
}

impl Topic {
    /// Its name in the cluster.
    fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
        }
    }

    fn partitions(self) -> impl Iterator<Item = Partition> {
        (0..PARTITIONS).map(move |number| Partition { topic: self, number })
    }
}

impl Partition {
    /// As the client calls it.
    fn place(self) -> TopicPartition {
        TopicPartition::new(self.topic.name(), self.number)
    }

    fn of(topic: &str, number: i32) -> anyhow::Result<Self> {
        let known = [Topic::Input, Topic::Output].into_iter().find(|known| known.name() == topic);
        Ok(Self { topic: known.with_context(|| format!("a topic that nobody made: {topic}"))?, number })
    }
}

/// Longest wait of one poll.
const POLL_MAX: Duration = Duration::from_millis(500);

/// One poll's records.
async fn poll(consumer: &mut Consumer, wait_max: Duration) -> anyhow::Result<Vec<Seen>> {
    match consumer.poll(wait_max).await? {
        Polled::Records(partitions) => decode(&partitions),
        _ => Ok(Vec::new()),
    }
}

fn decode(partitions: &[FetchedPartition]) -> anyhow::Result<Vec<Seen>> {
    let mut seen = Vec::new();
    for fetched in partitions {
        let partition = Partition::of(&fetched.topic, fetched.partition)?;
        for record in fetched.records() {
            let record = record?;
            let value = record.value.context("the workload writes no null")?;
            let Some(id) = Id::decode(&value) else { bail!("a value that nobody wrote: {value:?}") };
            seen.push(Seen { partition, offset: record.offset, id, at: 0 });
        }
    }
    Ok(seen)
}
