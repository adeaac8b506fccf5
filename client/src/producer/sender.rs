//! The task that moves batches from the accumulator to the brokers, and answers back.

mod answer;

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::messages::InitProducerIdRequest;
use millrace_wire::ids::{ProducerEpoch, ProducerId};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::Shared;
use super::accumulator::Batch;
use super::lane::{self, Answer};
use crate::backoff::Backoff;
use crate::error::{Error, Result};
use crate::topic::TopicPartition;

struct Sender {
    shared: Arc<Shared>,
    lanes: BTreeMap<i32, Lane>,
    answers: mpsc::UnboundedSender<Answer>,
    /// Pauses of look-ups that failed.
    backoff: Backoff,
    /// Nothing is looked up before this.
    not_before: Option<Instant>,
    refreshing: Option<tokio::task::JoinHandle<()>>,
}

/// The way to one broker.
struct Lane {
    requests: mpsc::UnboundedSender<Vec<Batch>>,
    in_flight: usize,
}

/// Runs until the producer is closed.
pub(super) async fn run(shared: Arc<Shared>) {
    let (answers, mut arriving) = mpsc::unbounded_channel();
    let backoff = shared.cluster.backoff();
    let mut sender = Sender {
        shared: shared.clone(),
        lanes: BTreeMap::new(),
        answers,
        backoff,
        not_before: None,
        refreshing: None,
    };
    while !shared.accumulator.lock().is_closed() {
        let wake_at = sender.step().await;
        let timer = async {
            match wake_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(answer) = arriving.recv() => sender.answered(answer),
            () = shared.wake.notified() => {}
            () = timer => {}
        }
        while let Ok(answer) = arriving.try_recv() {
            sender.answered(answer);
        }
    }
    shared.fail_unsent(&Error::Closed("producer"));
    shared.cluster.close();
}

impl Sender {
    /// Sends what is due; says when to look again.
    async fn step(&mut self) -> Option<Instant> {
        self.not_before = self.not_before.filter(|at| *at > Instant::now());
        self.shared.settle();
        let ready = {
            let mut accumulator = self.shared.accumulator.lock();
            accumulator.ready(Instant::now())
        };
        self.shared.settle();
        if self.shared.cluster.metadata_is_stale() && !ready.partitions.is_empty() {
            self.refresh();
        }
        if !self.ensure_identity(!ready.partitions.is_empty()).await {
            return self.not_before.or(ready.wake_at);
        }
        let partitions = self.in_transaction(ready.partitions).await;
        if partitions.is_empty() {
            return earliest(ready.wake_at, self.not_before.take());
        }
        let homeless = self.send(partitions);
        if homeless {
            self.refresh();
        }
        ready.wake_at
    }

    /// Hands batches to the lanes of their leaders. Says whether a partition has none.
    fn send(&mut self, partitions: Vec<TopicPartition>) -> bool {
        let metadata = self.shared.cluster.metadata();
        let mut by_leader: BTreeMap<i32, Vec<TopicPartition>> = BTreeMap::new();
        let mut homeless = false;
        for tp in partitions {
            match metadata.leader(&tp) {
                Some(leader) => by_leader.entry(leader).or_default().push(tp),
                None => homeless = true,
            }
        }
        let max_in_flight = self.shared.config.max_in_flight;
        for (leader, partitions) in by_leader {
            if self.lane(leader).in_flight >= max_in_flight {
                continue;
            }
            let batches = self.shared.accumulator.lock().take(&partitions);
            let batches = self.build(batches);
            if !batches.is_empty() {
                let lane = self.lane(leader);
                lane.in_flight += 1;
                // The lane lives as long as its sender does.
                let _ = lane.requests.send(batches);
                // Partitions that did not fit into this request go with the next.
                self.shared.wake.notify_one();
            }
        }
        homeless
    }

    /// Compresses; a batch that fails here fails for good.
    fn build(&self, batches: Vec<Batch>) -> Vec<Batch> {
        let mut built = Vec::with_capacity(batches.len());
        for mut batch in batches {
            match batch.build() {
                Ok(()) => built.push(batch),
                Err(error) => self.shared.accumulator.lock().refuse(batch, error, false),
            }
        }
        built
    }

    fn lane(&mut self, broker: i32) -> &mut Lane {
        let (shared, answers) = (&self.shared, &self.answers);
        self.lanes.entry(broker).or_insert_with(|| {
            let (requests, queue) = mpsc::unbounded_channel();
            tokio::spawn(lane::run(shared.clone(), broker, queue, answers.clone()));
            Lane { requests, in_flight: 0 }
        })
    }

    fn answered(&mut self, answer: Answer) {
        if let Some(lane) = self.lanes.get_mut(&answer.broker) {
            lane.in_flight = lane.in_flight.saturating_sub(1);
        }
        if let Some(transactions) = &self.shared.transactions {
            answer.batches.iter().for_each(|batch| transactions.answered(&batch.tp));
        }
        if answer::settle(&self.shared, answer) {
            self.refresh();
        }
        self.shared.settle();
    }

    /// Fetches metadata aside and wakes the sender when there is news.
    fn refresh(&mut self) {
        if self.refreshing.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let shared = self.shared.clone();
        self.refreshing = Some(tokio::spawn(async move {
            let seen = shared.cluster.metadata().version;
            let mut backoff = shared.cluster.backoff();
            if let Err(error) = shared.cluster.refresh(seen).await {
                tracing::debug!(%error, "metadata was not refreshed");
            }
            // Also after a success: a leader may still be missing, and asking at once would not find it sooner.
            backoff.pause().await;
            shared.wake.notify_one();
        }));
    }

    /// Whether the producer has an id. Asks for one when `wanted`, if it is not the transaction's to ask.
    async fn ensure_identity(&mut self, wanted: bool) -> bool {
        let start_over = self.shared.accumulator.lock().may_start_over();
        if self.shared.accumulator.lock().identity().is_some() {
            return true;
        }
        if self.shared.transactions.is_some() || !(wanted || start_over) || self.is_pausing() {
            return false;
        }
        if self.shared.accumulator.lock().in_flight() > 0 {
            return false;
        }
        match init_producer_id(&self.shared).await {
            Ok(identity) => {
                self.backoff.reset();
                self.not_before = None;
                self.shared.accumulator.lock().start_identity(identity);
                self.shared.wake.notify_one();
                true
            }
            Err(error) if error.is_retriable() => {
                tracing::debug!(%error, "no producer id yet");
                self.pause();
                false
            }
            Err(error) => {
                self.shared.fail_unsent(&error);
                false
            }
        }
    }

    /// Which of `partitions` may be written to now: without transactions all of them.
    async fn in_transaction(&self, partitions: Vec<TopicPartition>) -> Vec<TopicPartition> {
        let Some(transactions) = &self.shared.transactions else { return partitions };
        if partitions.is_empty() || !transactions.may_send() {
            return Vec::new();
        }
        let metadata = self.shared.cluster.metadata();
        transactions.add_partitions(partitions, |tp| metadata.leader(tp)).await.unwrap_or_else(|error| {
            transactions.fail(&error);
            self.shared.fail_unsent(&error);
            Vec::new()
        })
    }

    fn is_pausing(&self) -> bool {
        self.not_before.is_some_and(|at| at > Instant::now())
    }

    fn pause(&mut self) {
        self.not_before = Some(Instant::now() + self.backoff.next_pause());
    }
}

async fn init_producer_id(shared: &Shared) -> Result<(ProducerId, ProducerEpoch)> {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(i32::MAX)
        .with_producer_id((-1).into())
        .with_producer_epoch(-1);
    let response = shared.cluster.request_any(&request).await?;
    Error::check("InitProducerId", || "idempotent producer".to_owned(), response.error_code)?;
    Ok((ProducerId(response.producer_id.0), ProducerEpoch(response.producer_epoch)))
}

fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
