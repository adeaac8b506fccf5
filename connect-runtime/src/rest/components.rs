//! `/connectors/{name}/components`: what a connector is made of, and how its upgrade goes. Kafka Connect has nothing like it, so its
//! own answers stay as they are.

use serde_json::{Value, json};

use super::Api;
use super::answer::{Outcome, Reply};
use super::connectors::view;
use crate::herder::handle::ConnectorView;
use crate::plan::Build;

pub(super) async fn show(api: &Api, name: &str) -> Outcome {
    Ok(Reply::ok(of(api, &view(api, name)?).await))
}

/// `components`: what it runs, with what the file is by now if that is something else; null while nothing has been chosen.
pub(super) async fn of(api: &Api, view: &ConnectorView) -> Value {
    let components = match view.wanted.builds().filter(|_| !view.wanted.is_unplanned()) {
        None => Value::Null,
        Some(builds) => {
            let replaced = api.herder.replaced(&view.wanted).await;
            let shown = |(name, build): (&String, &Build)| {
                let mut shown =
                    json!({ "component": name, "version": build.version, "digest": build.digest });
                if let Some(file) = replaced.get(name) {
                    shown["file"] = json!(file);
                }
                shown
            };
            builds.iter().map(shown).collect()
        }
    };
    json!({
        "name": view.name,
        "planned": !view.wanted.is_unplanned(),
        "components": components,
        "upgrade": upgrade(view),
    })
}

/// Null: it is done, or there was none.
fn upgrade(view: &ConnectorView) -> Value {
    if let Some(back) = view.wanted.rolled_back() {
        let (from, to) = (&back.back_to.components, &back.failed);
        return json!({ "state": "ROLLED_BACK", "reason": back.reason, "from": from, "to": to });
    }
    match view.wanted.probation() {
        Some(before) => {
            json!({ "state": "PROBATION", "from": before.components, "to": view.wanted.builds() })
        }
        None => Value::Null,
    }
}
