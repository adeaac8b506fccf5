//! Kafka Connect's schemas, as its JSON converter puts them beside a value: `{"schema": {...}, "payload": {...}}`.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;

/// Deepest nesting that is read.
const DEPTH_MAX: u32 = 32;

/// What a schema says of a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Type {
    /// `int32`, `string`, `struct`, ...
    pub kind: String,
    /// The logical type, such as `org.apache.kafka.connect.data.Decimal`.
    pub name: String,
    /// Digits behind the point of a decimal.
    pub scale: Option<i64>,
    /// Whether it may be null.
    pub optional: bool,
    /// Of an array.
    pub items: Option<Rc<Type>>,
    /// Of a struct.
    pub fields: BTreeMap<String, Rc<Type>>,
}

impl Type {
    /// Reads a schema; what is not understood is left out.
    pub fn read(schema: &Value) -> Self {
        Self::at(schema, 0)
    }

    fn at(schema: &Value, depth: u32) -> Self {
        let text = |key: &str| schema[key].as_str().unwrap_or_default().to_owned();
        if depth > DEPTH_MAX {
            return Self::default();
        }
        let inner = |schema: &Value| Rc::new(Self::at(schema, depth + 1));
        let fields = schema["fields"].as_array().into_iter().flatten();
        let fields = fields.filter_map(|field| Some((field["field"].as_str()?.to_owned(), inner(field))));
        let scale = &schema["parameters"]["scale"];
        Self {
            kind: text("type"),
            name: text("name"),
            scale: scale.as_str().and_then(|text| text.parse().ok()).or_else(|| scale.as_i64()),
            optional: schema["optional"].as_bool().unwrap_or(false),
            items: schema.get("items").map(inner),
            fields: fields.collect(),
        }
    }

    /// The type of a field.
    pub fn field(&self, name: &str) -> Option<&Rc<Type>> {
        self.fields.get(name)
    }

    /// The column's type that holds it all.
    pub fn sql(&self) -> String {
        let logical = match self.name.as_str() {
            "org.apache.kafka.connect.data.Decimal" | "io.debezium.data.VariableScaleDecimal" => "numeric",
            "org.apache.kafka.connect.data.Date" | "io.debezium.time.Date" | "io.debezium.time.IsoDate" => {
                "date"
            }
            "org.apache.kafka.connect.data.Time"
            | "io.debezium.time.Time"
            | "io.debezium.time.MicroTime"
            | "io.debezium.time.NanoTime"
            | "io.debezium.time.IsoTime" => "time",
            "org.apache.kafka.connect.data.Timestamp"
            | "io.debezium.time.Timestamp"
            | "io.debezium.time.MicroTimestamp"
            | "io.debezium.time.NanoTimestamp"
            | "io.debezium.time.IsoTimestamp" => "timestamp",
            "io.debezium.time.ZonedTimestamp" => "timestamptz",
            "io.debezium.time.ZonedTime" => "timetz",
            "io.debezium.time.Interval" => "interval",
            "io.debezium.data.Json" => "jsonb",
            "io.debezium.data.Uuid" => "uuid",
            "io.debezium.data.Xml" => "xml",
            _ => "",
        };
        if !logical.is_empty() {
            return logical.to_owned();
        }
        match (self.kind.as_str(), &self.items) {
            ("int8" | "int16", _) => "smallint".to_owned(),
            ("int32", _) => "integer".to_owned(),
            ("int64", _) => "bigint".to_owned(),
            ("float" | "float32", _) => "real".to_owned(),
            ("double" | "float64", _) => "double precision".to_owned(),
            ("boolean", _) => "boolean".to_owned(),
            ("bytes", _) => "bytea".to_owned(),
            ("array", Some(items)) if !matches!(items.kind.as_str(), "struct" | "map" | "array") => {
                format!("{}[]", items.sql())
            }
            ("array" | "struct" | "map", _) => "jsonb".to_owned(),
            _ => "text".to_owned(),
        }
    }
}

/// Schemas that were read, by their text: it is the same for record after record.
#[derive(Debug, Default)]
pub struct Known(Vec<(String, Rc<Type>)>);

/// Schemas that are kept.
const KNOWN_MAX: usize = 32;

impl Known {
    /// The type of a schema's text.
    pub fn read(&mut self, text: &str) -> Rc<Type> {
        if let Some((_, known)) = self.0.iter().find(|(known, _)| known == text) {
            return Rc::clone(known);
        }
        let read =
            Rc::new(serde_json::from_str(text).map_or_else(|_| Type::default(), |value| Type::read(&value)));
        if self.0.len() >= KNOWN_MAX {
            self.0.remove(0);
        }
        self.0.push((text.to_owned(), Rc::clone(&read)));
        read
    }
}
