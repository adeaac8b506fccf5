//! An Avro schema as a schema of Kafka Connect.
//!
//! The table of types says what they are, the text beside it the properties: both are walked together. What was not made of a schema
//! of Kafka Connect becomes the nearest one: an enum text with its symbols as parameters, a union of several types a struct with an
//! optional field for each, an instant finer than a millisecond the text that it is in JSON.

use std::collections::BTreeMap;

use millrace_schema::Dependency;
use millrace_schema::avro::{Avro, Logical, Record, Type, TypeId};
use serde_json::Value;

use super::super::semantics::{
    DATE, DECIMAL, LOCAL_MICROS, LOCAL_MILLIS, LOCAL_NANOS, MICRO_TIME, SCALE, Semantics, TIME, TIMESTAMP,
    UUID, ZONED,
};
use super::super::{ConnectSchema, DEPTH_MAX, Field, Is, TYPES_MAX};
use super::{
    DEFAULT_NAME, ENTRY_NAME, INTERNAL_TYPE, NAMESPACE, PRECISION, PRECISION_DEFAULT, UNION_NAME, Way,
    default, too_many,
};
use crate::convert::Bad;
use crate::convert::avro::branch_name;

/// The parameters that tell of an enum: its name, and each symbol behind a dot.
const ENUM: &str = "io.confluent.connect.avro.Enum";

/// The schema of values that are read with an Avro schema, which was parsed from these texts.
///
/// # Errors
/// It contains itself, which has no end in Kafka Connect's form.
pub(in crate::convert) fn from_avro(
    schema: &Avro,
    text: &str,
    dependencies: &[Dependency],
) -> Result<ConnectSchema, Bad> {
    let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap_or(Value::Null);
    let texts: Vec<Value> = dependencies.iter().map(|other| parse(&other.text)).collect();
    let root = parse(text);
    let mut named = BTreeMap::new();
    texts.iter().chain([&root]).for_each(|text| collect(text, "", &mut named));
    let mut reader = Reader { schema, named, open: Vec::new(), left: TYPES_MAX };
    reader.of(schema.root(), &root, 0)
}

/// Finds what is named in a text, by its full name. As deep as the text, of which serde_json limits the depth.
fn collect<'t>(node: &'t Value, namespace: &str, named: &mut BTreeMap<String, &'t Value>) {
    match node {
        Value::Array(branches) => branches.iter().for_each(|branch| collect(branch, namespace, named)),
        Value::Object(members) => {
            let text = |name: &str| members.get(name).and_then(Value::as_str);
            let mut inner = namespace.to_owned();
            if let (Some("record" | "error" | "enum" | "fixed"), Some(name)) = (text("type"), text("name")) {
                let space = text("namespace").unwrap_or(namespace);
                let full = match (name.contains('.'), space) {
                    (true, _) | (_, "") => name.to_owned(),
                    _ => format!("{space}.{name}"),
                };
                inner = full.rsplit_once('.').map_or(String::new(), |(space, _)| space.to_owned());
                named.entry(full).or_insert(node);
            }
            for name in ["type", "items", "values"] {
                if let Some(part) = members.get(name).filter(|part| !part.is_string()) {
                    collect(part, &inner, named);
                }
            }
            let fields = members.get("fields").and_then(Value::as_array).into_iter().flatten();
            fields.filter_map(|field| field.get("type")).for_each(|is| collect(is, &inner, named));
        }
        _ => {}
    }
}

struct Reader<'t> {
    schema: &'t Avro,
    named: BTreeMap<String, &'t Value>,
    /// Records that are being read.
    open: Vec<&'t str>,
    /// How many types may still come.
    left: usize,
}

impl<'t> Reader<'t> {
    /// Recursive, up to [`DEPTH_MAX`].
    fn of(&mut self, id: TypeId, node: &'t Value, depth: usize) -> Result<ConnectSchema, Bad> {
        if depth > DEPTH_MAX {
            return Err(Bad::new(format!("its schema is nested more than {DEPTH_MAX} levels")));
        }
        self.left = self.left.checked_sub(1).ok_or_else(too_many)?;
        // {"type": {...}}
        let mut node = node;
        while let Some(inner) = node.get("type").filter(|inner| inner.is_object() || inner.is_array()) {
            node = inner;
        }
        let schema = self.schema;
        Ok(match schema.get(id) {
            Type::Null => ConnectSchema { optional: true, ..ConnectSchema::of(Is::String) },
            Type::Union(variants) => return self.union(variants, node, depth),
            Type::Record(of) => return self.record(of, depth),
            Type::Array(items) => {
                let part = node.get("items").unwrap_or(&Value::Null);
                let items = self.of(*items, part, depth + 1)?;
                let is_map = node.get(INTERNAL_TYPE).and_then(Value::as_str) == Some(ENTRY_NAME);
                about(entries(items, is_map), node)
            }
            Type::Map(values) => {
                let part = node.get("values").unwrap_or(&Value::Null);
                let values = Box::new(self.of(*values, part, depth + 1)?);
                about(ConnectSchema::of(Is::Map(Box::new(ConnectSchema::of(Is::String)), values)), node)
            }
            Type::Enum(of) => {
                let node = self.named.get(&of.names.full).copied().unwrap_or(node);
                let mut made = ConnectSchema::of(Is::String);
                made.name = Some(of.names.full.clone());
                made.parameters.insert(ENUM.to_owned(), of.names.full.clone());
                let symbols = of.symbols.iter().map(|symbol| (format!("{ENUM}.{symbol}"), symbol.clone()));
                made.parameters.extend(symbols);
                about(made, node)
            }
            Type::Fixed(of) => {
                let node = self.named.get(&of.names.full).copied().unwrap_or(node);
                match of.logical {
                    Logical::None => {
                        let mut made = ConnectSchema::of(Is::Bytes);
                        made.name = Some(of.names.full.clone());
                        made.parameters.insert("connect.fixed.size".to_owned(), of.size.to_string());
                        about(made, node)
                    }
                    Logical::Duration => {
                        let field = |name: &str| Field {
                            name: name.to_owned(),
                            schema: ConnectSchema::of(Is::Int64),
                        };
                        let fields = ["months", "days", "millis"].map(field).to_vec();
                        ConnectSchema {
                            name: Some(of.names.full.clone()),
                            ..ConnectSchema::of(Is::Struct(fields))
                        }
                    }
                    logical => typed(Is::Bytes, logical, node),
                }
            }
            Type::Boolean => about(ConnectSchema::of(Is::Boolean), node),
            Type::Float => about(ConnectSchema::of(Is::Float), node),
            Type::Double => about(ConnectSchema::of(Is::Double), node),
            Type::Int(logical) => {
                let is = match node.get("connect.type").and_then(Value::as_str) {
                    Some("int8") => Is::Int8,
                    Some("int16") => Is::Int16,
                    _ => Is::Int32,
                };
                typed(is, *logical, node)
            }
            Type::Long(logical) => typed(Is::Int64, *logical, node),
            Type::Bytes(logical) => typed(Is::Bytes, *logical, node),
            Type::String(logical) => typed(Is::String, *logical, node),
        })
    }

    fn union(&mut self, variants: &[TypeId], node: &'t Value, depth: usize) -> Result<ConnectSchema, Bad> {
        let schema = self.schema;
        let is_null = |id: &TypeId| matches!(schema.get(*id), Type::Null);
        let optional = variants.iter().any(is_null);
        let mut others = Vec::new();
        for (place, variant) in variants.iter().enumerate().filter(|(_, variant)| !is_null(variant)) {
            let part = node.get(place).unwrap_or(&Value::Null);
            others.push((branch_name(schema.get(*variant)), self.of(*variant, part, depth + 1)?));
        }
        if others.len() < 2 {
            let one = others.pop().map_or_else(|| ConnectSchema::of(Is::String), |(_, one)| one);
            return Ok(ConnectSchema { optional: optional || one.optional, ..one });
        }
        let field = |(name, schema): (&str, ConnectSchema)| Field {
            name: name.to_owned(),
            schema: ConnectSchema { optional: true, ..schema },
        };
        let is = Is::Struct(others.into_iter().map(field).collect());
        Ok(ConnectSchema { optional, name: Some(UNION_NAME.to_owned()), ..ConnectSchema::of(is) })
    }

    fn record(&mut self, of: &'t Record, depth: usize) -> Result<ConnectSchema, Bad> {
        let full = of.names.full.as_str();
        if self.open.contains(&full) {
            return Err(Bad::new(format!(
                "record {full} of its schema contains itself, which has no end in Kafka Connect's form"
            )));
        }
        let node = self.named.get(full).copied().unwrap_or(&Value::Null);
        self.open.push(full);
        let mut fields = Vec::with_capacity(of.fields.len());
        for (place, field) in of.fields.iter().enumerate() {
            let told = node.pointer(&format!("/fields/{place}")).unwrap_or(&Value::Null);
            let part = told.get("type").unwrap_or(&Value::Null);
            let mut schema = self.of(field.is, part, depth + 1).map_err(|bad| bad.within(&field.name))?;
            let is_union = schema.name.as_deref() == Some(UNION_NAME);
            if let (None, Some(value)) = (&schema.default, field.default.as_ref().filter(|_| !is_union)) {
                schema.default = default(&schema, value, Way::FromAvro).filter(|value| !value.is_null());
            }
            if schema.doc.is_none() {
                schema.doc = told.get("doc").and_then(Value::as_str).map(str::to_owned);
            }
            fields.push(Field { name: field.name.clone(), schema });
        }
        self.open.pop();
        let mut made = ConnectSchema::of(Is::Struct(fields));
        let made_up = full.strip_prefix(NAMESPACE).and_then(|rest| rest.strip_prefix('.'));
        made.name = match made_up.and_then(|rest| rest.strip_prefix(DEFAULT_NAME)) {
            Some(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => None,
            _ => Some(full.to_owned()),
        };
        Ok(about(made, node))
    }
}

/// A list, or the map that a list of entries is.
fn entries(items: ConnectSchema, is_map: bool) -> ConnectSchema {
    match items.is {
        Is::Struct(fields) if is_map && fields.len() == 2 => {
            let mut parts = fields.into_iter().map(|field| Box::new(field.schema));
            match (parts.next(), parts.next()) {
                (Some(keys), Some(values)) => ConnectSchema::of(Is::Map(keys, values)),
                // There are two.
                _ => ConnectSchema::of(Is::Struct(Vec::new())),
            }
        }
        _ => ConnectSchema::of(Is::Array(Box::new(items))),
    }
}

/// A type without parts, with what it stands for. Who made the schema of one of Kafka Connect's has said so by name; what it stands for in
/// Avro counts, where the two don't agree.
fn typed(is: Is, logical: Logical, node: &Value) -> ConnectSchema {
    let said = about(ConnectSchema::of(is.clone()), node);
    let nearest = match logical {
        Logical::None => ConnectSchema::of(is.clone()),
        Logical::Date => ConnectSchema::named(Is::Int32, DATE),
        Logical::TimeMillis => ConnectSchema::named(Is::Int32, TIME),
        Logical::TimeMicros => ConnectSchema::named(Is::Int64, MICRO_TIME),
        Logical::TimestampMillis => ConnectSchema::named(Is::Int64, TIMESTAMP),
        Logical::TimestampMicros | Logical::TimestampNanos => ConnectSchema::named(Is::String, ZONED),
        Logical::LocalTimestampMillis => ConnectSchema::named(Is::Int64, LOCAL_MILLIS),
        Logical::LocalTimestampMicros => ConnectSchema::named(Is::Int64, LOCAL_MICROS),
        Logical::LocalTimestampNanos => ConnectSchema::named(Is::Int64, LOCAL_NANOS),
        Logical::Uuid => ConnectSchema::named(Is::String, UUID),
        Logical::Decimal { precision, scale } => {
            let mut made = ConnectSchema::named(Is::Bytes, DECIMAL);
            made.parameters.insert(SCALE.to_owned(), scale.to_string());
            if precision != PRECISION_DEFAULT {
                made.parameters.insert(PRECISION.to_owned(), precision.to_string());
            }
            made
        }
        Logical::Duration => ConnectSchema::of(is.clone()),
    };
    let agree = match (Semantics::of(&said), Semantics::of(&nearest)) {
        // Debezium's names, as Confluent's converter writes them: the number is all there is.
        (
            Semantics::Date
            | Semantics::Time(_)
            | Semantics::Instant(_)
            | Semantics::Local(_)
            | Semantics::Uuid,
            Semantics::None,
        ) => nearest.is == said.is,
        (said, nearest) => said == nearest,
    };
    if agree && nearest.name.as_deref() != Some(ZONED) { said } else { about_default(nearest, node) }
}

/// With the properties that Kafka Connect's schemas were given.
fn about(made: ConnectSchema, node: &Value) -> ConnectSchema {
    let text = |name: &str| node.get(name).and_then(Value::as_str).map(str::to_owned);
    let mut made = about_default(made, node);
    made.name = text("connect.name").or(made.name);
    made.version = node.get("connect.version").and_then(Value::as_i64).or(made.version);
    made.doc = text("connect.doc").or_else(|| text("doc")).or(made.doc);
    let parameters = node.get("connect.parameters").and_then(Value::as_object).into_iter().flatten();
    let text = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
    made.parameters.extend(parameters.filter_map(text));
    made
}

fn about_default(mut made: ConnectSchema, node: &Value) -> ConnectSchema {
    if let Some(value) = node.get("connect.default") {
        made.default = default(&made, value, Way::FromAvro).filter(|value| !value.is_null());
    }
    made
}
