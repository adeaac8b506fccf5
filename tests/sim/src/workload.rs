//! The clients of a run. Each writes down what it learns, and starts over with a new session when its session breaks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use millrace_client::{
    Admin, BackoffConfig, Client, ClientConfig, Consumer, ConsumerConfig, Delivery, FeatureChange, Isolation,
    NewTopic, OffsetReset, OffsetSpec, Polled, Position, ProduceRecord, Producer, ProducerConfig, Random,
    TopicPartition,
};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::history::{Final, History, Id, Outcome, Seen, Sent, Session, Verdict};
use crate::network::Network;
use crate::world::START_MS;

/// The topic that all write to.
const TOPIC: &str = "sim";
/// Its partitions.
const PARTITIONS: i32 = 3;
/// Producers outside of transactions.
const PLAIN: u32 = 2;
/// Producers with transactions.
const TRANSACTIONAL: u32 = 2;
/// Records of one session, at most.
const SESSION_RECORDS: u64 = 200;
/// Longest pause between two sends, in milliseconds.
const PAUSE_MAX_MS: u64 = 30;
/// Longest time that a transaction protocol holds, in milliseconds.
const CHANGE_MAX_MS: u64 = 2000;
/// When the coordinator aborts what a killed client left open.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time for the clients' end and the last reading: by then every fault is long over.
const FINISH_MAX: Duration = Duration::from_secs(600);

/// The clients at work.
pub(crate) struct Workload {
    client: Client,
    history: Arc<Mutex<History>>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// What every client has.
#[derive(Clone)]
struct Shared {
    client: Client,
    history: Arc<Mutex<History>>,
    stop: watch::Receiver<bool>,
    sessions: Arc<AtomicU32>,
    began: Instant,
}

impl Workload {
    /// Makes the topic and starts the clients.
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
        let topic = NewTopic::new(TOPIC, PARTITIONS);
        for (name, result) in Admin::new(&client).create_topics(&[topic]).await? {
            result.with_context(|| format!("creating {name}"))?;
        }
        let history = Arc::new(Mutex::new(History::default()));
        let (stop, stopped) = watch::channel(false);
        let shared = Shared {
            client: client.clone(),
            history: history.clone(),
            stop: stopped,
            sessions: Arc::default(),
            began: Instant::now(),
        };
        let mut tasks = JoinSet::new();
        match random.below(3) {
            // A cluster of the first transaction protocol, one of the second, and one that goes back and forth.
            0 => shared.speak(Admin::new(&client), 1).await?,
            1 => {}
            _ => drop(tasks.spawn(shared.clone().change_of_mind(random.split()))),
        }
        for _ in 0..PLAIN {
            tasks.spawn(shared.clone().plain(random.split()));
        }
        for number in 0..TRANSACTIONAL {
            tasks.spawn(shared.clone().transactional(number, random.split()));
        }
        for committed_only in [false, true] {
            tasks.spawn(shared.clone().reader(committed_only, random.split()));
        }
        Ok(Self { client, history, stop, tasks })
    }

    /// The clients end, and what is there is read once more.
    pub(crate) async fn finish(mut self) -> anyhow::Result<History> {
        // Fails only when no client is left to be told.
        let _ = self.stop.send(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        timeout(FINISH_MAX, ended).await.context("a client is stuck long after the last fault")?;
        // What a dead client left open is aborted by then, and hides nothing any more.
        sleep(TRANSACTION_TIMEOUT * 3).await;
        let all = self.last_reading(Isolation::ReadUncommitted);
        let all = timeout(FINISH_MAX, all).await.context("the last reading is stuck")??;
        let committed = self.last_reading(Isolation::ReadCommitted);
        let committed =
            timeout(FINISH_MAX, committed).await.context("the last committed reading is stuck")??;
        let mut history = std::mem::take(&mut *self.history.lock());
        history.last = Final { all, committed };
        Ok(history)
    }

    /// Everything from the first offset to the end.
    async fn last_reading(&self, isolation: Isolation) -> anyhow::Result<BTreeMap<i32, Vec<(i64, Id)>>> {
        let mut consumer = consumer(&self.client, isolation).await?;
        let latest = (0..PARTITIONS).map(|p| (TopicPartition::new(TOPIC, p), OffsetSpec::Latest));
        let ends = consumer.list_offsets(&latest.collect()).await?;
        let mut read: BTreeMap<i32, Vec<(i64, Id)>> = BTreeMap::new();
        loop {
            let mut behind = false;
            for (partition, end) in &ends {
                behind |= consumer.position(partition).is_none_or(|position| Some(position) < end.offset);
            }
            if !behind {
                return Ok(read);
            }
            for seen in poll(&mut consumer).await? {
                read.entry(seen.partition).or_default().push((seen.offset, seen.id));
            }
        }
    }
}

impl Shared {
    fn stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// The simulation's wall clock, in milliseconds since 1970.
    fn now_ms(&self) -> i64 {
        START_MS + i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// Sets the cluster's transaction protocol.
    async fn speak(&self, admin: Admin, level: i16) -> anyhow::Result<()> {
        let change = if level < 2 { FeatureChange::SafeDowngrade } else { FeatureChange::Upgrade };
        Ok(admin.update_feature("transaction.version", level, change).await?)
    }

    /// Up and down between the transaction protocols.
    async fn change_of_mind(self, mut random: Random) {
        let admin = Admin::new(&self.client);
        for level in [1, 2].into_iter().cycle() {
            if self.stopped() {
                return;
            }
            // One that fails is asked for again two rounds later.
            let changed = self.speak(admin.clone(), level).await;
            self.end_of_session("operator", changed);
            sleep(Duration::from_millis(random.below(CHANGE_MAX_MS))).await;
        }
    }

    /// A number that no other producer session has.
    fn new_session(&self) -> u32 {
        self.sessions.fetch_add(1, Ordering::Relaxed)
    }

    /// A session that breaks has written down what it knew; its successor starts over.
    fn end_of_session(&self, client: &str, session: anyhow::Result<()>) {
        if let Err(error) = session {
            self.history.lock().broken.push(format!("{client}: {error:#}"));
        }
    }

    async fn producer(&self, transactional_id: Option<String>) -> anyhow::Result<Producer> {
        let config = ProducerConfig {
            transactional_id,
            transaction_timeout: TRANSACTION_TIMEOUT,
            delivery_timeout: Duration::from_secs(20),
            ..ProducerConfig::default()
        };
        Ok(Producer::start(&self.client, config).await?)
    }

    /// An idempotent producer, session after session.
    async fn plain(self, mut random: Random) {
        while !self.stopped() {
            let session = self.plain_session(&mut random).await;
            self.end_of_session("producer", session);
            sleep(Duration::from_millis(random.below(PAUSE_MAX_MS))).await;
        }
    }

    async fn plain_session(&self, random: &mut Random) -> anyhow::Result<()> {
        let producer = self.producer(None).await?;
        let session = self.new_session();
        let mut deliveries = Vec::new();
        for number in 0..random.below(SESSION_RECORDS) as u32 {
            if self.stopped() {
                break;
            }
            deliveries.push(self.send(&producer, Id { producer: session, number }, None, random).await?);
            sleep(Duration::from_millis(random.below(PAUSE_MAX_MS))).await;
        }
        self.settle(deliveries).await
    }

    /// A transactional producer: each session takes over the id from the one before.
    async fn transactional(self, number: u32, mut random: Random) {
        while !self.stopped() {
            let session = self.transactional_session(&format!("sim-{number}"), &mut random).await;
            self.end_of_session("transactional producer", session);
            sleep(Duration::from_millis(random.below(PAUSE_MAX_MS))).await;
        }
    }

    async fn transactional_session(&self, transactional_id: &str, random: &mut Random) -> anyhow::Result<()> {
        let producer = self.producer(Some(transactional_id.to_owned())).await?;
        producer.init_transactions().await?;
        let session = self.new_session();
        let mut number = 0;
        while !self.stopped() && u64::from(number) < SESSION_RECORDS {
            let transaction = self.begin(&producer)?;
            let mut deliveries = Vec::new();
            for _ in 0..1 + random.below(6) {
                let id = Id { producer: session, number };
                number += 1;
                deliveries.push(self.send(&producer, id, Some(transaction), random).await?);
                sleep(Duration::from_millis(random.below(PAUSE_MAX_MS))).await;
            }
            self.settle(deliveries).await?;
            let verdict = if random.below(4) == 0 {
                producer.abort_transaction().await?;
                Verdict::Aborted
            } else {
                {
                    let history = &mut *self.history.lock();
                    history.moment += 1;
                    history.commits.insert(transaction, history.moment);
                }
                producer.commit_transaction().await?;
                Verdict::Committed
            };
            self.history.lock().transactions[transaction] = verdict;
        }
        Ok(())
    }

    /// Begins a transaction; until more is known, nothing is known of it.
    fn begin(&self, producer: &Producer) -> anyhow::Result<usize> {
        producer.begin_transaction()?;
        let transactions = &mut self.history.lock().transactions;
        transactions.push(Verdict::Unknown);
        Ok(transactions.len() - 1)
    }

    /// Hands a record to the producer. It is in the history before it can be anywhere else.
    async fn send(
        &self,
        producer: &Producer,
        id: Id,
        transaction: Option<usize>,
        random: &mut Random,
    ) -> anyhow::Result<(usize, Delivery)> {
        let partition = random.below(PARTITIONS as u64) as i32;
        let index = {
            let sent = &mut self.history.lock().sent;
            sent.push(Sent { id, partition, transaction, outcome: Outcome::Unknown });
            sent.len() - 1
        };
        let record = ProduceRecord {
            topic: TOPIC.into(),
            partition: Some(partition),
            key: None,
            value: Some(Bytes::from(id.encode())),
            headers: Vec::new(),
            timestamp: Some(self.now_ms()),
        };
        Ok((index, producer.send(record).await?))
    }

    /// Waits for acknowledgements and writes them down; all of them, even after one has failed.
    async fn settle(&self, deliveries: Vec<(usize, Delivery)>) -> anyhow::Result<()> {
        let mut result = Ok(());
        for (index, delivery) in deliveries {
            match delivery.wait().await {
                Ok(metadata) => {
                    self.history.lock().sent[index].outcome = Outcome::Acknowledged(metadata.offset)
                }
                Err(error) => result = Err(error.into()),
            }
        }
        result
    }

    /// Reads from the first offset on, session after session.
    async fn reader(self, committed_only: bool, mut random: Random) {
        while !self.stopped() {
            let index = {
                let sessions = &mut self.history.lock().sessions;
                sessions.push(Session { committed_only, seen: Vec::new() });
                sessions.len() - 1
            };
            let polls = 20 + random.below(200);
            let session = self.read_session(index, committed_only, polls).await;
            self.end_of_session("reader", session);
            sleep(Duration::from_millis(random.below(PAUSE_MAX_MS))).await;
        }
    }

    async fn read_session(&self, index: usize, committed_only: bool, polls: u64) -> anyhow::Result<()> {
        let isolation = if committed_only { Isolation::ReadCommitted } else { Isolation::ReadUncommitted };
        let mut consumer = consumer(&self.client, isolation).await?;
        for _ in 0..polls {
            if self.stopped() {
                break;
            }
            let seen = poll(&mut consumer).await?;
            let history = &mut *self.history.lock();
            history.moment += 1;
            let at = history.moment;
            history.sessions[index].seen.extend(seen.into_iter().map(|seen| Seen { at, ..seen }));
        }
        Ok(())
    }
}

/// A reader of all partitions from their first offset.
async fn consumer(client: &Client, isolation: Isolation) -> anyhow::Result<Consumer> {
    let config =
        ConsumerConfig { isolation, auto_offset_reset: OffsetReset::None, ..ConsumerConfig::default() };
    let mut consumer = Consumer::start(client, config).await?;
    let all = (0..PARTITIONS).map(|p| (TopicPartition::new(TOPIC, p), Position::Offset(0)));
    consumer.assign(all.collect())?;
    Ok(consumer)
}

/// One poll's records.
async fn poll(consumer: &mut Consumer) -> anyhow::Result<Vec<Seen>> {
    let mut seen = Vec::new();
    if let Polled::Records(partitions) = consumer.poll(Duration::from_millis(500)).await? {
        for fetched in partitions {
            for record in fetched.records() {
                let record = record?;
                let value = record.value.context("the workload writes no null")?;
                let Some(id) = Id::decode(&value) else { bail!("a value that nobody wrote: {value:?}") };
                seen.push(Seen { partition: fetched.partition, offset: record.offset, id, at: 0 });
            }
        }
    }
    Ok(seen)
}
