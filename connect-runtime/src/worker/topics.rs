//! Makes the topics that pipelines need, when they are not there.

use std::collections::BTreeMap;

use millrace_client::{Admin, Client, Error, NewTopic, ResponseError};

use crate::plan::{Plan, TopicPlan};

/// Makes every topic of the plan, its dead letter topics, and the topic for positions. Topics that exist stay as they are.
pub(super) async fn ensure(
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
    if plan.pipelines.iter().any(|pipeline| pipeline.source.is_some()) {
        let topic = TopicPlan {
            name: offsets_topic.to_owned(),
            partitions: offsets_partitions,
            replication_factor: -1,
            config: BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]),
        };
        wanted.insert(topic.name.clone(), new(&topic));
    }
    let admin = Admin::new(client);
    let names: Vec<String> = wanted.keys().cloned().collect();
    for (topic, made) in admin.create_topics(&wanted.into_values().collect::<Vec<_>>()).await? {
        match made {
            Ok(()) => tracing::info!(topic, "topic created"),
            Err(error) if error.code() == Some(ResponseError::TopicAlreadyExists) => {}
            Err(error) => return Err(error),
        }
    }
    admin.await_topics(&names.iter().map(String::as_str).collect::<Vec<_>>()).await
}

/// Number of partitions of a topic that exists.
pub(super) async fn partition_count(client: &Client, topic: &str) -> Result<i32, Error> {
    let found = Admin::new(client).describe_topics(&[topic]).await?;
    let count = found.get(topic).map_or(0, |info| info.partitions.len());
    if count == 0 {
        return Err(Error::NoSuchPartition { topic: topic.to_owned(), partition: 0, count });
    }
    Ok(i32::try_from(count).unwrap_or(i32::MAX))
}

fn new(topic: &TopicPlan) -> NewTopic {
    NewTopic {
        name: topic.name.clone(),
        partitions: topic.partitions,
        replication_factor: if topic.replication_factor < 1 { -1 } else { topic.replication_factor },
        configs: topic.config.clone(),
    }
}
