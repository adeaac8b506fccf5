//! A source that does with a database what its setting `steps` says, one after the other, and gives a record for each: what came
//! of it as JSON.
//!
//! A step is an object: `session` names the session that it is for (`a` unless said), and one further key what to do:
//! `open` (a connection), `replicate` (the same, for replication), `close`, `status`, `parameter`, `run`, `rows`, `send`, `receive`
//! (milliseconds), `query` (`[sql, param, ...]`), `batch` (a list of those), `copy`, `write` (text), `write_bytes` (so many `x`), `read` (until done), `read_once`, `finish`, `abort`.

#![cfg_attr(not(target_family = "wasm"), allow(dead_code, reason = "only a component exports it"))]

use std::collections::BTreeMap;

use millrace_sdk::postgres::{Failure, Rows, Session, Statement};
use millrace_sdk::{Checkpoint, Description, Error, Flow, Poll, PollLimits, Source, Task};
use serde_json::{Map, Value, json};

const SCHEMA: &str = r#"{
  "type": "object", "additionalProperties": false, "required": ["steps"],
  "properties": { "steps": { "description": "What to do.", "type": "array" } }
}"#;

/// Longest wait for data of a COPY.
const READ_WAIT_MS: u32 = 500;

#[derive(serde::Deserialize)]
struct Settings {
    steps: Vec<Map<String, Value>>,
}

struct Script {
    steps: Vec<Map<String, Value>>,
    sessions: BTreeMap<String, Session>,
}

impl Source for Script {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new("sql-script", "0.1.0", "Does with a database what it is told").settings(SCHEMA)
    }

    fn open(_task: &Task, settings: Settings, _resume: Vec<Checkpoint>) -> Result<Self, Error> {
        Ok(Self { steps: settings.steps, sessions: BTreeMap::new() })
    }

    fn poll(&mut self, _limits: PollLimits, out: &mut Poll) -> Result<Flow, Error> {
        for step in std::mem::take(&mut self.steps) {
            let came = match self.step(&step) {
                Ok(value) => json!({ "ok": value }),
                Err(Failure::Session(error)) => {
                    json!({ "session": format!("{:?} {}: {}", error.kind, error.code, error.message) })
                }
                Err(Failure::Statement(error)) => json!({
                    "statement": error.to_string(), "code": error.code, "column": error.column, "retriable": error.retriable,
                    "place": error.place,
                }),
            };
            out.batch.push_value(came.to_string().as_bytes());
        }
        Ok(Flow::End)
    }
}

impl Script {
    fn step(&mut self, step: &Map<String, Value>) -> Result<Value, Failure> {
        let name = step.get("session").and_then(Value::as_str).unwrap_or("a").to_owned();
        let wrong = |what: &str| Failure::Session(Error::fatal("script", what));
        let (what, with) =
            step.iter().find(|(key, _)| *key != "session").ok_or_else(|| wrong("an empty step"))?;
        let text = with.as_str().unwrap_or_default();
        match what.as_str() {
            "open" => {
                self.sessions.insert(name, Session::open(text)?);
                return Ok(Value::Null);
            }
            "replicate" => {
                self.sessions.insert(name, Session::open_for_replication(text)?);
                return Ok(Value::Null);
            }
            "close" => return Ok(self.sessions.remove(&name).is_some().into()),
            _ => {}
        }
        let session = self.sessions.get_mut(&name).ok_or_else(|| wrong("no such session"))?;
        Ok(match what.as_str() {
            "status" => format!("{:?}", session.status()).into(),
            "parameter" => session.parameter(text).into(),
            "run" => session.run(text).map(|()| Value::Null)?,
            "rows" => rows(&session.rows(text)?),
            "send" => session.send(text).map(|()| Value::Null)?,
            "receive" => match session.receive(u32::try_from(with.as_u64().unwrap_or(0)).unwrap_or(0))? {
                Some(came) => rows(&came),
                None => "not yet".into(),
            },
            "query" => rows(&session.query(&statement(with))?),
            "batch" => {
                let statements: Vec<_> = with.as_array().into_iter().flatten().map(statement).collect();
                match session.batch(&statements) {
                    Ok(counts) => counts.into(),
                    Err(failed) => json!({ "failed": failed.index, "why": failed.failure.to_string() }),
                }
            }
            "copy" => session.copy(text).map(|()| Value::Null)?,
            "write" => session.copy_write(text.as_bytes()).map(|()| Value::Null)?,
            "write_bytes" => {
                let bytes = vec![b'x'; usize::try_from(with.as_u64().unwrap_or(0)).unwrap_or(0)];
                session.copy_write(&bytes).map(|()| Value::Null)?
            }
            "read_once" => {
                let chunk = session.copy_read(1 << 20, READ_WAIT_MS)?;
                json!({ "messages": chunk.lens.len(), "done": chunk.done })
            }
            "read" => {
                let (mut messages, mut all) = (0, Vec::new());
                loop {
                    let chunk = session.copy_read(64 << 10, READ_WAIT_MS)?;
                    messages += chunk.lens.len();
                    all.extend_from_slice(&chunk.data);
                    if chunk.done {
                        break;
                    }
                }
                match all.len() {
                    0..=200 => json!({ "messages": messages, "data": String::from_utf8_lossy(&all) }),
                    bytes => json!({ "messages": messages, "bytes": bytes }),
                }
            }
            "finish" => session.copy_finish()?.into(),
            "abort" => session.copy_abort(text).map(|()| Value::Null)?,
            _ => return Err(wrong("an unknown step")),
        })
    }
}

fn statement(of: &Value) -> Statement {
    let mut parts = of.as_array().into_iter().flatten();
    let sql = parts.next().and_then(Value::as_str).unwrap_or_default();
    parts.fold(Statement::new(sql), |statement, param| statement.nullable(param.as_str()))
}

fn rows(rows: &Rows) -> Value {
    let names: Vec<&str> = rows.columns().iter().map(|column| column.name.as_str()).collect();
    let all: Vec<Vec<Option<&str>>> =
        rows.iter().map(|row| (0..names.len()).map(|column| row.text(column)).collect()).collect();
    match all.len() {
        0..=20 => json!({ "columns": names, "rows": all, "tag": rows.tag() }),
        many => json!({ "rows": many, "tag": rows.tag() }),
    }
}

millrace_sdk::export_source!(Script);
