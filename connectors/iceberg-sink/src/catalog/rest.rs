//! A catalog that speaks Iceberg's REST protocol (the OpenAPI document of Apache Iceberg): Polaris, Lakekeeper, Nessie, Unity, Glue and S3 Tables do.
//!
//! The catalog keeps the metadata, and checks a commit's requirements against its newest before it makes the updates. The one that matters is
//! that the main branch still leads to the snapshot that the commit was made of; there is none about properties. So here every commit makes a
//! snapshot, a claim too: otherwise a zombie's commit would pass a claim by, in silence.

use std::cell::RefCell;

use millrace_sdk::http::{Request, Response, send};
use millrace_sdk::{Error, ErrorKind};
use serde_json::{Value, json};

use super::{Catalog, Outcome, Table, Version};
use crate::metadata::{MAIN, Metadata, Update};

/// Between the parts of a namespace, in a URL.
const LEVELS: &str = "%1F";

/// A table of a REST catalog.
#[derive(Clone, Debug)]
pub struct Rest {
    connection: String,
    warehouse: Option<String>,
    namespace: Vec<String>,
    name: String,
    /// Where a new table's files go, if the catalog is not to choose.
    location: String,
    /// What the catalog puts before its paths, once it was asked.
    prefix: RefCell<Option<String>>,
}

impl Rest {
    /// The table of this name; the last one is its own.
    pub fn new(connection: &str, warehouse: Option<&str>, names: &[&str], location: String) -> Self {
        let (name, namespace) =
            names.split_last().map_or(("", &[][..]), |(name, namespace)| (*name, namespace));
        Self {
            connection: connection.to_owned(),
            warehouse: warehouse.map(str::to_owned),
            namespace: namespace.iter().map(|name| (*name).to_owned()).collect(),
            name: name.to_owned(),
            location,
            prefix: RefCell::new(None),
        }
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Response, Error> {
        let mut request = Request::new(method, path).header("accept", "application/json");
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        send(&self.connection, request)
    }

    /// The beginning of all paths.
    fn prefix(&self) -> Result<String, Error> {
        if let Some(prefix) = &*self.prefix.borrow() {
            return Ok(prefix.clone());
        }
        let query =
            self.warehouse.as_deref().map(|name| format!("?warehouse={}", encoded(name))).unwrap_or_default();
        let answer = self.ask("GET", &format!("/v1/config{query}"), None)?;
        let config = read(&answer, "the catalog's configuration")?;
        let of = |kind: &str| config[kind]["prefix"].as_str();
        let prefix = of("overrides").or_else(|| of("defaults"));
        let prefix =
            prefix.map_or_else(|| "/v1".to_owned(), |prefix| format!("/v1/{}", prefix.trim_matches('/')));
        *self.prefix.borrow_mut() = Some(prefix.clone());
        Ok(prefix)
    }

    fn tables(&self) -> Result<String, Error> {
        let levels: Vec<String> = self.namespace.iter().map(|level| encoded(level)).collect();
        Ok(format!("{}/namespaces/{}/tables", self.prefix()?, levels.join(LEVELS)))
    }

    fn path(&self) -> Result<String, Error> {
        Ok(format!("{}/{}", self.tables()?, encoded(&self.name)))
    }

    fn create_namespace(&self) -> Result<(), Error> {
        let body = json!({ "namespace": self.namespace, "properties": {} });
        let answer = self.ask("POST", &format!("{}/namespaces", self.prefix()?), Some(&body))?;
        // It may be there: made by another task a moment ago.
        if answer.status == 409 { Ok(()) } else { read(&answer, "the namespace").map(drop) }
    }
}

/// What the catalog says of a table.
fn table(answer: &Response, what: &str) -> Result<Table, Error> {
    let mut json = read(answer, what)?;
    let location = json["metadata-location"].as_str().unwrap_or_default().to_owned();
    let metadata = Metadata::read(json["metadata"].take());
    let metadata = metadata.map_err(|why| Error::fatal("table.metadata", format!("{location}: {why}")))?;
    Ok(Table { metadata, version: Version::Catalog(location) })
}

/// The body of an answer that is none of an error.
fn read(answer: &Response, what: &str) -> Result<Value, Error> {
    if !answer.is_success() {
        return Err(refused(answer, what));
    }
    serde_json::from_slice(&answer.body).map_err(|error| {
        Error::fatal("catalog.answer", format!("{what}: the catalog's answer is no JSON: {error}"))
    })
}

fn refused(answer: &Response, what: &str) -> Error {
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let why = said["error"]["message"].as_str().unwrap_or("without a message").to_owned();
    let (code, message) = (
        format!("catalog.{}", answer.status),
        format!("{what}: the catalog answers {}: {why}", answer.status),
    );
    match answer.status {
        // What a catalog can't do it won't do later.
        501 | 505 => Error::fatal(code, message),
        408 | 419 | 429 | 500.. => Error::retriable(code, message),
        _ => Error::fatal(code, message),
    }
}

/// What a commit asks of the table that it was made of.
fn requirements(metadata: &Metadata, updates: &[Update]) -> Vec<Value> {
    let mut all = vec![
        json!({ "type": "assert-table-uuid", "uuid": metadata.uuid() }),
        json!({ "type": "assert-ref-snapshot-id", "ref": MAIN, "snapshot-id": metadata.snapshot_id() }),
    ];
    if updates.iter().any(|update| matches!(update, Update::AddSchema { .. })) {
        all.push(json!({ "type": "assert-current-schema-id", "current-schema-id": metadata.schema_id() }));
        all.push(json!({ "type": "assert-last-assigned-field-id", "last-assigned-field-id": metadata.last_column() }));
    }
    all
}

/// A part of a path or a query.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

impl Catalog for Rest {
    fn load(&self) -> Result<Option<Table>, Error> {
        let answer = self.ask("GET", &self.path()?, None)?;
        if answer.status == 404 { Ok(None) } else { table(&answer, "the table").map(Some) }
    }

    fn location(&self) -> String {
        self.location.clone()
    }

    fn create(&self, metadata: &Metadata) -> Result<Outcome, Error> {
        let body = metadata.request(&self.name);
        let mut answer = self.ask("POST", &self.tables()?, Some(&body));
        if answer.as_ref().is_ok_and(|answer| answer.status == 404) {
            self.create_namespace()?;
            answer = self.ask("POST", &self.tables()?, Some(&body));
        }
        outcome(answer, "the new table")
    }

    fn commit(&self, of: &Table, updates: &[Update]) -> Result<Outcome, Error> {
        let body = json!({
            "identifier": { "namespace": self.namespace, "name": self.name },
            "requirements": requirements(&of.metadata, updates),
            "updates": updates,
        });
        outcome(self.ask("POST", &self.path()?, Some(&body)), "the commit")
    }

    fn commits_are_snapshots(&self) -> bool {
        true
    }
}

fn outcome(answer: Result<Response, Error>, what: &str) -> Result<Outcome, Error> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) if error.kind == ErrorKind::Retriable => return Ok(Outcome::Unknown(error)),
        Err(error) => return Err(error),
    };
    if answer.status == 409 {
        return Ok(Outcome::Conflict);
    }
    match table(&answer, what) {
        Ok(table) => Ok(Outcome::Done(Box::new(table))),
        // "Commit state unknown", a proxy's time-out, or a mishap before or behind the commit.
        Err(error) if error.kind == ErrorKind::Retriable => Ok(Outcome::Unknown(error)),
        Err(error) => Err(error),
    }
}
