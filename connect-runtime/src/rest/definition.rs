//! A component's settings as Kafka's `ConfigDef` shows them.
//!
//! Made from its JSON Schema, after the names that belong to the runtime. A mapping with known members is shown member by member
//! under dotted names; what a `ConfigDef` can't say (alternatives, ranges) stands in the schema that `millrace connector
//! inspect --json` shows, and is checked all the same.

use serde_json::{Value, json};

use crate::plan::Description;
use crate::spec::Role;
use crate::spec::flat::{CONVERTERS, ConnectorConfig, FRAMEWORK, FrameworkKey};

/// How deep mappings are taken apart.
const NESTING_MAX: usize = 4;
/// Most definitions of one component: its schema is not trusted.
const DEFINITIONS_MAX: usize = 1_000;

/// One setting.
#[derive(Clone, Debug)]
pub(super) struct Definition {
    pub(super) name: String,
    kind: &'static str,
    is_required: bool,
    default: Option<String>,
    documentation: String,
    group: Option<String>,
    /// Within its group, from 1.
    order: usize,
    recommended: Vec<String>,
}

/// The runtime's names for a role, then the component's own.
pub(super) fn of(described: &Description) -> Vec<Definition> {
    let role = described.roles.first().copied().unwrap_or(Role::Source);
    let for_role = |key: &&FrameworkKey| match key.name {
        "topic" | "exactly.once.support" | "transaction.boundary" => role == Role::Source,
        "topics" | "offset.flush.interval.ms" => role == Role::Sink,
        _ => true,
    };
    let mut all: Vec<Definition> = FRAMEWORK.iter().filter(for_role).map(framework).collect();
    add(&described.config_schema, "", true, &described.name, 0, &mut all);
    let mut last = std::collections::BTreeMap::new();
    for definition in &mut all {
        let order: &mut usize = last.entry(definition.group.clone()).or_default();
        *order += 1;
        definition.order = *order;
    }
    all
}

/// The groups of some definitions.
pub(super) fn groups(definitions: &[Definition]) -> Vec<&str> {
    let mut groups: Vec<&str> =
        definitions.iter().filter_map(|definition| definition.group.as_deref()).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

fn framework(key: &FrameworkKey) -> Definition {
    let group = match key.name.split('.').next() {
        Some("errors") => "Error Handling",
        Some("transforms") => "Transforms",
        Some("limits" | "files" | "base") => "Sandbox",
        _ => "Common",
    };
    Definition {
        name: key.name.to_owned(),
        kind: key.kind,
        is_required: matches!(key.name, "name" | "connector.class" | "topic" | "topics"),
        default: key.default.map(str::to_owned),
        documentation: key.documentation.to_owned(),
        group: Some(group.to_owned()),
        order: 0,
        recommended: match key.kind {
            "CLASS" => CONVERTERS.iter().map(|class| (*class).to_owned()).collect(),
            _ => key.only.iter().map(|value| (*value).to_owned()).collect(),
        },
    }
}

fn add(schema: &Value, prefix: &str, required: bool, group: &str, depth: usize, all: &mut Vec<Definition>) {
    let needed = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let is_required = required && needed.iter().any(|needed| needed == name.as_str());
        let name = format!("{prefix}{name}");
        if schema["properties"].is_object() && depth < NESTING_MAX {
            add(schema, &format!("{name}."), is_required, group, depth + 1, all);
        } else if all.len() < DEFINITIONS_MAX {
            all.push(Definition {
                name,
                kind: kind(schema),
                is_required,
                default: schema.get("default").map(text),
                documentation: schema["description"].as_str().unwrap_or_default().to_owned(),
                group: Some(group.to_owned()),
                order: 0,
                recommended: schema["enum"].as_array().into_iter().flatten().map(text).collect(),
            });
        }
    }
}

fn kind(schema: &Value) -> &'static str {
    if schema["x-secret"] == true {
        return "PASSWORD";
    }
    match schema["type"].as_str() {
        Some("integer") => "LONG",
        Some("number") => "DOUBLE",
        Some("boolean") => "BOOLEAN",
        Some("array") => "LIST",
        _ => "STRING",
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl Definition {
    /// A key that nobody knows, so that what is wrong with it has a place.
    pub(super) fn unknown(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: "STRING",
            is_required: false,
            default: None,
            documentation: String::new(),
            group: None,
            order: 0,
            recommended: Vec::new(),
        }
    }

    pub(super) fn shown(&self) -> Value {
        json!({
            "name": self.name,
            "type": self.kind,
            "required": self.is_required,
            "default_value": self.default,
            "importance": if self.is_required { "HIGH" } else { "MEDIUM" },
            "documentation": self.documentation,
            "group": self.group,
            "width": "MEDIUM",
            "display_name": self.name,
            "dependents": [],
            "order_in_group": self.order,
        })
    }

    /// Its value in a configuration. A secret that was written out instead of referred to is not shown.
    pub(super) fn value(&self, config: &ConnectorConfig, errors: Vec<String>) -> Value {
        let value = config.get(&self.name).or(self.default.as_ref());
        let is_secret = self.kind == "PASSWORD" && value.is_some_and(|value| !value.starts_with("${"));
        let value = if is_secret { Some("[hidden]") } else { value.map(String::as_str) };
        json!({
            "name": self.name,
            "value": value,
            "recommended_values": self.recommended,
            "errors": errors,
            "visible": true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_becomes_definitions() {
        let config_schema = json!({
            "required": ["path"],
            "properties": {
                "path": { "type": "string", "description": "The file." },
                "rotate": { "type": "object", "properties": { "records": { "type": "integer", "default": 5 } } },
                "format": { "enum": ["csv", "lines"] },
                "key": { "type": "string", "x-secret": true },
            },
        });
        let described = Description {
            name: "to".into(),
            roles: vec![Role::Sink],
            config_schema,
            ..Description::default()
        };
        let all = of(&described);
        let own: Vec<_> = all.iter().filter(|it| it.group.as_deref() == Some("to")).collect();
        let shown: Vec<_> = own.iter().map(|it| (it.name.as_str(), it.kind, it.is_required)).collect();
        let wanted = [
            ("format", "STRING", false),
            ("key", "PASSWORD", false),
            ("path", "STRING", true),
            ("rotate.records", "LONG", false),
        ];
        assert_eq!(shown, wanted);
        assert!(
            all.iter().any(|it| it.name == "topics" && it.is_required)
                && all.iter().all(|it| it.name != "topic")
        );
        assert_eq!(groups(&all), ["Common", "Error Handling", "Sandbox", "Transforms", "to"]);
        let config = ConnectorConfig::from([("key".into(), "hunter2".into())]);
        assert_eq!(own[1].value(&config, Vec::new())["value"], "[hidden]");
        let config = ConnectorConfig::from([("key".into(), "${env:KEY}".into())]);
        assert_eq!(own[1].value(&config, Vec::new())["value"], "${env:KEY}");
        assert_eq!(own[3].value(&config, Vec::new())["value"], "5");
    }
}
