//! Manifests that are merged while a commit is made: lists get long, and readers open each manifest that is on them. Iceberg's own properties say
//! when (`commit.manifest-merge.enabled`, `commit.manifest.min-count-to-merge`, `commit.manifest.target-size-bytes`).

use std::collections::BTreeSet;

use millrace_sdk::object_store::{Condition, Refusal};
use millrace_sdk::{Error, warn};

use super::rewrite::has_deletes;
use super::{Intent, NewRows, Pending, Session, metadata_error};
use crate::manifest::Of;
use crate::manifest::list::{List, Named};
use crate::manifest::merge::{Merged, Merger};
use crate::metadata::Metadata;
use crate::place::is_manifest;

/// Iceberg's own: manifests from which on they are merged.
const COUNT_MIN: usize = 100;
/// Manifests that are merged at a time: each is read for itself.
const COUNT_MAX: usize = 100;
/// Iceberg's own: the size of a manifest that is large enough; it is also the most that is written at once.
pub(super) const TARGET_BYTES: i64 = 8 << 20;

/// How far the merge of a commit is.
#[derive(Debug)]
pub(super) enum Merging {
    /// It wasn't looked whether there is one.
    Open,
    /// One was made, and may be there.
    Tried,
    /// It is there.
    Done(Merged),
    /// There is none, or not any more.
    Over,
}

/// When manifests are merged.
struct Policy {
    count_min: usize,
    target_bytes: i64,
}

impl Policy {
    /// None: never.
    fn of(metadata: &Metadata) -> Option<Self> {
        if metadata
            .property("commit.manifest-merge.enabled")
            .is_some_and(|text| text.eq_ignore_ascii_case("false"))
        {
            return None;
        }
        let count =
            metadata.property("commit.manifest.min-count-to-merge").and_then(|text| text.parse().ok());
        let target =
            metadata.property("commit.manifest.target-size-bytes").and_then(|text| text.parse().ok());
        Some(Self {
            count_min: count.unwrap_or(COUNT_MIN).clamp(2, COUNT_MAX),
            target_bytes: target.unwrap_or(TARGET_BYTES).clamp(1, TARGET_BYTES),
        })
    }
}

impl Session {
    /// The manifest that takes the place of some of the list's, once it is there; none: they are left as they are. It is made once for a commit,
    /// and given up when somebody else has changed what it is made of.
    pub(super) fn merged(
        &mut self,
        pending: &mut Pending,
        number: u64,
        of: Of,
        list: &List,
    ) -> Result<Option<Merged>, Error> {
        if pending.intent.replaced.is_some() && (of == Of::Deletes || has_deletes(list)) {
            return self.merge_nothing(pending, number, of);
        }
        match of.of(pending.merging.each_ref()) {
            Merging::Over => return Ok(None),
            Merging::Done(merged) => {
                let there: BTreeSet<&str> = list.manifests().map(|manifest| manifest.path).collect();
                if merged.inputs.iter().all(|input| there.contains(input.as_str())) {
                    return Ok(Some(merged.clone()));
                }
            }
            Merging::Open | Merging::Tried => {
                let merger = match &pending.intent.replaced {
                    Some(_) => self.replace(pending, list)?,
                    None => self.merge(&pending.intent, of, list)?,
                };
                let Some(merger) = merger else { return self.merge_nothing(pending, number, of) };
                let key = self.key(&self.fence.instance.merged(number, of))?;
                let uri = self.warehouse.uri(&key);
                let (bytes, merged) = merger.finish(&uri, pending.snapshot).map_err(metadata_error)?;
                *of.of(pending.merging.each_mut()) = Merging::Tried;
                self.store.put(&key, bytes, Condition::Always)?;
                *of.of(pending.merging.each_mut()) = Merging::Done(merged.clone());
                return Ok(Some(merged));
            }
        }
        self.merge_nothing(pending, number, of)
    }

    /// Gives up; nothing names what was written, unless an attempt was in doubt that does.
    fn merge_nothing(&mut self, pending: &mut Pending, number: u64, of: Of) -> Result<Option<Merged>, Error> {
        let before = std::mem::replace(of.of(pending.merging.each_mut()), Merging::Over);
        if !pending.was_in_doubt && !matches!(before, Merging::Open) {
            let _unneeded = self.store.delete(&self.key(&self.fence.instance.merged(number, of))?);
        }
        Ok(None)
    }

    /// Small manifests, merged; none: it is too early, or they can't be.
    fn merge(&mut self, intent: &Intent, of: Of, list: &List) -> Result<Option<Merger>, Error> {
        let policy = Policy::of(&self.table()?.metadata);
        let (Some(NewRows { columns, divider, .. }), Some(policy)) = (&intent.rows, policy) else {
            return Ok(None);
        };
        let is_small = |manifest: &Named<'_>| {
            manifest.bytes < policy.target_bytes / 2
                && (manifest.content, manifest.spec_id) == (of.number(), divider.spec.id)
                && is_manifest(manifest.path)
                && !self.unmergeable.contains(manifest.path)
        };
        let mut small: Vec<Named<'_>> = list.manifests().filter(is_small).collect();
        if small.len() < policy.count_min {
            return Ok(None);
        }
        // The oldest first: they stay together from now on.
        small.reverse();
        let (mut merger, mut bytes) = (Merger::new(of, columns, divider), 0);
        for manifest in small.into_iter().take(COUNT_MAX) {
            bytes += manifest.bytes;
            if bytes > policy.target_bytes {
                break;
            }
            let object = match self.store.get(self.warehouse.key(manifest.path)?, 0) {
                // Somebody has gone on from here, and removed it: the commit will be told so.
                Err(Refusal::Missing(_)) => return Ok(None),
                // The commit is worth more: another one merges.
                Err(refusal) => {
                    warn!("manifests are not merged: {}: {}", manifest.path, Error::from(refusal).message);
                    return Ok(None);
                }
                Ok(object) => object,
            };
            match merger.add(&object.body, manifest) {
                Ok(true) => {}
                Ok(false) => {
                    self.unmergeable.insert(manifest.path.to_owned());
                }
                Err(why) => {
                    warn!("manifests are not merged: {}: {why}", manifest.path);
                    self.unmergeable.insert(manifest.path.to_owned());
                    return Ok(None);
                }
            }
        }
        Ok(merger.is_worth_it().then_some(merger))
    }
}
