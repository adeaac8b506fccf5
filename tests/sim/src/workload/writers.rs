//! Producers of the input, and what every producer of a run needs.

use std::time::Duration;

use bytes::Bytes;
use millrace_client::{
    Consumer, Delivery, Isolation, Position, ProduceRecord, Producer, ProducerConfig, Random, Result,
};
use tokio::time::sleep;

use super::{PARTITIONS, PAUSE_MAX_MS, Phase, Shared, TRANSACTION_TIMEOUT, poll};
use crate::history::{Id, Outcome, Partition, Sent, Topic, Transaction, Verdict};

/// Records of one session, at most.
const SESSION_RECORDS: u64 = 200;
/// Longest wait for records inside of a transaction.
const READ_MAX: Duration = Duration::from_millis(20);

impl Shared {
    pub(super) async fn producer(&self, transactional_id: Option<String>) -> Result<Producer> {
        let config = ProducerConfig {
            transactional_id,
            transaction_timeout: TRANSACTION_TIMEOUT,
            delivery_timeout: Duration::from_secs(20),
            ..ProducerConfig::default()
        };
        Producer::start(&self.client, config).await
    }

    /// An idempotent producer, session after session.
    pub(super) async fn plain(self, mut random: Random) {
        while !self.is_in(Phase::Drain) {
            let session = self.plain_session(&mut random).await;
            self.end_of_session("producer", session);
            sleep(Duration::from_millis(random.below(PAUSE_MAX_MS))).await;
        }
    }

    async fn plain_session(&self, random: &mut Random) -> anyhow::Result<()> {
        let producer = self.producer(None).await?;
        let session = self.new_producer();
        let mut deliveries = Vec::new();
        for number in 0..random.below(SESSION_RECORDS) as u32 {
            if self.is_in(Phase::Drain) {
                break;
            }
            let sent = self.sent(Topic::Input, Id { producer: session, number }, random);
            deliveries.push(self.send(&producer, sent).await?);
            sleep(Duration::from_millis(random.below(PAUSE_MAX_MS))).await;
        }
        Ok(self.settle(deliveries).await?)
    }

    /// A transactional producer: each session takes over the id from the one before.
    pub(super) async fn transactional(self, number: u32, mut random: Random) {
        while !self.is_in(Phase::Drain) {
            let session = self.transactional_session(&format!("sim-{number}"), &mut random).await;
            self.end_of_session("transactional producer", session);
            sleep(Duration::from_millis(random.below(PAUSE_MAX_MS))).await;
        }
    }

    async fn transactional_session(&self, transactional_id: &str, random: &mut Random) -> anyhow::Result<()> {
        let producer = self.producer(Some(transactional_id.to_owned())).await?;
        producer.init_transactions().await?;
        let topics = [Topic::Input, Topic::Output];
        let mut reader = self.consumer(&topics, Position::Latest, Isolation::ReadCommitted).await?;
        let reads = self.new_session(true, false);
        let session = self.new_producer();
        let mut number = 0;
        while !self.is_in(Phase::Drain) && u64::from(number) < SESSION_RECORDS {
            let transaction = self.begin(&producer)?;
            let mut deliveries = Vec::new();
            for _ in 0..1 + random.below(6) {
                let sent = self.sent(Topic::Input, Id { producer: session, number }, random);
                number += 1;
                deliveries.push(self.send(&producer, Sent { transaction: Some(transaction), ..sent }).await?);
                sleep(Duration::from_millis(random.below(PAUSE_MAX_MS))).await;
                if random.below(4) == 0 {
                    self.read_inside(transaction, &mut reader, reads).await?;
                }
            }
            self.settle(deliveries).await?;
            self.end(&producer, transaction, random.below(4) != 0).await?;
        }
        Ok(())
    }

    /// Reads as a part of a transaction.
    async fn read_inside(
        &self,
        transaction: usize,
        reader: &mut Consumer,
        session: usize,
    ) -> anyhow::Result<()> {
        let seen = poll(reader, READ_MAX).await?;
        self.note_seen(session, &seen);
        let reads = seen.iter().map(|seen| seen.id);
        self.history.lock().transactions[transaction].reads.extend(reads);
        Ok(())
    }

    /// Begins a transaction; until more is known, nothing is known of it.
    pub(super) fn begin(&self, producer: &Producer) -> Result<usize> {
        let history = &mut *self.history.lock();
        let began = history.tick();
        producer.begin_transaction()?;
        history.transactions.push(Transaction::begun(began));
        Ok(history.transactions.len() - 1)
    }

    /// Commits or aborts a transaction.
    pub(super) async fn end(&self, producer: &Producer, transaction: usize, commits: bool) -> Result<()> {
        if commits {
            let history = &mut *self.history.lock();
            history.transactions[transaction].asked = Some(history.tick());
        }
        let verdict = if commits {
            producer.commit_transaction().await?;
            Verdict::Committed
        } else {
            producer.abort_transaction().await?;
            Verdict::Aborted
        };
        let history = &mut *self.history.lock();
        let ended = Some(history.tick());
        let transaction = &mut history.transactions[transaction];
        (transaction.verdict, transaction.ended) = (verdict, ended);
        Ok(())
    }

    /// A record outside of any transaction, for any partition of a topic.
    pub(super) fn sent(&self, topic: Topic, id: Id, random: &mut Random) -> Sent {
        let partition = Partition { topic, number: random.below(PARTITIONS as u64) as i32 };
        Sent { id, partition, transaction: None, source: None, outcome: Outcome::Unknown }
    }

    /// Hands a record to the producer. It is in the history before it can be anywhere else.
    pub(super) async fn send(&self, producer: &Producer, sent: Sent) -> Result<(usize, Delivery)> {
        let index = {
            let list = &mut self.history.lock().sent;
            list.push(sent);
            list.len() - 1
        };
        let record = ProduceRecord {
            topic: sent.partition.topic.name().into(),
            partition: Some(sent.partition.number),
            key: None,
            value: Some(Bytes::from(sent.id.encode())),
            headers: Vec::new(),
            timestamp: Some(self.now_ms()),
        };
        Ok((index, producer.send(record).await?))
    }

    /// Waits for acknowledgements and writes them down; all of them, even after one has failed.
    pub(super) async fn settle(&self, deliveries: Vec<(usize, Delivery)>) -> Result<()> {
        let mut result = Ok(());
        for (index, delivery) in deliveries {
            match delivery.wait().await {
                Ok(metadata) => {
                    self.history.lock().sent[index].outcome = Outcome::Acknowledged(metadata.offset)
                }
                Err(error) => result = Err(error),
            }
        }
        result
    }
}
