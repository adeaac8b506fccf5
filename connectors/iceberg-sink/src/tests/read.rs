//! Reads the table as an engine does: the newest metadata, its snapshot, the list of manifests, the manifests, the files, less what is deleted. Nothing
//! here is the sink's own: Avro is read by `apache-avro`, Parquet by the record reader of `parquet`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;

use apache_avro::types::Value as Avro;
use millrace_sdk::testing::object_store::bucket;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::{Value, json};

/// All that lies in the bucket, or in the folder.
pub(super) fn objects() -> BTreeMap<String, Vec<u8>> {
    let Some(root) = super::folder::root() else { return bucket().objects() };
    let (mut found, mut folders) = (BTreeMap::new(), vec![root.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let key = path.strip_prefix(&root).expect("below it").display().to_string();
            found.insert(key, std::fs::read(&path).expect("a file"));
        }
    }
    found
}

fn object(uri: &str) -> Vec<u8> {
    let key = uri.strip_prefix("s3://b/w/").or_else(|| uri.strip_prefix("file:///b/w/"));
    let key = key.unwrap_or_else(|| panic!("{uri} lies elsewhere"));
    objects().remove(key).unwrap_or_else(|| panic!("{uri} is not there"))
}

/// The newest metadata.
pub(super) fn metadata() -> Value {
    if let Some(table) = super::catalog::table() {
        return table;
    }
    let objects = objects();
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

/// All URIs, and what the newest snapshot's manifests say of its files, of deletes, too.
fn walk() -> (BTreeSet<String>, Vec<Value>) {
    let (mut uris, mut all) = (BTreeSet::new(), Vec::new());
    let table = metadata();
    for snapshot in table["snapshots"].as_array().into_iter().flatten() {
        let is_current = snapshot["snapshot-id"] == table["current-snapshot-id"];
        let list = snapshot["manifest-list"].as_str().expect("a list").to_owned();
        let mut totals: BTreeMap<&str, i64> = BTreeMap::new();
        for manifest in avro(object(&list)) {
            let uri = manifest["manifest_path"].as_str().expect("a URI").to_owned();
            let bytes = object(&uri);
            assert_eq!(manifest["manifest_length"], bytes.len(), "{uri}");
            let entries = avro(bytes);
            let count = |status: i32| entries.iter().filter(|entry| entry["status"] == status).count();
            for (status, name) in (0..).zip(["existing", "added", "deleted"]) {
                assert_eq!(manifest[format!("{name}_files_count")], count(status), "{uri}");
            }
            for mut entry in entries {
                // What is left out is the manifest's own; only of files that it adds may it be.
                for (name, own) in [
                    ("sequence_number", "sequence_number"),
                    ("file_sequence_number", "sequence_number"),
                    ("snapshot_id", "added_snapshot_id"),
                ] {
                    if entry[name].is_null() {
                        assert_eq!(entry["status"], 1, "{uri}");
                        entry[name] = manifest[own].clone();
                    }
                }
                assert!(
                    entry["status"] == 2
                        || manifest["min_sequence_number"].as_i64() <= entry["sequence_number"].as_i64(),
                    "{uri}"
                );
                if is_current {
                    all.push(entry.clone());
                }
                let file = &entry["data_file"];
                let uri = file["file_path"].as_str().expect("a URI").to_owned();
                if entry["status"] == 2 {
                    assert_eq!(entry["snapshot_id"], manifest["added_snapshot_id"], "{uri}");
                    uris.insert(uri);
                    continue;
                }
                let content = file["content"].as_i64().expect("a content");
                assert_eq!(manifest["content"], i64::from(content > 0), "{uri}");
                assert_eq!(content == 2, file["equality_ids"].as_array().is_some_and(|ids| !ids.is_empty()));
                let names = [
                    ["total-data-files", "total-records"],
                    ["total-delete-files", "total-position-deletes"],
                    ["total-delete-files", "total-equality-deletes"],
                ][content as usize];
                *totals.entry(names[0]).or_default() += 1;
                *totals.entry(names[1]).or_default() += file["record_count"].as_i64().expect("a count");
                *totals.entry("total-files-size").or_default() +=
                    file["file_size_in_bytes"].as_i64().expect("a size");
                if is_current {
                    assert_eq!(file["file_size_in_bytes"], object(&uri).len(), "{uri}");
                }
                uris.insert(uri);
            }
            uris.insert(uri);
        }
        let names =
            ["data-files", "records", "delete-files", "position-deletes", "equality-deletes", "files-size"];
        for name in names.map(|name| format!("total-{name}")) {
            let total = totals.get(name.as_str()).copied().unwrap_or(0);
            assert_eq!(snapshot["summary"][&name], total.to_string(), "{name}");
        }
        uris.insert(list);
    }
    (uris, all)
}

/// What manifests say of the files that are there, with what they leave out.
pub(super) fn entries() -> Vec<Value> {
    walk().1
}

/// The same manifest as a writer makes it that has less to say of files.
pub(super) fn with_fewer_columns(manifest: &[u8]) -> Vec<u8> {
    let reader = apache_avro::Reader::new(Cursor::new(manifest)).expect("an Avro file");
    let mut schema: Value = serde_json::from_str(&schema_of(manifest)).expect("JSON");
    let is_kept = |field: &Value| field["name"] != "split_offsets";
    let file = schema["fields"].as_array_mut().and_then(|fields| fields.last_mut()).expect("a data file");
    file["type"]["fields"].as_array_mut().expect("fields").retain(is_kept);
    let schema = apache_avro::Schema::parse_str(&schema.to_string()).expect("a schema");
    let mut writer = apache_avro::Writer::new(&schema, Vec::new()).expect("a writer");
    for entry in reader {
        let Avro::Record(mut entry) = entry.expect("a row") else { panic!("a record") };
        for (name, value) in &mut entry {
            if let ("data_file", Avro::Record(file)) = (name.as_str(), value) {
                file.retain(|(name, _)| name != "split_offsets");
            }
        }
        writer.append_value(Avro::Record(entry)).expect("written");
    }
    writer.into_inner().expect("finished")
}

/// The same Avro file with rows that `change` has changed; without such for which it says false.
pub(super) fn with_rows(file: &[u8], mut change: impl FnMut(&mut Vec<(String, Avro)>) -> bool) -> Vec<u8> {
    let reader = apache_avro::Reader::new(Cursor::new(file)).expect("an Avro file");
    let schema = apache_avro::Schema::parse_str(&schema_of(file)).expect("a schema");
    let mut writer = apache_avro::Writer::new(&schema, Vec::new()).expect("a writer");
    for row in reader {
        let Avro::Record(mut row) = row.expect("a row") else { panic!("a record") };
        if change(&mut row) {
            writer.append_value(Avro::Record(row)).expect("written");
        }
    }
    writer.into_inner().expect("finished")
}

/// The schema that stands in a file's header.
fn schema_of(file: &[u8]) -> String {
    let text = String::from_utf8_lossy(file);
    let from = text.find("{\"fields\"").or_else(|| text.find("{\"type\":\"record\"")).expect("a schema");
    let mut values = serde_json::Deserializer::from_str(&text[from..]).into_iter::<Value>();
    values.next().expect("JSON").expect("a schema").to_string()
}

/// Puts another manifest in the place of one, and its size into all lists.
pub(super) fn replace_manifest(key: &str, bytes: &[u8]) {
    use millrace_sdk::object_store::{Condition, Store};
    let (store, uri) = (Store::new("lake"), format!("s3://b/w/{key}"));
    store.put(key, bytes, Condition::Always).expect("put");
    for (list, old) in bucket().objects().into_iter().filter(|(key, _)| key.contains("-snapshot-")) {
        let reader = apache_avro::Reader::new(Cursor::new(&old)).expect("an Avro file");
        let schema = apache_avro::Schema::parse_str(&schema_of(&old)).expect("a schema");
        let mut writer = apache_avro::Writer::new(&schema, Vec::new()).expect("a writer");
        for row in reader {
            let Avro::Record(mut row) = row.expect("a row") else { panic!("a record") };
            if row[0].1 == Avro::String(uri.clone()) {
                row[1].1 = Avro::Long(bytes.len() as i64);
            }
            writer.append_value(Avro::Record(row)).expect("written");
        }
        store.put(&list, writer.into_inner().expect("finished"), Condition::Always).expect("put");
    }
}

/// The rows of a file.
fn contents(uri: &Value) -> Vec<Value> {
    let bytes = object(uri.as_str().expect("a URI"));
    let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).expect("a Parquet file");
    let rows = reader.get_row_iter(None).expect("rows");
    rows.map(|row| plain(&Field::Group(row.expect("a row")))).collect()
}

/// For each data file its partition and its rows, without those that are deleted (specification, "Scan Planning").
pub(super) fn files() -> Vec<(Value, Vec<Value>)> {
    let there = entries().into_iter().filter(|entry| entry["status"] != 2);
    let (data, deletes): (Vec<Value>, Vec<Value>) =
        there.partition(|entry| entry["data_file"]["content"] == 0);
    let deletes: Vec<(Value, Vec<Value>)> = deletes
        .into_iter()
        .map(|entry| (entry["data_file"]["file_path"].clone(), entry))
        .map(|(uri, entry)| (entry, contents(&uri)))
        .collect();
    for (entry, rows) in &deletes {
        if entry["data_file"]["content"] == 1 {
            let place = |row: &Value| (row["file_path"].to_string(), row["pos"].as_i64());
            assert!(rows.is_sorted_by_key(place), "{rows:?}");
        }
    }
    let is_unpartitioned = |partition: &Value| partition.as_object().is_some_and(serde_json::Map::is_empty);
    let read = |entry: Value| {
        let file = &entry["data_file"];
        let is_gone = |(at, row): (i64, &Value)| {
            deletes.iter().any(|(by, rows)| {
                let (own, its) = (entry["sequence_number"].as_i64(), by["sequence_number"].as_i64());
                let partition = &by["data_file"]["partition"];
                match by["data_file"]["content"].as_i64() {
                    Some(1) => {
                        partition == &file["partition"]
                            && own <= its
                            && rows
                                .iter()
                                .any(|place| place["file_path"] == file["file_path"] && place["pos"] == at)
                    }
                    _ => {
                        (partition == &file["partition"] || is_unpartitioned(partition))
                            && own < its
                            && rows.iter().any(|key| {
                                key.as_object()
                                    .expect("a key")
                                    .iter()
                                    .all(|(name, value)| row[name] == *value)
                            })
                    }
                }
            })
        };
        let rows = contents(&file["file_path"]);
        let left = (0..).zip(&rows).filter(|one| !is_gone(*one)).map(|(_, row)| row.clone());
        (file["partition"].clone(), left.collect())
    };
    data.into_iter().map(read).collect()
}

/// All rows.
pub(super) fn rows() -> Vec<Value> {
    files().into_iter().flat_map(|(_, rows)| rows).collect()
}

/// Keys of files that no snapshot has.
pub(super) fn unreachable() -> Vec<String> {
    let (uris, _) = walk();
    let is_file = |key: &String| key.contains("/data/") || key.ends_with(".avro") || key.ends_with(".new");
    objects()
        .into_keys()
        .filter(is_file)
        .filter(|key| {
            !uris.contains(&format!("s3://b/w/{key}")) && !uris.contains(&format!("file:///b/w/{key}"))
        })
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
