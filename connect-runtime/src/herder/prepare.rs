//! From a connector's map to what can run: components asked, references filled in, settings checked.

mod conceal;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::component::ComponentHost;
use crate::plan::{Builds, Catalog, Draft, PipelinePlan, Plan};
use crate::spec::flat::{self, ConnectorConfig, Referenced};
use crate::spec::{Diagnostic, Environment};

/// Where references are looked up.
pub(super) type Env = Arc<dyn Environment + Send + Sync>;

/// A connector that can run.
#[derive(Debug)]
pub(super) struct Prepared {
    /// Its pipeline: it alone, and its topic.
    pub(super) plan: PipelinePlan,
    /// What references gave, with the references.
    referenced: Vec<Referenced>,
    folder: std::path::PathBuf,
}

/// Everything that is wrong with a map, by key; what is about no key in particular stands under `""`.
pub type Problems = BTreeMap<String, Vec<String>>;

/// What is known of the components that a map names: as they were when `builds` were written down, others as they are.
pub(super) async fn catalog(host: &ComponentHost, config: &ConnectorConfig, builds: &Builds) -> Catalog {
    Catalog::load_as_built(host, &flat::components(config), builds).await
}

/// Checks a map, and lets the components check their settings if there is a host to `ask` them in. What runs are the very
/// components that the catalog has.
pub(super) async fn prepare(
    name: &str,
    config: &ConnectorConfig,
    catalog: &Catalog,
    env: &Env,
    ask: Option<&ComponentHost>,
) -> Result<Prepared, Problems> {
    // The environment's files are small and local.
    let reading = flat::read(name, config, catalog, &**env);
    let folder = reading.deployment.file.folder().to_owned();
    let mut draft = Draft::of(&[reading.deployment], catalog);
    if let Some(host) = ask {
        draft.ask(host).await;
    }
    let mut problems = reading.problems;
    match draft.finish() {
        Ok(Plan { mut pipelines }) if problems.is_empty() && pipelines.len() == 1 => {
            let mut plan = pipelines.remove(0);
            plan.pin(&catalog.builds);
            return Ok(Prepared { plan, referenced: reading.referenced, folder });
        }
        Ok(_) => {}
        Err(found) => problems.extend(found),
    }
    let mut by_key = Problems::new();
    for problem in problems {
        let key = flat::key_of(config, &problem).unwrap_or_default().to_owned();
        by_key.entry(key).or_default().push(in_words(&problem));
    }
    Err(by_key)
}

/// A problem in one line.
fn in_words(problem: &Diagnostic) -> String {
    let mut words = problem.message.clone();
    if let Some(expected) = &problem.expected {
        words.push_str(&format!("; expected {expected}"));
    }
    if let Some(nearest) = &problem.suggestion {
        words.push_str(&format!("; did you mean `{nearest}`?"));
    }
    if let Some(help) = &problem.help {
        words.push_str(&format!("; {help}"));
    }
    words
}

/// All problems in one text.
pub(super) fn in_one(problems: &Problems) -> String {
    let each = problems.iter().flat_map(|(key, problems)| problems.iter().map(move |problem| (key, problem)));
    let lines: Vec<String> = each
        .map(|(key, problem)| if key.is_empty() { problem.clone() } else { format!("{key}: {problem}") })
        .collect();
    lines.join("; ")
}

impl Prepared {
    /// A task's configuration as it may be stored and shown: references again where they had been filled in.
    pub(super) fn conceal(&self, task_config: &str) -> String {
        conceal::conceal(&self.referenced, task_config)
    }

    /// The same with its references filled in again.
    pub(super) fn reveal(&self, task_config: &str, env: &Env) -> Result<String, String> {
        conceal::reveal(task_config, &self.folder, &**env)
    }
}
