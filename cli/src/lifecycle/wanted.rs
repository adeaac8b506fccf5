//! Pipeline files as the maps that a worker takes.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use millrace_connect_runtime::plan::{self, Catalog};
use millrace_connect_runtime::spec::flat::{self, ConnectorConfig};
use millrace_connect_runtime::spec::{self, ConnectorSpec, Deployment, Diagnostic, Environment, Pipeline};

use crate::components;
use crate::exit::Failure;
use crate::validate::refused;

/// What files ask for.
pub(super) struct Wanted {
    deployments: Vec<Deployment>,
    /// Maps by connector, in the order of the files.
    pub(super) connectors: Vec<(String, ConnectorConfig)>,
    /// Names of the pipelines.
    pub(super) pipelines: BTreeSet<String>,
}

/// References are the worker's to fill in; here they stand for something.
struct Elsewhere;

impl Environment for Elsewhere {
    /// What the pipeline's own keys refer to (`tasks`, `topic`) is needed here.
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        std::fs::read_to_string(path)
    }

    fn is_file(&self, _: &Path) -> bool {
        true
    }

    fn elsewhere(&self) -> Option<String> {
        Some("elsewhere".to_owned())
    }
}

/// Reads files that are to run together.
pub(super) async fn read(files: &[PathBuf]) -> Result<Wanted, Failure> {
    let (deployments, problems) = spec::load(files, &Elsewhere);
    if !problems.is_empty() {
        return Err(refused(&problems));
    }
    let host = components::host()?;
    let catalog = Catalog::load(&host, &plan::components(&deployments)).await;
    let mut connectors = Vec::new();
    let mut pipelines = BTreeSet::new();
    for (deployment, pipeline, spec) in each(&deployments) {
        let map = flat::write(deployment, pipeline, spec, &catalog).map_err(Failure::validation)?;
        connectors.push((spec.name.clone(), map));
        pipelines.insert(pipeline.name.clone());
    }
    Ok(Wanted { connectors, pipelines, deployments })
}

fn each(deployments: &[Deployment]) -> impl Iterator<Item = (&Deployment, &Pipeline, &ConnectorSpec)> {
    let pipelines =
        deployments.iter().flat_map(|deployment| deployment.pipelines.iter().map(move |p| (deployment, p)));
    pipelines.flat_map(|(deployment, pipeline)| {
        pipeline.source.iter().chain(&pipeline.sinks).map(move |spec| (deployment, pipeline, spec))
    })
}

impl Wanted {
    /// What a worker says against a key of a connector's map, at its place in the file.
    pub(super) fn problem(&self, connector: &str, key: &str, message: &str) -> Option<Diagnostic> {
        let (deployment, _, spec) = each(&self.deployments).find(|(_, _, spec)| spec.name == connector)?;
        let pointer = format!("/{}", key.replace('.', "/"));
        let span = match key.strip_prefix("transforms.t").and_then(|rest| rest.split_once('.')) {
            Some((at, key)) => {
                let transform = spec.transforms.get(at.parse::<usize>().ok()?)?;
                let pointer = format!("/{}", key.replace('.', "/"));
                transform.settings.place(&pointer).map_or(transform.span, |place| place.value)
            }
            None => spec.settings.place(&pointer).map_or(spec.span, |place| place.value),
        };
        Some(Diagnostic::new(&deployment.file, span, message))
    }
}
