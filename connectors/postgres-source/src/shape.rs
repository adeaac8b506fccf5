//! Tables as records show them: columns with their types, the key, the topic, the schemas.

use crate::pgoutput::{Column, Value};
use crate::settings::Settings;
use crate::tables::Key;
use crate::types::{Type, Types};
use crate::{schema, value};

/// A table's columns, in order, and what is made of them.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// `schema.table`
    pub(crate) full_name: String,
    pub(crate) schema: String,
    pub(crate) table: String,
    /// Empty: the pipeline's.
    pub(crate) topic: String,
    pub(crate) columns: Vec<Field>,
    /// Places of the key's columns.
    pub(crate) key: Vec<usize>,
    pub(crate) schemas: Schemas,
}

/// A column.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) kind: Type,
    /// `"name":`
    pub(crate) label: Vec<u8>,
}

/// Kafka Connect's schemas of keys and values as JSON, if they are asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schemas {
    pub(crate) key: Option<String>,
    pub(crate) value: Option<String>,
}

impl Shape {
    /// `key` names the key's columns; one that is not there leaves the table without a key.
    pub(crate) fn new(
        settings: &Settings,
        types: &Types,
        (schema, table): (&str, &str),
        columns: &[Column],
        key: &[String],
    ) -> Self {
        let fields: Vec<Field> = columns
            .iter()
            .map(|column| {
                let mut label = Vec::new();
                value::string(&mut label, &column.name);
                label.push(b':');
                Field { name: column.name.clone(), kind: types.find(column.type_oid), label }
            })
            .collect();
        let place = |name: &String| fields.iter().position(|field| field.name == *name);
        let key = key.iter().map(place).collect::<Option<Vec<usize>>>().unwrap_or_default();
        let full_name = format!("{schema}.{table}");
        let topic = settings.topic(&full_name);
        let schemas = schema::of(settings, &full_name, &fields, &key);
        Self {
            full_name,
            schema: schema.to_owned(),
            table: table.to_owned(),
            topic,
            columns: fields,
            key,
            schemas,
        }
    }

    /// The key of a row; none: the table has no key, or the row doesn't show it.
    pub(crate) fn key_of(&self, row: &[Value<'_>]) -> Option<Key> {
        if self.key.is_empty() {
            return None;
        }
        let text = |place: &usize| match row.get(*place) {
            Some(Value::Text(text)) => Some((*text).to_owned()),
            _ => None,
        };
        self.key.iter().map(text).collect()
    }

    /// Names of the key's columns.
    pub(crate) fn key_names(&self) -> Vec<String> {
        self.key.iter().map(|place| self.columns[*place].name.clone()).collect()
    }
}
