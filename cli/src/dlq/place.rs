//! Which dead letter topics there are: the command line, the files, or `connect-configs` says.

use std::collections::{BTreeMap, BTreeSet};

use millrace_connect_runtime::herder::service::HerderConfig;
use millrace_connect_runtime::redrive::DeadLetters;
use millrace_connect_runtime::spec::{self, Deployment, ProcessEnvironment};

use super::failure;
use crate::args::Place;
use crate::exit::Failure;
use crate::validate;

/// Connectors with their dead letter topics; none: the topics were named, and whose letters are in them only they tell.
type Known = Option<BTreeMap<String, String>>;

/// The dead letter topic of a connector.
pub(super) async fn topic_of(
    letters: &DeadLetters,
    place: &Place,
    connector: &str,
) -> Result<String, Failure> {
    let Some(known) = known(letters, place).await? else {
        return match place.topics.as_slice() {
            [topic] => Ok(topic.clone()),
            _ => Err(Failure::validation("--topic: name the one topic that is meant")),
        };
    };
    known.get(connector).cloned().ok_or_else(|| {
        let all = match known.len() {
            0 => "none has one".to_owned(),
            _ => format!("these have: {}", known.keys().cloned().collect::<Vec<_>>().join(", ")),
        };
        Failure::validation(format!(
            "no connector {connector} with a dead letter topic is known; {all}; --file or --topic names it"
        ))
    })
}

/// The topics to look at.
pub(super) async fn topics(letters: &DeadLetters, place: &Place) -> Result<BTreeSet<String>, Failure> {
    match known(letters, place).await? {
        None => Ok(place.topics.iter().cloned().collect()),
        Some(known) if known.is_empty() => Err(Failure::validation(
            "no connector with a dead letter topic is known; --file PIPELINE.yaml or --topic names it",
        )),
        Some(known) => Ok(known.into_values().collect()),
    }
}

async fn known(letters: &DeadLetters, place: &Place) -> Result<Known, Failure> {
    if !place.topics.is_empty() {
        return Ok(None);
    }
    if place.files.is_empty() {
        // Where the workers' own default says that they keep it.
        let configs_topic = HerderConfig::new("").configs_topic;
        return Ok(Some(letters.topics(&configs_topic).await.map_err(failure)?));
    }
    let (deployments, problems) = spec::load(&place.files, &ProcessEnvironment);
    if !problems.is_empty() {
        return Err(validate::refused(&problems));
    }
    Ok(Some(deployments.iter().flat_map(of_file).collect()))
}

fn of_file(deployment: &Deployment) -> impl Iterator<Item = (String, String)> {
    let of = |pipeline: &spec::Pipeline| {
        let each = pipeline.source.iter().chain(&pipeline.sinks).filter_map(|connector| {
            Some((connector.name.clone(), connector.errors.dead_letter_topic.clone()?))
        });
        each.collect::<Vec<_>>()
    };
    deployment.pipelines.iter().flat_map(of)
}
