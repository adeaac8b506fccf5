//! `millrace validate`: everything that is wrong with pipeline files, at once.

use std::path::{Path, PathBuf};

use millrace_broker::{Config, ConfigError};
use millrace_connect_runtime::component::ComponentHost;
use millrace_connect_runtime::plan::{self, Catalog, Draft, Plan};
use millrace_connect_runtime::spec::{
    self, BrokerSpec, ClusterSpec, Deployment, Diagnostic, ProcessEnvironment,
};

use crate::args::ValidateArgs;
use crate::components;
use crate::exit::{Failure, Outcome};
use crate::output;

/// Checks the files and says what they hold.
pub(crate) async fn run(args: ValidateArgs) -> Outcome {
    let host = components::host_with(args.connections.as_ref())?;
    let checked = check(&host, &args.files).await?;
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let sources = checked.plan.pipelines.iter().filter(|p| p.source.is_some()).count();
    let sinks = checked.plan.pipelines.iter().map(|p| p.sinks.len()).sum();
    output::line(format!(
        "ok: {}, {}, {}, {}",
        count(args.files.len(), "file"),
        count(checked.plan.pipelines.len(), "pipeline"),
        count(sources, "source"),
        count(sinks, "sink"),
    ))
}

/// Files that hold together.
pub(crate) struct Checked {
    pub(crate) deployments: Vec<Deployment>,
    pub(crate) plan: Plan,
}

impl Checked {
    /// The one cluster that the files ask for.
    pub(crate) fn cluster(&self) -> &ClusterSpec {
        let declared = self.deployments.iter().map(|d| &d.cluster);
        declared.into_iter().find(|c| **c != ClusterSpec::Unspecified).unwrap_or(&ClusterSpec::Unspecified)
    }
}

/// Reads, checks and plans; all problems of all stages make one failure.
pub(crate) async fn check(host: &ComponentHost, files: &[PathBuf]) -> Result<Checked, Failure> {
    let (deployments, mut problems) = spec::load(files, &ProcessEnvironment);
    problems.extend(deployments.iter().flat_map(broker_problems));
    let catalog = Catalog::load(host, &plan::components(&deployments)).await;
    let mut draft = Draft::of(&deployments, &catalog);
    draft.ask(host).await;
    match draft.finish() {
        Ok(plan) if problems.is_empty() => return Ok(Checked { deployments, plan }),
        Ok(_) => {}
        Err(mut found) => problems.append(&mut found),
    }
    let file = |path: &Path| files.iter().position(|file| file == path);
    problems.sort_by_key(|problem| (file(problem.file.path()), problem.span.line, problem.span.column));
    Err(refused(&problems))
}

pub(crate) fn refused(problems: &[Diagnostic]) -> Failure {
    let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let count = problems.len();
    let errors = if count == 1 { "1 error".to_owned() } else { format!("{count} errors") };
    Failure::Validation(format!("{}\n\n{errors}; nothing was started", shown.join("\n\n")))
}

/// Broker properties that the broker refuses.
fn broker_problems(deployment: &Deployment) -> Vec<Diagnostic> {
    let ClusterSpec::Embedded(spec) = &deployment.cluster else { return Vec::new() };
    let mut config = Config::new();
    let mut problems = Vec::new();
    for (name, property) in &spec.config {
        let Err(error) = config.set(name, &property.value) else { continue };
        let at = |message: String| Diagnostic::new(&deployment.file, property.span, message);
        problems.push(match error {
            ConfigError::UnknownSetting { name, nearest }
            | ConfigError::UnknownTopicSetting { name, nearest } => {
                at(format!("unknown broker property `{name}`"))
                    .expected("a broker property of Apache Kafka, such as num.partitions")
                    .suggest(nearest)
            }
            ConfigError::InvalidValue { name, expected, .. } => {
                at(format!("broker property `{name}` can't have this value")).expected(expected)
            }
            other => at(other.to_string()),
        });
    }
    problems
}

/// The broker's configuration from a checked file.
pub(crate) fn broker_config(spec: &BrokerSpec) -> Result<Config, Failure> {
    let mut config = Config::new();
    if let Some(data) = &spec.data {
        config.set_data_dir(data);
    }
    if let Some(listen) = &spec.listen {
        config.set_listen(listen).map_err(Failure::validation)?;
    }
    for (name, property) in &spec.config {
        config.set(name, &property.value).map_err(Failure::validation)?;
    }
    Ok(config)
}
