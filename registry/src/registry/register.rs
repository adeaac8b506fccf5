//! Registering, looking up, and asking whether a schema would fit.

use std::sync::Arc;

use millrace_schema::compatibility::{Level, differences};
use millrace_schema::{Dependency, Kind};
use serde::Deserialize;

use super::{Registry, VersionAnswer, Which, answer, blocking, check_subject, find, parse};
use crate::error::Refused;
use crate::limits::{REFERENCES_MAX, STATE_BYTES_MAX, SUBJECTS_MAX, VERSIONS_MAX};
use crate::record::{Key, Record, Reference, SchemaValue};
use crate::state::{Fingerprint, Mode, State, Text, context_of};
use crate::store::Decision;

/// The body of a request that brings a schema.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewSchema {
    #[serde(default)]
    schema: Option<String>,
    #[serde(default)]
    schema_type: Option<String>,
    #[serde(default)]
    references: Option<Vec<Reference>>,
    /// With mode IMPORT.
    #[serde(default)]
    id: Option<i64>,
    /// With mode IMPORT.
    #[serde(default)]
    version: Option<i64>,
    /// Confluent's data contracts: refused, because their meaning would be lost.
    #[serde(default)]
    metadata: Option<serde_json::Value>,
    #[serde(default)]
    rule_set: Option<serde_json::Value>,
}

impl NewSchema {
    fn text(&self) -> Result<Arc<Text>, Refused> {
        let is_said =
            |value: &Option<serde_json::Value>| value.as_ref().is_some_and(|value| !value.is_null());
        if is_said(&self.metadata) || is_said(&self.rule_set) {
            return Err(Refused::unsupported("a schema with `metadata` or `ruleSet`"));
        }
        let kind = match self.schema_type.as_deref() {
            None | Some("") => Kind::Avro,
            Some(name) => Kind::named(name)
                .ok_or_else(|| Refused::invalid_schema(format_args!("unknown type {name}")))?,
        };
        let text = self.schema.clone().filter(|text| !text.trim().is_empty());
        let text = text.ok_or_else(|| Refused::invalid_schema("Empty schema"))?;
        let references = self.references.clone().unwrap_or_default();
        if references.len() > REFERENCES_MAX {
            return Err(Refused::invalid_schema(format_args!("more than {REFERENCES_MAX} references")));
        }
        Ok(Arc::new(Text { kind, text, references }))
    }

    /// The id and version that it had elsewhere.
    fn place(&self) -> Result<(Option<u32>, Option<u32>), Refused> {
        let number = |value: Option<i64>| match value {
            None | Some(-1 | 0) => Ok(None),
            Some(number) => match u32::try_from(number).ok().filter(|number| *number <= i32::MAX as u32) {
                Some(number) => Ok(Some(number)),
                None => Err(Refused::invalid_version(&number.to_string())),
            },
        };
        Ok((number(self.id)?, number(self.version)?))
    }
}

/// An earlier version with what it leads to.
type Earlier = (Arc<Text>, Vec<Dependency>);

impl Registry {
    /// Makes a schema a version of a subject, unless it is one already; its id.
    pub(crate) async fn register(&self, subject: &str, new: &NewSchema) -> Result<u32, Refused> {
        check_subject(subject)?;
        let (text, place) = (new.text()?, new.place()?);
        let fingerprint = {
            let text = Arc::clone(&text);
            blocking(move || Ok(text.fingerprint())).await?
        };
        // The usual case: a client that starts and registers what is there.
        if place == (None, None)
            && let Some((_, version)) = self.store.state().version_of(subject, &fingerprint, false)
        {
            return Ok(version.id);
        }
        let decide = || self.decide(subject, Arc::clone(&text), fingerprint, place);
        self.store.change(decide).await
    }

    async fn decide(
        &self,
        subject: &str,
        text: Arc<Text>,
        fingerprint: Fingerprint,
        (id, version): (Option<u32>, Option<u32>),
    ) -> Result<Decision<u32>, Refused> {
        let (mode, level, dependencies, earlier) = {
            let state = self.store.state();
            if let Some((_, known)) = state.version_of(subject, &fingerprint, false)
                && (id.is_none() || id == Some(known.id))
            {
                return Ok(Decision::Already(known.id));
            }
            let (mode, level) = (state.effective_mode(subject), state.effective_level(subject));
            let earlier = if mode == Mode::Import { Vec::new() } else { earlier(&state, subject, level)? };
            (mode, level, state.dependencies(&text)?, earlier)
        };
        match mode {
            Mode::ReadOnly | Mode::ReadOnlyOverride => {
                return Err(Refused::not_permitted(format!("Subject {subject} is in read-only mode")));
            }
            Mode::ReadWrite if id.is_some() => {
                return Err(Refused::not_permitted(format!("Subject {subject} is not in import mode")));
            }
            Mode::ReadWrite | Mode::Import => {}
        }
        let checked = Arc::clone(&text);
        let found = blocking(move || incompatibilities(level, &checked, &dependencies, &earlier)).await?;
        if !found.is_empty() {
            return Err(Refused::incompatible(&found, level.name()));
        }
        let state = self.store.state();
        has_room(&state, subject, &text)?;
        let context = context_of(subject);
        let id = match id {
            Some(id) => match state.schema(context, id) {
                Some(known) if known.fingerprint() != fingerprint => {
                    return Err(Refused::not_permitted(format!(
                        "Overwrite new schema with id {id} is not permitted."
                    )));
                }
                _ => id,
            },
            None => match state.id_of(context, &fingerprint) {
                Some(id) => id,
                None => {
                    state.max_id(context).checked_add(1).ok_or_else(|| Refused::store("no ids are left"))?
                }
            },
        };
        let last =
            state.versions(subject).and_then(|versions| versions.keys().next_back().copied()).unwrap_or(0);
        let version = match version {
            Some(version) if mode == Mode::Import && version > last => version,
            Some(version) if version != last + 1 => {
                return Err(Refused::invalid_version(&version.to_string()));
            }
            _ => last + 1,
        };
        let value = SchemaValue {
            subject: subject.to_owned(),
            version,
            id,
            schema_type: (text.kind != Kind::Avro).then(|| text.kind.name().to_owned()),
            references: (!text.references.is_empty()).then(|| text.references.clone()),
            schema: text.text.clone(),
            deleted: false,
        };
        let record = Record::new(Key::Schema { subject: subject.to_owned(), version }, &value);
        Ok(Decision::Write(vec![record], id))
    }

    /// The version of a subject that holds a schema.
    pub(crate) async fn look_up(
        &self,
        subject: &str,
        new: &NewSchema,
        deleted: bool,
        format: Option<&str>,
    ) -> Result<VersionAnswer, Refused> {
        let text = new.text()?;
        let fingerprint = blocking(move || Ok(text.fingerprint())).await?;
        let state = self.store.state();
        let versions = state.versions(subject).ok_or_else(|| Refused::subject(subject))?;
        if !deleted && versions.values().all(|version| version.is_deleted) {
            return Err(Refused::subject(subject));
        }
        let found = state.version_of(subject, &fingerprint, deleted);
        let (number, version) = found.ok_or_else(Refused::schema)?;
        Ok(answer(subject, number, version, format))
    }

    /// What speaks against a schema: after one version, or after those that the level looks at (`None`).
    pub(crate) async fn compatibility(
        &self,
        subject: &str,
        new: &NewSchema,
        which: Option<Which>,
    ) -> Result<Vec<String>, Refused> {
        let text = new.text()?;
        let (level, dependencies, earlier) = {
            let state = self.store.state();
            let level = state.effective_level(subject);
            let earlier = match which {
                None => earlier(&state, subject, level)?,
                Some(which) => {
                    let (_, version) = find(&state, subject, which, false)?;
                    vec![(Arc::clone(&version.schema), state.dependencies(&version.schema)?)]
                }
            };
            (level, state.dependencies(&text)?, earlier)
        };
        blocking(move || incompatibilities(level, &text, &dependencies, &earlier)).await
    }
}

/// The versions that a level holds a new one against, the last first.
fn earlier(state: &State, subject: &str, level: Level) -> Result<Vec<Earlier>, Refused> {
    let versions =
        state.versions(subject).into_iter().flatten().rev().filter(|(_, version)| !version.is_deleted);
    let count = match level {
        Level::None => 0,
        level if level.looks_at_last_only() => 1,
        _ => usize::MAX,
    };
    versions
        .take(count)
        .map(|(_, version)| Ok((Arc::clone(&version.schema), state.dependencies(&version.schema)?)))
        .collect()
}

/// Parses a schema and holds it against earlier ones.
fn incompatibilities(
    level: Level,
    text: &Text,
    dependencies: &[Dependency],
    earlier: &[Earlier],
) -> Result<Vec<String>, Refused> {
    let new = parse(text, dependencies)?;
    for (text, dependencies) in earlier {
        let found = differences(level, &new, &parse(text, dependencies)?);
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

/// See [`crate::limits`].
fn has_room(state: &State, subject: &str, text: &Text) -> Result<(), Refused> {
    let full = |what: String| Err(Refused::not_permitted(format!("the registry is full: {what}")));
    match state.versions(subject) {
        None if state.subject_count() >= SUBJECTS_MAX => return full(format!("{SUBJECTS_MAX} subjects")),
        Some(versions) if versions.len() >= VERSIONS_MAX => {
            return full(format!("{VERSIONS_MAX} versions of {subject}"));
        }
        _ => {}
    }
    if state.size_bytes() + text.text.len() > STATE_BYTES_MAX {
        return full(format!("{STATE_BYTES_MAX} bytes of schemas"));
    }
    Ok(())
}
