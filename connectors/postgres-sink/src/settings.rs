//! The settings, as `settings.schema.json` describes them. Names are those of Kafka Connect's JDBC sink, with `_` for `.`.

use millrace_sdk::Problem;
use millrace_sdk::postgres::identifier;
use serde::Deserialize;

/// Settings of one sink.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Connection that is written to.
    pub connection: String,
    /// Where a record's row goes.
    #[serde(default = "topic")]
    pub table_name_format: String,
    /// What is done with it.
    #[serde(default)]
    pub insert_mode: InsertMode,
    /// Where its key comes from.
    #[serde(default)]
    pub pk_mode: PkMode,
    /// The key's columns.
    #[serde(default)]
    pub pk_fields: Vec<String>,
    /// Fields that are written; empty: all.
    #[serde(default)]
    pub fields_whitelist: Vec<String>,
    /// Whether tombstones delete.
    #[serde(default)]
    pub delete_enabled: bool,
    /// Whether missing tables are made.
    #[serde(default)]
    pub auto_create: bool,
    /// Whether missing columns are added.
    #[serde(default)]
    pub auto_evolve: bool,
    /// Most rows of a statement.
    #[serde(default = "batch_size")]
    pub batch_size: usize,
    /// Of whole numbers in columns of time.
    #[serde(default)]
    pub timestamp_unit: Unit,
    /// Table of positions.
    #[serde(default = "positions_table")]
    pub positions_table: String,
}

/// What is done with a row.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum InsertMode {
    /// It is added.
    #[default]
    Insert,
    /// It is added, or changed.
    Upsert,
    /// It is changed.
    Update,
}

/// Where a row's key comes from.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum PkMode {
    /// There is none.
    #[default]
    None,
    /// Topic, partition, offset.
    Kafka,
    /// The record's key.
    RecordKey,
    /// The record's value.
    RecordValue,
}

/// A unit of time.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Seconds.
    S,
    /// Milliseconds.
    #[default]
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
}

fn topic() -> String {
    "${topic}".to_owned()
}

fn batch_size() -> usize {
    3000
}

fn positions_table() -> String {
    "millrace_positions".to_owned()
}

/// Columns of `pk_mode: kafka`, unless `pk_fields` names others.
pub const KAFKA_KEY: [&str; 3] = ["__connect_topic", "__connect_partition", "__connect_offset"];

/// What may stand in `table_name_format`.
pub const PARTS: [&str; 3] = ["topic", "source.schema", "source.table"];

impl Settings {
    /// What is wrong beyond the schema.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |path: &str, message: &str| problems.push(Problem::error(path, message));
        if self.insert_mode != InsertMode::Insert && self.pk_mode == PkMode::None {
            problem("/pk_mode", "upsert and update need a key: record_key, record_value or kafka");
        }
        if self.insert_mode == InsertMode::Update && self.pk_mode == PkMode::Kafka {
            problem(
                "/pk_mode",
                "no row that is there has this record's offset; choose record_key or record_value",
            );
        }
        if self.pk_mode == PkMode::None && !self.pk_fields.is_empty() {
            problem("/pk_fields", "without a pk_mode nothing gives these columns a value");
        }
        if self.pk_mode == PkMode::RecordValue && self.pk_fields.is_empty() {
            problem("/pk_fields", "which fields of the value are the key?");
        }
        if self.pk_mode == PkMode::Kafka && !matches!(self.pk_fields.len(), 0 | 3) {
            problem("/pk_fields", "three names are needed: for topic, partition and offset");
        }
        if self.delete_enabled && !matches!(self.pk_mode, PkMode::RecordKey | PkMode::RecordValue) {
            problem(
                "/delete_enabled",
                "a row is deleted by its key: set pk_mode to record_key, or to record_value for Debezium's envelope",
            );
        }
        let mut rest = self.table_name_format.as_str();
        while let Some((_, after)) = rest.split_once("${") {
            let (part, behind) = after.split_once('}').unwrap_or((after, ""));
            if !PARTS.contains(&part) {
                problem("/table_name_format", "knows ${topic}, ${source.schema} and ${source.table} only");
                break;
            }
            rest = behind;
        }
        for (path, name) in
            [("/table_name_format", &self.table_name_format), ("/positions_table", &self.positions_table)]
        {
            if qualified(name).is_none() {
                problem(path, "is no name of a table: at most one dot, with something on both sides");
            }
        }
        problems
    }

    /// The table of positions as SQL writes it.
    pub fn positions(&self) -> String {
        match qualified(&self.positions_table) {
            Some((Some(schema), table)) => format!("{}.{}", identifier(schema), identifier(table)),
            Some((None, table)) => identifier(table),
            None => identifier(&self.positions_table),
        }
    }
}

/// Schema, if it is said, and table. Dots within `${...}` separate nothing.
pub fn qualified(name: &str) -> Option<(Option<&str>, &str)> {
    let mut depth = 0;
    let dots: Vec<usize> = name
        .char_indices()
        .filter(|(_, c)| {
            depth += i32::from(*c == '{') - i32::from(*c == '}');
            *c == '.' && depth == 0
        })
        .map(|(at, _)| at)
        .collect();
    match dots[..] {
        [] if !name.is_empty() => Some((None, name)),
        [at] if at > 0 && at + 1 < name.len() => Some((Some(&name[..at]), &name[at + 1..])),
        _ => None,
    }
}
