//! Commands to a running worker, over its REST API. Rooms:
//!
//! | room | what is there |
//! |---|---|
//! | `wanted` | pipeline files as the maps that a worker takes |
//! | `difference` | what would change |
//! | `apply` | `plan` and `apply` |
//! | `components` | what connectors are made of, and how an upgrade goes |
//! | `health` | waiting until everything runs |
//! | `show` | `get` and `describe` |
//! | `offsets` | `offsets get`, `set`, `reset` |

mod apply;
mod components;
mod difference;
mod health;
mod offsets;
mod show;
mod wanted;

use serde_json::{Map, Value};

use crate::args::{ApplyArgs, GetArgs, Names, OffsetsArgs, PlanArgs, RestartArgs};
use crate::exit::{Failure, Outcome};
use crate::output;
use crate::rest::{Rest, encoded};

pub(crate) async fn plan(args: PlanArgs) -> Outcome {
    apply::plan(&Rest::new(&args.url.url)?, &args.files, args.exit_code).await
}

pub(crate) async fn apply(args: ApplyArgs) -> Outcome {
    apply::apply(&Rest::new(&args.url.url)?, &args.files, args.timeout).await
}

pub(crate) async fn get(args: GetArgs) -> Outcome {
    show::get(&Rest::new(&args.url.url)?, &args.names, args.output).await
}

pub(crate) async fn describe(args: Names) -> Outcome {
    show::describe(&Rest::new(&args.url.url)?, &args.names).await
}

pub(crate) async fn offsets(args: OffsetsArgs) -> Outcome {
    offsets::run(args.command).await
}

pub(crate) async fn pause(args: Names) -> Outcome {
    each(args, "pause", "paused").await
}

pub(crate) async fn resume(args: Names) -> Outcome {
    each(args, "resume", "resumed").await
}

pub(crate) async fn stop(args: Names) -> Outcome {
    each(args, "stop", "stopped").await
}

pub(crate) async fn delete(args: Names) -> Outcome {
    let rest = Rest::new(&args.url.url)?;
    for name in connectors(&rest, &args.names).await?.keys() {
        rest.delete(&path(name, "")).await?;
        output::line(format!("deleted {name}; its positions stay"))?;
    }
    Ok(())
}

pub(crate) async fn restart(args: RestartArgs) -> Outcome {
    let rest = Rest::new(&args.names.url.url)?;
    for name in connectors(&rest, &args.names.names).await?.keys() {
        let what = match args.task {
            Some(task) => format!("/tasks/{task}/restart"),
            None => format!("/restart?includeTasks=true&onlyFailed={}", args.only_failed),
        };
        rest.post(&path(name, &what)).await?;
        output::line(format!("restarting {name}"))?;
    }
    Ok(())
}

async fn each(args: Names, action: &str, done: &str) -> Outcome {
    let rest = Rest::new(&args.url.url)?;
    for name in connectors(&rest, &args.names).await?.keys() {
        rest.put(&path(name, &format!("/{action}")), None).await?;
        output::line(format!("{done} {name}"))?;
    }
    Ok(())
}

fn path(connector: &str, what: &str) -> String {
    format!("/connectors/{}{what}", encoded(connector))
}

/// What the worker says of connectors, by name: of those that are called so, and of all of a pipeline that is. None: all.
async fn connectors(rest: &Rest, names: &[String]) -> Result<Map<String, Value>, Failure> {
    let Value::Object(all) = rest.get("/connectors?expand=status&expand=info&expand=components").await?
    else {
        return Err(Failure::runtime("the worker's answer is not understood; is it a worker's address?"));
    };
    if names.is_empty() {
        return Ok(all);
    }
    let mut found = Map::new();
    for name in names {
        let is_meant = |known: &str| known == name || belongs_to(known, name);
        let matching: Vec<_> = all.iter().filter(|(known, _)| is_meant(known)).collect();
        if matching.is_empty() {
            return Err(Failure::runtime(format!(
                "no connector or pipeline is called {name}; `millrace get` shows all"
            )));
        }
        found.extend(matching.into_iter().map(|(known, value)| (known.clone(), value.clone())));
    }
    Ok(found)
}

/// Whether a connector's name is one of a pipeline: `<pipeline>.<source or sink>`.
fn belongs_to(connector: &str, pipeline: &str) -> bool {
    connector.rsplit_once('.').is_some_and(|(before, _)| before == pipeline)
}
