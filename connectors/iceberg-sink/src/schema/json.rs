//! Iceberg's schemas in JSON (specification, appendix C).

use millrace_connector_encode::types::{PRECISION_MAX, Type, Unit};
use serde_json::{Map, Value, json};

use super::{Column, Columns, Element, Kind};

/// Deepest nesting that is read.
const DEPTH_MAX: usize = 64;

impl Columns {
    /// Reads a schema.
    pub fn read(json: &Value) -> Result<Self, String> {
        let ids = json["identifier-field-ids"].as_array().into_iter().flatten();
        Ok(Self {
            schema_id: number(json, "schema-id").unwrap_or(0),
            fields: columns(json, 0)?,
            identifiers: ids.filter_map(|id| i32::try_from(id.as_i64()?).ok()).collect(),
        })
    }

    /// As metadata has it.
    pub fn json(&self) -> Value {
        let mut schema =
            json!({ "type": "struct", "schema-id": self.schema_id, "fields": fields(&self.fields) });
        if !self.identifiers.is_empty() {
            schema["identifier-field-ids"] = json!(self.identifiers);
        }
        schema
    }
}

fn number(json: &Value, name: &str) -> Option<i32> {
    json[name].as_i64().and_then(|id| i32::try_from(id).ok())
}

fn id(json: &Value, name: &str) -> Result<i32, String> {
    number(json, name).ok_or_else(|| format!("a schema without {name}"))
}

fn columns(json: &Value, depth: usize) -> Result<Vec<Column>, String> {
    let fields = json["fields"].as_array().ok_or("a schema without fields")?;
    let column = |field: &Value| {
        Ok(Column {
            id: id(field, "id")?,
            name: field["name"].as_str().ok_or("a column without a name")?.to_owned(),
            required: field["required"].as_bool().unwrap_or(false),
            kind: kind(&field["type"], depth + 1)?,
            doc: field["doc"].as_str().map(str::to_owned),
        })
    };
    fields.iter().map(column).collect()
}

fn kind(json: &Value, depth: usize) -> Result<Kind, String> {
    if depth > DEPTH_MAX {
        return Err(format!("types nested more than {DEPTH_MAX} deep"));
    }
    let element = |prefix: &str| {
        Ok::<_, String>(Box::new(Element {
            id: id(json, &format!("{prefix}-id"))?,
            required: json[format!("{prefix}-required")].as_bool().unwrap_or(false),
            kind: kind(&json[prefix], depth + 1)?,
        }))
    };
    Ok(match json["type"].as_str() {
        Some("struct") => Kind::Struct(columns(json, depth)?),
        Some("list") => Kind::List(element("element")?),
        Some("map") if json["key"] == "string" => {
            Kind::Map { key: id(json, "key-id")?, value: element("value")? }
        }
        Some(_) => Kind::Other(json.clone()),
        None => {
            let text = json.as_str().ok_or("a column without a type")?;
            leaf(text).map_or_else(|| Kind::Other(json.clone()), Kind::Leaf)
        }
    })
}

fn leaf(text: &str) -> Option<Type> {
    let timestamp = |local| Type::Timestamp { unit: Unit::Micros, local };
    Some(match text {
        "boolean" => Type::Boolean,
        "int" => Type::Int,
        "long" => Type::Long,
        "float" => Type::Float,
        "double" => Type::Double,
        "date" => Type::Date,
        "time" => Type::Time(Unit::Micros),
        "timestamp" => timestamp(true),
        "timestamptz" => timestamp(false),
        "string" => Type::Text,
        "binary" => Type::Bytes,
        other => {
            let (precision, scale) = other.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
            let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
            (1..=PRECISION_MAX).contains(&precision).then_some(Type::Decimal { precision, scale })?
        }
    })
}

/// A type without parts, by its name.
pub(super) fn leaf_name(ty: &Type) -> String {
    match ty {
        Type::Boolean => "boolean".to_owned(),
        Type::Int => "int".to_owned(),
        Type::Long => "long".to_owned(),
        Type::Float => "float".to_owned(),
        Type::Double => "double".to_owned(),
        Type::Text => "string".to_owned(),
        Type::Bytes => "binary".to_owned(),
        Type::Decimal { precision, scale } => format!("decimal({precision}, {scale})"),
        Type::Date => "date".to_owned(),
        Type::Time(_) => "time".to_owned(),
        Type::Timestamp { local: true, .. } => "timestamp".to_owned(),
        Type::Timestamp { local: false, .. } => "timestamptz".to_owned(),
        Type::List(_) => "list".to_owned(),
        Type::Map(_) => "map".to_owned(),
        Type::Struct(_) => "struct".to_owned(),
    }
}

fn fields(columns: &[Column]) -> Vec<Value> {
    let field = |column: &Column| {
        let mut field = Map::new();
        field.insert("id".into(), column.id.into());
        field.insert("name".into(), column.name.as_str().into());
        field.insert("required".into(), column.required.into());
        field.insert("type".into(), written(&column.kind));
        if let Some(doc) = &column.doc {
            field.insert("doc".into(), doc.as_str().into());
        }
        Value::Object(field)
    };
    columns.iter().map(field).collect()
}

fn written(kind: &Kind) -> Value {
    match kind {
        Kind::Leaf(ty) => leaf_name(ty).into(),
        Kind::Other(json) => json.clone(),
        Kind::List(element) => json!({
            "type": "list", "element-id": element.id, "element": written(&element.kind), "element-required": element.required,
        }),
        Kind::Map { key, value } => json!({
            "type": "map", "key-id": key, "key": "string", "value-id": value.id, "value": written(&value.kind),
            "value-required": value.required,
        }),
        Kind::Struct(columns) => json!({ "type": "struct", "fields": fields(columns) }),
    }
}
