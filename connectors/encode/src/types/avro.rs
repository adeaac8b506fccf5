//! Avro's schemas: read from the setting `schema`, and written into Avro files.

use std::collections::BTreeMap;

use super::{Field, PRECISION_MAX, Schema, Slot, Type, Unit};
use crate::json::Json;

/// Columns of a schema in Avro's JSON: a record. Enumerations are read as text, fixed as bytes; a record may be named again, but not
/// hold itself.
pub fn read(text: &str) -> Result<Schema, String> {
    let json = Json::read(text).map_err(|error| error.to_string())?;
    let name = json.member("name").and_then(Json::text).unwrap_or("Record").to_owned();
    let slot = Names::default().slot(&json)?;
    Schema::of(&name, slot.ty)
}

/// Named types that were seen; none: it is being read.
#[derive(Default)]
struct Names(BTreeMap<String, Option<Type>>);

impl Names {
    fn slot(&mut self, json: &Json<'_>) -> Result<Slot, String> {
        let Json::Array(union) = json else { return Ok(Slot { ty: self.ty(json)?, optional: false }) };
        let is_null = |branch: &&Json<'_>| branch.text() == Some("null");
        let branches: Vec<&Json<'_>> = union.iter().filter(|branch| !is_null(branch)).collect();
        match branches[..] {
            [one] => Ok(Slot { ty: self.ty(one)?, optional: union.len() > 1 }),
            _ => Err("a union of more than null and one type".to_owned()),
        }
    }

    fn ty(&mut self, json: &Json<'_>) -> Result<Type, String> {
        if let Some(name) = json.text() {
            return self.named(name);
        }
        let Json::Object(_) = json else { return Err("neither a type's name nor a schema".to_owned()) };
        let ty = json.member("type").ok_or("a schema without a type")?;
        let Some(base) = ty.text() else {
            // {"type": {"type": ...}}
            return self.ty(ty);
        };
        let logical = json.member("logicalType").and_then(Json::text).unwrap_or_default();
        let timestamp = |unit, local| Type::Timestamp { unit, local };
        Ok(match (base, logical) {
            ("bytes" | "fixed", "decimal") => {
                let ty = decimal(json)?;
                self.note(json, &ty);
                ty
            }
            ("int", "date") => Type::Date,
            ("int", "time-millis") => Type::Time(Unit::Millis),
            ("long", "time-micros") => Type::Time(Unit::Micros),
            ("long", "timestamp-millis") => timestamp(Unit::Millis, false),
            ("long", "timestamp-micros") => timestamp(Unit::Micros, false),
            ("long", "timestamp-nanos") => timestamp(Unit::Nanos, false),
            ("long", "local-timestamp-nanos") => timestamp(Unit::Nanos, true),
            ("long", "local-timestamp-millis") => timestamp(Unit::Millis, true),
            ("long", "local-timestamp-micros") => timestamp(Unit::Micros, true),
            ("array", _) => {
                Type::List(Box::new(self.slot(json.member("items").ok_or("an array without items")?)?))
            }
            ("map", _) => {
                Type::Map(Box::new(self.slot(json.member("values").ok_or("a map without values")?)?))
            }
            ("enum", _) => {
                self.note(json, &Type::Text);
                Type::Text
            }
            ("fixed", _) => {
                self.note(json, &Type::Bytes);
                Type::Bytes
            }
            ("record", _) => self.record(json)?,
            (name, _) => self.named(name)?,
        })
    }

    fn record(&mut self, json: &Json<'_>) -> Result<Type, String> {
        let name = json.member("name").and_then(Json::text).ok_or("a record without a name")?;
        self.0.insert(name.to_owned(), None);
        let Some(Json::Array(fields)) = json.member("fields") else {
            return Err(format!("record {name} without fields"));
        };
        let mut read = Vec::with_capacity(fields.len());
        for field in fields {
            let name = field.member("name").and_then(Json::text).ok_or("a field without a name")?;
            let ty = field.member("type").ok_or_else(|| format!("{name}: a field without a type"))?;
            read.push(Field {
                name: name.to_owned(),
                slot: self.slot(ty).map_err(|why| format!("{name}: {why}"))?,
            });
        }
        let ty = Type::Struct(read);
        self.note(json, &ty);
        Ok(ty)
    }

    fn note(&mut self, json: &Json<'_>, ty: &Type) {
        if let Some(name) = json.member("name").and_then(Json::text) {
            self.0.insert(name.to_owned(), Some(ty.clone()));
        }
    }

    fn named(&self, name: &str) -> Result<Type, String> {
        Ok(match name {
            "boolean" => Type::Boolean,
            "int" => Type::Int,
            "long" => Type::Long,
            "float" => Type::Float,
            "double" => Type::Double,
            "string" => Type::Text,
            "bytes" => Type::Bytes,
            "null" => return Err("a field that is only ever null".to_owned()),
            name => match self.0.get(name) {
                Some(Some(ty)) => ty.clone(),
                Some(None) => return Err(format!("record {name} holds itself, which columns can't")),
                None => return Err(format!("type {name:?} is not known")),
            },
        })
    }
}

fn decimal(json: &Json<'_>) -> Result<Type, String> {
    let number = |name: &str| match json.member(name) {
        Some(Json::Number(text)) => text.parse::<u32>().ok(),
        _ => None,
    };
    let precision = number("precision").ok_or("a decimal without its precision")?;
    let scale = number("scale").unwrap_or(0);
    if precision == 0 || precision > PRECISION_MAX || scale > precision {
        return Err(format!(
            "a decimal of {precision} digits, {scale} of them behind the point; at most {PRECISION_MAX} fit"
        ));
    }
    Ok(Type::Decimal { precision, scale })
}

/// The schema in Avro's JSON. The error names a field that Avro has no name for.
pub fn write(schema: &Schema) -> Result<String, String> {
    let full = if valid(&schema.name) { schema.name.as_str() } else { "Record" };
    let last = full.rsplit('.').next().unwrap_or(full);
    Ok(record(full, last, &schema.fields)?.to_string())
}

fn valid(name: &str) -> bool {
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    name.split('.').all(part)
}

fn record(name: &str, path: &str, fields: &[Field]) -> Result<serde_json::Value, String> {
    let field = |field: &Field| {
        if !valid(&field.name) || field.name.contains('.') {
            return Err(format!(
                "field {:?}: a name in Avro has letters, digits and _ only; rename it, or choose another format",
                field.name
            ));
        }
        // Records within records need a name of their own each.
        let ty = slot(&field.slot, &format!("{path}_{}", field.name))?;
        Ok(match field.slot.optional {
            true => serde_json::json!({ "name": field.name, "type": ty, "default": null }),
            false => serde_json::json!({ "name": field.name, "type": ty }),
        })
    };
    let fields = fields.iter().map(field).collect::<Result<Vec<_>, String>>()?;
    Ok(serde_json::json!({ "type": "record", "name": name, "fields": fields }))
}

fn slot(slot: &Slot, path: &str) -> Result<serde_json::Value, String> {
    let logical = |base: &str, name: &str| serde_json::json!({ "type": base, "logicalType": name });
    let ty = match &slot.ty {
        Type::Boolean => "boolean".into(),
        Type::Int => "int".into(),
        Type::Long => "long".into(),
        Type::Float => "float".into(),
        Type::Double => "double".into(),
        Type::Text => "string".into(),
        Type::Bytes => "bytes".into(),
        Type::Decimal { precision, scale } => {
            serde_json::json!({ "type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale })
        }
        Type::Date => logical("int", "date"),
        Type::Time(Unit::Millis) => logical("int", "time-millis"),
        Type::Time(Unit::Micros) => logical("long", "time-micros"),
        // Avro has no name for it.
        Type::Time(Unit::Nanos) => "long".into(),
        Type::Timestamp { unit, local } => {
            let unit = match unit {
                Unit::Millis => "millis",
                Unit::Micros => "micros",
                Unit::Nanos => "nanos",
            };
            logical("long", &format!("{}timestamp-{unit}", if *local { "local-" } else { "" }))
        }
        Type::List(element) => serde_json::json!({ "type": "array", "items": self::slot(element, path)? }),
        Type::Map(values) => serde_json::json!({ "type": "map", "values": self::slot(values, path)? }),
        Type::Struct(fields) => record(path, path, fields)?,
    };
    Ok(if slot.optional { serde_json::json!(["null", ty]) } else { ty })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: &str = r#"{"type":"record","name":"shop.Order","fields":[
        {"name":"id","type":"long"},
        {"name":"kind","type":{"type":"enum","name":"Kind","symbols":["A","B"]}},
        {"name":"price","type":["null",{"type":"bytes","logicalType":"decimal","precision":10,"scale":2}],"default":null},
        {"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},
        {"name":"to","type":{"type":"record","name":"Address","fields":[{"name":"city","type":"string"}]}},
        {"name":"from","type":["null","Address"]},
        {"name":"tags","type":{"type":"array","items":"string"}},
        {"name":"by","type":{"type":"map","values":["null","int"]}}]}"#;

    #[test]
    fn what_is_read_is_written() {
        let schema = read(ORDER).expect("read");
        assert_eq!((schema.name.as_str(), schema.fields.len()), ("shop.Order", 8));
        let text = write(&schema).expect("written");
        assert_eq!(read(&text).expect("read again"), schema);
        apache_avro::Schema::parse_str(&text).expect("Avro's library reads it");
    }

    #[test]
    fn what_can_not_be_columns_is_told() {
        for (text, wanted) in [
            (r#""string""#, "rows are made of objects"),
            (
                r#"{"type":"record","name":"R","fields":[{"name":"a","type":["int","string"]}]}"#,
                "a: a union of more",
            ),
            (
                r#"{"type":"record","name":"R","fields":[{"name":"a","type":["null","R"]}]}"#,
                "a: record R holds itself",
            ),
            (
                r#"{"type":"record","name":"R","fields":[{"name":"a","type":"uuid7"}]}"#,
                "a: type \"uuid7\" is not known",
            ),
            (r#"{"type":"record","name":"R","fields":[]}"#, "without fields"),
            (r#"{"type":"record"#, "not a JSON document"),
        ] {
            let why = read(text).expect_err(text);
            assert!(why.contains(wanted), "{text}: {why}");
        }
        let odd = Schema {
            name: "R".into(),
            fields: vec![Field { name: "a b".into(), slot: Slot { ty: Type::Int, optional: false } }],
        };
        assert!(write(&odd).expect_err("no such name").contains("\"a b\""));
    }
}
