//! What only shows when all files of a run are seen together.

use std::collections::{BTreeMap, BTreeSet};

use super::deployment::{ClusterSpec, ConnectorSpec, Deployment, Pipeline, TopicSpec};
use super::diagnostic::Diagnostic;

/// Clashes between files, and between the pipelines of one.
pub(super) fn check(deployments: &[Deployment]) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    clusters(deployments, &mut problems);
    pipeline_names(deployments, &mut problems);
    topics(deployments, &mut problems);
    dead_letters(deployments, &mut problems);
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
        if bare || topic.name.is_empty() {
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

/// Dead letters that come back to the sink that refused them would go round for ever.
fn dead_letters(deployments: &[Deployment], problems: &mut Vec<Diagnostic>) {
    let mut sent = DeadLetterRoutes::default();
    for (deployment, pipeline) in all(deployments) {
        let topic = pipeline.topic.name.as_str();
        for connector in pipeline.source.iter().chain(&pipeline.sinks) {
            let Some(to) = connector.errors.dead_letter_topic.as_deref() else { continue };
            let at = |message| Diagnostic::new(&deployment.file, connector.span, message);
            if to == topic {
                let message =
                    format!("the dead letter topic of `{}` is the pipeline's own topic", connector.name);
                problems.push(at(message).help("bad records would come back for ever; name another topic"));
            } else if is_sink(pipeline, connector)
                && let Some(way) = sent.way(to, topic)
            {
                let message = format!(
                    "dead letters of `{}` come back to it: from topic {topic} to {}",
                    connector.name,
                    way.join(" to ")
                );
                problems.push(
                    at(message).help("bad records would go round for ever; name a topic that ends the way"),
                );
            } else if is_sink(pipeline, connector) {
                sent.add(topic, to);
            }
        }
    }
}

fn is_sink(pipeline: &Pipeline, connector: &ConnectorSpec) -> bool {
    pipeline.sinks.iter().any(|sink| std::ptr::eq(sink, connector))
}

/// From which topic sinks send dead letters to which. Never a circle: what would close one is refused.
#[derive(Default)]
struct DeadLetterRoutes<'d>(BTreeMap<&'d str, BTreeSet<&'d str>>);

impl<'d> DeadLetterRoutes<'d> {
    fn add(&mut self, from: &'d str, to: &'d str) {
        self.0.entry(from).or_default().insert(to);
    }

    /// The topics on a way between two, both included; none: there is none.
    fn way(&self, from: &'d str, to: &'d str) -> Option<Vec<&'d str>> {
        let mut ways = vec![vec![from]];
        let mut seen = BTreeSet::from([from]);
        while let Some(way) = ways.pop() {
            let last = *way.last()?;
            if last == to {
                return Some(way);
            }
            for next in self.0.get(last).into_iter().flatten().filter(|next| seen.insert(**next)) {
                ways.push(way.iter().copied().chain([*next]).collect());
            }
        }
        None
    }
}

fn all(deployments: &[Deployment]) -> impl Iterator<Item = (&Deployment, &Pipeline)> {
    deployments.iter().flat_map(|deployment| deployment.pipelines.iter().map(move |p| (deployment, p)))
}
