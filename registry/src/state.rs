//! What the topic holds, in memory. Changed by [`State::apply`] only, record by record, in the order of the topic; everything
//! else asks. No I/O, no clock.
//!
//! Ids and the question whether a schema is known count within a context, as in Confluent's registry: a subject
//! `:.name:orders-value` belongs to the context `.name`, others to `.`.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use millrace_schema::compatibility::Level;
use millrace_schema::{Dependency, Kind, REFERENCES_MAX, identity};
use sha2::{Digest, Sha256};

use crate::error::Refused;
use crate::record::{ConfigValue, Key, ModeValue, NoopValue, Reference, SchemaValue, SubjectValue};

/// The context of subjects that name none.
pub(crate) const DEFAULT_CONTEXT: &str = ".";

/// What may be changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Everything.
    #[default]
    ReadWrite,
    /// Nothing.
    ReadOnly,
    /// Nothing, whatever a subject says.
    ReadOnlyOverride,
    /// Versions come with the ids that they had elsewhere.
    Import,
}

impl Mode {
    const ALL: [(Self, &'static str); 4] = [
        (Self::ReadWrite, "READWRITE"),
        (Self::ReadOnly, "READONLY"),
        (Self::ReadOnlyOverride, "READONLY_OVERRIDE"),
        (Self::Import, "IMPORT"),
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(mode, _)| *mode == self).map_or("READWRITE", |(_, name)| *name)
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(mode, _)| *mode)
    }
}

/// A text with what it refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    pub(crate) references: Vec<Reference>,
}

/// When two texts are one schema: a digest of what [`identity`] says, and of the references.
pub(crate) type Fingerprint = [u8; 32];

impl Text {
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let mut digest = Sha256::new();
        digest.update(self.kind.name());
        digest.update(identity(self.kind, &self.text));
        for Reference { name, subject, version } in &self.references {
            digest.update([0]);
            digest.update(serde_json::json!([name, subject, version]).to_string());
        }
        digest.finalize().into()
    }

    fn size_bytes(&self) -> usize {
        self.text.len() + self.references.iter().map(|of| of.name.len() + of.subject.len()).sum::<usize>()
    }
}

/// A version of a subject.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) id: u32,
    pub(crate) is_deleted: bool,
    pub(crate) schema: Arc<Text>,
    fingerprint: Fingerprint,
}

/// A context's ids.
#[derive(Debug, Default)]
struct Context {
    by_id: BTreeMap<u32, Arc<Text>>,
    by_fingerprint: HashMap<Fingerprint, u32>,
    /// The highest id that was ever given.
    max_id: u32,
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct State {
    subjects: BTreeMap<String, BTreeMap<u32, Version>>,
    contexts: BTreeMap<String, Context>,
    levels: BTreeMap<Option<String>, Level>,
    modes: BTreeMap<Option<String>, Mode>,
    size_bytes: usize,
}

/// The context of a subject.
pub(crate) fn context_of(subject: &str) -> &str {
    let Some(rest) = subject.strip_prefix(":.") else { return DEFAULT_CONTEXT };
    match rest.find(':') {
        Some(end) => &subject[1..end + 2],
        None => DEFAULT_CONTEXT,
    }
}

impl State {
    /// Takes a record of the topic into account. What can't be read is told and passed over.
    pub(crate) fn apply(&mut self, key: &[u8], value: Option<&[u8]>) {
        let Some(parsed) = Key::parse(key) else {
            tracing::warn!(key = %String::from_utf8_lossy(key), "schema registry: a record with an unknown key is passed over");
            return;
        };
        if let Err(error) = self.apply_parsed(&parsed, value) {
            tracing::warn!(key = ?parsed, %error, "schema registry: a record that can't be read is passed over");
        }
    }

    fn apply_parsed(&mut self, key: &Key, value: Option<&[u8]>) -> Result<(), serde_json::Error> {
        match (key, value) {
            (Key::Schema { subject, version }, None) => self.remove(subject, *version),
            (Key::Schema { subject, version }, Some(value)) => {
                self.insert(subject, *version, serde_json::from_slice(value)?)
            }
            (Key::Config { subject }, None) => _ = self.levels.remove(subject),
            (Key::Config { subject }, Some(value)) => {
                let value: ConfigValue = serde_json::from_slice(value)?;
                if let Some(level) = Level::named(&value.compatibility_level) {
                    self.levels.insert(subject.clone(), level);
                }
            }
            (Key::Mode { subject }, None) => _ = self.modes.remove(subject),
            (Key::Mode { subject }, Some(value)) => {
                let value: ModeValue = serde_json::from_slice(value)?;
                if let Some(mode) = Mode::named(&value.mode) {
                    self.modes.insert(subject.clone(), mode);
                }
            }
            (Key::DeleteSubject { subject }, Some(value)) => {
                let value: SubjectValue = serde_json::from_slice(value)?;
                for version in
                    self.subjects.get_mut(subject).into_iter().flat_map(|of| of.range_mut(..=value.version))
                {
                    version.1.is_deleted = true;
                }
            }
            (Key::ClearSubject { subject }, Some(value)) => {
                let value: SubjectValue = serde_json::from_slice(value)?;
                let cleared: Vec<u32> = self
                    .subjects
                    .get(subject)
                    .into_iter()
                    .flat_map(|of| of.range(..=value.version))
                    .map(|(v, _)| *v)
                    .collect();
                cleared.into_iter().for_each(|version| self.remove(subject, version));
            }
            (Key::Noop, Some(value)) => {
                let value: NoopValue = serde_json::from_slice(value)?;
                for (context, max_id) in value.max_ids {
                    let context = self.contexts.entry(context).or_default();
                    context.max_id = context.max_id.max(max_id);
                }
            }
            (Key::DeleteSubject { .. } | Key::ClearSubject { .. } | Key::Noop, None) => {}
        }
        Ok(())
    }

    fn insert(&mut self, subject: &str, version: u32, value: SchemaValue) {
        self.remove(subject, version);
        let Some(kind) = Kind::named(value.schema_type.as_deref().unwrap_or(Kind::Avro.name())) else {
            tracing::warn!(subject, version, "schema registry: a schema of an unknown type is passed over");
            return;
        };
        let text = Text { kind, text: value.schema, references: value.references.unwrap_or_default() };
        let fingerprint = text.fingerprint();
        let context = self.contexts.entry(context_of(subject).to_owned()).or_default();
        context.max_id = context.max_id.max(value.id);
        // One text for all versions with the id.
        let schema = match context.by_id.get(&value.id) {
            Some(known) if **known == text => Arc::clone(known),
            Some(_) => Arc::new(text),
            None => {
                self.size_bytes += text.size_bytes();
                let text = Arc::new(text);
                context.by_id.insert(value.id, Arc::clone(&text));
                context.by_fingerprint.entry(fingerprint).or_insert(value.id);
                text
            }
        };
        let version_of = Version { id: value.id, is_deleted: value.deleted, schema, fingerprint };
        self.subjects.entry(subject.to_owned()).or_default().insert(version, version_of);
    }

    /// Forgets a version, and its id with the last version that has it.
    fn remove(&mut self, subject: &str, version: u32) {
        let Some(versions) = self.subjects.get_mut(subject) else { return };
        let Some(gone) = versions.remove(&version) else { return };
        if versions.is_empty() {
            self.subjects.remove(subject);
        }
        let name = context_of(subject);
        let is_used = self.with_id(name, gone.id).next().is_some();
        if let Some(context) = self.contexts.get_mut(name)
            && !is_used
            && let Some(text) = context.by_id.remove(&gone.id)
        {
            self.size_bytes -= text.size_bytes();
            context.by_fingerprint.retain(|_, id| *id != gone.id);
        }
    }

    /// Subjects and versions with an id, deleted ones included.
    pub(crate) fn with_id<'a>(
        &'a self,
        context: &'a str,
        id: u32,
    ) -> impl Iterator<Item = (&'a str, u32, &'a Version)> {
        let in_context = self.subjects.iter().filter(move |(subject, _)| context_of(subject) == context);
        in_context.flat_map(move |(subject, versions)| {
            let these = versions.iter().filter(move |(_, version)| version.id == id);
            these.map(|(number, version)| (subject.as_str(), *number, version))
        })
    }

    /// All subjects with their versions.
    pub(crate) fn subjects(&self) -> impl Iterator<Item = (&str, &BTreeMap<u32, Version>)> {
        self.subjects.iter().map(|(subject, versions)| (subject.as_str(), versions))
    }

    /// A subject's versions, deleted ones included; none: it never was, or is gone for good.
    pub(crate) fn versions(&self, subject: &str) -> Option<&BTreeMap<u32, Version>> {
        self.subjects.get(subject)
    }

    /// The schema of an id.
    pub(crate) fn schema(&self, context: &str, id: u32) -> Option<&Arc<Text>> {
        self.contexts.get(context)?.by_id.get(&id)
    }

    /// The highest id that was ever given in a context.
    pub(crate) fn max_id(&self, context: &str) -> u32 {
        self.contexts.get(context).map_or(0, |context| context.max_id)
    }

    /// The highest ids of all contexts.
    pub(crate) fn max_ids(&self) -> BTreeMap<String, u32> {
        self.contexts.iter().map(|(name, context)| (name.clone(), context.max_id)).collect()
    }

    /// The id that a schema has in a context.
    pub(crate) fn id_of(&self, context: &str, fingerprint: &Fingerprint) -> Option<u32> {
        self.contexts.get(context)?.by_fingerprint.get(fingerprint).copied()
    }

    /// The version of a subject that holds a schema.
    pub(crate) fn version_of(
        &self,
        subject: &str,
        fingerprint: &Fingerprint,
        deleted: bool,
    ) -> Option<(u32, &Version)> {
        let versions = self.subjects.get(subject)?.iter().rev();
        let mut these = versions
            .filter(|(_, version)| version.fingerprint == *fingerprint && (deleted || !version.is_deleted));
        these.next().map(|(number, version)| (*number, version))
    }

    /// Names of contexts.
    pub(crate) fn contexts(&self) -> BTreeSet<&str> {
        self.contexts.keys().map(String::as_str).chain([DEFAULT_CONTEXT]).collect()
    }

    /// Ids of schemas that refer to a version and are not deleted.
    pub(crate) fn referring(&self, subject: &str, version: u32) -> BTreeSet<u32> {
        let versions =
            self.subjects.values().flat_map(BTreeMap::values).filter(|version| !version.is_deleted);
        let refers = |of: &&Version| {
            of.schema.references.iter().any(|to| to.subject == subject && to.version == i64::from(version))
        };
        versions.filter(refers).map(|version| version.id).collect()
    }

    /// The compatibility level that was set for a subject, or for all (`None`).
    pub(crate) fn level(&self, subject: Option<&str>) -> Option<Level> {
        self.levels.get(&subject.map(str::to_owned)).copied()
    }

    /// The level that counts for a subject.
    pub(crate) fn effective_level(&self, subject: &str) -> Level {
        self.level(Some(subject)).or_else(|| self.level(None)).unwrap_or(Level::Backward)
    }

    /// The mode that was set for a subject, or for all (`None`).
    pub(crate) fn mode(&self, subject: Option<&str>) -> Option<Mode> {
        self.modes.get(&subject.map(str::to_owned)).copied()
    }

    /// The mode that counts for a subject.
    pub(crate) fn effective_mode(&self, subject: &str) -> Mode {
        let global = self.mode(None).unwrap_or_default();
        if global == Mode::ReadOnlyOverride { global } else { self.mode(Some(subject)).unwrap_or(global) }
    }

    /// Bytes of all schemas.
    pub(crate) fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// Number of subjects.
    pub(crate) fn subject_count(&self) -> usize {
        self.subjects.len()
    }

    /// Everything that a schema leads to, each after those that it refers to itself.
    pub(crate) fn dependencies(&self, text: &Text) -> Result<Vec<Dependency>, Refused> {
        let mut gathered = Gathered::default();
        self.gather(text, &mut gathered, 0)?;
        Ok(gathered.found)
    }

    /// Recursive no deeper than [`REFERENCES_MAX`].
    fn gather(&self, text: &Text, gathered: &mut Gathered, depth: usize) -> Result<(), Refused> {
        for Reference { name, subject, version } in &text.references {
            let number = match *version {
                -1 => self.subjects.get(subject).and_then(|of| of.keys().next_back().copied()),
                version => u32::try_from(version).ok(),
            };
            let found = number.and_then(|number| self.subjects.get(subject)?.get(&number));
            let missing = || {
                Refused::invalid_schema(format_args!(
                    "no schema reference found for subject \"{subject}\" and version {version}"
                ))
            };
            let found = found.ok_or_else(missing)?;
            if !gathered.names.insert(name.clone()) {
                continue;
            }
            if depth >= REFERENCES_MAX || gathered.names.len() > REFERENCES_MAX {
                return Err(Refused::invalid_schema(format_args!(
                    "it leads to more than {REFERENCES_MAX} others"
                )));
            }
            self.gather(&found.schema, gathered, depth + 1)?;
            gathered.found.push(Dependency { name: name.clone(), text: found.schema.text.clone() });
        }
        Ok(())
    }
}

#[derive(Default)]
struct Gathered {
    names: BTreeSet<String>,
    found: Vec<Dependency>,
}
