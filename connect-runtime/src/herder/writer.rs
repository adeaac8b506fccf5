//! Writing to the topics of state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_client::{Client, Error, ProduceRecord, Producer, ProducerConfig};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::record::{ConfigRecord, Record, StatusRecord};

/// Pause after states could not be written.
const PAUSE: Duration = Duration::from_secs(1);

fn produced(topic: &Arc<str>, record: Record) -> ProduceRecord {
    ProduceRecord {
        topic: Arc::clone(topic),
        key: Some(Bytes::from(record.key)),
        value: record.value.map(Bytes::from),
        ..ProduceRecord::default()
    }
}

/// Writes what is wanted, for whoever waits for it.
#[derive(Clone, Debug)]
pub(super) struct ConfigWriter {
    producer: Producer,
    topic: Arc<str>,
}

impl ConfigWriter {
    pub(super) async fn start(client: &Client, topic: &str) -> Result<Self, Error> {
        let producer = Producer::start(client, ProducerConfig::default()).await?;
        Ok(Self { producer, topic: topic.into() })
    }

    /// A record as it is written.
    pub(super) fn produced(&self, record: ConfigRecord) -> ProduceRecord {
        ProduceRecord { partition: Some(0), ..produced(&self.topic, record.record()) }
    }

    /// Writes in order; gives the offset of the last.
    pub(super) async fn write(&self, records: Vec<ConfigRecord>) -> Result<i64, Error> {
        let mut deliveries = Vec::new();
        for record in records {
            deliveries.push(self.producer.send(self.produced(record)).await?);
        }
        self.producer.flush().await?;
        let mut last = -1;
        for delivery in deliveries {
            last = delivery.wait().await?.offset;
        }
        Ok(last)
    }
}

/// States that wait to be written: the newest of each key, so there are never more than there are things with a state.
#[derive(Debug, Default)]
pub(super) struct StatusQueue {
    waiting: Mutex<BTreeMap<String, Record>>,
    news: Notify,
}

impl StatusQueue {
    pub(super) fn push(&self, record: &StatusRecord) {
        let record = record.record();
        self.waiting.lock().insert(record.key.clone(), record);
        self.news.notify_one();
    }

    /// Writes what comes, again after errors, until dropped.
    pub(super) async fn write(&self, producer: &Producer, topic: &Arc<str>) {
        loop {
            self.news.notified().await;
            self.drain(producer, topic).await;
        }
    }

    /// Writes what waits now.
    pub(super) async fn drain(&self, producer: &Producer, topic: &Arc<str>) {
        loop {
            let batch = std::mem::take(&mut *self.waiting.lock());
            if batch.is_empty() {
                return;
            }
            if let Err(error) = write_all(producer, topic, batch.values()).await {
                tracing::warn!(%error, "states can't be written now");
                self.put_back(batch);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    fn put_back(&self, batch: BTreeMap<String, Record>) {
        let mut waiting = self.waiting.lock();
        for (key, record) in batch {
            // What came meanwhile is newer.
            waiting.entry(key).or_insert(record);
        }
    }
}

async fn write_all(
    producer: &Producer,
    topic: &Arc<str>,
    records: impl Iterator<Item = &Record>,
) -> Result<(), Error> {
    let mut deliveries = Vec::new();
    for record in records {
        deliveries.push(producer.send(produced(topic, record.clone())).await?);
    }
    producer.flush().await?;
    for delivery in deliveries {
        delivery.wait().await?;
    }
    Ok(())
}
