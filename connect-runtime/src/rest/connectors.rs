//! `/connectors`: read, made, changed, removed, started and stopped.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer::{Outcome, Problem, Reply};
use super::{Api, Ask, components};
use crate::component::Kind;
use crate::herder::handle::{ConnectorView, Error};
use crate::herder::record::{Restart, RunState, Status, TargetState};
use crate::herder::request::{Refusal, Request};
use crate::percent::encoded;
use crate::spec::flat::ConnectorConfig;

/// Longest name of a connector: it becomes part of a transactional id and a group's name.
const NAME_CHARS_MAX: usize = 200;

pub(super) async fn list(api: &Api, ask: &Ask) -> Outcome {
    let expand = ask.parameters("expand");
    let views = api.herder.connectors();
    if expand.is_empty() {
        return Ok(Reply::ok(views.into_iter().map(|view| view.name).collect()));
    }
    let mut all = Map::new();
    for view in views {
        let mut one = Map::new();
        for what in &expand {
            match what.as_str() {
                "status" => drop(one.insert(what.clone(), status_of(api, &view).await)),
                // Our own.
                "components" => drop(one.insert(what.clone(), components::of(api, &view).await)),
                "info" => drop(one.insert(what.clone(), info(api, &view).await)),
                other => tracing::debug!(other, "this can't be expanded"),
            }
        }
        all.insert(view.name, one.into());
    }
    Ok(Reply::ok(all.into()))
}

#[derive(Deserialize)]
struct Create {
    name: String,
    #[serde(default)]
    config: BTreeMap<String, Value>,
    #[serde(default)]
    initial_state: Option<String>,
}

pub(super) async fn create(api: &Api, ask: &Ask) -> Outcome {
    let Create { name, config, initial_state } = ask.json()?;
    check_name(&name)?;
    let initial = match initial_state.map(|name| name.to_uppercase()).as_deref().map(TargetState::named) {
        None => TargetState::Started,
        Some(Some(state)) => state,
        Some(None) => return Err(Problem::bad_request("initial_state is one of RUNNING, PAUSED, STOPPED")),
    };
    let config = named(&name, texts(config)?)?;
    let create = |now: Option<&ConnectorConfig>| match now {
        Some(_) => Err(Refusal::Exists(name.clone())),
        None => Ok(Request::Create { name: name.clone(), config: config.clone(), initial }),
    };
    api.herder.configure(&name, create).await?;
    made(api, &name).await
}

pub(super) async fn show(api: &Api, name: &str) -> Outcome {
    Ok(Reply::ok(info(api, &view(api, name)?).await))
}

pub(super) async fn delete(api: &Api, name: &str) -> Outcome {
    api.herder.request(Request::Delete(name.to_owned())).await?;
    Ok(Reply::no_content())
}

pub(super) fn config(api: &Api, name: &str) -> Outcome {
    Ok(Reply::ok(json!(*view(api, name)?.wanted.config)))
}

pub(super) async fn put_config(api: &Api, name: &str, ask: &Ask) -> Outcome {
    check_name(name)?;
    let config = named(name, texts(ask.json()?)?)?;
    put(api, name, |_| Ok(config.clone())).await
}

pub(super) async fn patch_config(api: &Api, name: &str, ask: &Ask) -> Outcome {
    let changes: BTreeMap<String, Value> = ask.json()?;
    let (gone, kept): (Vec<_>, Vec<_>) = changes.into_iter().partition(|(_, value)| value.is_null());
    let kept = named(name, texts(kept.into_iter().collect())?)?;
    put(api, name, |now| {
        let mut config = now.ok_or_else(|| Refusal::NoConnector(name.to_owned()))?.clone();
        gone.iter().for_each(|(key, _)| drop(config.remove(key)));
        config.extend(kept.clone());
        Ok(config)
    })
    .await
}

async fn put(
    api: &Api,
    name: &str,
    change: impl Fn(Option<&ConnectorConfig>) -> Result<ConnectorConfig, Refusal> + Send + Sync,
) -> Outcome {
    let is_there = api.herder.connector(name).is_some();
    let put =
        |now: Option<&ConnectorConfig>| Ok(Request::Put { name: name.to_owned(), config: change(now)? });
    api.herder.configure(name, put).await?;
    if is_there { show(api, name).await } else { made(api, name).await }
}

async fn made(api: &Api, name: &str) -> Outcome {
    let body = info(api, &view(api, name)?).await;
    Ok(Reply::created(body, format!("/connectors/{}", encoded(name, false))))
}

pub(super) async fn status(api: &Api, name: &str) -> Outcome {
    let view = api.herder.connector(name);
    let view = view.ok_or_else(|| Problem::not_found(format!("No status found for connector {name}")))?;
    Ok(Reply::ok(status_of(api, &view).await))
}

pub(super) async fn target(api: &Api, name: &str, target: TargetState) -> Outcome {
    let done = api.herder.request(Request::Target(name.to_owned(), target)).await;
    done.map_err(|error| unknown(error, "Unknown connector "))?;
    Ok(if target == TargetState::Stopped { Reply::no_content() } else { Reply::accepted(None) })
}

pub(super) async fn restart(api: &Api, name: &str, ask: &Ask) -> Outcome {
    let restart = Restart {
        include_tasks: ask.is_set("includeTasks", false),
        only_failed: ask.is_set("onlyFailed", false),
    };
    let done = api.herder.request(Request::Restart(name.to_owned(), restart)).await;
    done.map_err(|error| unknown(error, "Unknown connector: "))?;
    if restart == Restart::default() {
        return Ok(Reply::no_content());
    }
    let mut view = view(api, name)?;
    expect_restart(&mut view, restart);
    Ok(Reply::accepted(Some(status_of(api, &view).await)))
}

/// What is about to be: the states follow when the workers have read the request.
fn expect_restart(view: &mut ConnectorView, restart: Restart) {
    let expect = |status: &mut Option<Status>| {
        if let Some(status) = status
            && (!restart.only_failed || status.state == RunState::Failed)
        {
            status.state = RunState::Restarting;
            status.trace = None;
        }
    };
    expect(&mut view.status);
    if restart.include_tasks {
        view.tasks.iter_mut().for_each(expect);
    }
}

/// Kafka Connect's words differ from path to path.
pub(super) fn unknown(error: Error, words: &str) -> Problem {
    match error {
        Error::Refused(Refusal::NoConnector(name)) => Problem::not_found(format!("{words}{name}")),
        error => error.into(),
    }
}

pub(super) fn view(api: &Api, name: &str) -> Result<ConnectorView, Problem> {
    api.herder.connector(name).ok_or_else(|| Refusal::NoConnector(name.to_owned()).into())
}

async fn info(api: &Api, view: &ConnectorView) -> Value {
    let task = |task| json!({ "connector": view.name, "task": task });
    json!({
        "name": view.name,
        "config": *view.wanted.config,
        "tasks": (0..view.wanted.task_count()).map(task).collect::<Vec<_>>(),
        "type": in_words(api.herder.kind(&view.wanted).await),
    })
}

fn in_words(kind: Option<Kind>) -> &'static str {
    match kind {
        Some(Kind::Source) => "source",
        Some(Kind::Sink) => "sink",
        _ => "unknown",
    }
}

async fn status_of(api: &Api, view: &ConnectorView) -> Value {
    let component = api.herder.component(&view.wanted).await;
    let version = component.as_ref().map(|component| component.describe().version.as_str());
    let tasks: Vec<Value> = view
        .tasks
        .iter()
        .enumerate()
        .map(|(id, status)| {
            let mut shown = shown(status.as_ref(), version);
            shown.insert("id".to_owned(), id.into());
            shown.into()
        })
        .collect();
    json!({
        "name": view.name,
        "connector": shown(view.status.as_ref(), version),
        "tasks": tasks,
        "type": in_words(component.as_ref().map(|component| component.kind())),
    })
}

/// A state, with the component's version; nobody has spoken of what was only just asked for.
pub(super) fn shown(status: Option<&Status>, version: Option<&str>) -> Map<String, Value> {
    let mut shown = Map::new();
    let state = status.map_or(RunState::Unassigned, |status| status.state);
    shown.insert("state".to_owned(), state.to_string().into());
    let worker = status.map(|status| status.worker_id.clone()).unwrap_or_default();
    shown.insert("worker_id".to_owned(), worker.into());
    for (name, value) in [("trace", status.and_then(|status| status.trace.as_deref())), ("version", version)]
    {
        shown.extend(value.map(|value| (name.to_owned(), value.into())));
    }
    shown
}

fn check_name(name: &str) -> Result<(), Problem> {
    let is_fit = !name.trim().is_empty()
        && name.chars().count() <= NAME_CHARS_MAX
        && !name.chars().any(char::is_control)
        && name == name.trim();
    match is_fit {
        true => Ok(()),
        false => Err(Problem::bad_request(format!(
            "a connector's name has 1 to {NAME_CHARS_MAX} characters, without control characters or blanks around it"
        ))),
    }
}

/// A map of texts; numbers and booleans are taken as such texts, as Kafka Connect does.
pub(super) fn texts(config: BTreeMap<String, Value>) -> Result<ConnectorConfig, Problem> {
    let text = |(key, value): (String, Value)| match value {
        Value::String(text) => Ok((key, text)),
        Value::Number(number) => Ok((key, number.to_string())),
        Value::Bool(flag) => Ok((key, flag.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(Problem::bad_request(format!(
            "the value of {key} is no text; write lists and mappings as JSON in a text"
        ))),
    };
    config.into_iter().map(text).collect()
}

/// The map with its connector's name in it.
fn named(name: &str, mut config: ConnectorConfig) -> Result<ConnectorConfig, Problem> {
    match config.insert("name".to_owned(), name.to_owned()) {
        Some(other) if other != name => Err(Problem::bad_request(format!(
            "Connector name configuration ({other}) doesn't match connector name in the URL ({name})"
        ))),
        _ => Ok(config),
    }
}
