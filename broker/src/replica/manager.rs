//! All partitions of this node, following the metadata.
//!
//! Handlers look partitions up by topic name or id; both maps point at the same immutable table per topic, which is
//! replaced when the topic changes. After every change of the metadata the controller calls [`Replicas::follow`], which
//! creates, deletes and reconfigures logs until they match. A log that can't be created or opened leaves its partition
//! without a leader here: it is reported, and retried with the next change and now and then ([`Replicas::lacks_logs`]).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millrace_log::{CorruptionPolicy, Log, LogConfig, LogManager, TopicPartition};
use millrace_wire::ids::Offset;
use parking_lot::RwLock;
use tracing::{error, info, warn};
use uuid::Uuid;

use super::{Error, Partition};
use crate::config::{Config, TopicConfig};
use crate::controller::{Controller, Image, TopicImage};
use crate::env::Clock;
use crate::metrics::Metrics;

/// See the module's head.
pub(crate) struct Replicas {
    logs: LogManager,
    config: Config,
    clock: Clock,
    node_id: i32,
    simulated: bool,
    metrics: Arc<Metrics>,
    topics: RwLock<Topics>,
    /// See [`Replicas::has_leftovers`].
    leftovers: AtomicBool,
}

#[derive(Default)]
struct Topics {
    by_name: HashMap<Arc<str>, Arc<Topic>>,
    by_id: HashMap<Uuid, Arc<Topic>>,
}

/// One topic's partitions on this node.
struct Topic {
    node_id: i32,
    /// What it was built from.
    image: Arc<TopicImage>,
    /// By index; none where this node has no log.
    partitions: Vec<Option<Arc<Partition>>>,
}

impl Replicas {
    /// No partitions yet: [`Replicas::follow`] brings them.
    pub(crate) fn new(
        logs: LogManager,
        config: Config,
        clock: Clock,
        simulated: bool,
        metrics: Arc<Metrics>,
    ) -> Self {
        let node_id = config.node_id();
        let (topics, leftovers) = (RwLock::default(), AtomicBool::new(false));
        Self { logs, config, clock, node_id, simulated, metrics, topics, leftovers }
    }

    /// Whether the disk is simulated, so that nothing may leave this thread.
    pub(crate) fn simulated(&self) -> bool {
        self.simulated
    }

    /// What is counted.
    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The data directory's id.
    pub(crate) fn directory_id(&self) -> Uuid {
        self.logs.meta().directory_id
    }

    /// The data directory.
    pub(crate) fn logs(&self) -> &LogManager {
        &self.logs
    }

    /// The partition, if this node leads it.
    ///
    /// # Errors
    /// It doesn't.
    pub(crate) fn partition(&self, topic: &str, index: i32) -> Result<Arc<Partition>, Error> {
        match self.topics.read().by_name.get(topic) {
            Some(topic) => topic.led(index),
            None => Err(Error::UnknownPartition { topic: topic.to_owned(), partition: index }),
        }
    }

    /// The same by the topic's id.
    ///
    /// # Errors
    /// No such topic, or this node doesn't lead the partition.
    pub(crate) fn partition_by_id(&self, id: Uuid, index: i32) -> Result<Arc<Partition>, Error> {
        let topics = self.topics.read();
        topics.by_id.get(&id).ok_or(Error::UnknownTopicId(id))?.led(index)
    }

    /// All partitions, in no order that matters.
    pub(crate) fn all(&self) -> Vec<Arc<Partition>> {
        let topics = self.topics.read();
        let mut all: Vec<_> =
            topics.by_name.values().flat_map(|topic| topic.partitions.iter().flatten().cloned()).collect();
        drop(topics);
        all.sort_by(|a, b| (&a.topic, a.index).cmp(&(&b.topic, b.index)));
        all
    }

    /// Makes the partitions what the metadata says. Waits for the disk.
    pub(crate) fn follow(&self, image: &Image) {
        let own = self.node_id.to_string();
        let reconfigured = self.config.set_dynamic(image.broker_config(""), image.broker_config(&own));
        let changed: Vec<Arc<TopicImage>> = {
            let topics = self.topics.read();
            let same = |topic: &&Arc<TopicImage>| {
                let known = topics.by_id.get(&topic.id);
                known.is_some_and(|known| Arc::ptr_eq(&known.image, topic) && !known.lacks_logs())
            };
            image.topics.values().filter(|topic| reconfigured || !same(topic)).cloned().collect()
        };
        let gone: Vec<Arc<Topic>> = {
            let topics = self.topics.read();
            topics
                .by_id
                .values()
                .filter(|topic| image.topic_by_id(topic.image.id).is_none())
                .cloned()
                .collect()
        };
        for topic in gone {
            self.remove(&topic);
        }
        for image in changed {
            let before = self.topics.read().by_id.get(&image.id).cloned();
            let topic = Arc::new(self.build(image, before.as_deref(), reconfigured));
            let mut topics = self.topics.write();
            topics.by_id.insert(topic.image.id, topic.clone());
            topics.by_name.insert(topic.image.name.clone(), topic);
        }
    }

    /// Whether a partition that belongs here has no log, because the disk was full for one.
    pub(crate) fn lacks_logs(&self) -> bool {
        self.topics.read().by_id.values().any(|topic| topic.lacks_logs())
    }

    /// Whether files of deleted topics could not be removed: the next start does it, if the metadata log still says that
    /// they were deleted.
    pub(crate) fn has_leftovers(&self) -> bool {
        self.leftovers.load(Ordering::Acquire)
    }

    /// Looks for what lies in the data directory without a topic in the metadata. It is deleted if the metadata says that
    /// its topic was, and the node stopped before the files were gone. Otherwise the metadata has been lost or restored
    /// from an older state: the folder is set aside for an operator to decide.
    pub(crate) fn clear_strays(&self, controller: &Controller, keep: &str) {
        let image = controller.image();
        for (partition, topic_id, log) in self.logs.list() {
            let known = image.topic(&partition.topic).is_some_and(|topic| {
                let index = usize::try_from(partition.partition).unwrap_or(usize::MAX);
                topic.partitions.len() > index && topic_id.is_none_or(|id| id == topic.id)
            });
            if known || partition.topic == keep {
                continue;
            }
            let (topic, index) = (&partition.topic, partition.partition);
            let was_deleted = topic_id.map_or(log.end_offset() == Offset(0), |id| controller.was_deleted(id));
            if was_deleted {
                warn!(topic, partition = index, "the folder of a deleted topic is removed");
                if let Err(error) = self.logs.delete(&partition) {
                    self.leftovers.store(true, Ordering::Release);
                    error!(topic, partition = index, %error, "cannot remove the folder");
                }
                continue;
            }
            match self.logs.set_aside(&partition) {
                Ok(kept) => error!(
                    topic, partition = index, kept = %kept.display(),
                    "the metadata knows nothing of a partition's folder; it is kept under another name"
                ),
                Err(error) => error!(topic, partition = index, %error, "cannot set the folder aside"),
            }
        }
    }

    fn remove(&self, topic: &Topic) {
        {
            let mut topics = self.topics.write();
            topics.by_id.remove(&topic.image.id);
            if topics.by_name.get(&topic.image.name).is_some_and(|named| named.image.id == topic.image.id) {
                topics.by_name.remove(&topic.image.name);
            }
        }
        topic.partitions.iter().flatten().for_each(|partition| partition.close());
        // All that the topic has: files of a log that could not be opened go as well.
        let indexes = 0..topic.image.partitions.len() as i32;
        let names: Vec<_> = indexes.map(|index| TopicPartition::new(&*topic.image.name, index)).collect();
        if let Err(error) = self.logs.delete_all(&names) {
            self.leftovers.store(true, Ordering::Release);
            error!(topic = %topic.image.name, %error, "cannot delete the topic's files; the next start removes them");
        }
        info!(topic = %topic.image.name, "topic deleted");
    }

    /// The topic's table; logs that are open stay open. `reconfigured`: the broker's own settings have changed.
    fn build(&self, image: Arc<TopicImage>, before: Option<&Topic>, reconfigured: bool) -> Topic {
        let config = Arc::new(TopicConfig::resolve(&image.config, &self.config));
        let settings_changed =
            reconfigured || before.is_some_and(|before| before.image.config != image.config);
        let mut partitions = Vec::with_capacity(image.partitions.len());
        for (index, state) in image.partitions.iter().enumerate() {
            if state.leader != self.node_id {
                partitions.push(None);
                continue;
            }
            let index = index as i32;
            if let Some(partition) = before.and_then(|before| before.partition(index)) {
                partition.set_leader_epoch(state.leader_epoch);
                if settings_changed {
                    partition.set_config(config.clone(), log_config(&config, &self.config));
                }
                partitions.push(Some(partition));
                continue;
            }
            match self.log(&image, index, &config) {
                Ok(log) => partitions.push(Some(Arc::new(Partition::new(
                    (image.name.clone(), index),
                    log,
                    state.leader_epoch,
                    config.clone(),
                    self.clock,
                    self.simulated,
                    self.metrics.clone(),
                )))),
                // It is there and could not be opened, which the start has told.
                Err(millrace_log::Error::PartitionExists(_)) => partitions.push(None),
                Err(error) => {
                    error!(
                        topic = %image.name, partition = index, %error,
                        "the partition's log cannot be created: it is offline; tried again now and then"
                    );
                    partitions.push(None);
                }
            }
        }
        Topic { node_id: self.node_id, image, partitions }
    }

    /// The log that is there, or a new one.
    fn log(
        &self,
        image: &TopicImage,
        index: i32,
        config: &TopicConfig,
    ) -> Result<Arc<Log>, millrace_log::Error> {
        let name = TopicPartition::new(&*image.name, index);
        let config = log_config(config, &self.config);
        match self.logs.create(&name, image.id, config.clone(), self.clock.now_ms()) {
            Err(millrace_log::Error::PartitionExists(name)) => match self.logs.get(&name) {
                Some(log) => {
                    log.set_config(config);
                    Ok(log)
                }
                // It could not be opened.
                None => Err(millrace_log::Error::PartitionExists(name)),
            },
            created => created,
        }
    }
}

impl Topic {
    fn lacks_logs(&self) -> bool {
        let led_here = self.image.partitions.iter().map(|state| state.leader == self.node_id);
        led_here.zip(&self.partitions).any(|(led_here, partition)| led_here && partition.is_none())
    }

    fn partition(&self, index: i32) -> Option<Arc<Partition>> {
        self.partitions.get(usize::try_from(index).ok()?)?.clone()
    }

    /// The partition, if this node leads it and its log is to be had.
    fn led(&self, index: i32) -> Result<Arc<Partition>, Error> {
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        if let Some(Some(found)) = self.partitions.get(at) {
            return Ok(found.clone());
        }
        let (topic, partition) = (self.image.name.to_string(), index);
        match self.image.partitions.get(at) {
            Some(state) if state.leader == self.node_id => Err(Error::Offline { topic, partition }),
            Some(_) => Err(Error::NotLeader { topic, partition }),
            None => Err(Error::UnknownPartition { topic, partition }),
        }
    }
}

/// What a log needs to know of its topic's settings.
pub(crate) fn log_config(topic: &TopicConfig, broker: &Config) -> LogConfig {
    let size = |value: i32| u64::try_from(value).unwrap_or(0);
    LogConfig {
        segment_bytes: size(topic.segment_bytes),
        segment_ms: topic.segment_ms,
        segment_jitter_ms: topic.segment_jitter_ms,
        segment_index_bytes: size(topic.segment_index_bytes),
        index_interval_bytes: size(topic.index_interval_bytes),
        retention_ms: topic.retention_ms,
        retention_bytes: topic.retention_bytes,
        max_message_bytes: usize::try_from(topic.max_message_bytes).unwrap_or(0),
        log_append_time: topic.log_append_time,
        timestamp_before_max_ms: topic.timestamp_before_max_ms,
        timestamp_after_max_ms: topic.timestamp_after_max_ms,
        compact: topic.compact,
        delete: topic.delete,
        min_cleanable_dirty_ratio: topic.min_cleanable_dirty_ratio,
        min_compaction_lag_ms: topic.min_compaction_lag_ms,
        max_compaction_lag_ms: topic.max_compaction_lag_ms,
        delete_retention_ms: topic.delete_retention_ms,
        file_delete_delay_ms: topic.file_delete_delay_ms,
        producer_id_expiration_ms: broker.long("producer.id.expiration.ms"),
        corruption_policy: match broker.string("log.recovery.corruption.policy") {
            "cut" => CorruptionPolicy::Cut,
            _ => CorruptionPolicy::Refuse,
        },
        ..LogConfig::default()
    }
}
