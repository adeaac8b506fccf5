//! A source that misbehaves in `poll`, as its setting `do` says:
//!
//! - `count`: behaves: gives the numbers 0 to `records`, ten per poll, and ends; its position is the next number
//! - `trap`: panics with the message "on purpose" after the first poll
//! - `loop`: never comes back
//! - `memory`: takes memory until there is none
//! - `reject`: like `count`, and rejects every seventh number
//! - `mull`: never comes back from a look at its settings
//! - `retry`: like `count`, and fails every other call with a retriable error
//! - `columns`: a batch whose columns do not fit each other, `lengths`: lengths past the data, `negative`: a length of -7,
//!   `records`: more than any batch has, `header`: a header whose name is not UTF-8, `text`: a position's partition that isn't;
//!   `topic`: an index past the dictionary, `index`: a rejection of a record that is not there
//!
//! Tests make other builds of it by writing over `BUILD` in its bytes (`hostile_source_build` in the crate above):
//! - `well`: as above
//! - `closed`: fails in `open`
//! - `planless`: fails in `plan`
//! - `third`: panics in the third `poll` of each instance
//! - `mute`: never says what it is
//!
//! The SDK would not let a batch be wrong, so this one implements the exports itself.

#![cfg_attr(not(target_family = "wasm"), allow(dead_code, reason = "only a component exports it"))]

use std::cell::RefCell;

use millrace_sdk::bindings::connector::exports::millrace::connect::connector;
use millrace_sdk::bindings::connector::millrace::connect::types::{Error, Failure, RecordError, TaskContext};
use millrace_sdk::bindings::source::exports::millrace::connect::source::{Flow, Guest, PollOutcome};
use millrace_sdk::{BatchBuilder, Checkpoint, RecordBatch};

const SCHEMA: &str = r#"{
  "type": "object", "additionalProperties": false, "required": ["do"],
  "properties": {
    "do": { "description": "What to do wrong.", "type": "string" },
    "records": { "description": "How many numbers to give.", "type": "integer", "default": 100 }
  }
}"#;

const PER_POLL: u64 = 10;

/// Version and manner of this build, after a word to find them by. Of a length that has room for others.
const BUILD: &str = "millrace-test-build 0.1.0 well          ";

/// The version and the manner.
fn build() -> (&'static str, &'static str) {
    // Not known when this is compiled: tests change it afterwards.
    let mut words = std::hint::black_box(BUILD).split_whitespace().skip(1);
    (words.next().unwrap_or_default(), words.next().unwrap_or_default())
}

struct Hostile;

struct State {
    action: String,
    records: u64,
    next: u64,
    polls: u64,
}

thread_local! {
    static STATE: RefCell<Option<State>> = const { RefCell::new(None) };
}

impl connector::Guest for Hostile {
    fn describe() -> connector::Description {
        let mut asked = 0u64;
        while build().1 == "mute" {
            asked = std::hint::black_box(asked.wrapping_add(1));
        }
        connector::Description {
            name: "hostile-source".to_owned(),
            version: build().0.to_owned(),
            summary: "Misbehaves on request".to_owned(),
            config_schema: SCHEMA.to_owned(),
            key_formats: vec!["utf8".to_owned()],
            value_formats: vec!["json".to_owned()],
            extra: Vec::new(),
        }
    }

    fn validate(config: String) -> Result<Vec<connector::ConfigProblem>, Error> {
        let mut looked = 0u64;
        while config.contains("\"mull\"") {
            looked = std::hint::black_box(looked.wrapping_add(1));
        }
        Ok(Vec::new())
    }
}

impl Guest for Hostile {
    fn plan(config: String, _max_tasks: u32) -> Result<Vec<String>, Error> {
        match build().1 {
            "planless" => Err(fatal("this build makes no plans")),
            _ => Ok(vec![config]),
        }
    }

    fn open(task: TaskContext, resume: Vec<Checkpoint>) -> Result<(), Error> {
        if build().1 == "closed" {
            return Err(fatal("this build opens nothing"));
        }
        let config: serde_json::Value =
            serde_json::from_str(&task.config).map_err(|error| fatal(&error.to_string()))?;
        let next = resume.iter().find(|known| known.partition == "numbers");
        let next = next.and_then(|known| std::str::from_utf8(&known.position).ok()?.parse().ok());
        let state = State {
            action: config["do"].as_str().unwrap_or("count").to_owned(),
            records: config["records"].as_u64().unwrap_or(100),
            next: next.unwrap_or(0),
            polls: 0,
        };
        STATE.with_borrow_mut(|slot| *slot = Some(state));
        Ok(())
    }

    fn poll(_records: u32, _bytes: u32, _wait_ms: u32) -> Result<PollOutcome, Error> {
        STATE.with_borrow_mut(|slot| slot.as_mut().map_or_else(|| Err(fatal("not opened")), State::poll))
    }

    fn commit(_done: Vec<Checkpoint>) -> Result<(), Error> {
        Ok(())
    }

    fn close() -> Result<(), Error> {
        Ok(())
    }
}

impl State {
    fn poll(&mut self) -> Result<PollOutcome, Error> {
        self.polls += 1;
        assert!(build().1 != "third" || self.polls != 3, "this build ends in its third poll");
        let broken = |batch| outcome(batch, Vec::new(), Vec::new(), Flow::More);
        match self.action.as_str() {
            "trap" if self.polls > 1 => panic!("on purpose"),
            "loop" => loop {
                self.polls = std::hint::black_box(self.polls.wrapping_add(1));
            },
            "memory" => {
                let mut held = Vec::new();
                loop {
                    held.push(std::hint::black_box(vec![1u8; 1 << 20]));
                }
            }
            "retry" if self.polls % 2 == 1 => {
                let message = "the upstream is out of reach".to_owned();
                Err(Error::Retriable(Failure {
                    code: "test.retriable".to_owned(),
                    message,
                    retry_after_ms: Some(1),
                }))
            }
            "columns" => Ok(broken(RecordBatch { value_lens: vec![1, 1], data: vec![0; 2], ..blank(3) })),
            "lengths" => {
                Ok(broken(RecordBatch { value_lens: vec![1, i32::MAX], data: vec![0; 2], ..blank(2) }))
            }
            "negative" => Ok(broken(RecordBatch { value_lens: vec![1, -7], data: vec![0], ..blank(2) })),
            "records" => Ok(broken(blank(u32::MAX))),
            "header" => Ok(broken(RecordBatch {
                header_counts: vec![1],
                header_lens: vec![2, 0],
                header_data: vec![0xff, 0xfe],
                ..blank(1)
            })),
            "text" => {
                let position = Checkpoint { partition: no_text(), position: Vec::new() };
                Ok(outcome(blank(0), Vec::new(), vec![position], Flow::More))
            }
            "topic" => Ok(broken(RecordBatch { topic_index: vec![4], ..blank(1) })),
            "index" => {
                let why =
                    RecordError { index: 99, code: "test".to_owned(), message: "no such record".to_owned() };
                Ok(outcome(blank(1), vec![why], Vec::new(), Flow::More))
            }
            _ => Ok(self.count()),
        }
    }

    fn count(&mut self) -> PollOutcome {
        let mut batch = BatchBuilder::default();
        let mut rejected = Vec::new();
        let until = self.records.min(self.next + PER_POLL);
        for number in self.next..until {
            if self.action == "reject" && number % 7 == 6 {
                let message = format!("{number} is a seventh number");
                rejected.push(RecordError { index: batch.len(), code: "test.rejected".to_owned(), message });
            }
            batch.push_value(number.to_string().as_bytes());
        }
        self.next = until;
        let position =
            Checkpoint { partition: "numbers".to_owned(), position: until.to_string().into_bytes() };
        let flow = if until == self.records { Flow::End } else { Flow::More };
        outcome(batch.finish(), rejected, vec![position], flow)
    }
}

/// A string that is none, as a guest in a language without Rust's care might hand it over.
#[expect(unsafe_code, reason = "the host has to bear it")]
fn no_text() -> String {
    // SAFETY: nothing in the guest looks at it; it only goes to the host.
    unsafe { String::from_utf8_unchecked(vec![0xff, 0xfe, 0xc0]) }
}

fn blank(count: u32) -> RecordBatch {
    RecordBatch { count, ..BatchBuilder::default().finish() }
}

fn outcome(
    batch: RecordBatch,
    rejected: Vec<RecordError>,
    checkpoints: Vec<Checkpoint>,
    flow: Flow,
) -> PollOutcome {
    PollOutcome { batch, rejected, checkpoints, flow, next_poll_ms: 0 }
}

fn fatal(message: &str) -> Error {
    Error::Fatal(Failure { code: "test.fatal".to_owned(), message: message.to_owned(), retry_after_ms: None })
}

#[cfg(target_family = "wasm")]
const _: () = {
    millrace_sdk::bindings::connector::export!(Hostile with_types_in millrace_sdk::bindings::connector);
    millrace_sdk::bindings::source::export!(Hostile with_types_in millrace_sdk::bindings::source);
};
