//! `/connector-plugins`: the components, and the check of a configuration.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::answer::{Outcome, Problem, Reply};
use super::connectors::texts;
use super::{Api, Ask, definition};
use crate::component::Kind;
use crate::plan::{Catalog, ComponentRef, Description};
use crate::spec::flat::{self, ConnectorConfig};
use crate::spec::{Role, is_component_path};

pub(super) async fn list(api: &Api, ask: &Ask) -> Outcome {
    let host = api.herder.host();
    let mut plugins = Vec::new();
    for name in host.bundled() {
        let Ok(component) = host.load(&ComponentRef::Bundled(name.to_owned())).await else { continue };
        let kind = match component.kind() {
            Kind::Source => "source",
            Kind::Sink => "sink",
            Kind::Transform if ask.is_set("connectorsOnly", true) => continue,
            Kind::Transform => "transformation",
        };
        plugins.push(json!({ "class": name, "type": kind, "version": component.describe().version }));
    }
    Ok(Reply::ok(plugins.into()))
}

pub(super) async fn config(api: &Api, plugin: &str) -> Outcome {
    let config = ConnectorConfig::from([(flat::CONNECTOR_CLASS.to_owned(), plugin.to_owned())]);
    let catalog = api.herder.describe(&flat::components(&config)).await;
    let described = described(&catalog, plugin)?;
    let definitions = definition::of(described);
    Ok(Reply::ok(definitions.iter().map(definition::Definition::shown).collect()))
}

pub(super) async fn validate(api: &Api, plugin: &str, ask: &Ask) -> Outcome {
    let body: BTreeMap<String, Value> = ask.json()?;
    // A null is no value, as in Kafka Connect.
    let config = texts(body.into_iter().filter(|(_, value)| !value.is_null()).collect())?;
    let class = config.get(flat::CONNECTOR_CLASS);
    if class.is_some_and(|class| class != plugin && short(class) != short(plugin)) {
        return Err(Problem::bad_request(format!(
            "Included connector type {} does not match request type {plugin}",
            class.map_or("", String::as_str)
        )));
    }
    let mut config = config;
    config.entry(flat::CONNECTOR_CLASS.to_owned()).or_insert_with(|| plugin.to_owned());
    let name = config.get("name").cloned().unwrap_or_default();
    let (catalog, mut problems) = api.herder.check(&name, &config).await;
    let described = described(&catalog, plugin)?;
    if name.trim().is_empty() {
        let missing = "Missing required configuration \"name\" which has no default value.";
        problems.entry("name".to_owned()).or_default().push(missing.to_owned());
    }
    let definitions = definition::of(described);
    let known: Vec<&str> = definitions.iter().map(|definition| definition.name.as_str()).collect();
    // What is about no key in particular is told where people look first, and what is about an unknown one in an entry of its own.
    let place = |key: &str| if key.is_empty() { flat::CONNECTOR_CLASS } else { key }.to_owned();
    let mut by_place: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, problems) in problems {
        by_place.entry(place(&key)).or_default().extend(problems);
    }
    let error_count: usize = by_place.values().map(Vec::len).sum();
    let others = by_place.keys().filter(|key| !known.contains(&key.as_str()));
    let others: Vec<_> = others.map(|key| definition::Definition::unknown(key)).collect::<Vec<_>>();
    let configs: Vec<Value> = definitions
        .iter()
        .chain(&others)
        .map(|definition| {
            let errors = by_place.get(&definition.name).cloned().unwrap_or_default();
            json!({ "definition": definition.shown(), "value": definition.value(&config, errors) })
        })
        .collect();
    Ok(Reply::ok(json!({
        "name": plugin,
        "error_count": error_count,
        "groups": definition::groups(&definitions),
        "configs": configs,
    })))
}

/// A class may be named without its package, as in Kafka Connect.
fn short(class: &str) -> &str {
    class.rsplit('.').next().unwrap_or(class)
}

fn described<'c>(catalog: &'c Catalog, plugin: &str) -> Result<&'c Description, Problem> {
    let name = |component: &ComponentRef| match component {
        ComponentRef::Bundled(name) => name == plugin,
        ComponentRef::Path(_) | ComponentRef::Build(..) => is_component_path(std::path::Path::new(plugin)),
    };
    let found = catalog.descriptions.iter().find(|(component, _)| name(component));
    match found {
        Some((_, Ok(described))) if described.roles.iter().any(|role| *role != Role::Transform) => {
            Ok(described)
        }
        Some((_, Err(why))) if catalog.bundled.iter().any(|known| known == plugin) => {
            Err(Problem::internal(format!("connector {plugin} can't be loaded: {why}")))
        }
        _ => Err(Problem::not_found(format!("Unknown plugin {plugin}."))),
    }
}
