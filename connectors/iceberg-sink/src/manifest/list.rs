//! Lists of manifests: one for each snapshot, with everything that its readers have to look at.

use millrace_connector_encode::datum::Datum;
use millrace_connector_encode::types::Type;

use super::avro::{self, Def, Shape};
use super::merge::Merged;
use super::{DataFile, Of};
use crate::partition::Divider;
use crate::single;

/// Where things stand in a row: the URI,
const PATH: usize = 0;
/// the size,
const BYTES: usize = 1;
/// the spec,
const SPEC: usize = 2;
/// whether it is of data files,
const CONTENT: usize = 3;
/// the snapshot that it came with,
const ADDED_BY: usize = 6;
/// files that its snapshot added, and such as were there,
const ADDED_FILES: usize = 7;
const EXISTING_FILES: usize = 8;
/// and those that it says are removed.
const REMOVED_FILES: usize = 9;
/// Where the number stands by which a snapshot's manifests are ordered.
const SEQUENCE: usize = 4;
/// Where the least one of its files' stands.
const SEQUENCE_MIN: usize = 5;

fn manifest() -> Vec<Def> {
    let once = |once: &'static str, def: Def| Def { once, ..def };
    let partition = vec![
        Def::leaf(509, "contains_null", Type::Boolean),
        Def::leaf(518, "contains_nan", Type::Boolean).optional(),
        Def::leaf(510, "lower_bound", Type::Bytes).optional(),
        Def::leaf(511, "upper_bound", Type::Bytes).optional(),
    ];
    vec![
        Def::leaf(500, "manifest_path", Type::Text),
        Def::leaf(501, "manifest_length", Type::Long),
        Def::leaf(502, "partition_spec_id", Type::Int),
        Def::leaf(517, "content", Type::Int),
        Def::leaf(515, "sequence_number", Type::Long),
        Def::leaf(516, "min_sequence_number", Type::Long),
        Def::leaf(503, "added_snapshot_id", Type::Long),
        once("added_data_files_count", Def::leaf(504, "added_files_count", Type::Int)),
        once("existing_data_files_count", Def::leaf(505, "existing_files_count", Type::Int)),
        once("deleted_data_files_count", Def::leaf(506, "deleted_files_count", Type::Int)),
        Def::leaf(512, "added_rows_count", Type::Long),
        Def::leaf(513, "existing_rows_count", Type::Long),
        Def::leaf(514, "deleted_rows_count", Type::Long),
        Def {
            shape: Shape::Records(508, "r508", partition),
            ..Def::leaf(507, "partitions", Type::Long).optional()
        },
        Def::leaf(519, "key_metadata", Type::Bytes).optional(),
    ]
}

/// What a list says of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'l> {
    /// Its URI.
    pub path: &'l str,
    /// Its size.
    pub bytes: i64,
    /// By which spec its files lie.
    pub spec_id: i32,
    /// 0: of data files; 1: of deletes.
    pub content: i32,
    /// The number of the snapshot that it came with.
    pub sequence: i64,
    /// That snapshot.
    pub added_by: i64,
    /// Files that are there.
    pub files: i32,
    /// Files that this snapshot removed, and that it tells of.
    pub removed_files: i32,
}

/// The manifests of a snapshot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct List(Vec<Vec<Datum>>);

/// A manifest of new files, as a list names it.
#[derive(Clone, Debug, PartialEq)]
pub struct Added(Vec<Datum>);

impl Added {
    /// The manifest's URI.
    pub fn uri(&self) -> &str {
        match &self.0[PATH] {
            Datum::Text(uri) => uri,
            _ => "",
        }
    }

    /// What a list says of a manifest.
    pub fn new(
        of: Of,
        (uri, bytes): (&str, usize),
        snapshot: i64,
        files: &[DataFile],
        divider: &Divider,
    ) -> Self {
        let rows = files.iter().map(|file| file.summary.rows).sum();
        let count = i32::try_from(files.len()).unwrap_or(i32::MAX);
        let mut bounds = vec![Bounds::default(); divider.fields.len()];
        for file in files {
            bounds.iter_mut().zip(&file.partition).for_each(|(bounds, value)| bounds.add(value));
        }
        Self(vec![
            Datum::Text(uri.to_owned()),
            Datum::Long(i64::try_from(bytes).unwrap_or(i64::MAX)),
            Datum::Int(divider.spec.id),
            Datum::Int(of.number()),
            Datum::Null,
            Datum::Null,
            Datum::Long(snapshot),
            Datum::Int(count),
            Datum::Int(0),
            Datum::Int(0),
            Datum::Long(rows),
            Datum::Long(0),
            Datum::Long(0),
            partitions(&bounds, divider),
            Datum::Null,
        ])
    }
}

/// What a list says of one value of its files' partitions.
#[derive(Clone, Debug, Default)]
pub struct Bounds {
    has_null: bool,
    has_nan: bool,
    least: Option<Datum>,
    most: Option<Datum>,
}

impl Bounds {
    /// Notes a file's value.
    pub fn add(&mut self, value: &Datum) {
        let is_nan = match value {
            Datum::Float(value) => value.is_nan(),
            Datum::Double(value) => value.is_nan(),
            _ => false,
        };
        self.has_null |= *value == Datum::Null;
        self.has_nan |= is_nan;
        if *value != Datum::Null && !is_nan {
            let value = || value.clone();
            self.least = Some(self.least.take().map_or_else(value, |least| least.least(value())));
            self.most = Some(self.most.take().map_or_else(value, |most| most.most(value())));
        }
    }

    fn row(&self, ty: &Type) -> Vec<Datum> {
        let bound = |value: &Option<Datum>| {
            value.as_ref().and_then(|value| single::bytes(value, ty)).map_or(Datum::Null, Datum::Bytes)
        };
        vec![
            Datum::Boolean(self.has_null),
            Datum::Boolean(self.has_nan),
            bound(&self.least),
            bound(&self.most),
        ]
    }
}

fn partitions(bounds: &[Bounds], divider: &Divider) -> Datum {
    let of = bounds.iter().zip(&divider.fields);
    Datum::List(of.map(|(bounds, field)| Datum::Struct(bounds.row(&field.slot.ty))).collect())
}

/// A row of a list.
pub type Row = Vec<Datum>;

/// What a list says of a manifest of files that were there: how many, their rows, and the least number of a snapshot that added one; and of those
/// that its own snapshot removed.
pub(super) fn existing(
    of: Of,
    (uri, bytes): (&str, usize),
    snapshot: i64,
    (files, rows, sequence_min): (i32, i64, i64),
    (removed_files, removed_rows): (i32, i64),
    bounds: &[Bounds],
    divider: &Divider,
) -> Row {
    vec![
        Datum::Text(uri.to_owned()),
        Datum::Long(i64::try_from(bytes).unwrap_or(i64::MAX)),
        Datum::Int(divider.spec.id),
        Datum::Int(of.number()),
        Datum::Null,
        Datum::Long(sequence_min),
        Datum::Long(snapshot),
        Datum::Int(0),
        Datum::Int(files),
        Datum::Int(removed_files),
        Datum::Long(0),
        Datum::Long(rows),
        Datum::Long(removed_rows),
        partitions(bounds, divider),
        Datum::Null,
    ]
}

impl List {
    /// Reads a list.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        avro::read(bytes, &manifest()).map(Self)
    }

    /// The list of a snapshot that adds manifests to those of this one.
    #[must_use]
    pub fn with(&self, added: &[Added], sequence: i64) -> Self {
        let mut rows = self.0.clone();
        for Added(row) in added {
            let mut row = row.clone();
            row[SEQUENCE] = Datum::Long(sequence);
            row[SEQUENCE_MIN] = Datum::Long(sequence);
            // Readers look at the newest first.
            rows.insert(0, row);
        }
        Self(rows)
    }

    /// The list with a manifest in the place of those that it was made of, behind all others: its files are the oldest.
    #[must_use]
    pub fn merged(&self, merged: &Merged, sequence: i64) -> Self {
        let is_input = |row: &Row| match &row[PATH] {
            Datum::Text(path) => merged.inputs.contains(path),
            _ => false,
        };
        let mut rows: Vec<Row> = self.0.iter().filter(|row| !is_input(row)).cloned().collect();
        let mut row = merged.row.clone();
        row[SEQUENCE] = Datum::Long(sequence);
        // Nothing of it is left but what was removed.
        if row[SEQUENCE_MIN] == Datum::Long(i64::MAX) {
            row[SEQUENCE_MIN] = Datum::Long(sequence);
        }
        rows.push(row);
        Self(rows)
    }

    /// The manifests, in order.
    pub fn manifests(&self) -> impl Iterator<Item = Named<'_>> {
        let long = |value: &Datum| match value {
            Datum::Long(value) => *value,
            _ => 0,
        };
        let int = |value: &Datum| match value {
            Datum::Int(value) => *value,
            _ => 0,
        };
        self.0.iter().filter_map(move |row| match &row[PATH] {
            Datum::Text(path) => Some(Named {
                path,
                bytes: long(&row[BYTES]),
                spec_id: int(&row[SPEC]),
                content: int(&row[CONTENT]),
                sequence: long(&row[SEQUENCE]),
                added_by: long(&row[ADDED_BY]),
                files: int(&row[ADDED_FILES]).saturating_add(int(&row[EXISTING_FILES])),
                removed_files: int(&row[REMOVED_FILES]),
            }),
            _ => None,
        })
    }

    /// Manifests.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As it is written for a snapshot.
    pub fn bytes(&self, snapshot: i64, parent: Option<i64>, sequence: i64) -> Result<Vec<u8>, String> {
        let parent = parent.map_or_else(|| "null".to_owned(), |id| id.to_string());
        let header = [
            ("snapshot-id", snapshot.to_string()),
            ("parent-snapshot-id", parent),
            ("sequence-number", sequence.to_string()),
            ("format-version", "2".to_owned()),
        ];
        let header = header.each_ref().map(|(name, value)| (*name, value.as_str()));
        avro::write("manifest_file", &manifest(), &header, self.0.iter().cloned())
    }
}

#[cfg(test)]
mod tests {
    use millrace_connector_encode::parquet::Summary;

    use super::*;
    use crate::partition::Spec;
    use crate::schema::{Columns, Layout};

    #[test]
    fn a_list_comes_back_as_it_was_written() {
        let spec = Spec::read(&serde_json::json!({ "spec-id": 4, "fields": [
            { "name": "a b", "source-id": 1, "field-id": 1000, "transform": "identity" }] }))
        .expect("a spec");
        let columns = Columns::read(&serde_json::json!({ "schema-id": 0, "fields": [
            { "id": 1, "name": "a b", "required": false, "type": "int" }] }))
        .expect("columns");
        let layout: Layout = columns.layout().expect("a layout");
        let divider = Divider::new(&spec, &columns, &layout).expect("applied");
        let file = |value: Datum| DataFile {
            content: crate::manifest::Content::Data,
            path: "s3://b/f".into(),
            bytes: 7,
            partition: vec![value],
            summary: Summary { rows: 3, ..Summary::default() },
        };
        let files = [file(Datum::Int(5)), file(Datum::Null), file(Datum::Int(-5))];
        let manifest = super::super::write(Of::Data, &files, 9, &columns, &divider).expect("written");
        assert!(manifest.starts_with(b"Obj\x01"));
        let added = Added::new(Of::Data, ("s3://b/m", manifest.len()), 9, &files, &divider);
        let list = List::default().with(std::slice::from_ref(&added), 2).with(&[added], 3);
        let bytes = list.bytes(9, None, 3).expect("written");
        assert_eq!(List::read(&bytes).expect("read"), list);
        assert_eq!(list.0[0][SEQUENCE], Datum::Long(3));
        let Datum::List(partitions) = &list.0[0][13] else { panic!("partitions") };
        let bytes = |value: i32| Datum::Bytes(value.to_le_bytes().to_vec());
        let wanted = vec![Datum::Boolean(true), Datum::Boolean(false), bytes(-5), bytes(5)];
        assert_eq!(partitions[0], Datum::Struct(wanted));
        assert!(List::read(b"Obj").is_err());
    }
}
