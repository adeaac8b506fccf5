//! Manifests merged into one: what they say of their files is copied file by file, so that a block of one of them is in memory at a time.
//!
//! Only such as this sink writes are merged: what others say of files, and this sink doesn't know, would be lost.

use std::collections::BTreeSet;

use millrace_connector_encode::avro::AvroFile;
use millrace_connector_encode::datum::Datum;

use super::avro::{self, Def};
use super::list::{Bounds, Named, Row, existing};
use super::{DELETED, ENTRY, EXISTING, Of, entry, header};
use crate::partition::Divider;
use crate::schema::Columns;

/// A manifest in the making.
#[derive(Debug)]
pub struct Merger {
    of: Of,
    defs: Vec<Def>,
    file: AvroFile,
    out: Vec<u8>,
    divider: Divider,
    bounds: Vec<Bounds>,
    files: i32,
    rows: i64,
    sequence_min: i64,
    /// The URIs of those that are in it.
    inputs: BTreeSet<String>,
    /// The URIs of files that are removed, by which snapshot, and how many of them there were, with their rows.
    without: BTreeSet<String>,
    without_by: i64,
    removed: (i32, i64),
}

/// A manifest that takes the place of others.
#[derive(Clone, Debug)]
pub struct Merged {
    /// Its own URI.
    pub uri: String,
    /// The URIs of those others.
    pub inputs: BTreeSet<String>,
    /// What a list says of it.
    pub row: Row,
}

impl Merger {
    /// For manifests of this spec.
    pub fn new(of: Of, columns: &Columns, divider: &Divider) -> Self {
        let (defs, mut out) = (entry(divider, of), Vec::new());
        let header = header(columns, divider, of);
        let header = header.each_ref().map(|(name, value)| (*name, value.as_str()));
        let file = avro::begin(ENTRY, &defs, &header, &mut out);
        let bounds = divider.fields.iter().map(|_| Bounds::default()).collect();
        let (files, rows, sequence_min) = (0, 0, i64::MAX);
        Self {
            of,
            defs,
            file,
            out,
            divider: divider.clone(),
            bounds,
            files,
            rows,
            sequence_min,
            inputs: BTreeSet::new(),
            without: BTreeSet::new(),
            without_by: 0,
            removed: (0, 0),
        }
    }

    /// Says of these files that this snapshot removes them.
    #[must_use]
    pub fn without(self, files: &BTreeSet<String>, snapshot: i64) -> Self {
        Self { without: files.clone(), without_by: snapshot, ..self }
    }

    /// How many of those were there.
    pub fn removed(&self) -> usize {
        usize::try_from(self.removed.0).unwrap_or(0)
    }

    /// Adds a manifest's files. False: it is of another make, and nothing was added. After an error this one is of no use.
    pub fn add(&mut self, bytes: &[u8], named: Named<'_>) -> Result<bool, String> {
        if !avro::is_of(bytes, ENTRY, &self.defs)? {
            return Ok(false);
        }
        let Self { defs, file, out, bounds, files, rows, sequence_min, without, without_by, removed, .. } =
            self;
        avro::each(bytes, defs, avro::Unknown::Error, |mut entry| {
            let [status, snapshot, sequence, file_sequence, Datum::Struct(data)] = entry.as_mut_slice()
            else {
                return Err("an entry without a file".to_owned());
            };
            if *status == Datum::Int(DELETED) {
                return Ok(());
            }
            *status = Datum::Int(EXISTING);
            // What is left out is the manifest's own.
            for (place, own) in [
                (&mut *snapshot, named.added_by),
                (&mut *sequence, named.sequence),
                (file_sequence, named.sequence),
            ] {
                if *place == Datum::Null {
                    *place = Datum::Long(own);
                }
            }
            if matches!(data.get(1), Some(Datum::Text(path)) if without.contains(path)) {
                (*status, *snapshot) = (Datum::Int(DELETED), Datum::Long(*without_by));
                removed.0 = removed.0.saturating_add(1);
                if let Some(Datum::Long(count)) = data.get(4) {
                    removed.1 += count;
                }
                return file.push(&entry, out);
            }
            if let (Datum::Long(sequence), Some(Datum::Long(count))) = (&*sequence, data.get(4)) {
                *sequence_min = (*sequence_min).min(*sequence);
                *rows += count;
            }
            if let Some(Datum::Struct(partition)) = data.get(3) {
                bounds.iter_mut().zip(partition).for_each(|(bounds, value)| bounds.add(value));
            }
            *files = files.saturating_add(1);
            file.push(&entry, out)
        })?;
        self.inputs.insert(named.path.to_owned());
        Ok(true)
    }

    /// Whether it takes the place of several.
    pub fn is_worth_it(&self) -> bool {
        self.inputs.len() >= 2
    }

    /// Its bytes, and what a list says of it under this URI when this snapshot adds it.
    pub fn finish(mut self, uri: &str, snapshot: i64) -> Result<(Vec<u8>, Merged), String> {
        self.file.end_block(&mut self.out)?;
        let row = existing(
            self.of,
            (uri, self.out.len()),
            snapshot,
            (self.files, self.rows, self.sequence_min),
            self.removed,
            &self.bounds,
            &self.divider,
        );
        Ok((self.out, Merged { uri: uri.to_owned(), inputs: self.inputs, row }))
    }
}
