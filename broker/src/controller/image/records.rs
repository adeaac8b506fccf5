//! An image as the records that make it, in an order in which each finds what it speaks of.

use super::{BrokerImage, Image, PartitionImage, TopicImage};
use crate::controller::record::{MetadataRecord, RESOURCE_BROKER, RESOURCE_GROUP, RESOURCE_TOPIC};

/// Who has the producer ids that were given out is not known any more (as Kafka's `ProducerIdsImage` says it).
const NOBODY: i32 = -1;

impl Image {
    /// Applied to an empty image, these records give this one, save for its offset and time.
    pub(crate) fn records(&self) -> impl Iterator<Item = MetadataRecord> + '_ {
        let features = self
            .features
            .iter()
            .map(|(name, level)| MetadataRecord::FeatureLevel { name: name.clone(), level: *level });
        let brokers = self.brokers.iter().flat_map(|(id, broker)| of_broker(*id, broker));
        let topics = self.topics.values().flat_map(|topic| of_topic(topic));
        let broker_configs = self
            .broker_configs
            .iter()
            .flat_map(|(resource, config)| settings(RESOURCE_BROKER, resource, config.iter()));
        let group_configs = self
            .group_configs
            .iter()
            .flat_map(|(group, config)| settings(RESOURCE_GROUP, group, config.iter()));
        let quotas = self.quotas.iter().flat_map(|(entity, quotas)| {
            quotas.iter().map(move |(key, value)| MetadataRecord::ClientQuota {
                entity: entity
                    .parts()
                    .map(|(kind, name)| (kind.to_owned(), name.map(str::to_owned)))
                    .collect(),
                key: key.clone(),
                value: Some(*value),
            })
        });
        let next = self.next_producer_id;
        let producer_ids =
            (next > 0).then_some(MetadataRecord::ProducerIds { broker_id: NOBODY, broker_epoch: -1, next });
        let configs = broker_configs.chain(group_configs);
        features.chain(brokers).chain(topics).chain(configs).chain(quotas).chain(producer_ids)
    }
}

fn of_broker(id: i32, broker: &BrokerImage) -> impl Iterator<Item = MetadataRecord> {
    let BrokerImage { incarnation, epoch, host, port, rack, fenced } = broker.clone();
    let unfenced = (!fenced).then_some(MetadataRecord::Unfence { id, epoch });
    [MetadataRecord::RegisterBroker { id, incarnation, epoch, host, port, rack }].into_iter().chain(unfenced)
}

fn of_topic(topic: &TopicImage) -> impl Iterator<Item = MetadataRecord> + '_ {
    let itself = MetadataRecord::Topic { name: topic.name.to_string(), id: topic.id };
    let partition = |(index, partition): (usize, &PartitionImage)| {
        let PartitionImage { replicas, isr, leader, leader_epoch, partition_epoch, directories } =
            partition.clone();
        MetadataRecord::Partition {
            topic_id: topic.id,
            partition: index as i32,
            replicas,
            isr,
            leader,
            leader_epoch: leader_epoch.0,
            partition_epoch,
            directories,
        }
    };
    let partitions = topic.partitions.iter().enumerate().map(partition);
    [itself].into_iter().chain(partitions).chain(settings(RESOURCE_TOPIC, &topic.name, topic.config.iter()))
}

fn settings<'a>(
    resource_type: i8,
    resource: &'a str,
    config: impl Iterator<Item = (&'a String, &'a String)> + 'a,
) -> impl Iterator<Item = MetadataRecord> + 'a {
    config.map(move |(name, value)| MetadataRecord::Config {
        resource_type,
        resource: resource.to_owned(),
        name: name.clone(),
        value: Some(value.clone()),
    })
}
