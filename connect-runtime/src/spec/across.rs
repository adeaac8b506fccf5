//! What only shows when all files of a run are seen together.

use std::collections::BTreeMap;

use super::deployment::{ClusterSpec, Deployment, Pipeline, TopicSpec};
use super::diagnostic::Diagnostic;

/// Clashes between files, and between the pipelines of one.
pub(super) fn check(deployments: &[Deployment]) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    clusters(deployments, &mut problems);
    pipeline_names(deployments, &mut problems);
    topics(deployments, &mut problems);
    problems
}

fn clusters(deployments: &[Deployment], problems: &mut Vec<Diagnostic>) {
    let mut declared = deployments.iter().filter(|d| d.cluster != ClusterSpec::Unspecified);
    let Some(first) = declared.next() else { return };
    for other in declared.filter(|d| d.cluster != first.cluster) {
        problems.push(
            Diagnostic::new(&other.file, other.cluster_span, "files of one run ask for different clusters")
                .help(format!(
                    "{}:{} asks for another; declare it in one file",
                    first.file.path().display(),
                    first.cluster_span.line
                )),
        );
    }
}

fn pipeline_names(deployments: &[Deployment], problems: &mut Vec<Diagnostic>) {
    let mut seen: BTreeMap<&str, (&Deployment, &Pipeline)> = BTreeMap::new();
    for (deployment, pipeline) in all(deployments) {
        if let Some((first, earlier)) = seen.insert(&pipeline.name, (deployment, pipeline)) {
            let message = format!("pipeline `{}` is declared twice", pipeline.name);
            let help = format!(
                "the first is in {}:{}; a pipeline's positions are kept under its name, so rename one",
                first.file.path().display(),
                earlier.span.line
            );
            problems.push(Diagnostic::new(&deployment.file, pipeline.span, message).help(help));
        }
    }
}

/// One topic may be declared by several pipelines (one fills it, others empty it), but not in two ways.
fn topics(deployments: &[Deployment], problems: &mut Vec<Diagnostic>) {
    let mut seen: BTreeMap<&str, (&Deployment, &TopicSpec)> = BTreeMap::new();
    for (deployment, pipeline) in all(deployments) {
        let topic = &pipeline.topic;
        let bare =
            topic.partitions.is_none() && topic.replication_factor.is_none() && topic.config.is_empty();
        if bare {
            continue;
        }
        let Some((first, earlier)) = seen.insert(&topic.name, (deployment, topic)) else { continue };
        let same = earlier.partitions == topic.partitions
            && earlier.replication_factor == topic.replication_factor
            && earlier.config == topic.config;
        if !same {
            let message = format!("topic `{}` is declared in two ways", topic.name);
            let help = format!(
                "the first is in {}:{}; declare partitions and config once, elsewhere only the name",
                first.file.path().display(),
                earlier.span.line
            );
            problems.push(Diagnostic::new(&deployment.file, topic.span, message).help(help));
        }
    }
}

fn all(deployments: &[Deployment]) -> impl Iterator<Item = (&Deployment, &Pipeline)> {
    deployments.iter().flat_map(|deployment| deployment.pipelines.iter().map(move |p| (deployment, p)))
}
