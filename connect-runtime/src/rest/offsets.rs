//! `/connectors/{name}/offsets`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Outcome, Problem, Reply};
use super::connectors::view;
use super::{Api, Ask};
use crate::component::Kind;

#[derive(Deserialize)]
struct Offsets {
    offsets: Vec<Pair>,
}

#[derive(Deserialize)]
struct Pair {
    partition: Value,
    #[serde(default)]
    offset: Value,
}

pub(super) async fn show(api: &Api, name: &str) -> Outcome {
    let offsets = api.herder.offsets(name).await?;
    let pair = |(partition, offset)| json!({ "partition": partition, "offset": offset });
    Ok(Reply::ok(json!({ "offsets": offsets.into_iter().map(pair).collect::<Vec<_>>() })))
}

pub(super) async fn alter(api: &Api, name: &str, ask: &Ask) -> Outcome {
    let Offsets { offsets } = ask.json()?;
    if offsets.is_empty() {
        return Err(Problem::bad_request(
            "Partitions / offsets need to be provided for an alter offsets request",
        ));
    }
    let changes = offsets.into_iter().map(|pair| (pair.partition, pair.offset)).collect();
    api.herder.alter_offsets(name, Some(changes)).await?;
    done(api, name, "altered").await
}

pub(super) async fn reset(api: &Api, name: &str) -> Outcome {
    api.herder.alter_offsets(name, None).await?;
    done(api, name, "reset").await
}

/// A sink's target may hold a position of its own, of which the host knows nothing.
async fn done(api: &Api, name: &str, what: &str) -> Outcome {
    let message = match api.herder.kind(&view(api, name)?.wanted).await {
        Some(Kind::Source) => format!("The offsets for this connector have been {what} successfully"),
        _ => format!(
            "The Connect framework-managed offsets for this connector have been {what} successfully. However, if this \
             connector manages offsets externally, they will need to be manually {what} in the system that the connector uses."
        ),
    };
    Ok(Reply::ok(json!({ "message": message })))
}
