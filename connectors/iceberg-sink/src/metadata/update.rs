//! Changes of metadata, in the words of the REST catalog's protocol, and what they make of it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{MAIN, Metadata};

/// Earlier metadata files that metadata names, unless the table says otherwise.
const PREVIOUS_MAX: usize = 100;

/// One change.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Update {
    /// A schema is added.
    #[serde(rename_all = "kebab-case")]
    AddSchema {
        /// The schema.
        schema: Value,
        /// The highest id of its columns.
        last_column_id: i32,
    },
    /// The schema of this id is written from now on; -1: the one that was just added.
    #[serde(rename_all = "kebab-case")]
    SetCurrentSchema {
        /// Its id.
        schema_id: i32,
    },
    /// A snapshot is added.
    AddSnapshot {
        /// The snapshot.
        snapshot: Snapshot,
    },
    /// A branch leads to this snapshot from now on.
    #[serde(rename_all = "kebab-case")]
    SetSnapshotRef {
        /// The branch.
        ref_name: &'static str,
        /// `branch`
        r#type: &'static str,
        /// The snapshot.
        snapshot_id: i64,
    },
    /// Snapshots are forgotten.
    #[serde(rename_all = "kebab-case")]
    RemoveSnapshots {
        /// Their ids.
        snapshot_ids: Vec<i64>,
    },
    /// Properties are set.
    SetProperties {
        /// By name.
        updates: BTreeMap<String, String>,
    },
}

/// A state of the table's data.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Snapshot {
    /// Its id.
    pub snapshot_id: i64,
    /// The one that it was made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_snapshot_id: Option<i64>,
    /// Its place in the order of all.
    pub sequence_number: i64,
    /// When it was made.
    pub timestamp_ms: i64,
    /// Where its manifests are listed.
    pub manifest_list: String,
    /// What was done.
    pub summary: BTreeMap<&'static str, String>,
    /// The schema that was written by.
    pub schema_id: i32,
}

impl Update {
    /// The main branch leads to this snapshot.
    pub fn set_main(snapshot_id: i64) -> Self {
        Self::SetSnapshotRef { ref_name: MAIN, r#type: "branch", snapshot_id }
    }
}

impl Metadata {
    /// The metadata after these changes. `location` is where the metadata before lies.
    #[must_use]
    pub fn apply(&self, updates: &[Update], location: Option<&str>, now_ms: i64) -> Self {
        let mut map = self.0.clone();
        // Readers expect that time goes on.
        let now = now_ms.max(self.updated_ms());
        if let Some(location) = location {
            let most =
                self.property("write.metadata.previous-versions-max").and_then(|text| text.parse().ok());
            let log = list(&mut map, "metadata-log");
            log.push(json!({ "timestamp-ms": self.updated_ms(), "metadata-file": location }));
            let spare = log.len().saturating_sub(most.unwrap_or(PREVIOUS_MAX).max(1));
            log.drain(..spare);
        }
        map.insert("last-updated-ms".into(), now.into());
        for update in updates {
            one(&mut map, update, now);
        }
        Self(map)
    }
}

fn list<'m>(map: &'m mut Map<String, Value>, name: &str) -> &'m mut Vec<Value> {
    let place = map.entry(name).or_insert(Value::Null);
    if !place.is_array() {
        *place = json!([]);
    }
    place.as_array_mut().expect("it was just made an array")
}

fn object<'m>(map: &'m mut Map<String, Value>, name: &str) -> &'m mut Map<String, Value> {
    let place = map.entry(name).or_insert(Value::Null);
    if !place.is_object() {
        *place = json!({});
    }
    place.as_object_mut().expect("it was just made an object")
}

fn one(map: &mut Map<String, Value>, update: &Update, now_ms: i64) {
    match update {
        Update::AddSchema { schema, last_column_id } => {
            list(map, "schemas").push(schema.clone());
            map.insert("last-column-id".into(), (*last_column_id).into());
        }
        Update::SetCurrentSchema { schema_id } => {
            let added = list(map, "schemas").last().and_then(|schema| schema["schema-id"].as_i64());
            let id = if *schema_id < 0 { added.unwrap_or(0) } else { i64::from(*schema_id) };
            map.insert("current-schema-id".into(), id.into());
        }
        Update::AddSnapshot { snapshot } => {
            map.insert("last-sequence-number".into(), snapshot.sequence_number.into());
            list(map, "snapshots").push(json!(snapshot));
        }
        Update::SetSnapshotRef { ref_name, r#type, snapshot_id } => {
            let kept = object(map, "refs").entry(*ref_name).or_insert_with(|| json!({}));
            kept["snapshot-id"] = (*snapshot_id).into();
            kept["type"] = (*r#type).into();
            if *ref_name == MAIN {
                map.insert("current-snapshot-id".into(), (*snapshot_id).into());
                list(map, "snapshot-log").push(json!({ "timestamp-ms": now_ms, "snapshot-id": snapshot_id }));
            }
        }
        Update::RemoveSnapshots { snapshot_ids } => {
            // What is known of a snapshot goes with it.
            for name in ["snapshots", "snapshot-log", "statistics", "partition-statistics"] {
                if map.contains_key(name) {
                    let is_gone =
                        |of: &Value| of["snapshot-id"].as_i64().is_some_and(|id| snapshot_ids.contains(&id));
                    list(map, name).retain(|of| !is_gone(of));
                }
            }
        }
        Update::SetProperties { updates } => {
            let properties = object(map, "properties");
            properties.extend(updates.iter().map(|(name, value)| (name.clone(), value.as_str().into())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_kept_and_updates_read_as_the_protocol_has_them() {
        let before = json!({
            "format-version": 2, "table-uuid": "u", "location": "s3://b/t", "last-updated-ms": 90, "current-schema-id": 0,
            "schemas": [{ "type": "struct", "schema-id": 0, "fields": [] }], "default-spec-id": 0,
            "partition-specs": [{ "spec-id": 0, "fields": [] }], "refs": { "main": { "snapshot-id": 1, "type": "branch", "max-ref-age-ms": 7 } },
            "properties": { "theirs": "1" }, "encryption-keys": [7], "snapshots": [{ "snapshot-id": 1 }],
            "snapshot-log": [{ "snapshot-id": 1 }], "statistics": [{ "snapshot-id": 1 }],
        });
        let before = Metadata::read(before).expect("metadata");
        let snapshot = Snapshot {
            snapshot_id: 2,
            parent_snapshot_id: Some(1),
            sequence_number: 5,
            timestamp_ms: 100,
            manifest_list: "s3://b/t/l".into(),
            summary: BTreeMap::from([("operation", "append".to_owned())]),
            schema_id: 0,
        };
        let updates = [
            Update::AddSnapshot { snapshot },
            Update::set_main(2),
            Update::RemoveSnapshots { snapshot_ids: vec![1] },
            Update::SetProperties { updates: BTreeMap::from([("ours".to_owned(), "2".to_owned())]) },
        ];
        assert_eq!(
            json!(updates[1]),
            json!({ "action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": 2 })
        );
        assert_eq!(json!(updates[2]), json!({ "action": "remove-snapshots", "snapshot-ids": [1] }));
        assert_eq!(json!(updates[0])["snapshot"]["parent-snapshot-id"], 1);
        // The clock went back meanwhile.
        let after = before.apply(&updates, Some("s3://b/t/v1"), 50);
        let after: Value = serde_json::from_slice(&after.bytes()).expect("JSON");
        assert_eq!(after["encryption-keys"], json!([7]));
        assert_eq!((&after["snapshots"][0]["snapshot-id"], &after["statistics"]), (&json!(2), &json!([])));
        assert_eq!(after["properties"], json!({ "theirs": "1", "ours": "2" }));
        assert_eq!(after["refs"]["main"], json!({ "snapshot-id": 2, "type": "branch", "max-ref-age-ms": 7 }));
        assert_eq!((&after["last-updated-ms"], &after["last-sequence-number"]), (&json!(90), &json!(5)));
        assert_eq!(after["metadata-log"], json!([{ "timestamp-ms": 90, "metadata-file": "s3://b/t/v1" }]));
        assert_eq!(after["snapshot-log"][0]["snapshot-id"], 2);
    }

    #[test]
    fn other_versions_of_the_format_are_refused() {
        let why = Metadata::read(json!({ "format-version": 3 })).expect_err("refused");
        assert_eq!(why, "the table has version 3 of the format; this sink writes 2");
    }
}
