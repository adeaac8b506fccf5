//! Pipelines in YAML: from text to a checked [`Deployment`], or to everything that is wrong with it at once.
//!
//! | room | what is there |
//! |---|---|
//! | `source_file` | a file's text and places in it |
//! | `diagnostic` | one problem, shown with its line and a caret |
//! | `tree` | YAML to a tree with places; limits on depth and aliases |
//! | `read` | reading a tree with known shapes |
//! | `reference` | `${env:NAME}`, `${file:path:key}` |
//! | `units`, `names` | durations and sizes; rules for names, the nearest known name |
//! | `file`, `pipeline`, `connector`, `format` | the levels of the format, top down |
//! | `connections` | named connections, each checked by its kind |
//! | `predicate` | which records a transform is given |
//! | `cases` | what a pipeline is tested with |
//! | `settings` | a connector's own settings: JSON with places |
//! | [`flat`] | one connector as Kafka Connect's flat map, and back |
//! | `json_schema` | the format for editors |
//! | `across` | what only shows when several files are seen together |
//! | `deployment` | the result |
//!
//! The format itself is described in `docs/PIPELINES.md`. What needs the connectors' own word is checked by [`crate::plan`].

mod across;
mod cases;
mod connections;
mod connector;
mod deployment;
mod diagnostic;
mod file;
pub mod flat;
mod format;
mod json_schema;
mod names;
mod pipeline;
mod predicate;
mod read;
mod reference;
mod settings;
mod source_file;
#[cfg(test)]
mod tests;
mod tree;
mod units;

use std::path::PathBuf;
use std::sync::Arc;

pub use connector::{RESERVED, is_component_path};
pub use deployment::{
    BrokerSpec, Case, CaseStart, ClusterSpec, ConnectionSpec, ConnectorSpec, Content, Deployment, Expected,
    KafkaSpec, Pipeline, Property, RecordSpec, RegistrySpec, RejectionSpec, Role, TopicSpec, TransformSpec,
};
pub use diagnostic::Diagnostic;
pub use json_schema::json_schema;
pub use names::nearest;
pub use reference::{Environment, ProcessEnvironment, fill_in};
pub use settings::{Place, Settings};
pub use source_file::{SourceFile, Span};

pub(crate) use names::is_internal as is_internal_topic;
pub(crate) use read::clean;
pub(crate) use settings::pointer_join;
pub(crate) use units::{DURATION_SHAPE, SIZE_SHAPE, duration, is_duration, is_size, size};

use crate::connection::Connections;
use diagnostic::Problems;
use read::Reader;

/// Larger files are refused.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads and checks several files that are to run together: what could be read of them, and everything that is wrong, file
/// by file, in the order of the lines.
///
/// Deployments with problems are there to be checked further, so that all mistakes are told at once; they are only good to run
/// if there are no problems.
pub fn load(files: &[PathBuf], env: &dyn Environment) -> (Vec<Deployment>, Vec<Diagnostic>) {
    let mut deployments = Vec::new();
    let mut problems = Vec::new();
    for path in files {
        let (deployment, mut found) = match read_file(path) {
            // Beside the pipelines in `*.yaml`, and of no use without `millrace test`.
            Ok(file) if cases::is_cases_file(path) => (None, cases::read_file(&file, env, None).1),
            Ok(file) => read_text(&file, env),
            Err(found) => (None, found),
        };
        deployments.extend(deployment);
        problems.append(&mut found);
    }
    problems.append(&mut across::check(&deployments));
    (deployments, problems)
}

/// Reads a file of connections, which is not of any pipeline: those that it declares.
///
/// # Errors
/// Everything that is wrong, in the order of the lines.
pub fn load_connections(path: &PathBuf, env: &dyn Environment) -> Result<Connections, Vec<Diagnostic>> {
    let file = read_file(path)?;
    let mut reader = Reader { file: Arc::clone(&file), env, problems: Problems::new(&file) };
    let root = tree::parse(file.text(), &mut reader.problems);
    let specs = root.map(|root| file::read_connections(&mut reader, &root)).unwrap_or_default();
    let problems = reader.problems.into_sorted();
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(specs.into_iter().filter_map(|(name, spec)| Some((name, spec.connection?))).collect())
}

/// Adds to deployments the cases that stand beside their files: what is wrong with these.
pub fn load_cases(deployments: &mut [Deployment], env: &dyn Environment) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    for deployment in deployments {
        let path = cases::beside(deployment.file.path());
        if !env.is_file(&path) {
            continue;
        }
        match read_file(&path) {
            Ok(file) => {
                let (found, mut wrong) = cases::read_file(&file, env, Some(&*deployment));
                problems.append(&mut wrong);
                for (name, case) in found {
                    let pipeline = deployment.pipelines.iter_mut().find(|pipeline| pipeline.name == name);
                    pipeline.into_iter().for_each(|pipeline| pipeline.tests.push(case.clone()));
                }
            }
            Err(mut wrong) => problems.append(&mut wrong),
        }
    }
    problems
}

/// Checks one file's text. Nothing is read but what its references and component paths name, through `env`.
///
/// # Errors
/// Everything that is wrong, in the order of the lines.
pub fn parse(file: &Arc<SourceFile>, env: &dyn Environment) -> Result<Deployment, Vec<Diagnostic>> {
    match read_text(file, env) {
        (Some(deployment), problems) if problems.is_empty() => Ok(deployment),
        (_, problems) => Err(problems),
    }
}

fn read_text(file: &Arc<SourceFile>, env: &dyn Environment) -> (Option<Deployment>, Vec<Diagnostic>) {
    let mut reader = Reader { file: Arc::clone(file), env, problems: Problems::new(file) };
    let deployment =
        tree::parse(file.text(), &mut reader.problems).and_then(|root| file::read(&mut reader, &root));
    (deployment, reader.problems.into_sorted())
}

fn read_file(path: &PathBuf) -> Result<Arc<SourceFile>, Vec<Diagnostic>> {
    let about = |message: String, help: &str| {
        let file = SourceFile::new(path, "");
        vec![Diagnostic::new(&file, Span::default(), message).help(help)]
    };
    let unreadable = |error: std::io::Error| {
        about(format!("file {} can't be read: {error}", path.display()), "check the path and its permissions")
    };
    if std::fs::metadata(path).map_err(unreadable)?.len() > FILE_BYTES_MAX {
        return Err(about(format!("file {} is larger than 1 MiB", path.display()), "split it into several"));
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(SourceFile::new(path, text)),
        Err(_) => Err(about(format!("file {} is not UTF-8 text", path.display()), "save it as UTF-8")),
    }
}
