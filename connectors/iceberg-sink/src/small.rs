//! The small data files of a table, as far as this task wrote them since it started: those of one partition that have about one size are merged
//! when there are enough of them ([`crate::commit`]). So a row is copied once for each size that its file grows through, and not for each commit.

use std::collections::{BTreeMap, BTreeSet};

use millrace_connector_encode::datum::Datum;

use crate::manifest::DataFile;
use crate::partition::Divider;
use crate::schema::Columns;

/// Files of this size are not small.
const SMALL_BYTES: u64 = 8 << 20;
/// Most bytes of a file that others are merged into.
const MERGED_BYTES_MAX: u64 = 32 << 20;
/// Files of one kind from which on they are merged.
const FILES_MIN: usize = if cfg!(test) { 3 } else { 8 };
/// Files that are merged at a time.
const FILES_MAX: usize = 64;
/// Files that are remembered.
const KNOWN_MAX: usize = 10_000;

/// What files have in common that can become one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    schema_id: i32,
    spec_id: i32,
    /// What tells partitions apart.
    partition: Vec<Option<Vec<u8>>>,
    /// The size, by powers of eight.
    size: u32,
}

/// A small file in the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Small {
    /// Its URI.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its rows.
    pub rows: i64,
    /// Where its rows belong.
    pub partition: Vec<Datum>,
    /// The URI of the manifest that names it.
    pub manifest: String,
}

/// Those that are known.
#[derive(Debug, Default)]
pub struct SmallFiles {
    files: BTreeMap<Kind, Vec<Small>>,
    count: usize,
}

impl SmallFiles {
    /// Notes the small ones of files that were committed by this manifest.
    pub fn note(&mut self, files: &[DataFile], columns: &Columns, divider: &Divider, manifest: &str) {
        for file in files.iter().filter(|file| file.bytes < SMALL_BYTES) {
            if self.count >= KNOWN_MAX {
                // Some are left as they are for good.
                let spare = self.files.pop_first().map_or(0, |(_, files)| files.len());
                self.count -= spare;
            }
            let kind = Kind {
                schema_id: columns.schema_id,
                spec_id: divider.spec.id,
                partition: divider.key(&file.partition),
                size: file.bytes.max(1).ilog2() / 3,
            };
            self.files.entry(kind).or_default().push(Small {
                path: file.path.clone(),
                bytes: file.bytes,
                rows: file.summary.rows,
                partition: file.partition.clone(),
                manifest: manifest.to_owned(),
            });
            self.count += 1;
        }
    }

    /// Notes that these manifests' files are named by another one now.
    pub fn moved(&mut self, from: &BTreeSet<String>, to: &str) {
        for file in self.files.values_mut().flatten().filter(|file| from.contains(&file.manifest)) {
            to.clone_into(&mut file.manifest);
        }
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Files that are to become one of at most `bytes_max` bytes, and of which nothing is known any more then; none: there are too few of a kind.
    /// Files of other schemas and specs than these are forgotten.
    pub fn due(&mut self, columns: &Columns, divider: &Divider, bytes_max: u64) -> Option<Vec<Small>> {
        self.files.retain(|kind, _| (kind.schema_id, kind.spec_id) == (columns.schema_id, divider.spec.id));
        self.count = self.files.values().map(Vec::len).sum();
        let bytes_max = bytes_max.min(MERGED_BYTES_MAX);
        let fitting = |files: &[Small]| {
            let mut bytes = 0;
            let fits = |file: &&Small| {
                bytes += file.bytes;
                bytes <= bytes_max
            };
            files.iter().take(FILES_MAX).take_while(fits).count()
        };
        let is_due = |files: &[Small]| {
            let fitting = fitting(files);
            fitting >= FILES_MIN || (fitting >= 2 && fitting < files.len())
        };
        // Those with most files first: each kind has its turn.
        let files = self.files.values_mut().filter(|files| is_due(files)).max_by_key(|files| files.len())?;
        let count = fitting(files);
        self.count -= count;
        Some(files.drain(..count).collect())
    }
}

#[cfg(test)]
mod tests {
    use millrace_connector_encode::parquet::Summary;
    use serde_json::json;

    use super::*;
    use crate::manifest::Content;
    use crate::partition::Spec;

    /// With one file for each partition and commit, none waits for ever behind those before it.
    #[test]
    fn every_partition_has_its_turn() {
        let field = json!({ "name": "n", "source-id": 1, "field-id": 1000, "transform": "identity" });
        let spec = Spec::read(&json!({ "spec-id": 0, "fields": [field] })).expect("a spec");
        let columns =
            json!({ "schema-id": 0, "fields": [{ "id": 1, "name": "n", "required": false, "type": "int" }] });
        let columns = Columns::read(&columns).expect("columns");
        let divider = Divider::new(&spec, &columns, &columns.layout().expect("a layout")).expect("divided");
        let (mut known, mut merged) = (SmallFiles::default(), BTreeSet::new());
        for commit in 0..100 {
            let file = |n: i32| DataFile {
                path: format!("{commit}-{n}"),
                content: Content::Data,
                bytes: 700,
                partition: vec![Datum::Int(n)],
                summary: Summary { rows: 1, ..Summary::default() },
            };
            let files: Vec<DataFile> = (0..20).map(file).collect();
            known.note(&files, &columns, &divider, "m");
            let due = known.due(&columns, &divider, u64::MAX).unwrap_or_default();
            merged.extend(due.first().map(|file| file.path.rsplit('-').next().map(str::to_owned)));
        }
        assert_eq!(merged.len(), 20);
    }
}
