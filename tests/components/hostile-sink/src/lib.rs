//! A sink that misbehaves in `put`, as its setting `do` says:
//!
//! - `nothing`: behaves
//! - `trap`: panics with the message "on purpose"
//! - `loop`: never comes back
//! - `memory`: takes memory until there is none
//! - `read`: reads the file `path`, and fails the task with what it found: "read 12 bytes" or the system's error
//! - `write`: creates the file `path`, likewise
//! - `http`: asks for the URL `path` over `connection`, and fails the task with what came: "status 200, 12 bytes" or the host's
//!   error
//! - `bucket`: does all that the object store of connection `bucket` can do, and fails the task with what came of each step
//! - `tcp`: connects to `path` with its language's own sockets, sends four bytes and waits for four; `lookup`: looks up the name `path`;
//!   `listen`, `udp`: opens such a socket at `path`. Each fails the task with what came of it
//! - `retriable`: fails each call with a retriable error; `fatal`: with a fatal one
//! - `reject`: rejects every record whose value holds the text of `match`
//! - `metrics`: keeps numbers of its own, most of them under names that break the format
//! - `log`: writes twenty thousand lines of log
//! - `result`: answers with an error message of 200 MiB
//!
//! For `millrace doctor` it does what its setting `diagnosis` says: `trap`, `loop` and `memory` as above, `fatal` and `retriable` (an error of that kind),
//! `flood` (500 findings of 5 KB texts that clear the screen), `secret` (tells its password); otherwise it finds nothing.
//!
//! Records are counted, not kept.

#![cfg_attr(not(target_family = "wasm"), allow(dead_code, reason = "only a component exports it"))]

mod bucket;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};

use millrace_sdk::host;
use millrace_sdk::http::{self, Request};
use millrace_sdk::{Description, Durable, Error, Finding, Records, Rejected, Rejection, Sink, Taken, Task};
use serde::Deserialize;

struct Hostile {
    settings: Settings,
}

#[derive(Deserialize)]
struct Settings {
    #[serde(rename = "do")]
    action: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    connection: String,
    #[serde(default)]
    bucket: String,
    #[serde(default, rename = "match")]
    matching: String,
    #[serde(default)]
    diagnosis: String,
    #[serde(default)]
    password: String,
}

const SCHEMA: &str = r#"{
  "type": "object", "additionalProperties": false, "required": ["do"],
  "properties": {
    "do": { "description": "What to do wrong.", "type": "string" },
    "path": { "description": "For read, write, http, tcp, lookup, listen and udp.", "type": "string" },
    "connection": { "description": "For http.", "type": "string", "x-connection": "http" },
    "bucket": { "description": "For bucket.", "type": "string", "x-connection": "s3" },
    "machine": { "description": "For tcp and lookup.", "type": "string", "x-connection": "tcp" },
    "match": { "description": "For reject.", "type": "string" },
    "diagnosis": { "description": "What to do wrong when it is asked how things are.", "type": "string" },
    "password": { "description": "For secret.", "type": "string", "x-secret": true }
  }
}"#;

impl Sink for Hostile {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new("hostile-sink", "0.1.0", "Misbehaves on request").settings(SCHEMA)
    }

    fn diagnose(settings: &Settings, topics: &[String]) -> Result<Vec<Finding>, Error> {
        match settings.diagnosis.as_str() {
            "trap" => panic!("on purpose"),
            "loop" => endless(),
            "memory" => bomb(),
            "fatal" => Err(Error::fatal("test.fatal", "nobody lets it look")),
            "retriable" => Err(Error::retriable("test.retriable", "nobody answers")),
            "flood" => {
                let text = "\x1b[2J".repeat(1_250);
                Ok(vec![Finding::failed(text.as_str(), text.as_str(), text.as_str()); 500])
            }
            "secret" => {
                let said = format!("the password is {}", settings.password);
                Ok(vec![Finding::failed("door", said, format!("say {}", settings.password))])
            }
            _ => Ok(vec![Finding::ok("topics", topics.join(", "))]),
        }
    }

    fn open(_task: &Task, settings: Settings) -> Result<Self, Error> {
        Ok(Self { settings })
    }

    fn put(&mut self, records: &Records<'_>, rejected: &mut Rejected) -> Result<Taken, Error> {
        match self.settings.action.as_str() {
            "nothing" => Ok(Taken::All),
            "trap" => panic!("on purpose"),
            "loop" => endless(),
            "memory" => bomb(),
            "read" => Err(report("read", fs::read(&self.settings.path).map(|bytes| bytes.len()))),
            "write" => Err(report("wrote", fs::write(&self.settings.path, "x").map(|()| 1))),
            "http" => {
                let answer = http::send(&self.settings.connection, Request::new("GET", &self.settings.path))?;
                let said = format!("status {}, {} bytes", answer.status, answer.body.len());
                Err(Error::fatal("test.done", said))
            }
            "bucket" => Err(bucket::walk(&self.settings.bucket)),
            "tcp" => Err(report("exchanged", exchange(&self.settings.path))),
            "lookup" => {
                let found = (self.settings.path.as_str(), 1).to_socket_addrs();
                Err(report("found", found.map(|found| found.count())))
            }
            "listen" => Err(report("listens", TcpListener::bind(&self.settings.path).map(|_| 1))),
            "udp" => Err(report("sends", UdpSocket::bind(&self.settings.path).map(|_| 1))),
            "retriable" => Err(Error::retriable("test.retriable", "the target is out of reach")),
            "fatal" => Err(Error::fatal("test.fatal", "the target does not want it")),
            "metrics" => {
                metrics(records.len());
                Ok(Taken::All)
            }
            "log" => {
                (0..20_000).for_each(|n| millrace_sdk::info!("line {n}\n{}", "x".repeat(1_000)));
                Ok(Taken::All)
            }
            "result" => Err(Error::fatal("test.result", "x".repeat(200 << 20))),
            "reject" => {
                for record in records {
                    let value = record.value.unwrap_or_default();
                    if String::from_utf8_lossy(value).contains(&self.settings.matching) {
                        rejected.push(&record, Rejection::new("test.rejected", "not this one"));
                    }
                }
                Ok(Taken::All)
            }
            other => Err(Error::fatal("settings", format!("/do: {other} is nothing that I can do"))),
        }
    }

    fn flush(&mut self) -> Result<Durable, Error> {
        Ok(Durable::Everything)
    }
}

fn report(did: &str, result: std::io::Result<usize>) -> Error {
    match result {
        Ok(bytes) => Error::fatal("test.done", format!("{did} {bytes} bytes")),
        Err(error) => Error::fatal("test.refused", error.to_string()),
    }
}

/// To a server that sends back what it is sent.
fn exchange(address: &str) -> std::io::Result<usize> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"ping")?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer)?;
    Ok(answer.len())
}

/// One good name; the others try to end the line, the label, the series.
fn metrics(records: usize) {
    host::count("taken", records as u64, &[("kind", "a\"b\nc\\")]);
    host::gauge("taken", 1.0, &[]);
    for name in ["", "a b", "up 1\nmillrace_fake", "a{", "lag_total", "ü"] {
        host::gauge(name, 1.0, &[]);
    }
    for label in ["", "connector", "task", "__name__", "le\"", "a b"] {
        host::count("taken", 1, &[(label, "x")]);
    }
    for n in 0..1_000 {
        host::count("many", 1, &[("n", &n.to_string())]);
    }
}

fn endless() -> ! {
    let mut n = 0u64;
    loop {
        n = std::hint::black_box(n.wrapping_add(1));
    }
}

fn bomb() -> ! {
    let mut held = Vec::new();
    loop {
        held.push(std::hint::black_box(vec![1u8; 1 << 20]));
    }
}

millrace_sdk::export_sink!(Hostile);
