//! A source that knows types: gives each of `values`, envelopes of Kafka Connect, once and in order; only their payloads where nobody wants
//! types. Its position is how many it gave.

#![cfg_attr(not(target_family = "wasm"), allow(dead_code, reason = "only a component exports it"))]

use millrace_sdk::{Checkpoint, Description, Error, Flow, Poll, PollLimits, Source, Task};
use serde::Deserialize;
use serde_json::Value;

struct Typed {
    settings: Settings,
    /// What was asked for.
    with_types: bool,
    next: usize,
}

#[derive(Deserialize)]
struct Settings {
    values: Vec<Value>,
}

const SCHEMA: &str = r#"{
  "type": "object", "additionalProperties": false, "required": ["values"],
  "properties": {
    "values": { "description": "Envelopes.", "type": "array", "items": { "type": "object" } }
  }
}"#;

impl Source for Typed {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new("typed-source", "0.1.0", "Gives values with their types")
            .settings(SCHEMA)
            .key_formats(&["utf8"])
            .value_formats(&["json", "connect-json"])
    }

    fn open(task: &Task, settings: Settings, resume: Vec<Checkpoint>) -> Result<Self, Error> {
        let known = resume.iter().find(|known| known.partition == "values");
        let next = known.and_then(|known| std::str::from_utf8(&known.position).ok()?.parse().ok());
        Ok(Self { settings, with_types: task.value_format == "connect-json", next: next.unwrap_or(0) })
    }

    fn poll(&mut self, _limits: PollLimits, out: &mut Poll) -> Result<Flow, Error> {
        for envelope in self.settings.values.iter().skip(self.next) {
            let value = if self.with_types { envelope } else { &envelope["payload"] };
            let mut writer = out.batch.record();
            writer.value().extend_from_slice(value.to_string().as_bytes());
            writer.end();
        }
        self.next = self.settings.values.len();
        out.checkpoint("values", self.next.to_string());
        Ok(Flow::End)
    }
}

millrace_sdk::export_source!(Typed);
