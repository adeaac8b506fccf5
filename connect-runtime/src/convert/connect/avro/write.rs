//! A schema as an Avro schema.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::super::semantics::Semantics;
use super::super::{ConnectSchema, DEPTH_MAX, Field, Is, TYPES_MAX};
use super::{
    DEFAULT_NAME, ENTRY_NAME, INTERNAL_TYPE, NAMESPACE, PRECISION, PRECISION_DEFAULT, Way, default, too_many,
};
use crate::convert::Bad;

/// The text of an Avro schema for the values that this one describes.
///
/// # Errors
/// A field has a name that Avro doesn't allow.
pub(in crate::convert) fn to_avro(schema: &ConnectSchema) -> Result<String, Bad> {
    let mut writer = Writer { named: BTreeMap::new(), left: TYPES_MAX };
    writer.put(schema, "", 0).map(|made| made.to_string())
}

struct Writer {
    /// Records by their full names, required: one that comes again is referred to.
    named: BTreeMap<String, ConnectSchema>,
    /// How many types may still come.
    left: usize,
}

impl Writer {
    /// Recursive, up to [`DEPTH_MAX`]. Names without a namespace belong to `namespace`.
    fn put(&mut self, schema: &ConnectSchema, namespace: &str, depth: usize) -> Result<Value, Bad> {
        if depth > DEPTH_MAX {
            return Err(Bad::new(format!("nested more than {DEPTH_MAX} levels")));
        }
        self.left = self.left.checked_sub(1).ok_or_else(too_many)?;
        let made = self.required(schema, namespace, depth)?;
        Ok(match (schema.optional, &schema.default) {
            (false, _) => made,
            (true, None) => json!(["null", made]),
            // A default is of the union's first type.
            (true, Some(_)) => json!([made, "null"]),
        })
    }

    fn required(&mut self, schema: &ConnectSchema, namespace: &str, depth: usize) -> Result<Value, Bad> {
        let mut made = Map::new();
        let mut set = |name: &str, value: Value| made.insert(name.to_owned(), value);
        let plain = match &schema.is {
            Is::Int8 | Is::Int16 | Is::Int32 => "int",
            Is::Int64 => "long",
            Is::Float => "float",
            Is::Double => "double",
            Is::Boolean => "boolean",
            Is::String => "string",
            Is::Bytes => "bytes",
            Is::Array(items) => {
                set("items", self.put(items, namespace, depth + 1)?);
                "array"
            }
            Is::Map(keys, values) if keys.is_plain_text() => {
                set("values", self.put(values, namespace, depth + 1)?);
                "map"
            }
            Is::Map(keys, values) => {
                set("items", self.entry(keys, values, depth)?);
                set(INTERNAL_TYPE, ENTRY_NAME.into());
                "array"
            }
            Is::Struct(fields) => {
                let name = match &schema.name {
                    Some(name) => allowed(name, namespace),
                    None => format!("{NAMESPACE}.{DEFAULT_NAME}"),
                };
                return self.record(schema, fields, name, depth);
            }
        };
        set("type", plain.into());
        match schema.is {
            Is::Int8 => set("connect.type", "int8".into()),
            Is::Int16 => set("connect.type", "int16".into()),
            _ => None,
        };
        let semantics = Semantics::of(schema);
        if let Some(logical) = semantics.avro() {
            set("logicalType", logical.into());
        }
        if let Semantics::Decimal(scale) = semantics {
            let precision = schema.parameters.get(PRECISION).and_then(|text| text.parse().ok());
            set("precision", precision.unwrap_or(PRECISION_DEFAULT).max(scale).max(1).into());
            set("scale", scale.into());
        }
        about(schema, &mut made);
        Ok(if made.len() == 1 { plain.into() } else { Value::Object(made) })
    }

    /// A record, or the name of one that was there before.
    fn record(
        &mut self,
        schema: &ConnectSchema,
        fields: &[Field],
        name: String,
        depth: usize,
    ) -> Result<Value, Bad> {
        let definition = ConnectSchema { optional: false, ..schema.clone() };
        let full = match self.name(name, definition) {
            Ok(full) => full,
            Err(known) => return Ok(known.into()),
        };
        let (space, short) = full.rsplit_once('.').unwrap_or(("", &full));
        let made: Result<Vec<Value>, Bad> =
            fields.iter().map(|field| self.field(field, space, depth)).collect();
        let mut record = Map::new();
        record.insert("type".to_owned(), "record".into());
        record.insert("name".to_owned(), short.into());
        if !space.is_empty() {
            record.insert("namespace".to_owned(), space.into());
        }
        if let Some(doc) = &schema.doc {
            record.insert("doc".to_owned(), doc.as_str().into());
        }
        record.insert("fields".to_owned(), made?.into());
        about(schema, &mut record);
        Ok(Value::Object(record))
    }

    /// A name for a record: the one that is wanted, with a number behind it if that is another's. Err: this very record has this name
    /// already.
    fn name(&mut self, wanted: String, definition: ConnectSchema) -> Result<String, String> {
        for number in 1.. {
            let name = if number == 1 { wanted.clone() } else { format!("{wanted}{number}") };
            match self.named.get(&name) {
                None => {
                    self.named.insert(name.clone(), definition);
                    return Ok(name);
                }
                Some(known) if *known == definition => return Err(name),
                Some(_) => {}
            }
        }
        Ok(wanted)
    }

    fn field(&mut self, field: &Field, namespace: &str, depth: usize) -> Result<Value, Bad> {
        let Field { name, schema } = field;
        if !is_name(name) {
            return Err(Bad::new(format!(
                "field `{name}` can't be called so in Avro, which takes letters, digits and _; rename it on its way"
            )));
        }
        let is = self.put(schema, namespace, depth + 1).map_err(|bad| bad.within(name))?;
        let mut made = Map::from_iter([("name".to_owned(), name.as_str().into()), ("type".to_owned(), is)]);
        if let Some(doc) = &schema.doc {
            made.insert("doc".to_owned(), doc.as_str().into());
        }
        let value = match &schema.default {
            None if schema.optional => Some(Value::Null),
            // What has parts is only told as a property: its types may be unions, of which a default can't be any.
            Some(value) if !matches!(schema.is, Is::Array(_) | Is::Map(..) | Is::Struct(_)) => {
                default(schema, value, Way::ToAvro)
            }
            _ => None,
        };
        if let Some(value) = value {
            made.insert("default".to_owned(), value);
        }
        Ok(Value::Object(made))
    }

    /// The record that an entry of a map becomes.
    fn entry(&mut self, keys: &ConnectSchema, values: &ConnectSchema, depth: usize) -> Result<Value, Bad> {
        let field =
            |name: &str, schema: &ConnectSchema| Field { name: name.to_owned(), schema: schema.clone() };
        let fields = vec![field("key", keys), field("value", values)];
        let schema = ConnectSchema::of(Is::Struct(fields.clone()));
        self.record(&schema, &fields, format!("{NAMESPACE}.{ENTRY_NAME}"), depth)
    }
}

/// What Avro has no place for.
fn about(schema: &ConnectSchema, made: &mut Map<String, Value>) {
    let value = schema.default.as_ref().and_then(|value| default(schema, value, Way::ToAvro));
    let parameters = Some(&schema.parameters).filter(|all| !all.is_empty());
    let all = [
        ("connect.name", schema.name.as_deref().map(Value::from)),
        ("connect.version", schema.version.map(Value::from)),
        ("connect.doc", schema.doc.as_deref().map(Value::from)),
        ("connect.parameters", parameters.map(|all| json!(all))),
        ("connect.default", value),
    ];
    made.extend(all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
}

/// A full name that Avro takes.
fn allowed(name: &str, namespace: &str) -> String {
    let part = |part: &str| -> String {
        let good = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
        let made: String = part.chars().map(good).collect();
        if made.is_empty() || made.starts_with(|c: char| c.is_ascii_digit()) {
            format!("_{made}")
        } else {
            made
        }
    };
    let full: Vec<String> = name.split('.').map(part).collect();
    match (full.as_slice(), namespace) {
        ([short], namespace) if !namespace.is_empty() => format!("{namespace}.{short}"),
        (full, _) => full.join("."),
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
