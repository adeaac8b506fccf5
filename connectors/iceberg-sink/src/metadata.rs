//! A table's metadata: JSON (specification, appendix C), of which this sink knows what it needs and keeps the rest as it is.
//!
//! What changes is a list of [`Update`]s, as a REST catalog is sent them. Where no catalog runs, [`Metadata::apply`] makes the next
//! metadata of them.

pub mod history;
pub mod update;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

pub use self::update::{Snapshot, Update};
use crate::partition::Spec;
use crate::schema::Columns;

/// The branch that is written.
pub const MAIN: &str = "main";
/// The format's version that is written.
const VERSION: i64 = 2;
/// Partition fields are numbered from here on.
pub const PARTITION_IDS: i32 = 1000;

/// A table's metadata.
#[derive(Clone, Debug, PartialEq)]
pub struct Metadata(Map<String, Value>);

impl Metadata {
    /// A new table's.
    pub fn new(
        uuid: &str,
        location: &str,
        columns: &Columns,
        last_column: i32,
        spec: &Spec,
        now_ms: i64,
    ) -> Self {
        let Value::Object(map) = json!({
            "format-version": VERSION,
            "table-uuid": uuid,
            "location": location,
            "last-sequence-number": 0,
            "last-updated-ms": now_ms,
            "last-column-id": last_column,
            "current-schema-id": columns.schema_id,
            "schemas": [columns.json()],
            "default-spec-id": spec.id,
            "partition-specs": [spec.json()],
            "last-partition-id": spec.last_id(),
            "default-sort-order-id": 0,
            "sort-orders": [{ "order-id": 0, "fields": [] }],
            "properties": {},
            "current-snapshot-id": -1,
            "refs": {},
            "snapshots": [],
            "statistics": [],
            "snapshot-log": [],
            "metadata-log": [],
        }) else {
            return Self(Map::new());
        };
        Self(map)
    }

    /// What a REST catalog is asked to make such a table by.
    pub fn request(&self, name: &str) -> Value {
        let first = |list: &str| self.list(list).first().cloned().unwrap_or_default();
        let mut properties = self.0.get("properties").cloned().unwrap_or_else(|| json!({}));
        // For catalogs that would make another one.
        properties["format-version"] = VERSION.to_string().into();
        json!({
            "name": name,
            "location": self.location(),
            "schema": first("schemas"),
            "partition-spec": first("partition-specs"),
            "write-order": first("sort-orders"),
            "stage-create": false,
            "properties": properties,
        })
    }

    /// Reads what a catalog holds.
    pub fn read(json: Value) -> Result<Self, String> {
        let Value::Object(map) = json else { return Err("it is no JSON object".to_owned()) };
        match map.get("format-version").and_then(Value::as_i64) {
            Some(VERSION) => {}
            Some(other) => {
                return Err(format!(
                    "the table has version {other} of the format; this sink writes {VERSION}"
                ));
            }
            None => return Err("it names no version of the format".to_owned()),
        }
        let metadata = Self(map);
        metadata.columns()?;
        metadata.spec()?;
        Ok(metadata)
    }

    /// As it is written.
    pub fn bytes(&self) -> Vec<u8> {
        Value::Object(self.0.clone()).to_string().into_bytes()
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn number(&self, name: &str) -> i64 {
        self.0.get(name).and_then(Value::as_i64).unwrap_or(0)
    }

    fn list(&self, name: &str) -> &[Value] {
        self.0.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// Which table it is, whatever its name.
    pub fn uuid(&self) -> &str {
        self.text("table-uuid")
    }

    /// The URI that its files lie below.
    pub fn location(&self) -> &str {
        self.text("location").trim_end_matches('/')
    }

    /// The id of the schema that is written by now.
    pub fn schema_id(&self) -> i64 {
        self.number("current-schema-id")
    }

    /// The columns that are written now.
    pub fn columns(&self) -> Result<Columns, String> {
        let current = self.schema_id();
        let schema = self.list("schemas").iter().find(|schema| schema["schema-id"].as_i64() == Some(current));
        Columns::read(schema.ok_or("its current schema is missing")?)
    }

    /// The highest id that a column ever had.
    pub fn last_column(&self) -> i32 {
        i32::try_from(self.number("last-column-id")).unwrap_or(i32::MAX)
    }

    /// A schema's id that none has yet.
    pub fn next_schema(&self) -> i32 {
        let ids = self.list("schemas").iter().filter_map(|schema| schema["schema-id"].as_i64());
        i32::try_from(ids.max().unwrap_or(-1) + 1).unwrap_or(i32::MAX)
    }

    /// How rows are divided among files now.
    pub fn spec(&self) -> Result<Spec, String> {
        let current = self.number("default-spec-id");
        let spec = self.list("partition-specs").iter().find(|spec| spec["spec-id"].as_i64() == Some(current));
        Spec::read(spec.ok_or("its default partition spec is missing")?)
    }

    /// A property.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.0.get("properties")?.get(name)?.as_str()
    }

    /// The snapshot that readers of the main branch see.
    pub fn snapshot(&self) -> Option<&Value> {
        let id = self.snapshot_id()?;
        self.list("snapshots").iter().find(|snapshot| snapshot["snapshot-id"].as_i64() == Some(id))
    }

    /// Its id.
    pub fn snapshot_id(&self) -> Option<i64> {
        let main =
            self.0.get("refs").and_then(|refs| refs.get(MAIN)).and_then(|main| main["snapshot-id"].as_i64());
        main.or_else(|| self.0.get("current-snapshot-id").and_then(Value::as_i64).filter(|id| *id >= 0))
    }

    /// The number of the last snapshot of any branch, by which writers are ordered.
    pub fn sequence(&self) -> i64 {
        self.number("last-sequence-number")
    }

    /// Earlier metadata files that the table has no need of any more, if it wants them removed: those that the metadata before named, and this one
    /// doesn't.
    pub fn spare(&self, before: &Self) -> Vec<String> {
        if self.property("write.metadata.delete-after-commit.enabled").is_none_or(|text| text != "true") {
            return Vec::new();
        }
        let named = |metadata: &Self| -> BTreeSet<String> {
            let files = metadata.list("metadata-log").iter().filter_map(|of| of["metadata-file"].as_str());
            files.map(str::to_owned).collect()
        };
        named(before).difference(&named(self)).cloned().collect()
    }

    /// When it was last changed.
    pub fn updated_ms(&self) -> i64 {
        self.number("last-updated-ms")
    }

    /// Properties that begin so.
    pub fn properties(&self, prefix: &str) -> BTreeMap<&str, &str> {
        let all = self.0.get("properties").and_then(Value::as_object).into_iter().flatten();
        all.filter(|(name, _)| name.starts_with(prefix))
            .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
            .collect()
    }
}
