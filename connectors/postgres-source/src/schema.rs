//! Kafka Connect's schemas for records, as its JsonConverter writes them and Debezium names them.
//!
//! Decimals, dates, times and intervals are strings with Debezium's semantic names for that (`decimal.handling.mode=string`,
//! `time.precision.mode=isostring`, `interval.handling.mode=string`): the only ones of its modes that hold every value of PostgreSQL.

use serde_json::{Value, json};

use crate::settings::{Format, Settings};
use crate::shape::{Field, Schemas};
use crate::types::Type;

/// The schemas of a table's records, as far as they are asked for.
pub(crate) fn of(settings: &Settings, full_name: &str, fields: &[Field], key: &[usize]) -> Schemas {
    if !settings.typed_keys() && !settings.typed_values() {
        return Schemas::default();
    }
    let name = format!("{}.{full_name}", settings.name());
    let key_fields: Vec<Value> = key.iter().map(|place| field(&fields[*place], false)).collect();
    let columns: Vec<Value> = fields
        .iter()
        .enumerate()
        .map(|(place, column)| field(column, !key.contains(&place)))
        .chain(
            settings
                .marks_deletes()
                .then(|| json!({ "type": "string", "optional": true, "field": "__deleted" })),
        )
        .collect();
    let row =
        json!({ "type": "struct", "optional": true, "name": format!("{name}.Value"), "fields": columns });
    let value = match settings.format {
        Format::Flat => row,
        Format::Debezium => json!({
            "type": "struct", "optional": false, "name": format!("{name}.Envelope"), "version": 2, "fields": [
                named(row.clone(), "before"), named(row, "after"), named(source(), "source"), named(transaction(), "transaction"),
                { "type": "string", "optional": false, "field": "op" },
                { "type": "int64", "optional": true, "field": "ts_ms" },
            ]
        }),
    };
    let key =
        json!({ "type": "struct", "optional": false, "name": format!("{name}.Key"), "fields": key_fields });
    Schemas {
        key: settings.typed_keys().then(|| key.to_string()),
        value: settings.typed_values().then(|| value.to_string()),
    }
}

fn named(mut schema: Value, field: &str) -> Value {
    schema["field"] = field.into();
    schema
}

fn field(column: &Field, optional: bool) -> Value {
    let mut schema = match &column.kind {
        Type::Scalar(scalar) => {
            let (kind, name) = scalar.schema();
            semantic(json!({ "type": kind, "optional": optional }), name)
        }
        Type::Array { element, .. } => {
            let (kind, name) = element.schema();
            let items = semantic(json!({ "type": kind, "optional": true }), name);
            json!({ "type": "array", "items": items, "optional": optional })
        }
    };
    schema["field"] = column.name.as_str().into();
    schema
}

fn semantic(mut schema: Value, name: Option<&str>) -> Value {
    if let Some(name) = name {
        schema["name"] = name.into();
        schema["version"] = 1.into();
    }
    schema
}

/// What the block `source` of a change holds.
fn source() -> Value {
    let field =
        |name: &str, kind: &str, optional: bool| json!({ "type": kind, "optional": optional, "field": name });
    json!({
        "type": "struct", "optional": false, "name": "io.debezium.connector.postgresql.Source", "version": 1, "fields": [
            field("version", "string", false), field("connector", "string", false), field("name", "string", false),
            field("ts_ms", "int64", false), field("snapshot", "string", true), field("db", "string", false),
            field("schema", "string", false), field("table", "string", false), field("txId", "int64", true),
            field("lsn", "int64", true), field("xmin", "int64", true),
        ]
    })
}

fn transaction() -> Value {
    json!({
        "type": "struct", "optional": true, "name": "event.block", "version": 1, "fields": [
            { "type": "string", "optional": false, "field": "id" },
            { "type": "int64", "optional": false, "field": "total_order" },
            { "type": "int64", "optional": false, "field": "data_collection_order" },
        ]
    })
}
