//! Makes the topics that pipelines need, when they are not there.

use std::collections::BTreeMap;

use millrace_client::{Admin, Client, Error, NewTopic, ResponseError};

use crate::plan::{Plan, TopicPlan};

/// Makes every topic of the plan, its dead letter topics, and the topic for positions. Topics that exist stay as they are.
pub(crate) async fn ensure(
    client: &Client,
    plan: &Plan,
    offsets_topic: &str,
    offsets_partitions: i32,
) -> Result<(), Error> {
    let mut wanted = BTreeMap::new();
    for pipeline in &plan.pipelines {
        wanted.insert(pipeline.topic.name.clone(), new(&pipeline.topic));
        let errors = pipeline.source.iter().map(|source| &source.errors);
        for errors in errors.chain(pipeline.sinks.iter().map(|sink| &sink.errors)) {
            if let Some(name) = &errors.dead_letter_topic {
                let topic = TopicPlan {
                    name: name.clone(),
                    partitions: -1,
                    replication_factor: -1,
                    ..TopicPlan::default()
                };
                wanted.entry(name.clone()).or_insert_with(|| new(&topic));
            }
        }
    }
    wanted.insert(offsets_topic.to_owned(), new(&compacted(offsets_topic, offsets_partitions)));
    create(client, &wanted.into_values().collect::<Vec<_>>()).await
}

/// Makes topics that hold state, by name and partitions.
pub(crate) async fn ensure_compacted(client: &Client, topics: &[(&str, i32)]) -> Result<(), Error> {
    let wanted: Vec<_> = topics.iter().map(|(name, count)| new(&compacted(name, *count))).collect();
    create(client, &wanted).await
}

fn compacted(name: &str, partitions: i32) -> TopicPlan {
    TopicPlan {
        name: name.to_owned(),
        partitions,
        replication_factor: -1,
        config: BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]),
    }
}

/// Makes topics, and waits until they can be written to. One that exists stays as it is.
pub(crate) async fn create(client: &Client, wanted: &[NewTopic]) -> Result<(), Error> {
    let admin = Admin::new(client);
    for (topic, made) in admin.create_topics(wanted).await? {
        match made {
            Ok(()) => tracing::info!(topic, "topic created"),
            Err(error) if error.code() == Some(ResponseError::TopicAlreadyExists) => {}
            Err(error) => return Err(error),
        }
    }
    admin.await_topics(&wanted.iter().map(|topic| topic.name.as_str()).collect::<Vec<_>>()).await
}

/// Number of partitions of a topic that exists.
pub(crate) async fn partition_count(client: &Client, topic: &str) -> Result<i32, Error> {
    let none = || Error::NoSuchPartition { topic: topic.to_owned(), partition: 0, count: 0 };
    partitions_if_there(client, topic).await?.ok_or_else(none)
}

/// Number of partitions of a topic; none: it isn't there.
pub(crate) async fn partitions_if_there(client: &Client, topic: &str) -> Result<Option<i32>, Error> {
    let found = Admin::new(client).describe_topics(&[topic]).await?;
    let count = found.get(topic).map_or(0, |info| info.partitions.len());
    Ok((count > 0).then_some(i32::try_from(count).unwrap_or(i32::MAX)))
}

/// A topic as it is planned.
pub(crate) fn new(topic: &TopicPlan) -> NewTopic {
    NewTopic {
        name: topic.name.clone(),
        partitions: topic.partitions,
        replication_factor: if topic.replication_factor < 1 { -1 } else { topic.replication_factor },
        configs: topic.config.clone(),
    }
}
