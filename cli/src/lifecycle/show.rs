//! `get` and `describe`.

use serde_json::{Map, Value};

use super::health::tasks_running;
use super::{components, connectors, path};
use crate::args::Shown;
use crate::exit::{Failure, Outcome};
use crate::output;
use crate::rest::Rest;

pub(super) async fn get(rest: &Rest, names: &[String], output: Shown) -> Outcome {
    let all = connectors(rest, names).await?;
    if output == Shown::Json {
        return output::line(format!("{:#}", Value::Object(all)));
    }
    let mut rows =
        vec![["CONNECTOR", "TYPE", "STATE", "TASKS", "CLASS", "TOPIC"].map(str::to_owned).to_vec()];
    for (name, connector) in all {
        let (status, info) = (object(&connector["status"]), object(&connector["info"]));
        let config = |key: &str| info["config"][key].as_str().unwrap_or_default().to_owned();
        let topic = if config("topics").is_empty() { config("topic") } else { config("topics") };
        rows.push(vec![
            name,
            text(&info, "type"),
            worst(&status),
            tasks_running(&status),
            config("connector.class"),
            topic,
        ]);
    }
    output::line(output::table(&rows))
}

/// The connector's state, unless a task fares worse.
fn worst(status: &Map<String, Value>) -> String {
    let connector = status.get("connector").and_then(|connector| connector["state"].as_str());
    let tasks = status.get("tasks").and_then(Value::as_array).into_iter().flatten();
    let is_failed = tasks.clone().any(|task| task["state"] == "FAILED");
    if is_failed { "FAILED".to_owned() } else { connector.unwrap_or("UNASSIGNED").to_owned() }
}

pub(super) async fn describe(rest: &Rest, names: &[String]) -> Outcome {
    for (name, connector) in connectors(rest, names).await? {
        let mut shown = format!("{name} ({})\n", text(&object(&connector["info"]), "type"));
        let status = &connector["status"];
        shown.push_str(&format!("  {}\n", line_of(&status["connector"])));
        for task in status["tasks"].as_array().into_iter().flatten() {
            shown.push_str(&format!("  task {}: {}\n", task["id"], line_of(task)));
        }
        for line in components::lines(&connector["components"]) {
            shown.push_str(&format!("  {line}\n"));
        }
        if let Some(upgrade) = components::upgrade(&connector["components"]) {
            shown.push_str(&format!("  upgrade {upgrade}\n"));
        }
        let topics = rest.get(&path(&name, "/topics")).await?;
        let topics = topics[&name]["topics"].as_array().into_iter().flatten().filter_map(Value::as_str);
        shown.push_str(&format!("  topics: {}\n", topics.collect::<Vec<_>>().join(", ")));
        shown.push_str("  settings:\n");
        for (key, value) in object(&connector["info"]["config"]) {
            shown.push_str(&format!("    {key} = {}\n", value.as_str().unwrap_or_default()));
        }
        shown.push_str("  positions:\n");
        match rest.get(&path(&name, "/offsets")).await {
            Ok(offsets) => {
                for (partition, position) in super::offsets::pairs(&offsets) {
                    shown.push_str(&format!("    {partition} = {position}\n"));
                }
            }
            Err(error) => shown.push_str(&format!("    {}\n", said(error.into()))),
        }
        output::line(shown.trim_end())?;
    }
    Ok(())
}

fn said(failure: Failure) -> String {
    match failure {
        Failure::Runtime(text) | Failure::Validation(text) | Failure::Environment(text) => text,
        Failure::BrokenPipe => String::new(),
    }
}

fn line_of(of: &Value) -> String {
    let mut line = of["state"].as_str().unwrap_or_default().to_owned();
    if let Some(worker) = of["worker_id"].as_str().filter(|worker| !worker.is_empty()) {
        line.push_str(&format!(" at {worker}"));
    }
    if let Some(trace) = of["trace"].as_str() {
        line.push_str(&format!(": {trace}"));
    }
    line
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn text(of: &Map<String, Value>, key: &str) -> String {
    of.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}
