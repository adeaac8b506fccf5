//! A command at work: letters are chosen, sent back or put aside, and marked, transaction by transaction.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_client::{NewTopic, ProduceRecord, Producer, ProducerConfig, TopicPartition};
use millrace_wire::record::RecordRef;
use tokio::time::Instant;

use super::choice::Choice;
use super::desk::{Action, DeadLetters, Error, Handled, found_in, too_many};
use super::marks::{Ledger, Marks, RANGES_MAX};
use super::retry_topic;
use super::scan::Found;
use super::seen::{LETTERS_MAX, Seen};
use crate::component::batch::is_topic_name;
use crate::failure::dead_letter::Stage;
use crate::offsets;
use crate::worker::topics;

/// How long, and how often, the coordinator is asked to commit before it is given up.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(60);
const COMMIT_PAUSE: Duration = Duration::from_millis(500);

impl DeadLetters {
    /// Does something with the letters of a connector that wait and are meant. A kill in the middle leaves some done and the others as they
    /// were.
    ///
    /// # Errors
    /// When the topic isn't there, the cluster refuses, or somebody else took over.
    pub async fn handle(
        &self,
        topic: &str,
        connector: &str,
        choice: &Choice,
        action: Action,
    ) -> Result<Handled, Error> {
        let mut handled = Handled::default();
        let outcome = self.handle_each(topic, connector, choice, action, &mut handled).await;
        match outcome {
            Err(Error::Cluster(error)) if error.is_fenced() => {
                Err(Error::Superseded { connector: connector.to_owned(), done: handled.done })
            }
            outcome => outcome.map(|()| handled),
        }
    }

    async fn handle_each(
        &self,
        topic: &str,
        connector: &str,
        choice: &Choice,
        action: Action,
        handled: &mut Handled,
    ) -> Result<(), Error> {
        let retry_topic: Arc<str> = retry_topic(connector).into();
        if action == Action::Retry && !is_topic_name(&retry_topic) {
            return Err(Error::Unnamable(connector.to_owned()));
        }
        topics::ensure_compacted(&self.client, &[(&self.offsets_topic, self.offsets_partitions)]).await?;
        let in_the_first = || TopicPartition::new(Arc::clone(&self.offsets_topic), 0);
        let mut work = Work {
            desk: self,
            producer: self.producer(connector).await?,
            offsets: self.offsets_of(connector).await?.unwrap_or_else(in_the_first),
            connector,
            topic,
            retry_topic,
            retry_partitions: None,
            left: choice.count_max.unwrap_or(u64::MAX),
            seen: Seen::default(),
        };
        let mut scan = self.scan(topic).await?;
        let mut marks = self.marks(connector).await?;
        work.seen = self.handled_before(topic, connector, &marks).await?;
        for tp in scan.partitions() {
            let before = marks.remove(&(topic.to_owned(), tp.partition));
            let before = before.filter(|marks| marks.is_of(&scan.topic_id));
            let mut ledger = Ledger::new(before.unwrap_or_else(|| Marks::new(&scan.topic_id)));
            scan.begin(&tp, None)?;
            while let Some((fetched, end)) = scan.next(&tp).await? {
                let mut step = Step::default();
                for fetched in &fetched {
                    fetched.for_each(|record| {
                        if let Some(found) = found_in(topic, &tp, end, &record)
                            && found.letter.connector == connector
                        {
                            work.look(&found, choice, action, &record, &mut ledger, &mut step);
                        }
                    })?;
                }
                if work.seen.count > LETTERS_MAX {
                    return Err(too_many(topic, connector));
                }
                handled.left_out += step.left_out;
                handled.unread += step.unread;
                if step.done > 0 {
                    work.commit(&tp, &ledger, step.records).await?;
                    handled.done += step.done;
                }
            }
        }
        Ok(scan.close().await?)
    }

    /// The producer that fences whoever else works on the connector's letters.
    async fn producer(&self, connector: &str) -> Result<Producer, Error> {
        let transactional_id = Some(format!("dlq-{connector}"));
        let config = ProducerConfig { transactional_id, ..ProducerConfig::default() };
        let producer = Producer::start(&self.client, config).await?;
        producer.init_transactions().await?;
        Ok(producer)
    }
}

/// One command at work on a connector's letters.
struct Work<'a> {
    desk: &'a DeadLetters,
    producer: Producer,
    /// Where the connector's marks are.
    offsets: TopicPartition,
    connector: &'a str,
    topic: &'a str,
    retry_topic: Arc<str>,
    /// Partitions of the retry topic; none: it was not needed yet.
    retry_partitions: Option<i32>,
    /// How many letters may still be handled.
    left: u64,
    seen: Seen,
}

/// What one look at the topic brought.
#[derive(Default)]
struct Step {
    records: Vec<(Option<(String, i32)>, ProduceRecord)>,
    done: u64,
    left_out: u64,
    unread: u64,
}

impl Work<'_> {
    /// Decides about a letter of the connector.
    fn look(
        &mut self,
        found: &Found<'_>,
        choice: &Choice,
        action: Action,
        record: &RecordRef<'_>,
        ledger: &mut Ledger,
        step: &mut Step,
    ) {
        if ledger.was_handled(found.offset) {
            return ledger.note(found.offset, true);
        }
        // A copy goes the way of the first one.
        if let Some(is_handled) = self.seen.earlier(found) {
            return ledger.note(found.offset, is_handled);
        }
        let is_unread = found.letter.stage == Stage::TaskPoll.name()
            && !choice.stages.iter().any(|stage| stage == Stage::TaskPoll.name());
        let mut is_meant = self.left > 0 && choice.includes(found);
        if is_meant && action == Action::Retry {
            step.left_out += u64::from(found.letter.is_left_out);
            step.unread += u64::from(is_unread && !found.letter.is_left_out);
            is_meant = !found.letter.is_left_out && !is_unread;
        }
        ledger.note(found.offset, is_meant);
        self.seen.note(found, is_meant);
        if !is_meant {
            return;
        }
        self.left -= 1;
        step.done += 1;
        if action == Action::Retry {
            let bytes = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
            let origin =
                found.letter.origin.as_ref().map(|(topic, partition, _)| (topic.to_string(), *partition));
            let again = ProduceRecord {
                topic: Arc::clone(&self.retry_topic),
                partition: None,
                key: record.key.map(bytes),
                value: record.value.map(bytes),
                headers: record.headers.map(|(name, value)| (bytes(name), value.map(bytes))).collect(),
                timestamp: Some(record.timestamp),
            };
            step.records.push((origin, again));
        }
    }

    /// Writes what is retried and that it is handled: both or neither.
    async fn commit(
        &mut self,
        tp: &TopicPartition,
        ledger: &Ledger,
        records: Vec<(Option<(String, i32)>, ProduceRecord)>,
    ) -> Result<(), Error> {
        let marks = ledger.marks();
        if marks.ranges() > RANGES_MAX {
            return Err(Error::Scattered { topic: self.topic.to_owned(), partition: tp.partition });
        }
        if let Some((origin, _)) = records.first() {
            self.make_retry_topic(origin.as_ref().map(|(topic, _)| topic.as_str())).await?;
        }
        let partitions = self.retry_partitions.unwrap_or(1).max(1);
        let producer = &self.producer;
        producer.begin_transaction()?;
        let written = async {
            let mut deliveries = Vec::with_capacity(records.len() + 1);
            for (origin, record) in records {
                // So that the task that reads a partition reads what was retried of it, too.
                let partition = origin.map_or(0, |(_, partition)| partition.rem_euclid(partitions));
                deliveries.push(producer.send(ProduceRecord { partition: Some(partition), ..record }).await?);
            }
            let key = Marks::key(self.connector, self.topic, tp.partition);
            let marked = offsets::record(&self.offsets, key, Some(marks.value()));
            deliveries.push(producer.send(marked).await?);
            producer.flush().await?;
            for delivery in deliveries {
                delivery.wait().await?;
            }
            commit(producer).await
        };
        let written = written.await;
        if let Err(error) = &written
            && !error.is_fenced()
            && let Err(error) = producer.abort_transaction().await
        {
            tracing::debug!(%error, "the transaction could not be aborted; the next command, or the broker's timeout, ends it");
        }
        Ok(written?)
    }

    /// Makes the topic that brings letters back, with the partitions of the topic that they were read from.
    async fn make_retry_topic(&mut self, origin: Option<&str>) -> Result<(), Error> {
        if self.retry_partitions.is_some() {
            return Ok(());
        }
        let client = &self.desk.client;
        let count = match origin.filter(|origin| is_topic_name(origin)) {
            Some(origin) => topics::partitions_if_there(client, origin).await?,
            None => None,
        };
        // Whatever is in it is still to be read, however long the connector rests.
        let forever = ["retention.ms", "retention.bytes"].map(|name| (name.to_owned(), "-1".to_owned()));
        let topic = NewTopic {
            configs: BTreeMap::from(forever),
            ..NewTopic::new(&*self.retry_topic, count.unwrap_or(1))
        };
        topics::create(client, &[topic]).await?;
        self.retry_partitions = Some(topics::partition_count(client, &self.retry_topic).await?);
        Ok(())
    }
}

/// Commits; asks again when the answer is lost, which is harmless and leaves no doubt.
async fn commit(producer: &Producer) -> Result<(), millrace_client::Error> {
    let asked = Instant::now();
    while let Err(error) = producer.commit_transaction().await {
        let again = (error.is_retriable() || error.is_in_doubt()) && !error.needs_abort();
        if !again || asked.elapsed() > COMMIT_TIMEOUT {
            return Err(error);
        }
        tokio::time::sleep(COMMIT_PAUSE).await;
    }
    Ok(())
}
