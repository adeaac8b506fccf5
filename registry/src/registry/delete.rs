//! Deleting: softly first, so that ids still give their schemas; then for good.

use super::{Registry, Which, find};
use crate::error::Refused;
use crate::record::{Key, NoopValue, Record, SchemaValue, SubjectValue};
use crate::state::{Mode, State};
use crate::store::Decision;
use millrace_schema::Kind;

impl Registry {
    /// Deletes a subject; the numbers of its versions.
    pub(crate) async fn delete_subject(&self, subject: &str, permanent: bool) -> Result<Vec<u32>, Refused> {
        let decide = || async move {
            let state = self.store.state();
            may_change(&state, subject)?;
            let versions = state.versions(subject).ok_or_else(|| Refused::subject(subject))?;
            let live: Vec<u32> =
                versions.iter().filter(|(_, of)| !of.is_deleted).map(|(number, _)| *number).collect();
            let all: Vec<u32> = versions.keys().copied().collect();
            if permanent {
                if !live.is_empty() {
                    return Err(Refused::subject_not_deleted(subject));
                }
                let keys =
                    all.iter().map(|version| Key::Schema { subject: subject.to_owned(), version: *version });
                let records = keys.map(Record::tombstone).chain([highest_ids(&state)]).collect();
                return Ok(Decision::Write(records, all));
            }
            if live.is_empty() {
                return Err(Refused::subject_deleted(subject));
            }
            for version in &live {
                is_unreferenced(&state, subject, *version)?;
            }
            let owned = || subject.to_owned();
            let value = SubjectValue { subject: owned(), version: all.last().copied().unwrap_or(0) };
            let mut records = vec![Record::new(Key::DeleteSubject { subject: owned() }, &value)];
            if state.level(Some(subject)).is_some() {
                records.push(Record::tombstone(Key::Config { subject: Some(owned()) }));
            }
            if state.mode(Some(subject)).is_some() {
                records.push(Record::tombstone(Key::Mode { subject: Some(owned()) }));
            }
            Ok(Decision::Write(records, live))
        };
        self.store.change(decide).await
    }

    /// Deletes a version; its number.
    pub(crate) async fn delete_version(
        &self,
        subject: &str,
        which: Which,
        permanent: bool,
    ) -> Result<u32, Refused> {
        let decide = || async move {
            let state = self.store.state();
            may_change(&state, subject)?;
            let (number, version) = match which {
                Which::Latest => find(&state, subject, which, permanent)?,
                Which::Number(_) => find(&state, subject, which, true)?,
            };
            let key = Key::Schema { subject: subject.to_owned(), version: number };
            match (permanent, version.is_deleted) {
                (true, false) => return Err(Refused::version_not_deleted(subject, number)),
                (false, true) => return Err(Refused::version_deleted(subject, number)),
                (true, true) => {
                    return Ok(Decision::Write(vec![Record::tombstone(key), highest_ids(&state)], number));
                }
                (false, false) => is_unreferenced(&state, subject, number)?,
            }
            let text = &version.schema;
            let value = SchemaValue {
                subject: subject.to_owned(),
                version: number,
                id: version.id,
                schema_type: (text.kind != Kind::Avro).then(|| text.kind.name().to_owned()),
                references: (!text.references.is_empty()).then(|| text.references.clone()),
                schema: text.text.clone(),
                deleted: true,
            };
            Ok(Decision::Write(vec![Record::new(key, &value)], number))
        };
        self.store.change(decide).await
    }
}

/// Keeps ids from being given again when compaction has removed the records that had them.
fn highest_ids(state: &State) -> Record {
    Record::new(Key::Noop, &NoopValue { max_ids: state.max_ids() })
}

fn may_change(state: &State, subject: &str) -> Result<(), Refused> {
    match state.effective_mode(subject) {
        Mode::ReadOnly | Mode::ReadOnlyOverride => {
            Err(Refused::not_permitted(format!("Subject {subject} is in read-only mode")))
        }
        Mode::ReadWrite | Mode::Import => Ok(()),
    }
}

fn is_unreferenced(state: &State, subject: &str, version: u32) -> Result<(), Refused> {
    if state.referring(subject, version).is_empty() {
        Ok(())
    } else {
        Err(Refused::referenced(subject, version))
    }
}
