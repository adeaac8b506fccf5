//! From a connector's map to what can run: components asked, references filled in, settings checked.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::component::ComponentHost;
use crate::plan::{Catalog, Draft, PipelinePlan, Plan};
use crate::spec::flat::{self, ConnectorConfig};
use crate::spec::{Diagnostic, Environment, fill_in};

/// Where references are looked up.
pub(super) type Env = Arc<dyn Environment + Send + Sync>;

/// A connector that can run.
#[derive(Debug)]
pub(super) struct Prepared {
    /// Its pipeline: it alone, and its topic.
    pub(super) plan: PipelinePlan,
    /// What references gave, with the references.
    referenced: Vec<(String, String)>,
    folder: std::path::PathBuf,
}

/// Everything that is wrong with a map, by key; what is about no key in particular stands under `""`.
pub(super) type Problems = BTreeMap<String, Vec<String>>;

/// What is known of the components that a map names.
pub(super) async fn catalog(host: &ComponentHost, config: &ConnectorConfig) -> Catalog {
    Catalog::load(host, &flat::components(config)).await
}

/// Checks a map, and lets the components check their settings (`ask`).
pub(super) async fn prepare(
    name: &str,
    config: &ConnectorConfig,
    host: &ComponentHost,
    env: &Env,
    ask: bool,
) -> Result<Prepared, Problems> {
    let catalog = catalog(host, config).await;
    // The environment's files are small and local.
    let reading = flat::read(name, config, &catalog, &**env);
    let folder = reading.deployment.file.folder().to_owned();
    let mut draft = Draft::of(&[reading.deployment], &catalog);
    if ask {
        draft.ask(host).await;
    }
    let mut problems = reading.problems;
    match draft.finish() {
        Ok(Plan { mut pipelines }) if problems.is_empty() && pipelines.len() == 1 => {
            return Ok(Prepared { plan: pipelines.remove(0), referenced: reading.referenced, folder });
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
    ///
    /// Also where a connector made the value part of a longer text. Numbers and booleans stay: they are no secrets.
    pub(super) fn conceal(&self, task_config: &str) -> String {
        let Ok(config) = serde_json::from_str::<Value>(task_config) else { return task_config.to_owned() };
        let mut referenced: Vec<(String, &str)> = self
            .referenced
            .iter()
            .filter(|(value, _)| !value.is_empty())
            .map(|(value, reference)| (escaped(value), reference.as_str()))
            .collect();
        // The longest first: one value may be part of another.
        referenced.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
        let concealed =
            each_text(config, &mut |text| Ok::<_, String>(conceal_text(&escaped(&text), &referenced)));
        concealed.map_or_else(|_| task_config.to_owned(), |config| config.to_string())
    }

    /// The same with its references filled in again.
    pub(super) fn reveal(&self, task_config: &str, env: &Env) -> Result<String, String> {
        let config: Value = serde_json::from_str(task_config)
            .map_err(|error| format!("the task's configuration is no JSON: {error}"))?;
        let revealed = each_text(config, &mut |text| fill_in(&text, &self.folder, &**env))?;
        Ok(revealed.to_string())
    }
}

fn escaped(text: &str) -> String {
    text.replace("${", "$${")
}

/// Replaces values in one go from left to right, so that a reference that was put in is not searched again.
fn conceal_text(text: &str, referenced: &[(String, &str)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        match referenced.iter().find(|(value, _)| rest.starts_with(value.as_str())) {
            Some((value, reference)) => {
                // `$${` would be a literal: dollars before a reference become the default of one that is never set.
                let plain = out.trim_end_matches('$').len();
                if plain < out.len() {
                    let dollars = out.split_off(plain);
                    out.push_str(&format!("${{env::-{dollars}}}"));
                }
                out.push_str(reference);
                rest = &rest[value.len()..];
            }
            None => {
                out.push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
    }
    out
}

/// Changes every text of a value. Recursive, but no deeper than a parsed JSON text.
fn each_text<E>(value: Value, change: &mut impl FnMut(String) -> Result<String, E>) -> Result<Value, E> {
    Ok(match value {
        Value::String(text) => Value::String(change(text)?),
        Value::Array(items) => {
            Value::Array(items.into_iter().map(|item| each_text(item, change)).collect::<Result<_, _>>()?)
        }
        Value::Object(map) => {
            let changed = map.into_iter().map(|(name, value)| Ok((name, each_text(value, change)?)));
            Value::Object(changed.collect::<Result<_, _>>()?)
        }
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use proptest::prelude::*;

    use super::*;
    use crate::plan::TopicPlan;

    struct Secrets;

    impl Environment for Secrets {
        fn variable(&self, name: &str) -> Option<String> {
            match name {
                "A" => Some("hunter".into()),
                "B" => Some("hunter2${x:y}".into()),
                _ => None,
            }
        }

        fn read(&self, _: &Path) -> std::io::Result<String> {
            Err(std::io::ErrorKind::NotFound.into())
        }

        fn is_file(&self, _: &Path) -> bool {
            false
        }
    }

    fn prepared() -> Prepared {
        let topic = TopicPlan::default();
        let plan = PipelinePlan { name: "p".into(), topic, source: None, sinks: Vec::new() };
        let referenced = [("hunter", "${env:A}"), ("hunter2${x:y}", "${env:B}"), ("", "${env:C:-}")];
        let referenced = referenced.map(|(value, reference)| (value.into(), reference.into())).to_vec();
        Prepared { plan, referenced, folder: PathBuf::from("/") }
    }

    #[test]
    fn values_of_references_are_not_stored() {
        let prepared = prepared();
        let config = r#"{"n":5,"url":"db://u:hunter2${x:y}@h","user":"hunter","x":["${topic}"]}"#;
        let stored = prepared.conceal(config);
        assert_eq!(stored, r#"{"n":5,"url":"db://u:${env:B}@h","user":"${env:A}","x":["$${topic}"]}"#);
        let env: Env = Arc::new(Secrets);
        assert_eq!(prepared.reveal(&stored, &env).unwrap(), config);
    }

    proptest! {
        #[test]
        fn whatever_was_concealed_is_revealed(text in "(hunter|2|\\$|\\{|x:y|\\}|[a-z]){0,8}") {
            let prepared = prepared();
            let env: Env = Arc::new(Secrets);
            let config = serde_json::json!({ "a": text }).to_string();
            let stored = prepared.conceal(&config);
            prop_assert!(!stored.contains("hunter"));
            prop_assert_eq!(prepared.reveal(&stored, &env), Ok(config));
        }
    }
}
