//! What the metadata log's records add up to.
//!
//! An image is immutable once published (`Arc<Image>`); the controller applies records to a copy. Topics are shared
//! between copies, so a change costs the size of the index, not of the topics. [`Image::records`] is the way back: the
//! fewest records that make the same image, which is what a snapshot consists of.

mod records;

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_wire::ids::LeaderEpoch;
use uuid::Uuid;

use crate::quota::{Entity, QuotaTable};

use super::record::{MetadataRecord, RESOURCE_BROKER, RESOURCE_GROUP, RESOURCE_TOPIC};

/// No leader, in the protocol's terms.
pub(crate) const NO_LEADER: i32 = -1;

/// All metadata at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Image {
    /// Of the last record in it.
    pub(crate) offset: i64,
    /// In which that was written.
    pub(crate) epoch: LeaderEpoch,
    /// When that was written, in milliseconds since 1970.
    pub(crate) timestamp_ms: i64,
    /// By node id.
    pub(crate) brokers: BTreeMap<i32, BrokerImage>,
    /// By name.
    pub(crate) topics: BTreeMap<Arc<str>, Arc<TopicImage>>,
    /// Name by id.
    names: BTreeMap<Uuid, Arc<str>>,
    /// Dynamic settings of brokers; the empty name holds for all of them.
    broker_configs: BTreeMap<String, BTreeMap<String, String>>,
    /// Settings of groups that have some, by group.
    pub(crate) group_configs: BTreeMap<String, BTreeMap<String, String>>,
    /// By entity.
    pub(crate) quotas: Arc<QuotaTable>,
    /// Settled feature levels; none is 0.
    pub(crate) features: BTreeMap<String, i16>,
    /// The first producer id that was not given out.
    pub(crate) next_producer_id: i64,
}

/// A registered broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BrokerImage {
    /// Of the process that registered.
    pub(crate) incarnation: Uuid,
    pub(crate) epoch: i64,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) rack: Option<String>,
    pub(crate) fenced: bool,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicImage {
    pub(crate) name: Arc<str>,
    pub(crate) id: Uuid,
    /// By index.
    pub(crate) partitions: Vec<PartitionImage>,
    /// Its own settings.
    pub(crate) config: BTreeMap<String, String>,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartitionImage {
    pub(crate) replicas: Vec<i32>,
    pub(crate) isr: Vec<i32>,
    /// Or [`NO_LEADER`].
    pub(crate) leader: i32,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) partition_epoch: i32,
    /// The data directory of each replica.
    pub(crate) directories: Vec<Uuid>,
}

impl Image {
    /// The topic called `name`.
    pub(crate) fn topic(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.topics.get(name)
    }

    /// The topic with this id.
    pub(crate) fn topic_by_id(&self, id: Uuid) -> Option<&Arc<TopicImage>> {
        self.topics.get(self.names.get(&id)?)
    }

    /// The dynamic settings of a broker, or of all brokers (the empty name).
    pub(crate) fn broker_config(&self, name: &str) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.broker_configs.get(name).unwrap_or(&NONE)
    }

    /// A group's own settings.
    pub(crate) fn group_config(&self, group: &str) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.group_configs.get(group).unwrap_or(&NONE)
    }

    /// A group's own setting, if it has a number for it.
    pub(crate) fn group_setting(&self, group: &str, name: &str) -> Option<i32> {
        self.group_configs.get(group)?.get(name)?.parse().ok()
    }

    /// Takes a record in. A record about a topic that is gone changes nothing.
    pub(crate) fn apply(&mut self, record: &MetadataRecord) {
        match record {
            MetadataRecord::RegisterBroker { id, incarnation, epoch, host, port, rack } => {
                let (incarnation, epoch, port) = (*incarnation, *epoch, *port);
                let (host, rack) = (host.clone(), rack.clone());
                let broker = BrokerImage { incarnation, epoch, host, port, rack, fenced: true };
                self.brokers.insert(*id, broker);
            }
            MetadataRecord::Unfence { id, epoch } => {
                if let Some(broker) = self.brokers.get_mut(id).filter(|broker| broker.epoch == *epoch) {
                    broker.fenced = false;
                }
            }
            MetadataRecord::Topic { name, id } => {
                let name: Arc<str> = name.as_str().into();
                self.names.insert(*id, name.clone());
                let (partitions, config) = (Vec::new(), BTreeMap::new());
                self.topics.insert(name.clone(), Arc::new(TopicImage { name, id: *id, partitions, config }));
            }
            MetadataRecord::RemoveTopic { id } => {
                if let Some(name) = self.names.remove(id) {
                    self.topics.remove(&name);
                }
            }
            MetadataRecord::Partition {
                topic_id,
                replicas,
                isr,
                leader,
                leader_epoch,
                partition_epoch,
                directories,
                ..
            } => {
                let partition = PartitionImage {
                    replicas: replicas.clone(),
                    isr: isr.clone(),
                    leader: *leader,
                    leader_epoch: LeaderEpoch(*leader_epoch),
                    partition_epoch: *partition_epoch,
                    directories: directories.clone(),
                };
                if let Some(topic) = self.topic_mut(*topic_id) {
                    topic.partitions.push(partition);
                }
            }
            MetadataRecord::LeaderChange { topic_id, partition, leader } => {
                let at = usize::try_from(*partition).unwrap_or(usize::MAX);
                if let Some(found) = self.topic_mut(*topic_id).and_then(|topic| topic.partitions.get_mut(at))
                {
                    found.leader = *leader;
                    found.leader_epoch = LeaderEpoch(found.leader_epoch.0.saturating_add(1));
                    found.partition_epoch = found.partition_epoch.saturating_add(1);
                }
            }
            MetadataRecord::Config { resource_type: RESOURCE_TOPIC, resource, name, value } => {
                if let Some(topic) = self.topics.get_mut(resource.as_str()) {
                    set(&mut Arc::make_mut(topic).config, name, value);
                }
            }
            MetadataRecord::Config { resource_type: RESOURCE_BROKER, resource, name, value } => {
                set(self.broker_configs.entry(resource.clone()).or_default(), name, value);
                self.broker_configs.retain(|_, config| !config.is_empty());
            }
            MetadataRecord::Config { resource_type: RESOURCE_GROUP, resource, name, value } => {
                let config = self.group_configs.entry(resource.clone()).or_default();
                set(config, name, value);
                if config.is_empty() {
                    self.group_configs.remove(resource);
                }
            }
            MetadataRecord::Config { .. } => {}
            MetadataRecord::ClientQuota { entity, key, value } => self.set_quota(entity, key, *value),
            MetadataRecord::FeatureLevel { name, level: 0 } => drop(self.features.remove(name)),
            MetadataRecord::FeatureLevel { name, level } => {
                self.features.insert(name.clone(), *level);
            }
            MetadataRecord::ProducerIds { next, .. } => self.next_producer_id = *next,
        }
    }

    fn set_quota(&mut self, entity: &[(String, Option<String>)], key: &str, value: Option<f64>) {
        let parts = entity.iter().map(|(kind, name)| (kind.as_str(), name.as_deref()));
        // The controller wrote only what it had checked; another version's entities are passed over.
        let Ok(entity) = Entity::from_parts(parts) else { return };
        let table = Arc::make_mut(&mut self.quotas);
        let quotas = table.entry(entity.clone()).or_default();
        match value {
            Some(value) => {
                quotas.insert(key.to_owned(), value);
            }
            None => {
                quotas.remove(key);
                if quotas.is_empty() {
                    table.remove(&entity);
                }
            }
        }
    }

    fn topic_mut(&mut self, id: Uuid) -> Option<&mut TopicImage> {
        self.topics.get_mut(self.names.get(&id)?).map(Arc::make_mut)
    }
}

fn set(config: &mut BTreeMap<String, String>, name: &str, value: &Option<String>) {
    match value {
        Some(value) => config.insert(name.to_owned(), value.clone()),
        None => config.remove(name),
    };
}
