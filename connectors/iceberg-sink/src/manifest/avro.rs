//! Columns with ids as Avro has them (specification, appendix A), written by `encode` and read by `apache-avro`.
//!
//! Readers find columns by id, and so other writers may name them as they like; those that are read here have had one other name.

use std::io::Cursor;

use apache_avro::types::Value as Avro;
use apache_avro::{Reader, Schema};
use millrace_connector_encode::Codec;
use millrace_connector_encode::avro::AvroFile;
use millrace_connector_encode::datum::Datum;
use millrace_connector_encode::types::{Field, Slot, Type};
use serde_json::{Value, json};

/// A column.
#[derive(Clone, Debug)]
pub(super) struct Def {
    pub(super) id: i32,
    pub(super) name: String,
    /// What it was called in version 1 of the format.
    pub(super) once: &'static str,
    pub(super) optional: bool,
    pub(super) shape: Shape,
}

#[derive(Clone, Debug)]
pub(super) enum Shape {
    Leaf(Type),
    /// The element's id and type.
    List(i32, Type),
    /// A map by integers: the ids of keys and values, and the values' type.
    Pairs((i32, i32), Type),
    /// Its name and fields.
    Record(&'static str, Vec<Def>),
    /// The element's id, and what [`Shape::Record`] has.
    Records(i32, &'static str, Vec<Def>),
}

impl Def {
    pub(super) fn leaf(id: i32, name: &str, ty: Type) -> Self {
        Self { id, name: name.to_owned(), once: "", optional: false, shape: Shape::Leaf(ty) }
    }

    pub(super) fn pairs(id: i32, name: &str, ids: (i32, i32), values: Type) -> Self {
        Self { shape: Shape::Pairs(ids, values), ..Self::leaf(id, name, Type::Long) }
    }

    pub(super) fn record(id: i32, name: &str, ty: &'static str, fields: Vec<Def>) -> Self {
        Self { shape: Shape::Record(ty, fields), ..Self::leaf(id, name, Type::Long) }
    }

    pub(super) fn optional(self) -> Self {
        Self { optional: true, ..self }
    }

    fn field(&self) -> Field {
        Field { name: self.name.clone(), slot: Slot { ty: self.shape.ty(), optional: self.optional } }
    }

    fn json(&self) -> Value {
        let ty = self.shape.json();
        let mut field = json!({ "name": avro_name(&self.name), "type": ty, "field-id": self.id });
        if self.optional {
            field["type"] = json!(["null", ty]);
            field["default"] = Value::Null;
        }
        field
    }
}

/// A name as Avro allows it.
fn avro_name(name: &str) -> String {
    let mut out = String::new();
    for (at, c) in name.chars().enumerate() {
        match c {
            'a'..='z' | 'A'..='Z' | '_' => out.push(c),
            '0'..='9' if at > 0 => out.push(c),
            '0'..='9' => out.extend(['_', c]),
            other => out.push_str(&format!("_x{:X}", u32::from(other))),
        }
    }
    out
}

impl Shape {
    fn ty(&self) -> Type {
        let required = |ty: Type| Box::new(Slot { ty, optional: false });
        let record = |fields: &[Def]| Type::Struct(fields.iter().map(Def::field).collect());
        match self {
            Self::Leaf(ty) => ty.clone(),
            Self::List(_, ty) => Type::List(required(ty.clone())),
            Self::Pairs(_, ty) => {
                let field = |name: &str, ty: Type| Field { name: name.to_owned(), slot: *required(ty) };
                Type::List(required(Type::Struct(vec![field("key", Type::Int), field("value", ty.clone())])))
            }
            Self::Record(_, fields) => record(fields),
            Self::Records(_, _, fields) => Type::List(required(record(fields))),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Leaf(ty) => leaf(ty),
            Self::List(id, ty) => json!({ "type": "array", "items": leaf(ty), "element-id": id }),
            Self::Pairs((key, value), ty) => json!({ "type": "array", "logicalType": "map", "items":
                { "type": "record", "name": format!("k{key}_v{value}"), "fields": [
                    { "name": "key", "type": "int", "field-id": key }, { "name": "value", "type": leaf(ty), "field-id": value }] } }),
            Self::Record(name, fields) => record(name, fields),
            Self::Records(id, name, fields) => {
                json!({ "type": "array", "items": record(name, fields), "element-id": id })
            }
        }
    }
}

fn record(name: &str, fields: &[Def]) -> Value {
    json!({ "type": "record", "name": name, "fields": fields.iter().map(Def::json).collect::<Vec<_>>() })
}

fn leaf(ty: &Type) -> Value {
    match ty {
        Type::Boolean => json!("boolean"),
        Type::Int => json!("int"),
        Type::Long => json!("long"),
        Type::Float => json!("float"),
        Type::Double => json!("double"),
        Type::Text => json!("string"),
        Type::Date => json!({ "type": "int", "logicalType": "date" }),
        Type::Time(_) => json!({ "type": "long", "logicalType": "time-micros" }),
        Type::Timestamp { local, .. } => {
            json!({ "type": "long", "logicalType": "timestamp-micros", "adjust-to-utc": !local })
        }
        _ => json!("bytes"),
    }
}

/// Begins a file of these columns.
pub(super) fn begin(name: &str, defs: &[Def], header: &[(&str, &str)], out: &mut Vec<u8>) -> AvroFile {
    let fields: Vec<Field> = defs.iter().map(Def::field).collect();
    AvroFile::begin_as(&record(name, defs).to_string(), header, &fields, Codec::Gzip, out)
}

/// Writes rows of these columns.
pub(super) fn write(
    name: &str,
    defs: &[Def],
    header: &[(&str, &str)],
    rows: impl Iterator<Item = Vec<Datum>>,
) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut file = begin(name, defs, header, &mut out);
    for row in rows {
        file.push(&row, &mut out)?;
    }
    file.end_block(&mut out)?;
    Ok(out)
}

/// What stands for 0 where it is missing, as in files of the format's first version. Other numbers would be made up: readers pass over a manifest
/// that has no files, for one.
const ZERO_IF_MISSING: [&str; 6] = [
    "content",
    "sequence_number",
    "min_sequence_number",
    "added_rows_count",
    "existing_rows_count",
    "deleted_rows_count",
];

/// Reads rows of these columns out of whatever columns there are. What is missing is null, or an error where it may not be.
pub(super) fn read(bytes: &[u8], defs: &[Def]) -> Result<Vec<Vec<Datum>>, String> {
    let mut rows = Vec::new();
    each(bytes, defs, Unknown::Null, |row| {
        rows.push(row);
        Ok(())
    })?;
    Ok(rows)
}

/// What becomes of a value of a kind that is not known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// Nobody asks for it.
    Null,
    /// It is to be written again, and would be lost.
    Error,
}

/// The same, one after the other.
pub(super) fn each(
    bytes: &[u8],
    defs: &[Def],
    unknown: Unknown,
    mut take: impl FnMut(Vec<Datum>) -> Result<(), String>,
) -> Result<(), String> {
    let mut reader = Reader::new(Cursor::new(bytes)).map_err(|error| error.to_string())?;
    reader.try_for_each(|value| match value.map_err(|error| error.to_string())? {
        Avro::Record(fields) => take(row_of(&fields, defs, unknown)?),
        _ => Err("its rows are no records".to_owned()),
    })
}

/// Whether a file has these columns and no others.
pub(super) fn is_of(bytes: &[u8], name: &str, defs: &[Def]) -> Result<bool, String> {
    let reader = Reader::new(Cursor::new(bytes)).map_err(|error| error.to_string())?;
    let own = Schema::parse_str(&record(name, defs).to_string()).map_err(|error| error.to_string())?;
    Ok(*reader.writer_schema() == own)
}

fn row_of(fields: &[(String, Avro)], defs: &[Def], unknown: Unknown) -> Result<Vec<Datum>, String> {
    let value = |def: &Def| {
        let written = avro_name(&def.name);
        let found = fields.iter().find(|(name, _)| *name == written || *name == def.once);
        let (name, value) = match found {
            Some(found) => found,
            None if unknown == Unknown::Null => return Ok(Datum::Null),
            None => return Err(format!("its column {} is not found", def.name)),
        };
        let read = datum(value, &def.shape, unknown)?;
        let is_null =
            matches!(value, Avro::Null) || matches!(value, Avro::Union(_, of) if **of == Avro::Null);
        if unknown == Unknown::Error && read == Datum::Null && !is_null {
            return Err(format!("its column {name} holds values of a kind that is not read here"));
        }
        Ok(read)
    };
    let filled = |def: &Def| match (value(def)?, &def.shape) {
        (Datum::Null, _) if def.optional => Ok(Datum::Null),
        (Datum::Null, Shape::Leaf(Type::Int)) if ZERO_IF_MISSING.contains(&def.name.as_str()) => {
            Ok(Datum::Int(0))
        }
        (Datum::Null, Shape::Leaf(Type::Long)) if ZERO_IF_MISSING.contains(&def.name.as_str()) => {
            Ok(Datum::Long(0))
        }
        (Datum::Null, _) => {
            Err(format!("a manifest without {}; let an engine rewrite the table's manifests", def.name))
        }
        (value, _) => Ok(value),
    };
    defs.iter().map(filled).collect()
}

fn datum(value: &Avro, shape: &Shape, unknown: Unknown) -> Result<Datum, String> {
    Ok(match (value, shape) {
        (Avro::Union(_, inner), shape) => datum(inner, shape, unknown)?,
        (Avro::Boolean(value), _) => Datum::Boolean(*value),
        (Avro::Int(value), Shape::Leaf(Type::Long)) => Datum::Long((*value).into()),
        (Avro::Int(value) | Avro::Date(value), _) => Datum::Int(*value),
        (Avro::TimeMicros(value) | Avro::TimestampMicros(value), _) => Datum::Long(*value),
        (Avro::Float(value), _) => Datum::Float(*value),
        (Avro::Double(value), _) => Datum::Double(*value),
        (Avro::Long(value), Shape::Leaf(Type::Int)) => Datum::Int(i32::try_from(*value).unwrap_or(i32::MAX)),
        (Avro::Long(value), _) => Datum::Long(*value),
        (Avro::String(text), _) => Datum::Text(text.clone()),
        (Avro::Bytes(bytes) | Avro::Fixed(_, bytes), _) => Datum::Bytes(bytes.clone()),
        (Avro::Record(fields), Shape::Record(_, defs)) => Datum::Struct(row_of(fields, defs, unknown)?),
        (Avro::Array(values), Shape::List(_, ty)) => {
            let element = Shape::Leaf(ty.clone());
            Datum::List(values.iter().map(|value| datum(value, &element, unknown)).collect::<Result<_, _>>()?)
        }
        (Avro::Array(values), Shape::Pairs(_, ty)) => {
            let value_shape = Shape::Leaf(ty.clone());
            let pair = |pair: &Avro| match pair {
                Avro::Record(fields) => {
                    let part = |name: &str, shape: &Shape| {
                        let found = fields.iter().find(|(of, _)| of == name);
                        found.map_or(Ok(Datum::Null), |(_, value)| datum(value, shape, unknown))
                    };
                    let key = part("key", &Shape::Leaf(Type::Int))?;
                    Ok(Datum::Struct(vec![key, part("value", &value_shape)?]))
                }
                _ => Err("a map whose entries are no pairs".to_owned()),
            };
            Datum::List(values.iter().map(pair).collect::<Result<_, String>>()?)
        }
        (Avro::Array(values), Shape::Records(_, _, defs)) => {
            let record = |value: &Avro| match value {
                Avro::Record(fields) => row_of(fields, defs, unknown).map(Datum::Struct),
                _ => Ok(Datum::Null),
            };
            Datum::List(values.iter().map(record).collect::<Result<_, _>>()?)
        }
        _ => Datum::Null,
    })
}
