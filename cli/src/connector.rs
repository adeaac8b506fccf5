//! `millrace connector list|inspect`: connectors and their settings; `millrace schema`: of pipelines with all of them.
//!
//! Rooms: `page` (the same as documentation).

mod page;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_connect_runtime::component::{Component, Error};
use millrace_connect_runtime::plan::{ComponentRef, Description};
use millrace_connect_runtime::spec::{is_component_path, json_schema};
use serde_json::{Map, Value, json};

use crate::args::{ConnectorArgs, ConnectorCommand};
use crate::components;
use crate::exit::{Failure, Outcome};
use crate::output;

pub(crate) async fn run(args: ConnectorArgs) -> Outcome {
    match args.command {
        ConnectorCommand::List => list().await,
        ConnectorCommand::Inspect { component, json, markdown } => {
            let form = match (json, markdown) {
                (true, _) => document,
                (false, true) => page::page,
                (false, false) => text,
            };
            inspect(&component, form).await
        }
    }
}

async fn list() -> Outcome {
    let host = components::host()?;
    let mut rows = vec![["NAME", "KIND", "VERSION", "SUMMARY"].map(str::to_owned).to_vec()];
    for name in host.bundled() {
        let component = host.load(&ComponentRef::Bundled(name.to_owned())).await.map_err(Failure::runtime)?;
        let said = component.describe();
        let kind = component.kind().to_string();
        rows.push(vec![name.to_owned(), kind, said.version.clone(), said.summary.clone()]);
    }
    output::line(output::table(&rows))
}

/// The JSON Schema of pipeline files.
pub(crate) async fn schema() -> Outcome {
    let host = components::host()?;
    let mut described = Vec::new();
    for name in host.bundled() {
        let component = host.load(&ComponentRef::Bundled(name.to_owned())).await.map_err(Failure::runtime)?;
        described.push(Description::of(&component).map_err(Failure::runtime)?);
    }
    output::line(format!("{:#}", json_schema(&described)))
}

async fn inspect(component: &str, form: fn(&Arc<Component>, &Description) -> String) -> Outcome {
    let host = components::host()?;
    let reference = if is_component_path(Path::new(component)) {
        ComponentRef::Path(PathBuf::from(component))
    } else {
        ComponentRef::Bundled(component.to_owned())
    };
    let loaded = host.load(&reference).await.map_err(|error| match error {
        Error::Unknown { .. } | Error::Read { .. } => Failure::validation(error),
        _ => Failure::runtime(error),
    })?;
    let described = Description::of(&loaded).map_err(Failure::runtime)?;
    output::line(form(&loaded, &described))
}

fn document(component: &Arc<Component>, described: &Description) -> String {
    let said = component.describe();
    let extra: Map<String, Value> =
        said.extra.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    let document = json!({
        "name": said.name,
        "kind": component.kind().to_string(),
        "version": said.version,
        "summary": said.summary,
        "key_formats": said.key_formats,
        "value_formats": said.value_formats,
        "capabilities": component.capabilities(),
        "imports": component.imports(),
        "extra": extra,
        "config_schema": described.config_schema,
    });
    format!("{document:#}")
}

fn text(component: &Arc<Component>, described: &Description) -> String {
    let said = component.describe();
    let mut text = format!("{} {} ({})\n{}\n", said.name, said.version, component.kind(), said.summary);
    for (name, value) in &said.extra {
        text.push_str(&format!("  {name}: {value}\n"));
    }
    text.push_str(&format!("  capabilities: {}\n", component.capabilities().join(", ")));
    text.push_str(&format!("  values: {}\n\nSettings:\n", said.value_formats.join(", ")));
    let mut rows = Vec::new();
    settings(&described.config_schema, "", &mut rows);
    text.push_str(&output::table(&rows));
    text
}

/// A row for each setting of an object, and after it, with their path, for those within it.
fn settings(schema: &Value, parent: &str, rows: &mut Vec<Vec<String>>) {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, setting) in schema["properties"].as_object().into_iter().flatten() {
        let description = setting["description"].as_str().unwrap_or_default();
        let default = match &setting["default"] {
            Value::Null if required.contains(&name.as_str()) => " (required)".to_owned(),
            Value::Null => String::new(),
            default => format!(" [default: {}]", plain(default)),
        };
        rows.push(vec![format!("  {parent}{name}"), kind(setting), format!("{description}{default}")]);
        settings(setting, &format!("{parent}{name}."), rows);
    }
}

/// What a setting takes, in a word.
fn kind(setting: &Value) -> String {
    if let Some(options) = setting["enum"].as_array() {
        return options.iter().map(plain).collect::<Vec<_>>().join("|");
    }
    if let Some(unit) = setting["x-unit"].as_str() {
        return unit.to_owned();
    }
    match (&setting["type"], setting["x-path"].as_str()) {
        (Value::String(name), Some(_)) if name == "string" => "path".to_owned(),
        (Value::String(name), _) => name.clone(),
        (Value::Array(names), _) => names.iter().map(plain).collect::<Vec<_>>().join("|"),
        _ => "any".to_owned(),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
