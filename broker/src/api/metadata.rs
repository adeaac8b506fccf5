//! Metadata (key 3), versions 0 to 13. KIP-4, KIP-430, KIP-516, KIP-700, KIP-951.
//!
//! - Which topics: null asks for all (version 0: an empty list does), an empty list for none; from version 10 on a topic
//!   may be asked for by id (UNKNOWN_TOPIC_ID if there is none). A topic that is named twice is answered once, as in Kafka:
//!   a request of some bytes per topic must not be answered with all its partitions over and over.
//! - Auto-creation (`auto.create.topics.enable`, and the client allows it): the topic is being created and answered as
//!   UNKNOWN_TOPIC_OR_PARTITION, which makes clients ask again; by then it is there.
//! - An invalid name is INVALID_TOPIC_EXCEPTION, a partition without leader LEADER_NOT_AVAILABLE.
//! - Authorized operations, where asked for: all of them (there is no authorizer).

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::{RequestContext, operations, reply};
use crate::controller::image::NO_LEADER;
use crate::controller::topic_name::{self, CONSUMER_OFFSETS, TRANSACTION_STATE};
use crate::controller::{Image, PartitionImage, TopicImage};
use crate::internal_topic::InternalTopic;
use crate::shared::Shared;

/// Most topics being created for Metadata requests at a time; past it, clients are told to ask again.
const CREATING_MAX: usize = 1000;

/// Answers from the image; may start the creation of topics.
pub(super) async fn handle(ctx: &RequestContext, request: MetadataRequest) -> MetadataResponse {
    let broker = &ctx.broker;
    let image = broker.image();
    let all = match &request.topics {
        None => true,
        Some(topics) => ctx.version == 0 && topics.is_empty(),
    };
    let topics = if all {
        image.topics.values().map(|topic| describe(ctx, topic)).collect()
    } else {
        let create = (ctx.version < 4 || request.allow_auto_topic_creation)
            && broker.config.boolean("auto.create.topics.enable");
        let asked = request.topics.unwrap_or_default();
        let mut seen = BTreeSet::new();
        let new = |topic: &MetadataRequestTopic| {
            seen.insert((topic.topic_id, topic.name.as_ref().map(|name| name.to_string())))
        };
        asked.into_iter().filter(new).map(|topic| find(ctx, &image, topic, create)).collect()
    };
    let mut response = MetadataResponse::default();
    response.brokers = brokers(&image);
    response.cluster_id = Some(reply::text(broker.cluster_id.as_str()));
    response.controller_id = BrokerId(broker.node_id);
    response.topics = topics;
    response.cluster_authorized_operations =
        operations::told(request.include_cluster_authorized_operations, operations::CLUSTER);
    let of_topics = operations::told(request.include_topic_authorized_operations, operations::TOPIC);
    for topic in response.topics.iter_mut().filter(|topic| topic.error_code == 0) {
        topic.topic_authorized_operations = of_topics;
    }
    response
}

fn brokers(image: &Image) -> Vec<MetadataResponseBroker> {
    let live = image.brokers.iter().filter(|(_, broker)| !broker.fenced);
    live.map(|(id, broker)| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(*id))
            .with_host(reply::text(broker.host.as_str()))
            .with_port(broker.port.into())
            .with_rack(broker.rack.clone().map(StrBytes::from_string))
    })
    .collect()
}

fn find(
    ctx: &RequestContext,
    image: &Image,
    asked: MetadataRequestTopic,
    create: bool,
) -> MetadataResponseTopic {
    if asked.topic_id != Uuid::nil() {
        return match image.topic_by_id(asked.topic_id) {
            Some(topic) => describe(ctx, topic),
            // The name is null then, which versions before 12 can't say.
            None => missing(ResponseError::UnknownTopicId)
                .with_name((ctx.version < 12).then(TopicName::default))
                .with_topic_id(asked.topic_id),
        };
    }
    let Some(name) = asked.name else {
        return missing(ResponseError::InvalidTopicException)
            .with_name((ctx.version < 12).then(TopicName::default));
    };
    if let Some(topic) = image.topic(&name) {
        return describe(ctx, topic);
    }
    let error = if topic_name::refuse(&name).is_some() {
        ResponseError::InvalidTopicException
    } else {
        if create {
            start_creation(&ctx.broker, &name);
        }
        ResponseError::UnknownTopicOrPartition
    };
    missing(error).with_is_internal(topic_name::is_internal(&name)).with_name(Some(name))
}

fn missing(error: ResponseError) -> MetadataResponseTopic {
    MetadataResponseTopic::default().with_error_code(error.code())
}

fn describe(ctx: &RequestContext, topic: &TopicImage) -> MetadataResponseTopic {
    let partitions = topic.partitions.iter().enumerate();
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(reply::text(&*topic.name))))
        .with_topic_id(topic.id)
        .with_is_internal(topic_name::is_internal(&topic.name))
        .with_partitions(
            partitions.map(|(index, found)| partition(ctx, topic, index as i32, found)).collect(),
        )
}

fn partition(
    ctx: &RequestContext,
    topic: &TopicImage,
    index: i32,
    found: &PartitionImage,
) -> MetadataResponsePartition {
    let here = ctx.broker.node_id;
    // A partition whose log is not to be had (a failed disk) has no leader, whatever the image says.
    let leader = if found.leader == here && !ctx.broker.has_partition(&topic.name, index) {
        NO_LEADER
    } else {
        found.leader
    };
    let error = if leader == NO_LEADER { ResponseError::LeaderNotAvailable.code() } else { 0 };
    let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect();
    MetadataResponsePartition::default()
        .with_error_code(error)
        .with_partition_index(index)
        .with_leader_id(BrokerId(leader))
        .with_leader_epoch(found.leader_epoch.0)
        .with_replica_nodes(ids(&found.replicas))
        .with_isr_nodes(ids(&found.isr))
}

/// Creates a topic behind the client's back, once for all who ask for it at the same time.
fn start_creation(broker: &Arc<Shared>, name: &str) {
    {
        let mut creating = broker.creating.lock();
        if creating.len() >= CREATING_MAX || !creating.insert(name.to_owned()) {
            return;
        }
    }
    let (broker, name) = (broker.clone(), name.to_owned());
    tokio::spawn(async move {
        match name.as_str() {
            CONSUMER_OFFSETS => drop(broker.ensure_internal(InternalTopic::ConsumerOffsets).await),
            TRANSACTION_STATE => drop(broker.ensure_internal(InternalTopic::TransactionState).await),
            _ => super::create_topics::create_default(&broker, &name).await,
        }
        broker.creating.lock().remove(&name);
    });
}
