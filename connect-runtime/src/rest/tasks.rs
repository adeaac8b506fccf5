//! `/connectors/{name}/tasks` and `/connectors/{name}/topics`.

use serde_json::{Map, Value, json};

use super::Api;
use super::answer::{Outcome, Problem, Reply};
use super::connectors::{shown, unknown, view};
use crate::herder::ownership::TaskId;
use crate::herder::request::Request;

pub(super) fn list(api: &Api, name: &str) -> Outcome {
    let view = view(api, name)?;
    let configs = view.wanted.tasks.as_ref().map(|tasks| tasks.configs.clone()).unwrap_or_default();
    let task = |(task, config): (usize, &String)| {
        // What a task is given beyond its connector's configuration, which it shares with the others.
        let mut all: Map<String, Value> =
            view.wanted.config.iter().map(|(key, text)| (key.clone(), text.as_str().into())).collect();
        all.insert("task.config".to_owned(), config.as_str().into());
        json!({ "id": { "connector": name, "task": task }, "config": all })
    };
    Ok(Reply::ok(configs.iter().enumerate().map(task).collect()))
}

pub(super) async fn status(api: &Api, id: &TaskId) -> Outcome {
    let missing = || Problem::not_found(format!("No status found for task {id}"));
    let view = api.herder.connector(&id.connector).ok_or_else(missing)?;
    let status = view.tasks.get(id.task as usize).ok_or_else(missing)?;
    let component = api.herder.component(&view.wanted).await;
    let version = component.as_ref().map(|component| component.describe().version.as_str());
    let mut shown = shown(status.as_ref(), version);
    shown.insert("id".to_owned(), id.task.into());
    Ok(Reply::ok(shown.into()))
}

pub(super) async fn restart(api: &Api, id: TaskId) -> Outcome {
    let done = api.herder.request(Request::RestartTask(id)).await;
    done.map_err(|error| unknown(error, "Unknown connector: "))?;
    Ok(Reply::no_content())
}

/// As in Kafka Connect, a connector that is not there uses no topics.
pub(super) fn topics(api: &Api, name: &str) -> Outcome {
    Ok(Reply::ok(json!({ name: { "topics": api.herder.topics(name) } })))
}

pub(super) fn forget_topics(api: &Api, name: &str) -> Outcome {
    api.herder.forget_topics(name);
    Ok(Reply::accepted(None))
}
