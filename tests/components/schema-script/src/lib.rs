//! A source that asks a schema registry what its setting `steps` says, one after the other, and gives a record for each: what came
//! of it as JSON.
//!
//! A step is an array: `["get", ID]`, `["latest", SUBJECT]`, `["register", SUBJECT, FORMAT, TEXT]`, `["find", SUBJECT, FORMAT, TEXT]`.
//! They go to the connection that the setting `registry` names, or, where a step ends with `"elsewhere"`, to one of that name.

#![cfg_attr(not(target_family = "wasm"), allow(dead_code, reason = "only a component exports it"))]

use millrace_sdk::schemas::{self, Format, Schema};
use millrace_sdk::{Checkpoint, Description, Error, Flow, Poll, PollLimits, Source, Task};
use serde_json::{Value, json};

const SCHEMA: &str = r#"{
  "type": "object", "additionalProperties": false, "required": ["registry", "steps"],
  "properties": {
    "registry": { "description": "Whom to ask.", "type": "string", "x-connection": "schema_registry" },
    "steps": { "description": "What to ask.", "type": "array" }
  }
}"#;

#[derive(serde::Deserialize)]
struct Settings {
    registry: String,
    steps: Vec<Vec<Value>>,
}

struct Script(Settings);

impl Source for Script {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new("schema-script", "0.1.0", "Asks a schema registry what it is told").settings(SCHEMA)
    }

    fn open(_task: &Task, settings: Settings, _resume: Vec<Checkpoint>) -> Result<Self, Error> {
        Ok(Self(settings))
    }

    fn poll(&mut self, _limits: PollLimits, out: &mut Poll) -> Result<Flow, Error> {
        for step in std::mem::take(&mut self.0.steps) {
            let came = self.step(&step).unwrap_or_else(
                |error| json!({ "error": format!("{:?} {}: {}", error.kind, error.code, error.message) }),
            );
            out.batch.push_value(came.to_string().as_bytes());
        }
        Ok(Flow::End)
    }
}

impl Script {
    fn step(&self, step: &[Value]) -> Result<Value, Error> {
        let text = |at: usize| step.get(at).and_then(Value::as_str).unwrap_or_default();
        let registry = match step.last().and_then(Value::as_str) {
            Some("elsewhere") => "elsewhere",
            _ => &self.0.registry,
        };
        let schema = || {
            let format = match text(2) {
                "protobuf" => Format::Protobuf,
                "json-schema" => Format::JsonSchema,
                _ => Format::Avro,
            };
            Schema::new(format, text(3))
        };
        Ok(match text(0) {
            "get" => {
                let id = step.get(1).and_then(Value::as_u64).unwrap_or_default();
                told(&schemas::get(registry, u32::try_from(id).unwrap_or_default())?)
            }
            "latest" => {
                let latest = schemas::latest(registry, text(1))?;
                json!({ "id": latest.id, "schema": told(&latest.schema) })
            }
            "register" => schemas::register(registry, text(1), &schema())?.into(),
            "find" => schemas::find(registry, text(1), &schema())?.into(),
            _ => return Err(Error::fatal("script", "an unknown step")),
        })
    }
}

fn told(schema: &Schema) -> Value {
    let dependencies: Vec<_> = schema.dependencies.iter().map(|of| (&of.name, &of.definition)).collect();
    json!({ "format": format!("{:?}", schema.format), "definition": schema.definition, "dependencies": dependencies })
}

millrace_sdk::export_source!(Script);
