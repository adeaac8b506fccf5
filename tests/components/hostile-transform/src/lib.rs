//! A transform that misbehaves, as its setting `do` says:
//!
//! - `nothing`: keeps each record
//! - `trap`: panics with the message "on purpose"
//! - `loop`: never comes back
//! - `drop`: drops every record; `double`: gives each one twice
//! - `reject`: rejects every record whose value holds the text of `match`
//! - `route`: sends every record to the topic `match`
//! - `script`: does what the first character of the value says and takes it off: `d` drops the record, `2` gives it twice,
//!   the second time with its rest backwards, `r` rejects it, anything else keeps it

#![cfg_attr(not(target_family = "wasm"), allow(dead_code, reason = "only a component exports it"))]

use millrace_sdk::{Description, Error, Output, RecordRef, Rejection, Task, Transform};
use serde::Deserialize;

struct Hostile {
    settings: Settings,
}

#[derive(Deserialize)]
struct Settings {
    #[serde(rename = "do")]
    action: String,
    #[serde(default, rename = "match")]
    matching: String,
}

const SCHEMA: &str = r#"{
  "type": "object", "additionalProperties": false, "required": ["do"],
  "properties": {
    "do": { "description": "What to do wrong.", "type": "string" },
    "match": { "description": "For reject.", "type": "string" }
  }
}"#;

impl Transform for Hostile {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new("hostile-transform", "0.1.0", "Misbehaves on request").settings(SCHEMA)
    }

    fn open(_task: &Task, settings: Settings) -> Result<Self, Error> {
        Ok(Self { settings })
    }

    fn apply(&mut self, record: &RecordRef<'_>, out: &mut Output<'_>) -> Result<(), Rejection> {
        match self.settings.action.as_str() {
            "nothing" => out.keep(record),
            "trap" => panic!("on purpose"),
            "loop" => endless(),
            "drop" => {}
            "double" => {
                out.keep(record);
                out.keep(record);
            }
            "reject" => {
                let value = String::from_utf8_lossy(record.value.unwrap_or_default());
                if value.contains(&self.settings.matching) {
                    return Err(Rejection::new("test.rejected", "not this one"));
                }
                out.keep(record);
            }
            "route" => out.push(&RecordRef { topic: &self.settings.matching, ..*record }),
            "script" => return script(record, out),
            other => {
                return Err(Rejection::new("settings", format!("/do: {other} is nothing that I can do")));
            }
        }
        Ok(())
    }
}

fn script(record: &RecordRef<'_>, out: &mut Output<'_>) -> Result<(), Rejection> {
    let value = record.value.unwrap_or_default();
    let rest = value.get(1..).unwrap_or_default();
    match value.first() {
        Some(b'd') => {}
        Some(b'r') => return Err(Rejection::new("test.rejected", "as its script says")),
        Some(b'2') => {
            out.with_value(record, Some(rest));
            let backwards: Vec<u8> = rest.iter().rev().copied().collect();
            out.with_value(record, Some(&backwards));
        }
        _ => out.with_value(record, Some(rest)),
    }
    Ok(())
}

fn endless() -> ! {
    let mut n = 0u64;
    loop {
        n = std::hint::black_box(n.wrapping_add(1));
    }
}

millrace_sdk::export_transform!(Hostile);
