//! The settings, as `settings.schema.json` describes them.

use std::collections::BTreeMap;

use millrace_connector_encode::Codec;
use millrace_connector_encode::content::NullValues;
use millrace_connector_encode::types::{Schema, avro};
use millrace_sdk::Problem;
use millrace_sdk::settings::{Size, Span};
use serde::Deserialize;
use serde_json::Value;

use crate::file::PART_BYTES;
use crate::key;
use crate::partition::{FIELDS_MAX, transform};
use crate::place::Warehouse;

/// What catalogs take for commands, or keep for themselves.
const RESERVED: [&str; 8] = [
    "format-version",
    "uuid",
    "snapshot-count",
    "current-snapshot-id",
    "current-snapshot-summary",
    "current-snapshot-timestamp-ms",
    "current-schema",
    "default-partition-spec",
];

/// Settings of one sink.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Connection to the data.
    pub connection: Option<String>,
    /// Folder of the data.
    pub folder: Option<String>,
    /// What either leads to.
    pub warehouse: Option<String>,
    /// Connection to a REST catalog.
    pub catalog_connection: Option<String>,
    /// What the catalog calls its warehouse.
    pub catalog_warehouse: Option<String>,
    /// Namespace and name.
    pub table: String,
    /// Whether a missing table is made.
    #[serde(default)]
    pub auto_create: bool,
    /// Whether the table's columns change.
    #[serde(default)]
    pub auto_evolve: bool,
    /// What records are, as an Avro schema.
    pub schema: Option<String>,
    /// How a new table divides its rows.
    #[serde(default)]
    pub partition_by: Vec<String>,
    /// Properties of the table.
    #[serde(default)]
    pub table_properties: BTreeMap<String, Value>,
    /// Whether old snapshots are expired.
    #[serde(default)]
    pub expire_snapshots: bool,
    /// Whether small data files are merged.
    #[serde(default)]
    pub merge_files: bool,
    /// Time between two commits.
    #[serde(default = "default_interval")]
    pub commit_interval: Span,
    /// Size of a data file.
    #[serde(default = "default_target")]
    pub target_file_size: Size,
    /// How data files are compressed.
    #[serde(default)]
    pub compression: Compression,
    /// Most bytes held.
    #[serde(default = "default_buffer")]
    pub buffer: Size,
    /// Records without a value.
    #[serde(default)]
    pub behavior_on_null_values: NullValues,
    /// What is done with a row.
    #[serde(default)]
    pub insert_mode: InsertMode,
    /// Where its key comes from.
    #[serde(default)]
    pub pk_mode: PkMode,
    /// The key's columns.
    #[serde(default)]
    pub pk_fields: Vec<String>,
    /// Whether rows are deleted.
    #[serde(default)]
    pub delete_enabled: bool,
}

/// What is done with a row.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum InsertMode {
    /// It is added.
    #[default]
    Insert,
    /// It takes the place of the one with its key.
    Upsert,
}

/// Where a row's key comes from.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum PkMode {
    /// There is none.
    #[default]
    None,
    /// The record's key.
    RecordKey,
    /// The record's value.
    RecordValue,
}

/// How data files are compressed.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip
    Gzip,
    /// Snappy
    #[default]
    Snappy,
}

fn default_interval() -> Span {
    Span::from_ms(300_000)
}

fn default_target() -> Size {
    Size::from_bytes(128 << 20)
}

fn default_buffer() -> Size {
    Size::from_bytes(64 << 20)
}

/// Properties that are read here, and are whole numbers.
const NUMBERS: [&str; 5] = [
    "commit.manifest.min-count-to-merge",
    "commit.manifest.target-size-bytes",
    "history.expire.max-snapshot-age-ms",
    "history.expire.min-snapshots-to-keep",
    "write.metadata.previous-versions-max",
];
/// Properties that are read here, and are true or false.
const FLAGS: [&str; 2] = ["commit.manifest-merge.enabled", "write.metadata.delete-after-commit.enabled"];

impl Settings {
    /// How pages are compressed.
    pub fn codec(&self) -> Codec {
        match self.compression {
            Compression::None => Codec::None,
            Compression::Gzip => Codec::Gzip,
            Compression::Snappy => Codec::Snappy,
        }
    }

    /// The fields of `schema`.
    pub fn fields(&self) -> Option<Result<Schema, String>> {
        self.schema.as_deref().map(avro::read)
    }

    /// Whether rows have keys, and take the place of others.
    pub fn upserts(&self) -> bool {
        self.insert_mode == InsertMode::Upsert
    }

    /// The URI of what the connection or the folder leads to.
    pub fn warehouse(&self) -> Result<Warehouse, String> {
        match (&self.folder, &self.warehouse) {
            (Some(_), Some(uri)) => Warehouse::of_folder(uri),
            (None, Some(uri)) => Warehouse::new(uri),
            (_, None) => Err("it is missing: the URI by which readers find the table".to_owned()),
        }
    }

    /// Namespace and name.
    pub fn names(&self) -> Vec<&str> {
        self.table.split('.').collect()
    }

    /// Properties that the table is to have, as it has them: text.
    pub fn properties(&self) -> BTreeMap<String, String> {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        self.table_properties.iter().map(|(name, value)| (name.clone(), text(value))).collect()
    }

    /// Checks beyond the schema.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |path: &str, message: &str| problems.push(Problem::error(path, message));
        match (&self.connection, &self.folder) {
            (None, None) => {
                wrong("", "connection (a bucket) or folder is missing: where the table's files go")
            }
            (Some(_), Some(_)) => wrong("/folder", "connection or folder, not both"),
            _ => {
                if let Err(why) = self.warehouse() {
                    wrong("/warehouse", &why);
                }
            }
        }
        if self.folder.is_some() && self.catalog_connection.is_some() {
            wrong("/catalog_connection", "a folder's tables need no catalog: leave it out");
        }
        let is_name =
            |name: &&str| !name.is_empty() && !name.contains(['/', '\\']) && !name.contains(char::is_control);
        if self.names().len() < 2 || !self.names().iter().all(is_name) {
            wrong("/table", "a namespace and a name, such as sales.orders");
        }
        if self.catalog_warehouse.is_some() && self.catalog_connection.is_none() {
            wrong("/catalog_warehouse", "only a REST catalog has it: give catalog_connection, too");
        }
        if let Some(Err(why)) = self.fields() {
            wrong("/schema", &why);
        }
        if self.buffer.bytes() < PART_BYTES {
            wrong("/buffer", "at least 8MiB");
        }
        if self.target_file_size.bytes_u64() == 0 {
            wrong("/target_file_size", "more than zero");
        }
        for (name, value) in self.properties() {
            let place = format!("/table_properties/{}", name.replace('~', "~0").replace('/', "~1"));
            let name = name.as_str();
            if name.starts_with("millrace.") || RESERVED.contains(&name) {
                wrong(&place, &format!("{name} is not a property that can be chosen"));
            } else if NUMBERS.contains(&name) && value.parse::<i64>().map_or(true, i64::is_negative) {
                wrong(&place, &format!("{name} is a whole number"));
            } else if FLAGS.contains(&name) && !matches!(value.as_str(), "true" | "false") {
                wrong(&place, &format!("{name} is true or false"));
            }
        }
        if self.partition_by.len() > FIELDS_MAX {
            wrong("/partition_by", &format!("at most {FIELDS_MAX}"));
        }
        for (at, text) in self.partition_by.iter().enumerate() {
            match transform::parse(text) {
                Err(why) => problems.push(Problem::error(format!("/partition_by/{at}"), why)),
                Ok((_, path)) if self.upserts() && !self.pk_fields.is_empty() => {
                    if !self.pk_fields.iter().any(|name| name == path) {
                        let why = key::division_told(path, &self.pk_fields);
                        problems.push(Problem::error(format!("/partition_by/{at}"), why));
                    }
                }
                Ok(_) => {}
            }
        }
        problems.extend(self.key_problems());
        problems
    }

    /// What is wrong about the key.
    fn key_problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |path: &str, message: &str| problems.push(Problem::error(path, message));
        match (self.insert_mode, self.pk_mode) {
            (InsertMode::Upsert, PkMode::None) => {
                wrong("/pk_mode", "upsert needs a key: record_key or record_value");
            }
            (InsertMode::Insert, PkMode::RecordKey | PkMode::RecordValue) => {
                wrong("/pk_mode", "rows that are only added have no key; set insert_mode to upsert");
            }
            (InsertMode::Insert, PkMode::None) if !self.pk_fields.is_empty() => {
                wrong("/pk_fields", "rows that are only added have no key; set insert_mode to upsert");
            }
            _ => {}
        }
        if self.pk_mode == PkMode::RecordValue && self.pk_fields.is_empty() {
            wrong("/pk_fields", "which fields of the value are the key?");
        }
        for (at, name) in self.pk_fields.iter().enumerate() {
            if self.pk_fields[..at].contains(name) {
                wrong(&format!("/pk_fields/{at}"), "it is there twice");
            }
            if let Some(Ok(schema)) = self.fields()
                && let Some(field) = schema.fields.iter().find(|field| field.name == *name)
                && !key::can_be_key(&field.slot.ty)
            {
                wrong(&format!("/pk_fields/{at}"), &key::type_told(name));
            }
        }
        if self.merge_files && self.upserts() {
            wrong(
                "/merge_files",
                "files of a table with deletes are not merged; let an engine do it, or leave it out",
            );
        }
        if self.delete_enabled && !self.upserts() {
            wrong("/delete_enabled", "a row is deleted by its key: set insert_mode to upsert");
        }
        if self.delete_enabled && self.behavior_on_null_values == NullValues::Ignore {
            wrong(
                "/behavior_on_null_values",
                "with delete_enabled a record without a value deletes its row; leave it out",
            );
        }
        problems
    }
}
