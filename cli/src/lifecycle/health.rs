//! Waiting until connectors run, or saying why they don't.

use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::Instant;

use super::{components, connectors};
use crate::exit::{Failure, Outcome};
use crate::output;
use crate::rest::Rest;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often in a row everything must run: states follow what was asked for a moment later.
const LOOKS: u32 = 3;

/// How a connector is.
enum Health {
    Runs,
    /// Somebody paused or stopped it, which `apply` leaves alone.
    Rests(String),
    Waits(String),
    Failed(String),
}

pub(super) async fn wait(rest: &Rest, names: &[&str], timeout_s: u64) -> Outcome {
    let deadline = Instant::now() + Duration::from_secs(timeout_s);
    let mut looks = 0;
    loop {
        let all = connectors(rest, &[]).await?;
        let health = |name: &str| all.get(name).map_or(Health::Waits("is not there".into()), of);
        let each: Vec<(&str, Health)> = names.iter().map(|name| (*name, health(name))).collect();
        let failed = each.iter().filter_map(|(name, health)| match health {
            Health::Failed(why) => Some(format!("{name} failed: {why}")),
            _ => None,
        });
        let failed: Vec<String> = failed.collect();
        if !failed.is_empty() {
            return Err(Failure::Runtime(failed.join("\nerror: ")));
        }
        let waiting = each.iter().filter_map(|(name, health)| match health {
            Health::Waits(why) => Some(format!("{name} {why}")),
            _ => None,
        });
        let waiting: Vec<String> = waiting.collect();
        looks = if waiting.is_empty() { looks + 1 } else { 0 };
        if looks >= LOOKS {
            for (name, health) in each {
                if let Health::Rests(state) = health {
                    output::remark(format!("{name} is {state}; `millrace resume {name}` starts it"));
                }
            }
            return output::line(format!("{} run", count(names.len())));
        }
        if Instant::now() >= deadline {
            let why = waiting.join("; ");
            return Err(Failure::Runtime(format!(
                "not everything runs after {timeout_s} s: {why}; `millrace describe NAME` shows more"
            )));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn count(connectors: usize) -> String {
    if connectors == 1 { "1 connector".to_owned() } else { format!("{connectors} connectors") }
}

fn of(connector: &Value) -> Health {
    let (status, made_of) = (&connector["status"], &connector["components"]);
    match made_of["upgrade"]["state"].as_str() {
        // `apply` asked for it a moment ago: an earlier one is over as soon as a configuration is put.
        Some("ROLLED_BACK") => {
            let why = components::upgrade(made_of).unwrap_or_default();
            return Health::Failed(format!("the upgrade was {why}"));
        }
        // Tasks that fail are gone back from.
        Some(_) if !is_resting(&status["connector"]) => {
            return Health::Waits("is on probation with its new components".to_owned());
        }
        _ => {}
    }
    let tasks = status["tasks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let state = |of: &Value| of["state"].as_str().unwrap_or_default().to_owned();
    let trace = |of: &Value| of["trace"].as_str().unwrap_or_default().to_owned();
    match state(&status["connector"]).as_str() {
        "FAILED" => return Health::Failed(trace(&status["connector"])),
        resting @ ("PAUSED" | "STOPPED") => return Health::Rests(resting.to_lowercase()),
        // What runs is what was before.
        "RUNNING" if made_of["planned"] == false => return Health::Waits("is being planned".to_owned()),
        "RUNNING" => {}
        other => return Health::Waits(format!("is {}", with_trace(other, &status["connector"]))),
    }
    if let Some(failed) = tasks.iter().find(|task| state(task) == "FAILED") {
        return Health::Failed(trace(failed));
    }
    match tasks.iter().find(|task| state(task) != "RUNNING") {
        Some(task) => Health::Waits(format!("task {} is {}", task["id"], with_trace(&state(task), task))),
        None => Health::Runs,
    }
}

fn is_resting(connector: &Value) -> bool {
    connector["state"] == "PAUSED" || connector["state"] == "STOPPED"
}

fn with_trace(state: &str, of: &Value) -> String {
    match of["trace"].as_str() {
        Some(trace) => format!("{} ({trace})", state.to_lowercase()),
        None => state.to_lowercase(),
    }
}

/// The states of a connector's tasks, counted: `2/3` when one of three doesn't run.
pub(super) fn tasks_running(status: &Map<String, Value>) -> String {
    let tasks = status.get("tasks").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let running = tasks.iter().filter(|task| task["state"] == "RUNNING").count();
    format!("{running}/{}", tasks.len())
}
