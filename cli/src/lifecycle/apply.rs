//! `plan` and `apply`: what the files say and what runs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use millrace_connect_runtime::spec::flat::CONNECTOR_CLASS;
use serde_json::{Value, json};

use super::difference::{Change, Running, changes, shown};
use super::wanted::{self, Wanted};
use super::{components, connectors, health, path};
use crate::exit::{Failure, Outcome};
use crate::output;
use crate::rest::{Error, Rest, encoded};
use crate::validate::refused;

pub(super) async fn plan(rest: &Rest, files: &[PathBuf], exit_code: bool) -> Outcome {
    let wanted = wanted::read(files).await?;
    check(rest, &wanted).await?;
    let changes = changes(&wanted, &running(rest).await?);
    output::line(shown(&changes))?;
    let is_news = changes.iter().any(|(_, change)| *change != Change::Keep);
    if exit_code && is_news { Err(Failure::Runtime(String::new())) } else { Ok(()) }
}

pub(super) async fn apply(rest: &Rest, files: &[PathBuf], timeout_s: u64) -> Outcome {
    let wanted = wanted::read(files).await?;
    check(rest, &wanted).await?;
    let changes = changes(&wanted, &running(rest).await?);
    // What goes first makes room for what comes: two sinks may not write to one path.
    for (name, _) in changes.iter().filter(|(_, change)| *change == Change::Remove) {
        rest.delete(&path(name, "")).await?;
        output::line(format!("removed {name}; its positions stay"))?;
    }
    for (name, config) in &wanted.connectors {
        let change = changes.iter().find(|(changed, _)| changed == name).map(|(_, change)| change);
        let done = match change {
            Some(Change::Make) => "made",
            Some(Change::Alter(_)) => "changed",
            _ => {
                output::line(format!("unchanged {name}"))?;
                continue;
            }
        };
        rest.put(&path(name, "/config"), Some(&json!(config))).await?;
        output::line(format!("{done} {name}"))?;
    }
    if timeout_s == 0 {
        return Ok(());
    }
    let names: Vec<&str> = wanted.connectors.iter().map(|(name, _)| name.as_str()).collect();
    health::wait(rest, &names, timeout_s).await
}

/// Lets the worker check everything before anything is changed.
async fn check(rest: &Rest, wanted: &Wanted) -> Result<(), Failure> {
    let mut problems = Vec::new();
    let mut others = Vec::new();
    for (name, config) in &wanted.connectors {
        let class = config.get(CONNECTOR_CLASS).map(String::as_str).unwrap_or_default();
        let path = format!("/connector-plugins/{}/config/validate", encoded(class));
        let checked = match rest.put(&path, Some(&json!(config))).await {
            Ok(checked) => checked,
            Err(Error::Refused(no)) if no.status == hyper::StatusCode::NOT_FOUND => {
                let message = format!("the worker can't load connector `{class}`: {}", no.message());
                problems.extend(wanted.problem(name, CONNECTOR_CLASS, &message));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        for entry in checked["configs"].as_array().into_iter().flatten() {
            let key = entry["value"]["name"].as_str().unwrap_or_default();
            for error in entry["value"]["errors"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                match wanted.problem(name, key, error) {
                    Some(problem) => problems.push(problem),
                    None => others.push(format!("{name}: {key}: {error}")),
                }
            }
        }
    }
    match (problems.is_empty(), others.is_empty()) {
        (true, true) => Ok(()),
        (true, false) => Err(Failure::Validation(others.join("\n"))),
        (false, _) => Err(refused(&problems)),
    }
}

/// All connectors of the worker.
async fn running(rest: &Rest) -> Result<BTreeMap<String, Running>, Failure> {
    let all = connectors(rest, &[]).await?;
    let one = |(name, value): (String, Value)| {
        let config = serde_json::from_value(value["info"]["config"].clone()).unwrap_or_default();
        (name, Running { config, replaced: components::replaced(&value["components"]) })
    };
    Ok(all.into_iter().map(one).collect())
}
