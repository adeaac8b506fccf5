//! The controller's decisions: a command and the image to records, or a refusal with Kafka's error code.
//!
//! Pure: ids come in with the command, nothing here reads a clock, a disk or a random number.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use millrace_wire::ids::LeaderEpoch;
use uuid::Uuid;

use super::feature::{self, FeatureUpdate};
use super::image::{Image, NO_LEADER, TopicImage};
use super::record::{MetadataRecord, RESOURCE_BROKER, RESOURCE_GROUP, RESOURCE_TOPIC};
use super::topic_name;
use crate::config::{dynamic, group, topic};
use crate::quota::Entity;

/// Most partitions of one topic, so that a mistyped number doesn't fill the disk with folders.
pub(crate) const PARTITIONS_MAX: i32 = 10_000;
/// Producer ids given to a broker at a time (`ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE`).
pub(crate) const PRODUCER_ID_BLOCK: i64 = 1000;

/// Something asked of the controller.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    /// A broker starts: it is registered and unfenced. After an unclean stop the partitions it leads get a new
    /// leader epoch, so that a reader of lost, never acknowledged records notices (KIP-101).
    StartBroker {
        id: i32,
        incarnation: Uuid,
        epoch: i64,
        host: String,
        port: u16,
        rack: Option<String>,
        clean: bool,
    },
    /// A topic is wanted.
    CreateTopic(NewTopic),
    /// A topic is to go.
    DeleteTopic { id: Uuid },
    /// A topic shall have more partitions.
    CreatePartitions { name: String, count: i32, assignments: Option<Vec<Vec<i32>>> },
    /// Settings of a topic or broker change: name and new value, or none to take it back.
    AlterConfig { resource_type: i8, resource: String, changes: Vec<(String, Option<String>)> },
    /// Settings of a group change: name and new value, or none to take it back. The limits are the broker's.
    AlterGroupConfig { group: String, changes: Vec<(String, Option<String>)>, limits: group::Limits },
    /// Quotas of an entity change: name and new value, or none to take it back. The entity is pairs of type and name.
    AlterQuotas { entity: Vec<(String, Option<String>)>, changes: Vec<(String, Option<f64>)> },
    /// Features get other levels: all, or none.
    UpdateFeatures(Vec<FeatureUpdate>),
    /// A broker wants producer ids to give out.
    AllocateProducerIds { broker_id: i32 },
}

/// A topic to be created.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewTopic {
    pub(crate) name: String,
    /// Given by the caller, who has the randomness.
    pub(crate) id: Uuid,
    /// Already resolved from -1 to the broker's default; ignored with `assignments`.
    pub(crate) partitions: i32,
    /// Likewise.
    pub(crate) replication_factor: i32,
    /// Replicas by partition, if the caller wants to say.
    pub(crate) assignments: Vec<(i32, Vec<i32>)>,
    pub(crate) configs: BTreeMap<String, String>,
    /// The data directory's id of the one node.
    pub(crate) directory: Uuid,
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Done, nothing to tell.
    Done,
    /// The topic exists with these numbers.
    Created { partitions: i32, replication_factor: i16 },
    /// These producer ids are the broker's.
    ProducerIds { first: i64, count: i64 },
}

/// A command that is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refusal {
    /// The wire's answer.
    pub(crate) error: ResponseError,
    /// For people.
    pub(crate) message: String,
}

/// Refuses with `error`.
pub(crate) fn refuse<T>(error: ResponseError, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { error, message: message.into() })
}

/// Decides `command` against `image`.
///
/// # Errors
/// The refusal to send back; the image then stays as it is.
pub(crate) fn step(image: &Image, command: &Command) -> Result<(Vec<MetadataRecord>, Reply), Refusal> {
    match command {
        Command::StartBroker { id, incarnation, epoch, host, port, rack, clean } => {
            let mut records = Vec::new();
            if !image.features.contains_key(feature::METADATA) {
                records.extend(feature::bootstrap());
            }
            let (id, epoch, port) = (*id, *epoch, *port);
            let (incarnation, host, rack) = (*incarnation, host.clone(), rack.clone());
            records.push(MetadataRecord::RegisterBroker { id, incarnation, epoch, host, port, rack });
            records.push(MetadataRecord::Unfence { id, epoch });
            if !clean {
                records.extend(image.topics.values().flat_map(|topic| new_leader_epochs(topic, id)));
            }
            Ok((records, Reply::Done))
        }
        Command::CreateTopic(topic) => create_topic(image, topic),
        Command::DeleteTopic { id } => match image.topic_by_id(*id) {
            Some(_) => Ok((vec![MetadataRecord::RemoveTopic { id: *id }], Reply::Done)),
            None => refuse(ResponseError::UnknownTopicId, format!("topic id {id} is not known")),
        },
        Command::CreatePartitions { name, count, assignments } => {
            create_partitions(image, name, *count, assignments.as_deref())
        }
        Command::AlterConfig { resource_type, resource, changes } => {
            alter_config(image, *resource_type, resource, changes)
        }
        Command::AlterGroupConfig { group, changes, limits } => {
            alter_group_config(image, group, changes, limits)
        }
        Command::AlterQuotas { entity, changes } => alter_quotas(entity, changes),
        Command::UpdateFeatures(updates) => Ok((feature::update(&image.features, updates)?, Reply::Done)),
        Command::AllocateProducerIds { broker_id } => {
            let first = image.next_producer_id;
            let Some(next) = first.checked_add(PRODUCER_ID_BLOCK) else {
                return refuse(ResponseError::UnknownServerError, "all producer ids have been given out");
            };
            let broker_epoch = image.brokers.get(broker_id).map_or(-1, |broker| broker.epoch);
            let record = MetadataRecord::ProducerIds { broker_id: *broker_id, broker_epoch, next };
            Ok((vec![record], Reply::ProducerIds { first, count: PRODUCER_ID_BLOCK }))
        }
    }
}

fn new_leader_epochs(topic: &TopicImage, leader: i32) -> impl Iterator<Item = MetadataRecord> {
    let topic_id = topic.id;
    topic
        .partitions
        .iter()
        .enumerate()
        .filter(move |(_, partition)| partition.replicas.contains(&leader))
        .map(move |(index, _)| MetadataRecord::LeaderChange { topic_id, partition: index as i32, leader })
}

fn create_topic(image: &Image, new: &NewTopic) -> Result<(Vec<MetadataRecord>, Reply), Refusal> {
    if let Some(reason) = topic_name::refuse(&new.name) {
        return refuse(ResponseError::InvalidTopicException, reason);
    }
    if image.topic(&new.name).is_some() {
        return refuse(ResponseError::TopicAlreadyExists, format!("topic {} already exists", new.name));
    }
    if let Some(other) = image.topics.keys().find(|other| topic_name::collides(other, &new.name)) {
        let message =
            format!("topic {} collides with {other}: '.' and '_' are the same in metrics", new.name);
        return refuse(ResponseError::InvalidTopicException, message);
    }
    for (name, value) in &new.configs {
        if let Err(error) = topic::validate(name, value) {
            return refuse(ResponseError::InvalidConfig, error.to_string());
        }
    }
    if let Err(error) = topic::check_together(&new.configs) {
        return refuse(ResponseError::InvalidConfig, error.to_string());
    }
    let replicas = placement(image, new)?;
    let mut records = vec![MetadataRecord::Topic { name: new.name.clone(), id: new.id }];
    records.extend(new.configs.iter().map(|(name, value)| MetadataRecord::Config {
        resource_type: RESOURCE_TOPIC,
        resource: new.name.clone(),
        name: name.clone(),
        value: Some(value.clone()),
    }));
    let partitions = replicas.len() as i32;
    let replication_factor = replicas.first().map_or(0, |replicas| replicas.len() as i16);
    for (index, replicas) in replicas.into_iter().enumerate() {
        records.push(new_partition(new.id, index as i32, replicas, new.directory));
    }
    Ok((records, Reply::Created { partitions, replication_factor }))
}

fn new_partition(topic_id: Uuid, partition: i32, replicas: Vec<i32>, directory: Uuid) -> MetadataRecord {
    MetadataRecord::Partition {
        topic_id,
        partition,
        leader: replicas.first().copied().unwrap_or(NO_LEADER),
        isr: replicas.clone(),
        directories: vec![directory; replicas.len()],
        replicas,
        leader_epoch: LeaderEpoch(0).0,
        partition_epoch: 0,
    }
}

/// The replicas of each partition of a new topic: as asked, or spread over the brokers that are up.
fn placement(image: &Image, new: &NewTopic) -> Result<Vec<Vec<i32>>, Refusal> {
    if !new.assignments.is_empty() {
        if new.assignments.len() > PARTITIONS_MAX as usize {
            let count = new.assignments.len();
            let message = format!("a topic may have at most {PARTITIONS_MAX} partitions, not {count}");
            return refuse(ResponseError::InvalidPartitions, message);
        }
        let mut by_index: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        for (partition, replicas) in &new.assignments {
            check_replicas(image, *partition, replicas)?;
            if by_index.insert(*partition, replicas.clone()).is_some() {
                let message = format!("partition {partition} is assigned twice");
                return refuse(ResponseError::InvalidReplicaAssignment, message);
            }
        }
        if !by_index.keys().copied().eq(0..by_index.len() as i32) {
            let message = "assigned partitions must be numbered from 0 without a gap";
            return refuse(ResponseError::InvalidReplicaAssignment, message);
        }
        return Ok(by_index.into_values().collect());
    }
    if new.partitions < 1 {
        return refuse(ResponseError::InvalidPartitions, "number of partitions must be larger than 0");
    }
    if new.partitions > PARTITIONS_MAX {
        let message = format!("a topic may have at most {PARTITIONS_MAX} partitions, not {}", new.partitions);
        return refuse(ResponseError::InvalidPartitions, message);
    }
    spread(image, 0, new.partitions, new.replication_factor)
}

/// Replicas for `count` partitions from number `first` on, round robin over the brokers that are up.
fn spread(image: &Image, first: i32, count: i32, replication_factor: i32) -> Result<Vec<Vec<i32>>, Refusal> {
    let up: Vec<i32> = image.brokers.iter().filter(|(_, broker)| !broker.fenced).map(|(id, _)| *id).collect();
    let wanted = usize::try_from(replication_factor).unwrap_or(0);
    if wanted == 0 {
        return refuse(ResponseError::InvalidReplicationFactor, "replication factor must be larger than 0");
    }
    if wanted > up.len() {
        let (up, word) = (up.len(), if up.len() == 1 { "broker is" } else { "brokers are" });
        let message = format!("replication factor {wanted} is larger than what there is: {up} {word} up");
        return refuse(ResponseError::InvalidReplicationFactor, message);
    }
    let place = |partition: i32| (0..wanted).map(|at| up[(partition as usize + at) % up.len()]).collect();
    Ok((first..first.saturating_add(count)).map(place).collect())
}

fn check_replicas(image: &Image, partition: i32, replicas: &[i32]) -> Result<(), Refusal> {
    if replicas.is_empty() {
        let message = format!("partition {partition} is assigned to no broker");
        return refuse(ResponseError::InvalidReplicaAssignment, message);
    }
    for (at, broker) in replicas.iter().enumerate() {
        if !image.brokers.contains_key(broker) {
            let message =
                format!("partition {partition} is assigned to broker {broker}, which is not registered");
            return refuse(ResponseError::InvalidReplicaAssignment, message);
        }
        if replicas[..at].contains(broker) {
            let message = format!("partition {partition} is assigned to broker {broker} twice");
            return refuse(ResponseError::InvalidReplicaAssignment, message);
        }
    }
    Ok(())
}

fn create_partitions(
    image: &Image,
    name: &str,
    count: i32,
    assignments: Option<&[Vec<i32>]>,
) -> Result<(Vec<MetadataRecord>, Reply), Refusal> {
    let Some(topic) = image.topic(name) else {
        return refuse(ResponseError::UnknownTopicOrPartition, format!("topic {name} does not exist"));
    };
    let present = topic.partitions.len() as i32;
    if count <= present {
        let message = format!("topic {name} has {present} partitions; {count} would not be more");
        return refuse(ResponseError::InvalidPartitions, message);
    }
    if count > PARTITIONS_MAX {
        let message = format!("a topic may have at most {PARTITIONS_MAX} partitions, not {count}");
        return refuse(ResponseError::InvalidPartitions, message);
    }
    let replication_factor = topic.partitions.first().map_or(1, |partition| partition.replicas.len() as i32);
    let replicas = match assignments {
        None => spread(image, present, count - present, replication_factor)?,
        Some(given) if given.len() as i32 != count - present => {
            let message =
                format!("{} new partitions need as many assignments, not {}", count - present, given.len());
            return refuse(ResponseError::InvalidReplicaAssignment, message);
        }
        Some(given) => {
            for (at, replicas) in given.iter().enumerate() {
                check_replicas(image, present + at as i32, replicas)?;
            }
            given.to_vec()
        }
    };
    let new = replicas.into_iter().enumerate();
    let records =
        new.map(|(at, replicas)| new_partition(topic.id, present + at as i32, replicas, Uuid::nil()));
    Ok((records.collect(), Reply::Done))
}

fn alter_quotas(
    entity: &[(String, Option<String>)],
    changes: &[(String, Option<f64>)],
) -> Result<(Vec<MetadataRecord>, Reply), Refusal> {
    let invalid = |message| refuse(ResponseError::InvalidRequest, message);
    let parts = entity.iter().map(|(kind, name)| (kind.as_str(), name.as_deref()));
    let checked = match Entity::from_parts(parts) {
        Ok(checked) => checked,
        Err(message) => return invalid(message),
    };
    let mut records: Vec<MetadataRecord> = Vec::with_capacity(changes.len());
    for (key, value) in changes {
        if let Err(message) = value.map_or(checked.check_key(key), |value| checked.check(key, value)) {
            return invalid(message);
        }
        if changes.iter().filter(|(other, _)| other == key).count() > 1 {
            return invalid(format!("quota {key} is named twice"));
        }
        records.push(MetadataRecord::ClientQuota {
            entity: entity.to_vec(),
            key: key.clone(),
            value: *value,
        });
    }
    Ok((records, Reply::Done))
}

fn alter_config(
    image: &Image,
    resource_type: i8,
    resource: &str,
    changes: &[(String, Option<String>)],
) -> Result<(Vec<MetadataRecord>, Reply), Refusal> {
    match resource_type {
        RESOURCE_TOPIC if image.topic(resource).is_none() => {
            return refuse(
                ResponseError::UnknownTopicOrPartition,
                format!("topic {resource} does not exist"),
            );
        }
        RESOURCE_TOPIC => {}
        RESOURCE_BROKER if resource.is_empty() => {}
        RESOURCE_BROKER => match resource.parse::<i32>() {
            Ok(id) if image.brokers.contains_key(&id) => {}
            Ok(id) => {
                return refuse(ResponseError::InvalidRequest, format!("broker {id} is not registered"));
            }
            Err(_) => {
                let message = format!("a broker is named by its number, not {resource:?}");
                return refuse(ResponseError::InvalidRequest, message);
            }
        },
        other => {
            let message =
                format!("resources of type {other} have no settings; 2 (topic), 4 (broker), 32 (group) have");
            return refuse(ResponseError::InvalidRequest, message);
        }
    }
    let mut records = Vec::with_capacity(changes.len());
    for (name, value) in changes {
        let checked = match (resource_type, value) {
            (RESOURCE_BROKER, value) => dynamic::validate(name, value.as_deref()),
            (_, Some(value)) => topic::validate(name, value),
            // What is not set, known or not, needs no taking back.
            (_, None) if image.topic(resource).is_none_or(|topic| !topic.config.contains_key(name)) => {
                continue;
            }
            (_, None) => Ok(()),
        };
        if let Err(error) = checked {
            // As Kafka answers; its own comment says that it should be INVALID_CONFIG (KAFKA-13609).
            let is_broker = resource_type == RESOURCE_BROKER;
            let code = if is_broker { ResponseError::InvalidRequest } else { ResponseError::InvalidConfig };
            return refuse(code, error.to_string());
        }
        records.push(MetadataRecord::Config {
            resource_type,
            resource: resource.to_owned(),
            name: name.clone(),
            value: value.clone(),
        });
    }
    if let (RESOURCE_TOPIC, Some(topic)) = (resource_type, image.topic(resource)) {
        let wanted = changed(&topic.config, changes);
        if let Err(error) = topic::check_together(&wanted) {
            return refuse(ResponseError::InvalidConfig, error.to_string());
        }
    }
    Ok((records, Reply::Done))
}

/// Settings after changes.
fn changed(
    present: &BTreeMap<String, String>,
    changes: &[(String, Option<String>)],
) -> BTreeMap<String, String> {
    let mut wanted = present.clone();
    for (name, value) in changes {
        match value {
            Some(value) => wanted.insert(name.clone(), value.clone()),
            None => wanted.remove(name),
        };
    }
    wanted
}

fn alter_group_config(
    image: &Image,
    group: &str,
    changes: &[(String, Option<String>)],
    limits: &group::Limits,
) -> Result<(Vec<MetadataRecord>, Reply), Refusal> {
    if group.is_empty() {
        return refuse(ResponseError::InvalidRequest, "there are no settings for all groups; name one");
    }
    let present = image.group_config(group);
    if let Err(error) = limits.check(&changed(present, changes)) {
        return refuse(ResponseError::InvalidConfig, error.to_string());
    }
    let new = changes.iter().filter(|(name, value)| present.get(name) != value.as_ref());
    let record = |(name, value): &(String, Option<String>)| MetadataRecord::Config {
        resource_type: RESOURCE_GROUP,
        resource: group.to_owned(),
        name: name.clone(),
        value: value.clone(),
    };
    Ok((new.map(record).collect(), Reply::Done))
}
