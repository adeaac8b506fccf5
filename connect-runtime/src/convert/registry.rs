//! A client of a schema registry, Confluent's or ours, over a connection of kind `schema_registry`.
//!
//! A registry that doesn't answer, or answers that it is the one in trouble, is an outage: [`Failure::Outage`], never a bad record.
//! Credentials stay with the connection.

mod settings;

use std::sync::Arc;

use millrace_schema::{Dependency, Kind, REFERENCES_MAX, Schema};
use serde::Deserialize;
use serde_json::json;

pub(crate) use settings::{Target, open};

use self::settings::Node;
use crate::capability::http::{Failed, Request};
use crate::component::bindings::millrace::connect::types::Error as GuestError;
use crate::connection::{self, Connection};
use crate::doctor::{Reached, Unreached};
use crate::percent::encoded;

/// The kind of its connections.
pub(crate) const KIND: &str = "schema_registry";
/// Largest answer.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// The error codes with which a registry says that a subject, a version or a schema is not there. Any other 404 comes from something
/// that is no registry, and says nothing of a record.
const NOT_THERE: std::ops::RangeInclusive<u32> = 40401..=40403;
/// Longest message of a registry that is shown.
const MESSAGE_CHARS_MAX: usize = 300;
/// What a registry speaks.
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// Why a registry gave no schema.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It may answer later.
    #[error("schema registry {url} is out of reach: {reason}")]
    Outage {
        /// Which.
        url: String,
        /// Why.
        reason: String,
    },
    /// It doesn't have what was asked for, or not in a form that can be used.
    #[error("schema registry {url}: {message}")]
    Unknown {
        /// Which.
        url: String,
        /// In its words.
        message: String,
    },
    /// It refuses, and will the next time.
    #[error("schema registry {url}: {message}")]
    Refused {
        /// Which.
        url: String,
        /// In its words.
        message: String,
    },
}

/// A schema with its id.
#[derive(Clone, Debug)]
pub(crate) struct Registered {
    pub(crate) id: u32,
    pub(crate) fetched: Fetched,
}

/// A schema that was fetched.
#[derive(Clone, Debug)]
pub(crate) struct Fetched {
    pub(crate) schema: Schema,
    pub(crate) text: String,
    pub(crate) dependencies: Vec<Dependency>,
}

/// Asks a registry.
#[derive(Clone, Debug)]
pub(crate) struct RegistryClient {
    connection: Arc<Connection>,
}

/// A schema in an answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(default)]
    id: u32,
    #[serde(default)]
    schema_type: Option<String>,
    schema: String,
    #[serde(default)]
    references: Option<Vec<Reference>>,
}

#[derive(Debug, Deserialize)]
struct Reference {
    name: String,
    subject: String,
    version: i64,
}

impl RegistryClient {
    pub(crate) fn new(connection: &Arc<Connection>) -> Self {
        Self { connection: Arc::clone(connection) }
    }

    /// The schema of an id.
    pub(crate) async fn by_id(&self, id: u32) -> Result<Fetched, Failure> {
        let answer: Answer = self.get(&format!("/schemas/ids/{id}")).await?;
        self.parse(answer).await
    }

    /// The last version of a subject.
    pub(crate) async fn latest(&self, subject: &str) -> Result<Registered, Failure> {
        let answer: Answer =
            self.get(&format!("/subjects/{}/versions/latest", encoded(subject, false))).await?;
        Ok(Registered { id: answer.id, fetched: self.parse(answer).await? })
    }

    /// Makes a text a version of a subject unless it is one (`register`), or finds the version that it is; its id.
    pub(crate) async fn id_of(
        &self,
        subject: &str,
        kind: Kind,
        text: &str,
        register: bool,
    ) -> Result<u32, Failure> {
        let path =
            format!("/subjects/{}{}", encoded(subject, false), if register { "/versions" } else { "" });
        let mut body = json!({ "schema": text });
        if kind != Kind::Avro {
            body["schemaType"] = kind.name().into();
        }
        #[derive(Deserialize)]
        struct Id {
            id: u32,
        }
        let Id { id } = self.call("POST", &path, body.to_string()).await?;
        Ok(id)
    }

    async fn parse(&self, answer: Answer) -> Result<Fetched, Failure> {
        let kind = match answer.schema_type.as_deref() {
            None => Kind::Avro,
            Some(name) => Kind::named(name)
                .ok_or_else(|| self.unknown(format!("a schema of the unknown type {name}")))?,
        };
        let dependencies = self.dependencies(answer.references.unwrap_or_default()).await?;
        let text = answer.schema;
        let schema =
            Schema::parse(kind, &text, &dependencies).map_err(|error| self.unknown(error.to_string()))?;
        Ok(Fetched { schema, text, dependencies })
    }

    /// What references lead to, each after those that it refers to itself.
    async fn dependencies(&self, references: Vec<Reference>) -> Result<Vec<Dependency>, Failure> {
        // What is still to be fetched, and what is complete once all behind it is.
        enum Step {
            Fetch(Reference),
            Done(Dependency),
        }
        let mut steps: Vec<Step> = references.into_iter().rev().map(Step::Fetch).collect();
        let (mut found, mut seen) = (Vec::new(), std::collections::BTreeSet::new());
        while let Some(step) = steps.pop() {
            match step {
                Step::Done(dependency) => found.push(dependency),
                Step::Fetch(reference) => {
                    if !seen.insert(reference.name.clone()) {
                        continue;
                    }
                    if seen.len() > REFERENCES_MAX {
                        return Err(
                            self.unknown(format!("a schema that leads to more than {REFERENCES_MAX} others"))
                        );
                    }
                    let path = format!(
                        "/subjects/{}/versions/{}",
                        encoded(&reference.subject, false),
                        reference.version
                    );
                    let answer: Answer = self.get(&path).await?;
                    steps.push(Step::Done(Dependency { name: reference.name, text: answer.schema }));
                    steps.extend(answer.references.unwrap_or_default().into_iter().rev().map(Step::Fetch));
                }
            }
        }
        Ok(found)
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.call("GET", path, String::new()).await
    }

    /// Asks one address after the other, until one is not out of reach.
    async fn call<T: serde::de::DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: String,
    ) -> Result<T, Failure> {
        let connection::Target::SchemaRegistry(target) = self.connection.target() else {
            return Err(self.refused(format!("a connection of kind `{}` is none", self.connection.kind())));
        };
        let mut outage = self.outage("it has no address".to_owned());
        for (number, node) in target.nodes() {
            match self.ask(node, method, path, &body).await {
                Err(failure @ Failure::Outage { .. }) => outage = failure,
                answered => {
                    target.answered(number);
                    return answered;
                }
            }
        }
        Err(outage)
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        node: &Node,
        method: &str,
        path: &str,
        body: &str,
    ) -> Result<T, Failure> {
        let header = |name: &str| (name.to_owned(), MEDIA_TYPE.to_owned());
        let mut headers = vec![header("accept")];
        let body = (!body.is_empty()).then(|| {
            headers.push(header("content-type"));
            body.as_bytes().to_vec()
        });
        let request = Request {
            method: method.to_owned(),
            url: path.to_owned(),
            relative_to: None,
            headers,
            body,
            timeout_ms: 0,
            response_bytes_max: 0,
        };
        let answer = match node.http.send(self.connection.name(), request).await {
            Ok(answer) => answer,
            Err(Failed(GuestError::Retriable(failure))) => return Err(self.outage(failure.message)),
            Err(Failed(GuestError::Fatal(failure))) if failure.code == "http.response-size" => {
                return Err(self.unknown(format!("an answer of more than {ANSWER_BYTES_MAX} bytes ({path})")));
            }
            Err(Failed(GuestError::Fatal(failure))) => return Err(self.refused(failure.message)),
        };
        let status = answer.status;
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Told {
            error_code: u32,
            message: String,
        }
        let Told { error_code, message } = match status {
            200 => Told::default(),
            _ => serde_json::from_slice(&answer.body).unwrap_or_default(),
        };
        let told = || {
            let told: String = message.chars().take(MESSAGE_CHARS_MAX).collect();
            format!("{told} (HTTP {status}, {path})")
        };
        match status {
            200 => serde_json::from_slice(&answer.body).map_err(|error| {
                self.refused(format!("it answers something else than a registry does: {error}"))
            }),
            404 if NOT_THERE.contains(&error_code) => Err(self.unknown(told())),
            300..=399 | 404 => {
                Err(self.refused(format!("{}; is this the address of a schema registry?", told())))
            }
            408 | 429 | 500..=599 => Err(self.outage(told())),
            401 | 403 => {
                Err(self
                    .refused(format!("{}; are `username` and `password` of the connection right?", told())))
            }
            _ => Err(self.refused(told())),
        }
    }

    fn url(&self) -> String {
        url_of(&self.connection)
    }

    pub(super) fn outage(&self, reason: String) -> Failure {
        Failure::Outage { url: self.url(), reason }
    }

    fn unknown(&self, message: String) -> Failure {
        Failure::Unknown { url: self.url(), message }
    }

    fn refused(&self, message: String) -> Failure {
        Failure::Refused { url: self.url(), message }
    }
}

/// For `doctor`: asks for the compatibility that it demands, which takes the right to read and is short.
pub(crate) async fn check(connection: &Arc<Connection>) -> Result<Reached, Unreached> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Config {
        compatibility_level: String,
    }
    match RegistryClient::new(connection).get::<Config>("/config").await {
        Ok(Config { compatibility_level }) => Ok(Reached {
            said: format!("schema registry {}, compatibility {compatibility_level}", url_of(connection)),
            ..Reached::default()
        }),
        Err(failure @ Failure::Outage { .. }) => Err(Unreached {
            said: failure.to_string(),
            mend: "start the registry, or correct `url` of the connection".to_owned(),
        }),
        Err(failure) => Err(Unreached {
            said: failure.to_string(),
            mend: "correct `url`, `username` and `password` of the connection".to_owned(),
        }),
    }
}

/// Whether a connection leads to a registry at this address, `HOST:PORT`.
pub(crate) fn is_at(connection: &Connection, address: &str) -> bool {
    let connection::Target::SchemaRegistry(target) = connection.target() else { return false };
    target.nodes().any(|(_, node)| node.url.split("://").nth(1) == Some(address))
}

/// The addresses of a registry, for messages.
pub(super) fn url_of(connection: &Connection) -> String {
    match connection.target() {
        connection::Target::SchemaRegistry(target) => target.url(),
        _ => connection.name().to_owned(),
    }
}
