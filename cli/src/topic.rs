//! `millrace topic list|create|describe|delete`.

use std::collections::BTreeMap;

use millrace_client::admin::ConfigResource;
use millrace_client::{
    Admin, Error, Isolation, ListedOffset, NewTopic, OffsetSpec, ResponseError, TopicInfo, TopicPartition,
};

use crate::args::{Bootstrap, TopicArgs, TopicCommand};
use crate::exit::{Failure, Outcome};
use crate::{cluster, output};

pub(crate) async fn run(args: TopicArgs) -> Outcome {
    match args.command {
        TopicCommand::List { bootstrap, internal } => list(&admin(&bootstrap)?, internal).await,
        TopicCommand::Create { topic, bootstrap, partitions, replication_factor, config } => {
            let topic = NewTopic {
                name: topic,
                partitions: partitions.unwrap_or(-1),
                replication_factor: replication_factor.unwrap_or(-1),
                configs: pairs(&config)?,
            };
            create(&admin(&bootstrap)?, topic).await
        }
        TopicCommand::Describe { topic, bootstrap } => describe(&admin(&bootstrap)?, &topic).await,
        TopicCommand::Delete { topics, bootstrap } => delete(&admin(&bootstrap)?, &topics).await,
    }
}

fn admin(bootstrap: &Bootstrap) -> Result<Admin, Failure> {
    Ok(Admin::new(&cluster::remote(&bootstrap.addresses, "millrace-topic")?))
}

fn pairs(config: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let pair = |text: &String| match text.split_once('=') {
        Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
        None => Err(Failure::validation(format!(
            "--config {text}: expected KEY=VALUE, as in --config cleanup.policy=compact"
        ))),
    };
    config.iter().map(pair).collect()
}

async fn list(admin: &Admin, internal: bool) -> Outcome {
    let topics = admin.list_topics().await.map_err(Failure::client)?;
    let mut rows = vec![["TOPIC", "PARTITIONS", "REPLICAS"].map(str::to_owned).to_vec()];
    for (name, info) in
        topics.iter().filter(|(name, info)| internal || !(info.is_internal || name.starts_with("__")))
    {
        let replicas = info.partitions.first().map_or(0, |partition| partition.replicas.len());
        rows.push(vec![name.to_string(), info.partitions.len().to_string(), replicas.to_string()]);
    }
    output::line(output::table(&rows))
}

async fn create(admin: &Admin, topic: NewTopic) -> Outcome {
    let name = topic.name.clone();
    let each = admin.create_topics(&[topic]).await.map_err(Failure::client)?;
    for (_, result) in each {
        result.map_err(|error| match error.code() {
            Some(ResponseError::TopicAlreadyExists) => Failure::runtime(format!(
                "topic {name} exists already; `millrace topic describe {name}` shows it"
            )),
            Some(
                ResponseError::InvalidTopicException
                | ResponseError::InvalidConfig
                | ResponseError::InvalidPartitions
                | ResponseError::InvalidReplicationFactor,
            ) => Failure::validation(error),
            _ => Failure::client(error),
        })?;
    }
    output::line(format!("created topic {name}"))
}

async fn delete(admin: &Admin, topics: &[String]) -> Outcome {
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let each = admin.delete_topics(&names).await.map_err(Failure::client)?;
    let mut failed = Vec::new();
    for (name, result) in each {
        match result {
            Ok(()) => output::line(format!("deleted topic {name}"))?,
            Err(error) => failed.push(told(&name, error)),
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Failure::Runtime(failed.join("\nerror: "))) }
}

async fn describe(admin: &Admin, topic: &str) -> Outcome {
    let topics = admin.describe_topics(&[topic]).await.map_err(Failure::client)?;
    let info = topics.get(topic).ok_or_else(|| Failure::runtime(missing(topic)))?;
    if let Some(code) = info.error {
        let unknown = code == ResponseError::UnknownTopicOrPartition;
        return Err(Failure::Runtime(if unknown {
            missing(topic)
        } else {
            format!("topic {topic}: {code:?}")
        }));
    }
    let offsets = |spec| {
        let partitions = info.partitions.iter().map(|p| TopicPartition::new(topic, p.index));
        partitions.map(|tp| (tp, spec)).collect::<BTreeMap<_, _>>()
    };
    let isolation = Isolation::ReadUncommitted;
    let first =
        admin.list_offsets(&offsets(OffsetSpec::Earliest), isolation).await.map_err(Failure::client)?;
    let next = admin.list_offsets(&offsets(OffsetSpec::Latest), isolation).await.map_err(Failure::client)?;
    let resource = [ConfigResource::Topic(topic.to_owned())];
    let configs = admin.describe_configs(&resource).await.map_err(Failure::client)?;
    output::line(partitions_table(topic, info, &first, &next))?;
    let mut rows = vec![["CONFIG", "VALUE"].map(str::to_owned).to_vec()];
    for (_, entries) in configs {
        for entry in entries.map_err(Failure::client)?.into_iter().filter(|entry| !entry.is_default) {
            rows.push(vec![entry.name, entry.value.unwrap_or_else(|| "(hidden)".to_owned())]);
        }
    }
    if rows.len() > 1 { output::line(format!("\n{}", output::table(&rows))) } else { Ok(()) }
}

fn partitions_table(
    topic: &str,
    info: &TopicInfo,
    first: &BTreeMap<TopicPartition, ListedOffset>,
    next: &BTreeMap<TopicPartition, ListedOffset>,
) -> String {
    let joined = |ids: &[i32]| ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
    let heading = ["PARTITION", "LEADER", "REPLICAS", "ISR", "FIRST OFFSET", "NEXT OFFSET"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for partition in &info.partitions {
        let tp = TopicPartition::new(topic, partition.index);
        let offset = |of: &BTreeMap<TopicPartition, ListedOffset>| {
            of.get(&tp).and_then(|listed| listed.offset).map_or_else(|| "-".to_owned(), |o| o.to_string())
        };
        rows.push(vec![
            partition.index.to_string(),
            partition.leader.to_string(),
            joined(&partition.replicas),
            joined(&partition.isr),
            offset(first),
            offset(next),
        ]);
    }
    let partitions = match info.partitions.len() {
        1 => "1 partition".to_owned(),
        count => format!("{count} partitions"),
    };
    format!("topic {topic}, {partitions}, id {}\n\n{}", info.id, output::table(&rows))
}

fn told(topic: &str, error: Error) -> String {
    match error.code() {
        Some(ResponseError::UnknownTopicOrPartition) => missing(topic),
        _ => error.to_string(),
    }
}

/// What to say of a topic that isn't there.
pub(crate) fn missing(topic: &str) -> String {
    format!(
        "topic {topic} is not there; `millrace topic list` shows all, `millrace topic create {topic}` creates it"
    )
}
