//! Small data files that become one. Their row groups are copied as they are into a file of their own; a snapshot that replaces them by it is
//! committed as any other, under the task's fence and between two commits of rows, and given up when they are not all there any more.
//!
//! Not in a table with delete files: a delete holds for files that are older than it, and a file's age is lost here.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use millrace_connector_encode::parquet::JoinedFile;
use millrace_sdk::object_store::Refusal;
use millrace_sdk::{Error, ErrorKind, host, warn};

use super::merge::TARGET_BYTES;
use super::{Intent, NewRows, Pending, Session, metadata_error};
use crate::file::{self, Growing};
use crate::manifest::Of;
use crate::manifest::list::List;
use crate::manifest::merge::Merger;
use crate::small::Small;
use crate::writer::Writer;

/// Files that new ones take the place of.
#[derive(Debug)]
pub struct Replaced {
    /// Their URIs.
    pub files: BTreeSet<String>,
    /// Those of the manifests that name them.
    manifests: BTreeSet<String>,
    /// Their size.
    pub bytes: u64,
}

/// A file that others are merged into.
#[derive(Debug)]
pub(super) struct Rewriting {
    joined: Growing,
    replaced: Replaced,
    /// Behind its file's number: rows may be written to files with later ones meanwhile.
    numbers: u64,
}

/// Whether any of a list's manifests is of deletes.
pub(super) fn has_deletes(list: &List) -> bool {
    list.manifests().any(|manifest| manifest.content == Of::Deletes.number())
}

/// Leaves out files whose manifests are not there any more, or are too large to be written anew as one.
fn keep_manifests_small(small: &mut Vec<Small>, list: &List) {
    let sizes: BTreeMap<&str, i64> =
        list.manifests().map(|manifest| (manifest.path, manifest.bytes)).collect();
    let (mut taken, mut bytes) = (BTreeSet::new(), 0);
    small.retain(|file| {
        let Some(size) = sizes.get(file.manifest.as_str()) else { return false };
        if !taken.contains(&file.manifest) {
            if bytes + size > TARGET_BYTES {
                return false;
            }
            bytes += size;
            taken.insert(file.manifest.clone());
        }
        true
    });
}

/// What a file can't be made of is left as it is.
fn left_alone(why: &str) -> Option<Growing> {
    warn!("small data files are not merged: {why}");
    None
}

impl Session {
    /// Merges small files of one partition, where there are enough of them; the new file has at most `target` bytes, and gets the next number.
    /// After an error for now it is under way still, and is to be called again, before anything else is committed.
    pub(crate) fn rewrite(&mut self, writer: &Writer, target: u64, next_file: &mut u64) -> Result<(), Error> {
        if self.rewriting.is_none() {
            self.rewriting = self.begin_rewriting(writer, target, next_file)?;
        }
        let Some(Rewriting { joined, .. }) = &mut self.rewriting else { return Ok(()) };
        file::upload(&self.store, &mut [joined])?;
        let Some(Rewriting { joined, replaced, numbers }) = self.rewriting.take() else { return Ok(()) };
        let files = vec![joined.entry(&self.warehouse)];
        self.intend(Intent {
            rows: Some(NewRows {
                files,
                deletes: Vec::new(),
                columns: writer.columns().clone(),
                divider: writer.divider().clone(),
            }),
            replaced: Some(replaced),
            positions: BTreeMap::new(),
            numbers,
        });
        self.settle()
    }

    /// Whether a file is under way that others are merged into.
    pub fn is_rewriting(&self) -> bool {
        self.rewriting.is_some()
    }

    fn begin_rewriting(
        &mut self,
        writer: &Writer,
        target: u64,
        next_file: &mut u64,
    ) -> Result<Option<Rewriting>, Error> {
        let due = self.small.due(writer.columns(), writer.divider(), target);
        let Some(mut small) = due else { return Ok(None) };
        let list = self.manifests()?;
        if has_deletes(&list) {
            self.small.clear();
            return Ok(None);
        }
        keep_manifests_small(&mut small, &list);
        if small.len() < 2 {
            return Ok(None);
        }
        let name = self.fence.instance.data_file(*next_file);
        *next_file += 1;
        let Some(joined) = self.join(&small, &name)? else { return Ok(None) };
        let replaced = Replaced {
            manifests: small.iter().map(|file| file.manifest.clone()).collect(),
            bytes: small.iter().map(|file| file.bytes).sum(),
            files: small.into_iter().map(|file| file.path).collect(),
        };
        Ok(Some(Rewriting { joined, replaced, numbers: *next_file }))
    }

    /// One file with the rows of several; none: they are not all as they should be.
    fn join(&self, small: &[Small], name: &str) -> Result<Option<Growing>, Error> {
        let (mut out, mut joined, mut rows) = (Vec::new(), None, 0);
        for file in small {
            let object = match self.store.get(self.warehouse.key(&file.path)?, 0) {
                Ok(object) => object,
                Err(refusal) => match Error::from(refusal) {
                    error if error.kind == ErrorKind::Fatal => return Ok(left_alone(&error.message)),
                    // Another commit merges others.
                    _ => return Ok(None),
                },
            };
            if object.body.len() as u64 != file.bytes {
                return Ok(left_alone(&format!("{} has another size than was written", file.path)));
            }
            let (body, mut bytes) = (Bytes::from(object.body), Vec::new());
            let added = match &mut joined {
                Some(joined) => JoinedFile::add(joined, &body, &mut bytes),
                None => JoinedFile::begin(&body, &mut out)
                    .and_then(|begun| joined.insert(begun).add(&body, &mut bytes)),
            };
            match added {
                Ok(true) => out.append(&mut bytes),
                Ok(false) => return Ok(left_alone(&format!("{} has another schema", file.path))),
                Err(why) => return Ok(left_alone(&format!("{}: {why}", file.path))),
            }
            rows += file.rows;
        }
        let (Some(joined), Some(first)) = (joined, small.first()) else { return Ok(None) };
        let summary = joined.finish(&mut out).map_err(metadata_error)?;
        if summary.rows != rows {
            return Ok(left_alone("they have other rows than their manifests say"));
        }
        Ok(Some(Growing::whole(self.key(name)?, first.partition.clone(), out, summary)))
    }

    /// The manifest that says what becomes of the files of those that name the replaced ones; none: these are not all there any more.
    pub(super) fn replace(&self, pending: &Pending, list: &List) -> Result<Option<Merger>, Error> {
        let (Some(NewRows { columns, divider, .. }), Some(replaced)) =
            (&pending.intent.rows, &pending.intent.replaced)
        else {
            return Ok(None);
        };
        let mut merger = Merger::new(Of::Data, columns, divider).without(&replaced.files, pending.snapshot);
        for manifest in list.manifests().filter(|manifest| replaced.manifests.contains(manifest.path)) {
            let object = match self.store.get(self.warehouse.key(manifest.path)?, 0) {
                Err(Refusal::Missing(_)) => return Ok(None),
                object => object?,
            };
            if manifest.spec_id != divider.spec.id
                || !merger.add(&object.body, manifest).map_err(metadata_error)?
            {
                return Ok(None);
            }
        }
        Ok((merger.removed() == replaced.files.len()).then_some(merger))
    }

    /// Notes what a commit made of small files.
    pub(super) fn note_small(&mut self, pending: &Pending) {
        if !self.upkeep.merge_files {
            return;
        }
        let [data, _deletes] = &pending.merging;
        if let super::merge::Merging::Done(merged) = data {
            self.small.moved(&merged.inputs, &merged.uri);
        }
        if let (Some(NewRows { files, columns, divider, .. }), Some([added, ..])) =
            (&pending.intent.rows, pending.added.as_deref())
            && !files.is_empty()
        {
            self.small.note(files, columns, divider, added.uri());
        }
        if let Some(replaced) = &pending.intent.replaced {
            host::count("files_merged", replaced.files.len() as u64, &[]);
        }
    }
}
