//! Named connections: what pipelines let their connectors reach besides folders, and all that is secret about it.
//!
//! `connections:` in a file declares them, each of one kind; a setting of a connector names one (`"x-connection": KIND` in the
//! schema), and that grants it to the connector. Connectors that share a connection share what the host keeps of it:
//! sockets, tokens.
//!
//! To add a kind: a row in `KINDS`, a variant of `Target`, the capability that works with it, and a way to try it in
//! `doctor/connections.rs`. Connections of kind `schema_registry` are named by formats, too (`key_format`, `value_format`).
//!
//! Invariant: settings of a connection stay in the host. A guest knows the name; `Debug` shows name and kind.

pub(crate) mod settings;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::capability::{http, http_listener, object_store, postgres, sockets};
use crate::convert::registry;
use crate::spec::Environment;

/// Connections by name.
pub type Connections = BTreeMap<String, Arc<Connection>>;

/// A kind of connections.
pub(crate) struct Kind {
    /// As it is written in a file.
    pub(crate) name: &'static str,
    /// JSON Schema of the settings; `"x-secret": true` marks what is one.
    pub(crate) schema: &'static str,
    /// Settings that fit the schema, made into what its capability works with. Reaches nothing yet.
    pub(crate) open: Open,
}

type Open = fn(&Map<String, Value>, &Surroundings<'_>) -> Result<Target, Vec<Fault>>;

/// Every kind.
pub(crate) const KINDS: &[Kind] = &[
    Kind { name: "http", schema: include_str!("capability/http/settings.schema.json"), open: http::open },
    Kind {
        name: registry::KIND,
        schema: include_str!("convert/registry/settings.schema.json"),
        open: registry::open,
    },
    Kind {
        name: "postgres",
        schema: include_str!("capability/postgres/settings.schema.json"),
        open: postgres::open,
    },
    Kind {
        name: "s3",
        schema: include_str!("capability/object_store/settings.schema.json"),
        open: object_store::open,
    },
    Kind {
        name: "http_listener",
        schema: include_str!("capability/http_listener/settings.schema.json"),
        open: http_listener::open,
    },
    Kind {
        name: "tcp",
        schema: include_str!("capability/sockets/settings.schema.json"),
        open: sockets::open,
    },
];

/// The kind of this name.
pub(crate) fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// What files that settings name are found with.
pub(crate) struct Surroundings<'a> {
    /// The folder that relative paths start from.
    pub(crate) folder: &'a Path,
    /// What reads them.
    pub(crate) env: &'a dyn Environment,
}

/// A setting that can't be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// JSON pointer into the settings.
    pub(crate) pointer: String,
    /// What is wrong with it, without its value.
    pub(crate) message: String,
    /// What would have been right.
    pub(crate) expected: String,
}

impl Fault {
    pub(crate) fn new(pointer: &str, message: impl Into<String>, expected: &str) -> Self {
        Self { pointer: pointer.into(), message: message.into(), expected: expected.into() }
    }
}

/// What a capability works with.
pub(crate) enum Target {
    /// Of kind `http`.
    Http(Box<http::Target>),
    /// Of kind `schema_registry`.
    SchemaRegistry(registry::Target),
    /// Of kind `postgres`.
    Postgres(Box<postgres::Target>),
    /// Of kind `s3`.
    S3(Box<object_store::Target>),
    /// Of kind `http_listener`.
    HttpListener(http_listener::Target),
    /// Of kind `tcp`.
    Tcp(sockets::Target),
}

/// A connection, ready to be granted.
pub struct Connection {
    name: String,
    kind: &'static str,
    settings: Map<String, Value>,
    target: Target,
}

impl Connection {
    /// Checks settings that fit the kind's schema.
    pub(crate) fn open(
        name: &str,
        kind: &Kind,
        settings: Map<String, Value>,
        around: &Surroundings<'_>,
    ) -> Result<Self, Vec<Fault>> {
        let target = (kind.open)(&settings, around)?;
        Ok(Self { name: name.to_owned(), kind: kind.name, settings, target })
    }

    /// Its name in the file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its kind, as it is written in the file.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Why it is of no use where one of another kind is wanted.
    pub(crate) fn is_not(&self, wanted: &str) -> String {
        format!("connection {} is of kind `{}`, not `{wanted}`", self.name, self.kind)
    }
}

impl PartialEq for Connection {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.kind, &self.settings) == (&other.name, other.kind, &other.settings)
    }
}

impl Eq for Connection {}

impl std::fmt::Debug for Connection {
    /// Settings may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}
