//! A sink that knows types: writes each value to the end of the file `path`, a line each, as it was given.

#![cfg_attr(not(target_family = "wasm"), allow(dead_code, reason = "only a component exports it"))]

use std::fs::{File, OpenOptions};
use std::io::Write;

use millrace_sdk::{Description, Durable, Error, Records, Rejected, Sink, Taken, Task};
use serde::Deserialize;

struct Typed {
    file: File,
}

#[derive(Deserialize)]
struct Settings {
    path: String,
}

const SCHEMA: &str = r#"{
  "type": "object", "additionalProperties": false, "required": ["path"],
  "properties": {
    "path": { "description": "The file.", "type": "string", "x-path": "write" }
  }
}"#;

impl Sink for Typed {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new("typed-sink", "0.1.0", "Writes values as they are given to it, with their types")
            .settings(SCHEMA)
            .value_formats(&["json", "connect-json"])
    }

    fn open(_task: &Task, settings: Settings) -> Result<Self, Error> {
        let file = OpenOptions::new().create(true).append(true).open(settings.path);
        Ok(Self { file: file.map_err(broken)? })
    }

    fn put(&mut self, records: &Records<'_>, _rejected: &mut Rejected) -> Result<Taken, Error> {
        for record in records {
            self.file.write_all(record.value.unwrap_or(b"-")).map_err(broken)?;
            self.file.write_all(b"\n").map_err(broken)?;
        }
        Ok(Taken::All)
    }

    fn flush(&mut self) -> Result<Durable, Error> {
        self.file.sync_all().map_err(broken)?;
        Ok(Durable::Everything)
    }
}

fn broken(error: std::io::Error) -> Error {
    Error::fatal("file", error.to_string())
}

millrace_sdk::export_sink!(Typed);
