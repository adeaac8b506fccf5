//! `millrace doctor`: what stands in the way of pipeline files, before anything runs.

use std::net::TcpListener;

use millrace_broker::Config;
use millrace_client::Client;
use millrace_connect_runtime::doctor::{self, Finding, Health};
use millrace_connect_runtime::plan::{self, Catalog, Draft};
use millrace_connect_runtime::spec::{self, BrokerSpec, ClusterSpec, Deployment, ProcessEnvironment};
use serde_json::json;

use crate::args::{DoctorArgs, Shown};
use crate::exit::{Failure, Outcome};
use crate::{broker, cluster, components, output, registry, validate};

/// Looks at everything and tells it line by line; fails if something would not run.
pub(crate) async fn run(args: DoctorArgs) -> Outcome {
    let host = components::host_with(args.connections.as_ref())?;
    let (deployments, mut problems) = spec::load(&args.files, &ProcessEnvironment);
    let catalog = Catalog::load(&host, &plan::components(&deployments)).await;
    let mut draft = Draft::of(&deployments, &catalog);
    draft.ask(&host).await;
    // As far as it goes: what can be looked at in spite of a problem is.
    let (plan, found) = draft.into_parts();
    problems.extend(found);
    let mut findings: Vec<Finding> = problems.iter().map(as_finding).collect();
    if findings.is_empty() {
        let connectors: usize =
            plan.pipelines.iter().map(|pipeline| pipeline.sinks.len() + pipeline.source.iter().count()).sum();
        let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let (pipelines, connectors) =
            (count(plan.pipelines.len(), "pipeline"), count(connectors, "connector"));
        let said = format!("{pipelines}, {connectors}, no problem");
        findings.push(Finding::ok("files", said));
    }
    match the_cluster(&args, &deployments)? {
        Cluster::Own(spec) => {
            let config = validate::broker_config(&spec)?;
            let served = registry::listener(&config);
            findings.extend(doctor::surroundings(&plan, &host, served.as_deref()).await);
            findings.extend(embedded(&spec, &config));
        }
        Cluster::Other(client) => {
            findings.extend(doctor::surroundings(&plan, &host, None).await);
            findings.extend(doctor::cluster(&plan, &client, &args.group).await);
        }
    }
    show(&findings, args.output)
}

fn as_finding(problem: &spec::Diagnostic) -> Finding {
    let place = format!("{}:{}", problem.file.path().display(), problem.span.line);
    let mut said = problem.message.clone();
    problem.expected.iter().for_each(|expected| said.push_str(&format!("; expected {expected}")));
    let nearest = problem.suggestion.as_ref().map(|nearest| format!("did you mean `{nearest}`?"));
    let mend = nearest.or_else(|| problem.help.clone()).unwrap_or_else(|| "correct the file".to_owned());
    Finding::failed(place, said, mend)
}

/// Where the pipelines would run.
enum Cluster {
    /// On a broker in the same process.
    Own(BrokerSpec),
    /// Somewhere else.
    Other(Client),
}

/// The cluster that the command line, or the files, name; else the broker that would run in the same process.
fn the_cluster(args: &DoctorArgs, deployments: &[Deployment]) -> Result<Cluster, Failure> {
    let declared = deployments.iter().map(|deployment| &deployment.cluster);
    let declared = declared.into_iter().find(|cluster| **cluster != ClusterSpec::Unspecified);
    let bootstrap = match (args.bootstrap.is_empty(), declared) {
        (false, _) => &args.bootstrap,
        (true, Some(ClusterSpec::Kafka(kafka))) => &kafka.bootstrap,
        (true, Some(ClusterSpec::Embedded(spec))) => return Ok(Cluster::Own(spec.clone())),
        (true, _) => return Ok(Cluster::Own(BrokerSpec::default())),
    };
    Ok(Cluster::Other(cluster::remote(bootstrap, "millrace-doctor")?))
}

/// A broker of our own: its folder and its port.
fn embedded(spec: &BrokerSpec, config: &Config) -> Vec<Finding> {
    let mut findings = vec![doctor::folder(&config.data_dir())];
    let listen = spec.listen.as_deref().unwrap_or(broker::DEFAULT_LISTEN);
    findings.push(match TcpListener::bind(listen) {
        Ok(_) => Finding::ok("broker", format!("can listen on {listen}")),
        Err(error) => Finding::failed(
            "broker",
            format!("can't listen on {listen}: {error}"),
            "stop what listens there, choose another `listen`, or look at that broker with --bootstrap",
        ),
    });
    findings
}

fn show(findings: &[Finding], how: Shown) -> Outcome {
    let count = |health| findings.iter().filter(|finding| finding.health == health).count();
    let (warnings, failed) = (count(Health::Warning), count(Health::Failed));
    match how {
        Shown::Json => {
            let one = |finding: &Finding| {
                json!({
                    "subject": finding.subject,
                    "health": finding.health.to_string(),
                    "said": finding.said,
                    "mend": finding.mend,
                })
            };
            let all: Vec<_> = findings.iter().map(one).collect();
            output::line(format!("{:#}", json!(all)))?;
        }
        Shown::Text => {
            for finding in findings {
                output::line(format!("{:<8} {}: {}", finding.health, finding.subject, finding.said))?;
                if let Some(mend) = &finding.mend {
                    output::line(format!("{:<8} -> {mend}", ""))?;
                }
            }
            output::line(format!("{} looked at, {warnings} to watch, {failed} to mend", findings.len()))?;
        }
    }
    // What is wrong stands above.
    if failed > 0 { Err(Failure::Runtime(String::new())) } else { Ok(()) }
}
