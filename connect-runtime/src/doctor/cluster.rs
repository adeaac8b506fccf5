//! The cluster: whether it answers, and grants what workers and their connectors need.
//!
//! Rights are found out by asking for what will be asked for anyway: topics without making them, positions by reading them, transactions
//! under an id of the doctor's own, which begins as the workers' ids do.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_client::{Admin, Client, Error, Producer, ProducerConfig, ResponseError};

use super::Finding;
use crate::plan::{Plan, TopicPlan};
use crate::worker::topics;

/// Longest that any one question is waited for.
const LIMIT: Duration = Duration::from_secs(15);

pub(super) async fn look(plan: &Plan, client: &Client, group: &str) -> Vec<Finding> {
    let admin = Admin::new(client);
    let described = match limited(admin.describe_cluster()).await {
        Ok(described) => described,
        Err(why) => return vec![refused("cluster", &why, "start it, or correct the address of its brokers")],
    };
    let brokers = described.brokers.len();
    let word = if brokers == 1 { "broker" } else { "brokers" };
    let mut findings =
        vec![Finding::ok("cluster", format!("answers; id {}, {brokers} {word}", described.id))];
    if described.controller < 0 {
        let mend = "wait until the cluster has elected one; topics can't be made before";
        findings.push(Finding::warning("cluster", "has no controller now", mend));
    }
    findings.extend(planned_topics(plan, &admin).await);
    if plan.pipelines.iter().any(|pipeline| pipeline.source.is_some()) {
        findings.push(transactions(client, group).await);
    }
    for sink in plan.pipelines.iter().flat_map(|pipeline| &pipeline.sinks) {
        findings.push(positions(&admin, &sink.name).await);
    }
    findings
}

/// Topics of the plan: those that are there as they are, others as they would be made.
async fn planned_topics(plan: &Plan, admin: &Admin) -> Vec<Finding> {
    let wanted = wanted(plan);
    let known = match limited(admin.list_topics()).await {
        Ok(known) => known,
        Err(why) => return vec![refused("topics", &why, "let this user describe topics")],
    };
    let mut findings = Vec::new();
    let mut missing = Vec::new();
    for (name, topic) in &wanted {
        match known.get(name.as_str()) {
            Some(info) => findings.push(there(name, topic, info.partitions.len())),
            None => missing.push(topics::new(topic)),
        }
    }
    match limited(admin.check_topics(&missing)).await {
        Ok(checked) => findings.extend(checked.into_iter().map(|(name, checked)| to_make(&name, checked))),
        Err(why) => findings.push(refused("topics", &why, "let this user create topics")),
    }
    findings
}

fn wanted(plan: &Plan) -> BTreeMap<String, TopicPlan> {
    let mut wanted = BTreeMap::new();
    for pipeline in &plan.pipelines {
        wanted.insert(pipeline.topic.name.clone(), pipeline.topic.clone());
        let errors = pipeline.source.iter().map(|source| &source.errors);
        let errors = errors.chain(pipeline.sinks.iter().map(|sink| &sink.errors));
        for name in errors.filter_map(|errors| errors.dead_letter_topic.as_ref()) {
            let any = TopicPlan {
                name: name.clone(),
                partitions: -1,
                replication_factor: -1,
                ..TopicPlan::default()
            };
            wanted.entry(name.clone()).or_insert(any);
        }
    }
    wanted
}

fn there(name: &str, topic: &TopicPlan, partitions: usize) -> Finding {
    let subject = format!("topic {name}");
    let asked = usize::try_from(topic.partitions).unwrap_or(partitions);
    let said = format!("is there, with {partitions} partitions");
    match asked == partitions {
        true => Finding::ok(subject, said),
        false => {
            let mend = "a topic that exists keeps its partitions: correct the pipeline, or add some with `millrace topic`";
            Finding::warning(subject, format!("{said}; the pipeline says {asked}"), mend)
        }
    }
}

fn to_make(name: &str, checked: Result<(), Error>) -> Finding {
    let subject = format!("topic {name}");
    match checked {
        Ok(()) => Finding::ok(subject, "will be made"),
        // Somebody made it just now.
        Err(error) if error.code() == Some(ResponseError::TopicAlreadyExists) => {
            Finding::ok(subject, "is there")
        }
        Err(error) => {
            let mend = match error.code() {
                Some(ResponseError::TopicAuthorizationFailed | ResponseError::ClusterAuthorizationFailed) => {
                    "let this user create topics, or make it yourself"
                }
                Some(ResponseError::InvalidReplicationFactor) => {
                    "ask for no more copies than the cluster has brokers"
                }
                _ => "correct `topic` in the pipeline, or make the topic yourself",
            };
            Finding::failed(subject, format!("can't be made: {error}"), mend)
        }
    }
}

/// Exactly once needs transactions; the id is the doctor's own, so that nobody is fenced.
async fn transactions(client: &Client, group: &str) -> Finding {
    let transactional_id = Some(format!("{group}-doctor"));
    let config = ProducerConfig { transactional_id, ..ProducerConfig::default() };
    let begun = limited(async {
        let producer = Producer::start(client, config).await?;
        producer.init_transactions().await
    });
    match begun.await {
        Ok(_) => Finding::ok("transactions", "are granted"),
        Err(why) => {
            let mend = format!("let this user write under transactional ids that begin with {group}-");
            refused("transactions", &why, &mend)
        }
    }
}

/// A sink's group can be read; who may read it may join and commit, too (Kafka's READ on groups).
async fn positions(admin: &Admin, connector: &str) -> Finding {
    let group = format!("connect-{connector}");
    let subject = format!("group {group}");
    match limited(admin.group_offsets(&group)).await {
        Ok(offsets) if offsets.is_empty() => Finding::ok(subject, "begins at the start of its topic"),
        Ok(offsets) => Finding::ok(subject, format!("goes on where it was, in {} partitions", offsets.len())),
        Err(why) => refused(&subject, &why, "let this user read and describe the group"),
    }
}

/// A question that has no answer in time is answered, too.
async fn limited<T>(question: impl Future<Output = Result<T, Error>>) -> Result<T, String> {
    match tokio::time::timeout(LIMIT, question).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {LIMIT:?}")),
    }
}

fn refused(subject: &str, why: &str, mend: &str) -> Finding {
    Finding::failed(subject, why, mend)
}
