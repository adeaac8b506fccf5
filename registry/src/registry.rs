//! Each call: what it asks of the state, and what it writes.
//!
//! Parsing and comparing schemas is work for a processor, and what comes in is not trusted: it is done on a blocking thread, outside
//! of the state's lock.

mod delete;
mod register;
mod settings;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use millrace_schema::{Kind, Schema, protobuf};
use serde::Serialize;

use crate::error::Refused;
use crate::limits::{LISTED_MAX, SUBJECT_BYTES_MAX};
use crate::record::Reference;
use crate::state::{State, Text, Version, context_of};
use crate::store::Store;

pub(crate) use register::NewSchema;

/// Answers calls. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Registry {
    store: Arc<Store>,
}

/// Which version of a subject is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// The last one that is not deleted.
    Latest,
    /// This one.
    Number(u32),
}

impl Which {
    /// `latest`, `-1`, or a number.
    pub(crate) fn parse(text: &str) -> Result<Self, Refused> {
        if matches!(text, "latest" | "-1") {
            return Ok(Self::Latest);
        }
        match text.parse::<u32>() {
            Ok(number) if (1..=i32::MAX as u32).contains(&number) => Ok(Self::Number(number)),
            _ => Err(Refused::invalid_version(text)),
        }
    }
}

/// A version in an answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VersionAnswer {
    pub(crate) subject: String,
    pub(crate) version: u32,
    pub(crate) id: u32,
    #[serde(flatten)]
    pub(crate) text: TextAnswer,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) deleted: bool,
}

/// A schema in an answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TextAnswer {
    /// Left out for Avro, as Confluent does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) schema_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) references: Vec<Reference>,
    pub(crate) schema: String,
}

impl TextAnswer {
    /// `format`: `serialized` gives a Protobuf schema as its descriptor in base64; everything else is as it was registered.
    fn of(text: &Text, format: Option<&str>) -> Self {
        let serialized = text.kind == Kind::Protobuf && format == Some("serialized");
        let descriptor = serialized.then(|| protobuf::descriptor(&text.text).ok()).flatten();
        Self {
            schema_type: (text.kind != Kind::Avro).then(|| text.kind.name()),
            references: text.references.clone(),
            schema: descriptor.map_or_else(|| text.text.clone(), |bytes| STANDARD.encode(bytes)),
        }
    }
}

impl Registry {
    pub(crate) fn new(store: Store) -> Self {
        Self { store: Arc::new(store) }
    }

    /// Names of subjects that begin so.
    pub(crate) fn subjects(&self, prefix: &str, deleted: bool, deleted_only: bool) -> Vec<String> {
        let state = self.store.state();
        let wanted = |(_, versions): &(&str, &std::collections::BTreeMap<u32, Version>)| {
            let live = versions.values().any(|version| !version.is_deleted);
            if deleted_only { !live } else { live || deleted }
        };
        // `:*:` is Confluent's word for all contexts.
        let prefix = prefix.strip_prefix(":*:").unwrap_or(prefix);
        let found = state.subjects().filter(|(subject, _)| subject.starts_with(prefix)).filter(wanted);
        found.map(|(subject, _)| subject.to_owned()).collect()
    }

    /// Numbers of a subject's versions.
    pub(crate) fn versions(&self, subject: &str, deleted: bool) -> Result<Vec<u32>, Refused> {
        let state = self.store.state();
        let versions = state.versions(subject).ok_or_else(|| Refused::subject(subject))?;
        let these = versions.iter().filter(|(_, version)| deleted || !version.is_deleted);
        let numbers: Vec<u32> = these.map(|(number, _)| *number).collect();
        if numbers.is_empty() { Err(Refused::subject(subject)) } else { Ok(numbers) }
    }

    /// A version.
    pub(crate) fn version(
        &self,
        subject: &str,
        which: Which,
        deleted: bool,
        format: Option<&str>,
    ) -> Result<VersionAnswer, Refused> {
        let state = self.store.state();
        let (number, version) = find(&state, subject, which, deleted)?;
        Ok(answer(subject, number, version, format))
    }

    /// Ids of schemas that refer to a version.
    pub(crate) fn referenced_by(&self, subject: &str, which: Which) -> Result<Vec<u32>, Refused> {
        let state = self.store.state();
        let (number, _) = find(&state, subject, which, true)?;
        Ok(state.referring(subject, number).into_iter().collect())
    }

    /// The schema of an id, in the context of a subject.
    pub(crate) fn schema(
        &self,
        id: u32,
        subject: Option<&str>,
        format: Option<&str>,
    ) -> Result<TextAnswer, Refused> {
        let text = self.store.state().schema(context_of(subject.unwrap_or_default()), id).cloned();
        Ok(TextAnswer::of(&*text.ok_or_else(|| Refused::schema_id(id))?, format))
    }

    /// The highest id that was given.
    pub(crate) fn max_id(&self, subject: Option<&str>) -> u32 {
        self.store.state().max_id(context_of(subject.unwrap_or_default()))
    }

    /// Where an id is used: subjects and versions.
    pub(crate) fn used(
        &self,
        id: u32,
        subject: Option<&str>,
        deleted: bool,
    ) -> Result<Vec<(String, u32)>, Refused> {
        let state = self.store.state();
        let context = context_of(subject.unwrap_or_default());
        if state.schema(context, id).is_none() {
            return Err(Refused::schema_id(id));
        }
        let uses = state.with_id(context, id).filter(|(_, _, version)| deleted || !version.is_deleted);
        let uses = uses
            .filter(|(name, ..)| subject.is_none_or(|subject| subject.ends_with(':') || subject == *name));
        Ok(uses.map(|(subject, number, _)| (subject.to_owned(), number)).collect())
    }

    /// Versions of all subjects that begin so.
    pub(crate) fn list(
        &self,
        prefix: &str,
        deleted: bool,
        latest_only: bool,
        offset: usize,
        limit: Option<usize>,
    ) -> Vec<VersionAnswer> {
        let state = self.store.state();
        let mut found = Vec::new();
        for (subject, versions) in state.subjects().filter(|(subject, _)| subject.starts_with(prefix)) {
            let mut these = versions.iter().filter(|(_, version)| deleted || !version.is_deleted);
            match latest_only {
                true => found.extend(these.next_back().map(|(number, version)| (subject, number, version))),
                false => found.extend(these.map(|(number, version)| (subject, number, version))),
            }
        }
        let limit = limit.unwrap_or(LISTED_MAX).min(LISTED_MAX);
        let page = found.into_iter().skip(offset).take(limit);
        page.map(|(subject, number, version)| answer(subject, *number, version, None)).collect()
    }

    /// Names of contexts.
    pub(crate) fn contexts(&self) -> Vec<String> {
        self.store.state().contexts().into_iter().map(str::to_owned).collect()
    }
}

fn answer(subject: &str, number: u32, version: &Version, format: Option<&str>) -> VersionAnswer {
    VersionAnswer {
        subject: subject.to_owned(),
        version: number,
        id: version.id,
        text: TextAnswer::of(&version.schema, format),
        deleted: version.is_deleted,
    }
}

/// A version of a subject that is there.
fn find<'s>(
    state: &'s State,
    subject: &str,
    which: Which,
    deleted: bool,
) -> Result<(u32, &'s Version), Refused> {
    let versions = state.versions(subject).ok_or_else(|| Refused::subject(subject))?;
    let mut these = versions.iter().filter(|(_, version)| deleted || !version.is_deleted);
    let found = match which {
        Which::Latest => these.next_back(),
        Which::Number(number) => these.find(|(of, _)| **of == number),
    };
    match (found, which) {
        (Some((number, version)), _) => Ok((*number, version)),
        (None, Which::Number(number)) if versions.values().any(|of| deleted || !of.is_deleted) => {
            Err(Refused::version(number))
        }
        _ => Err(Refused::subject(subject)),
    }
}

/// A name that a subject may have.
pub(crate) fn check_subject(subject: &str) -> Result<(), Refused> {
    let is_bad = subject.is_empty()
        || subject.len() > SUBJECT_BYTES_MAX
        || subject.chars().any(char::is_control)
        || matches!(subject, "__GLOBAL" | "__EMPTY");
    if is_bad { Err(Refused::invalid_subject(subject)) } else { Ok(()) }
}

/// Runs work for a processor where it blocks nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Refused::store(error)),
    }
}

/// Parses a text with its dependencies.
fn parse(text: &Text, dependencies: &[millrace_schema::Dependency]) -> Result<Schema, Refused> {
    Schema::parse(text.kind, &text.text, dependencies).map_err(Refused::invalid_schema)
}
