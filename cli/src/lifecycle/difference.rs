//! What would change.

use std::collections::BTreeMap;

use millrace_connect_runtime::spec::flat::ConnectorConfig;

use super::belongs_to;
use super::wanted::Wanted;

/// What becomes of a connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is made.
    Make,
    /// Keys that change: what is there and what will be.
    Alter(Vec<Altered>),
    /// It is as it should be.
    Keep,
    /// Its pipeline is in the files, and it is not.
    Remove,
}

/// A connector of the worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) config: ConnectorConfig,
    /// Components whose files are others by now.
    pub(super) replaced: Vec<Altered>,
}

/// One key, or one component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Altered {
    pub(super) key: String,
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
}

/// Changes by connector: those of the files in their order, then what goes.
pub(super) fn changes(wanted: &Wanted, running: &BTreeMap<String, Running>) -> Vec<(String, Change)> {
    let mut changes: Vec<(String, Change)> = Vec::new();
    for (name, config) in &wanted.connectors {
        let change = match running.get(name) {
            None => Change::Make,
            Some(now) if now.config == *config && now.replaced.is_empty() => Change::Keep,
            Some(now) => {
                Change::Alter(altered(&now.config, config).into_iter().chain(now.replaced.clone()).collect())
            }
        };
        changes.push((name.clone(), change));
    }
    let is_wanted = |name: &str| wanted.connectors.iter().any(|(wanted, _)| wanted == name);
    let is_ours = |name: &str| wanted.pipelines.iter().any(|pipeline| belongs_to(name, pipeline));
    let gone = running.keys().filter(|name| !is_wanted(name) && is_ours(name));
    changes.extend(gone.map(|name| (name.clone(), Change::Remove)));
    changes
}

fn altered(now: &ConnectorConfig, then: &ConnectorConfig) -> Vec<Altered> {
    let mut keys: Vec<&String> = now.keys().chain(then.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let differ = keys.into_iter().filter(|key| now.get(*key) != then.get(*key));
    differ
        .map(|key| Altered { key: key.clone(), from: now.get(key).cloned(), to: then.get(key).cloned() })
        .collect()
}

/// Lines as `diff` writes them.
pub(super) fn shown(changes: &[(String, Change)]) -> String {
    let mut text = String::new();
    for (name, change) in changes {
        match change {
            Change::Make => text.push_str(&format!("+ {name}\n")),
            Change::Remove => text.push_str(&format!("- {name}\n")),
            Change::Keep => text.push_str(&format!("  {name}\n")),
            Change::Alter(keys) => {
                text.push_str(&format!("~ {name}\n"));
                for Altered { key, from, to } in keys {
                    from.iter().for_each(|value| text.push_str(&format!("    - {key} = {value}\n")));
                    to.iter().for_each(|value| text.push_str(&format!("    + {key} = {value}\n")));
                }
            }
        }
    }
    let count = |which: fn(&Change) -> bool| changes.iter().filter(|(_, change)| which(change)).count();
    text.push_str(&format!(
        "{} to make, {} to change, {} to remove, {} as they should be",
        count(|change| *change == Change::Make),
        count(|change| matches!(change, Change::Alter(_))),
        count(|change| *change == Change::Remove),
        count(|change| *change == Change::Keep),
    ));
    text
}
