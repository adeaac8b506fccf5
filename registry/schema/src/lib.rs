//! Schemas of records, as a registry keeps them: text of one of three kinds, with references to others.
//!
//! | room | what is there |
//! |---|---|
//! | `avro` | Avro schemas as a flat table of types without names to look up; which reads which |
//! | `json` | JSON Schema: a validator; which accepts all that another accepted |
//! | `protobuf` | `.proto` text or a serialized descriptor to a pool of descriptors; which reads which |
//! | `compatibility` | Confluent's levels over the three |
//!
//! Everything here is a function of its arguments: no network, no files, no clock. Texts come from outside and are not trusted:
//! their size ([`TEXT_BYTES_MAX`]), nesting and number of references are limited before a parser sees them.
//!
//! Deliberately absent: rule sets, metadata and encryption of Confluent's data contracts.

pub mod avro;
pub mod compatibility;
mod identity;
pub mod json;
pub mod protobuf;

use std::fmt;

/// Largest text of one schema. With its record's other parts it fits a produce request of 1 MiB, also when quoted.
pub const TEXT_BYTES_MAX: usize = 384 << 10;
/// Most schemas that one may lead to by references, directly or not.
pub const REFERENCES_MAX: usize = 100;

/// What a schema is written in (Confluent: `schemaType`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Apache Avro; what is meant where nothing is said.
    #[default]
    Avro,
    /// JSON Schema.
    Json,
    /// Protocol Buffers.
    Protobuf,
}

impl Kind {
    /// All of them, in the order in which a registry lists them.
    pub const ALL: [Self; 3] = [Self::Json, Self::Protobuf, Self::Avro];

    /// Confluent's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Avro => "AVRO",
            Self::Json => "JSON",
            Self::Protobuf => "PROTOBUF",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A schema that another one refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// As the referring schema calls it: a full name in Avro, a URI in JSON Schema, a file in Protobuf.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Why a text is not a schema.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// More than [`TEXT_BYTES_MAX`].
    #[error("the schema has {0} bytes; at most {TEXT_BYTES_MAX} are taken")]
    TooLarge(usize),
    /// More than [`REFERENCES_MAX`].
    #[error("the schema leads to {0} others; at most {REFERENCES_MAX} are taken")]
    TooManyReferences(usize),
    /// What its parser says.
    #[error("not a schema of type {kind}: {message}")]
    Invalid {
        /// What it should have been.
        kind: Kind,
        /// In the parser's words.
        message: String,
    },
}

/// A schema that was parsed with everything it refers to.
#[derive(Clone, Debug)]
pub enum Schema {
    /// Avro.
    Avro(avro::Avro),
    /// JSON Schema.
    Json(json::Json),
    /// Protobuf.
    Protobuf(protobuf::Protobuf),
}

impl Schema {
    /// Parses a text. `dependencies` are all that it leads to, each after those that it refers to itself.
    ///
    /// # Errors
    /// The text is too large, or no schema of this kind, or refers to something that is not among the dependencies.
    pub fn parse(kind: Kind, text: &str, dependencies: &[Dependency]) -> Result<Self, Error> {
        if dependencies.len() > REFERENCES_MAX {
            return Err(Error::TooManyReferences(dependencies.len()));
        }
        let texts = [text].into_iter().chain(dependencies.iter().map(|dependency| dependency.text.as_str()));
        if let Some(large) = texts.map(str::len).find(|len| *len > TEXT_BYTES_MAX) {
            return Err(Error::TooLarge(large));
        }
        let parsed = match kind {
            Kind::Avro => avro::Avro::parse(text, dependencies).map(Self::Avro),
            Kind::Json => json::Json::parse(text, dependencies).map(Self::Json),
            Kind::Protobuf => protobuf::Protobuf::parse(text, dependencies).map(Self::Protobuf),
        };
        parsed.map_err(|message| Error::Invalid { kind, message })
    }

    /// What it is written in.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Avro(_) => Kind::Avro,
            Self::Json(_) => Kind::Json,
            Self::Protobuf(_) => Kind::Protobuf,
        }
    }
}

pub use identity::identity;
