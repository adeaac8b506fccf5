//! What a connector says of itself, as a page of `docs/connectors/`.

use std::sync::Arc;

use millrace_connect_runtime::component::Component;
use millrace_connect_runtime::plan::Description;
use serde_json::Value;

use super::{kind, plain};

/// The page, in Markdown.
pub(super) fn page(component: &Arc<Component>, described: &Description) -> String {
    let said = component.describe();
    let mut page = format!("# {}\n\n{}.\n\n", said.name, said.summary.trim_end_matches('.'));
    page.push_str("| | |\n|---|---|\n");
    let mut row = |name: &str, value: String| page.push_str(&format!("| {name} | {} |\n", cell(&value)));
    row("kind", component.kind().to_string());
    row("version", said.version.clone());
    for (name, value) in &said.extra {
        row(name, value.clone());
    }
    row("keys", said.key_formats.join(", "));
    row("values", said.value_formats.join(", "));
    row("may use", component.capabilities().join(", "));
    let granted = granted(&described.config_schema);
    if !granted.is_empty() {
        row("is granted", granted.join("; "));
    }
    page.push_str("\n## Settings\n\n");
    let mut rows = String::new();
    settings(&described.config_schema, "", &mut rows);
    if rows.is_empty() {
        page.push_str("None.\n");
    } else {
        page.push_str("| setting | takes | default | |\n|---|---|---|---|\n");
        page.push_str(&rows);
    }
    let rules = rules(&described.config_schema);
    if !rules.is_empty() {
        page.push_str(&format!("\n{}\n", rules.join(" ")));
    }
    page
}

/// What settings grant by being written.
fn granted(schema: &Value) -> Vec<String> {
    let mut all = Vec::new();
    for (name, setting) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(access) = setting["x-path"].as_str() {
            let what = match setting["x-path-kind"].as_str() {
                Some("folder") => "the folder",
                Some("glob") => "the folder before the first wildcard",
                _ => "the folder of the file",
            };
            let how = if access == "write" { "read and write" } else { "read" };
            all.push(format!("{how} {what} in `{name}`"));
        }
    }
    all
}

fn settings(schema: &Value, parent: &str, rows: &mut String) {
    let required = words(&schema["required"]);
    for (name, setting) in schema["properties"].as_object().into_iter().flatten() {
        let default = match &setting["default"] {
            Value::Null if required.contains(&name.as_str()) => "required".to_owned(),
            Value::Null => String::new(),
            default => format!("`{}`", plain(default)),
        };
        let description = setting["description"].as_str().unwrap_or_default();
        let cells = [format!("`{parent}{name}`"), kind(setting), default, description.to_owned()];
        rows.push_str(&format!("| {} |\n", cells.map(|text| cell(&text)).join(" | ")));
        settings(setting, &format!("{parent}{name}."), rows);
    }
}

/// What only holds for several settings together.
fn rules(schema: &Value) -> Vec<String> {
    let mut rules = Vec::new();
    for (keyword, words_of) in [("oneOf", "Exactly one of"), ("anyOf", "At least one of")] {
        let options = schema[keyword].as_array().into_iter().flatten();
        let sets: Vec<String> = options
            .map(|option| words(&option["required"]))
            .filter(|names| !names.is_empty())
            .map(|names| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" with "))
            .collect();
        if !sets.is_empty() {
            rules.push(format!("{words_of} {} has to be there.", sets.join(", ")));
        }
    }
    for (name, needed) in schema["dependentRequired"].as_object().into_iter().flatten() {
        let needed: Vec<String> = words(needed).iter().map(|name| format!("`{name}`")).collect();
        rules.push(format!("`{name}` needs {}.", needed.join(", ")));
    }
    rules
}

fn words(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Text within a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
