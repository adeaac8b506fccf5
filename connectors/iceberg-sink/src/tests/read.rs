//! Reads the table as an engine does: the newest metadata, its snapshot, the list of manifests, the manifests, the files. Nothing here is
//! the sink's own: Avro is read by `apache-avro`, Parquet by the record reader of `parquet`.

use std::collections::BTreeSet;
use std::io::Cursor;

use apache_avro::types::Value as Avro;
use millrace_sdk::testing::object_store::bucket;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::{Value, json};

fn object(uri: &str) -> Vec<u8> {
    let key = uri.strip_prefix("s3://b/w/").unwrap_or_else(|| panic!("{uri} lies elsewhere"));
    bucket().objects().remove(key).unwrap_or_else(|| panic!("{uri} is not there"))
}

/// The newest metadata.
pub(super) fn metadata() -> Value {
    if let Some(table) = super::catalog::table() {
        return table;
    }
    let objects = bucket().objects();
    // As engines find it: from the hint on.
    let key = |n: &u64| format!("db/t/metadata/v{n}.metadata.json");
    let hint = objects.get("db/t/metadata/version-hint.text");
    let hint = hint.map_or(1, |hint| String::from_utf8_lossy(hint).parse().expect("a number"));
    let newest = (hint..).take_while(|n| objects.contains_key(&key(n))).last().expect("a table");
    serde_json::from_slice(&objects[&format!("db/t/metadata/v{newest}.metadata.json")]).expect("JSON")
}

fn avro(bytes: Vec<u8>) -> Vec<Value> {
    let reader = apache_avro::Reader::new(Cursor::new(bytes)).expect("an Avro file");
    reader.map(|value| avro_json(&value.expect("a row"))).collect()
}

fn avro_json(value: &Avro) -> Value {
    match value {
        Avro::Null => Value::Null,
        Avro::Boolean(value) => json!(value),
        Avro::Int(value) | Avro::Date(value) => json!(value),
        Avro::Long(value) => json!(value),
        Avro::Bytes(bytes) => json!(bytes),
        Avro::String(text) => json!(text),
        Avro::Union(_, inner) => avro_json(inner),
        Avro::Array(values) => values.iter().map(avro_json).collect(),
        Avro::Record(fields) => fields.iter().map(|(name, value)| (name.clone(), avro_json(value))).collect(),
        other => panic!("{other:?}"),
    }
}

/// What the snapshot has: all URIs, and for each data file its partition and its URI.
fn walk() -> (BTreeSet<String>, Vec<(Value, String)>) {
    let (mut uris, mut files) = (BTreeSet::new(), Vec::new());
    let table = metadata();
    for snapshot in table["snapshots"].as_array().into_iter().flatten() {
        let is_current = snapshot["snapshot-id"] == table["current-snapshot-id"];
        let list = snapshot["manifest-list"].as_str().expect("a list").to_owned();
        let mut rows = 0;
        for manifest in avro(object(&list)) {
            let uri = manifest["manifest_path"].as_str().expect("a URI").to_owned();
            let bytes = object(&uri);
            assert_eq!(manifest["manifest_length"], bytes.len(), "{uri}");
            let entries = avro(bytes);
            assert_eq!(manifest["added_files_count"], entries.len(), "{uri}");
            for entry in entries {
                let file = &entry["data_file"];
                let uri = file["file_path"].as_str().expect("a URI").to_owned();
                rows += file["record_count"].as_i64().expect("a count");
                if is_current {
                    assert_eq!(file["file_size_in_bytes"], object(&uri).len(), "{uri}");
                    files.push((file["partition"].clone(), uri.clone()));
                }
                uris.insert(uri);
            }
            uris.insert(uri);
        }
        assert_eq!(snapshot["summary"]["total-records"], rows.to_string());
        uris.insert(list);
    }
    (uris, files)
}

/// For each data file its partition and its rows.
pub(super) fn files() -> Vec<(Value, Vec<Value>)> {
    let read = |(partition, uri): (Value, String)| {
        let reader = SerializedFileReader::new(bytes::Bytes::from(object(&uri))).expect("a Parquet file");
        let rows = reader.get_row_iter(None).expect("rows");
        (partition, rows.map(|row| plain(&Field::Group(row.expect("a row")))).collect())
    };
    walk().1.into_iter().map(read).collect()
}

/// All rows.
pub(super) fn rows() -> Vec<Value> {
    files().into_iter().flat_map(|(_, rows)| rows).collect()
}

/// Keys of files that no snapshot has.
pub(super) fn unreachable() -> Vec<String> {
    let (uris, _) = walk();
    let is_file = |key: &String| key.contains("/data/") || key.ends_with(".avro");
    bucket()
        .objects()
        .into_keys()
        .filter(is_file)
        .filter(|key| !uris.contains(&format!("s3://b/w/{key}")))
        .collect()
}

fn plain(field: &Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Bool(value) => json!(value),
        Field::Int(value) => json!(value),
        Field::Long(value) => json!(value),
        Field::Double(value) => json!(value),
        Field::Str(text) => json!(text),
        Field::Decimal(decimal) => json!(decimal.data()),
        Field::TimestampMicros(at) => json!(format!("at {at}")),
        Field::ListInternal(list) => list.elements().iter().map(plain).collect(),
        Field::Group(row) => {
            row.get_column_iter().map(|(name, field)| (name.clone(), plain(field))).collect()
        }
        other => panic!("{other:?}"),
    }
}
