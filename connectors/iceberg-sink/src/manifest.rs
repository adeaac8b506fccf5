//! Manifests: Avro files that name data files (specification, "Manifests"), and lists of them, one for each snapshot.
//!
//! A new data file's sequence number is left out: it is that of the manifest, which the list has. So a manifest is written once, however
//! often its commit has to be tried; only the list is written anew.
//!
//! Rooms: `avro` (columns with ids, as Avro has them), `list` (lists of manifests), `merge` (several into one).

pub mod avro;
pub mod list;
pub mod merge;

use millrace_connector_encode::datum::Datum;
use millrace_connector_encode::parquet::Summary;
use millrace_connector_encode::types::Type;

use self::avro::{Def, Shape};
use crate::partition::Divider;
use crate::schema::{Columns, Kind};
use crate::single;

/// What Avro calls an entry.
const ENTRY: &str = "manifest_entry";
/// Entries of files that an earlier snapshot added.
const EXISTING: i32 = 0;
/// Entries of files that their snapshot adds.
const ADDED: i32 = 1;
/// Entries of files that their snapshot removes.
const DELETED: i32 = 2;
/// Longest bounds of text and bytes that are kept, as other writers have it.
const BOUND_BYTES_MAX: usize = 16;

/// The columns of position deletes, by ids that no table's columns have: a file's URI,
pub const PATH_ID: i32 = 2_147_483_546;
/// and a row's number in it.
pub const POSITION_ID: i32 = 2_147_483_545;

/// What is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Rows.
    Data,
    /// Places of rows that are deleted.
    Positions,
    /// Values, in columns of these ids, whose rows are deleted.
    Equality(Vec<i32>),
}

/// Which files a manifest names: it has one kind only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Rows.
    Data,
    /// Deletes of either kind.
    Deletes,
}

impl Of {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Data, Self::Deletes];

    /// As lists have it.
    pub fn number(self) -> i32 {
        self.of([0, 1])
    }

    /// Which of the two it is.
    pub fn of<T>(self, [data, deletes]: [T; 2]) -> T {
        match self {
            Self::Data => data,
            Self::Deletes => deletes,
        }
    }
}

/// A file of rows or of deletes that is there.
#[derive(Clone, Debug, PartialEq)]
pub struct DataFile {
    /// What is in it.
    pub content: Content,
    /// Its URI.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Where its rows belong.
    pub partition: Vec<Datum>,
    /// What it says of itself.
    pub summary: Summary,
}

fn entry(divider: &Divider, of: Of) -> Vec<Def> {
    let fields = divider.spec.fields.iter().zip(&divider.fields);
    let partition = fields.map(|(of, field)| Def::leaf(of.id, &field.name, field.slot.ty.clone()).optional());
    let counts = |id, name, key, value| Def::pairs(id, name, (key, value), Type::Long).optional();
    let bounds = |id, name, key, value| Def::pairs(id, name, (key, value), Type::Bytes).optional();
    let mut file = vec![
        Def::leaf(134, "content", Type::Int),
        Def::leaf(100, "file_path", Type::Text),
        Def::leaf(101, "file_format", Type::Text),
        Def::record(102, "partition", "r102", partition.collect()),
        Def::leaf(103, "record_count", Type::Long),
        Def::leaf(104, "file_size_in_bytes", Type::Long),
        counts(108, "column_sizes", 117, 118),
        counts(109, "value_counts", 119, 120),
        counts(110, "null_value_counts", 121, 122),
        bounds(125, "lower_bounds", 126, 127),
        bounds(128, "upper_bounds", 129, 130),
        Def { shape: Shape::List(133, Type::Long), ..Def::leaf(132, "split_offsets", Type::Long).optional() },
    ];
    if of == Of::Deletes {
        let ids = Def::leaf(135, "equality_ids", Type::Int).optional();
        file.push(Def { shape: Shape::List(136, Type::Int), ..ids });
    }
    vec![
        Def::leaf(0, "status", Type::Int),
        Def::leaf(1, "snapshot_id", Type::Long).optional(),
        Def::leaf(3, "sequence_number", Type::Long).optional(),
        Def::leaf(4, "file_sequence_number", Type::Long).optional(),
        Def::record(2, "data_file", "r2", file),
    ]
}

/// What a manifest says of itself.
fn header(columns: &Columns, divider: &Divider, of: Of) -> [(&'static str, String); 6] {
    [
        ("schema", columns.json().to_string()),
        ("schema-id", columns.schema_id.to_string()),
        ("partition-spec", divider.spec.fields_json().to_string()),
        ("partition-spec-id", divider.spec.id.to_string()),
        ("format-version", "2".to_owned()),
        ("content", of.of(["data", "deletes"]).to_owned()),
    ]
}

/// Writes a manifest of new files.
pub fn write(
    of: Of,
    files: &[DataFile],
    snapshot: i64,
    columns: &Columns,
    divider: &Divider,
) -> Result<Vec<u8>, String> {
    let header = header(columns, divider, of);
    let header = header.each_ref().map(|(name, value)| (*name, value.as_str()));
    let row = |file: &DataFile| {
        vec![
            Datum::Int(ADDED),
            Datum::Long(snapshot),
            Datum::Null,
            Datum::Null,
            Datum::Struct(data_file(of, file, columns)),
        ]
    };
    avro::write(ENTRY, &entry(divider, of), &header, files.iter().map(row))
}

/// The URIs of the files that a manifest's snapshot removed.
pub fn removed_files(bytes: &[u8]) -> Result<Vec<String>, String> {
    let file = vec![Def::leaf(100, "file_path", Type::Text)];
    let entry = [Def::leaf(0, "status", Type::Int), Def::record(2, "data_file", "r2", file)];
    let removed = |row: Vec<Datum>| match row.as_slice() {
        [Datum::Int(DELETED), Datum::Struct(file)] => match file.as_slice() {
            [Datum::Text(path)] => Some(path.clone()),
            _ => None,
        },
        _ => None,
    };
    Ok(avro::read(bytes, &entry)?.into_iter().filter_map(removed).collect())
}

/// The type of a column without parts.
fn leaf(id: i32, columns: &Columns) -> Option<&Type> {
    match (id, columns.find(id).map(|found| &found.kind)) {
        (PATH_ID, _) => Some(&Type::Text),
        (POSITION_ID, _) => Some(&Type::Long),
        (_, Some(Kind::Leaf(ty))) => Some(ty),
        _ => None,
    }
}

fn data_file(of: Of, file: &DataFile, columns: &Columns) -> Vec<Datum> {
    let pair = |key: i32, value: Datum| Datum::Struct(vec![Datum::Int(key), value]);
    let (mut sizes, mut values, mut nulls) = (Vec::new(), Vec::new(), Vec::new());
    let (mut lower, mut upper) = (Vec::new(), Vec::new());
    for column in &file.summary.columns {
        let Some(id) = column.id else { continue };
        sizes.push(pair(id, Datum::Long(column.bytes)));
        // Of what is in lists and maps nothing is told: readers ask about rows.
        let Some(ty) = leaf(id, columns).filter(|_| !column.is_repeated) else { continue };
        values.push(pair(id, Datum::Long(column.values)));
        if let Some(count) = column.nulls {
            nulls.push(pair(id, Datum::Long(count)));
        }
        if let Some((least, most)) = &column.bounds {
            // Where both are the whole name of one file, readers of others leave the deletes alone.
            let is_whole = id == PATH_ID;
            if let Some(bytes) = single::bytes(least, ty) {
                let bytes = if is_whole { bytes } else { cut_down(bytes, ty) };
                lower.push(pair(id, Datum::Bytes(bytes)));
            }
            let most = single::bytes(most, ty);
            if let Some(bytes) = most.and_then(|bytes| if is_whole { Some(bytes) } else { cut_up(bytes, ty) })
            {
                upper.push(pair(id, Datum::Bytes(bytes)));
            }
        }
    }
    let splits = file.summary.groups.iter().map(|at| Datum::Long(*at)).collect();
    let (content, ids) = match &file.content {
        Content::Data => (0, Datum::Null),
        Content::Positions => (1, Datum::Null),
        Content::Equality(ids) => (2, Datum::List(ids.iter().map(|id| Datum::Int(*id)).collect())),
    };
    let mut row = vec![
        Datum::Int(content),
        Datum::Text(file.path.clone()),
        Datum::Text("PARQUET".to_owned()),
        Datum::Struct(file.partition.clone()),
        Datum::Long(file.summary.rows),
        Datum::Long(i64::try_from(file.bytes).unwrap_or(i64::MAX)),
        Datum::List(sizes),
        Datum::List(values),
        Datum::List(nulls),
        Datum::List(lower),
        Datum::List(upper),
        Datum::List(splits),
    ];
    if of == Of::Deletes {
        row.push(ids);
    }
    row
}

/// A lower bound that is no longer than it may be.
fn cut_down(mut bytes: Vec<u8>, ty: &Type) -> Vec<u8> {
    if matches!(ty, Type::Text | Type::Bytes) && bytes.len() > BOUND_BYTES_MAX {
        bytes.truncate(whole_characters(&bytes, ty));
    }
    bytes
}

/// An upper bound that is no longer than it may be, and still not less than any value; none: there is no such.
fn cut_up(mut bytes: Vec<u8>, ty: &Type) -> Option<Vec<u8>> {
    if !matches!(ty, Type::Text | Type::Bytes) || bytes.len() <= BOUND_BYTES_MAX {
        return Some(bytes);
    }
    bytes.truncate(whole_characters(&bytes, ty));
    // The last part that can be greater is made so, and what follows it is dropped.
    if *ty == Type::Bytes {
        while let Some(last) = bytes.pop() {
            if last < u8::MAX {
                bytes.push(last + 1);
                return Some(bytes);
            }
        }
        return None;
    }
    let mut text: Vec<char> = String::from_utf8(bytes).ok()?.chars().collect();
    while let Some(last) = text.pop() {
        // Between the two halves of this range there are no characters.
        let next = if last == '\u{d7ff}' { Some('\u{e000}') } else { char::from_u32(u32::from(last) + 1) };
        if let Some(next) = next {
            text.push(next);
            return Some(text.into_iter().collect::<String>().into_bytes());
        }
    }
    None
}

/// The longest beginning that may be kept and splits no character.
fn whole_characters(bytes: &[u8], ty: &Type) -> usize {
    let is_inside = |at: &usize| *ty == Type::Text && bytes.get(*at).is_some_and(|byte| byte & 0xc0 == 0x80);
    (0..=BOUND_BYTES_MAX).rev().find(|at| !is_inside(at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bounds_stay_bounds_when_they_are_cut(text in "\\PC{0,40}", bytes in proptest::collection::vec(prop_oneof![Just(255_u8), any::<u8>()], 0..40)) {
            for (value, ty) in [(text.into_bytes(), Type::Text), (bytes, Type::Bytes)] {
                let down = cut_down(value.clone(), &ty);
                prop_assert!(down <= value && down.len() <= BOUND_BYTES_MAX);
                if let Some(up) = cut_up(value.clone(), &ty) {
                    prop_assert!(up >= value, "{up:?} {value:?}");
                    prop_assert!(ty == Type::Bytes || String::from_utf8(up).is_ok());
                } else {
                    prop_assert!(value.len() > BOUND_BYTES_MAX);
                }
            }
        }
    }
}
