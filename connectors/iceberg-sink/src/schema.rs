//! A table's columns: Iceberg's schemas in JSON, and what of them this sink can write.
//!
//! A column is its id; names may change. Types that `encode` doesn't have (uuid, fixed, nanoseconds, maps whose keys are no text) stay as
//! they stand: such a column is left out of files, which readers take for null, and is refused where it is required.

pub mod evolve;
mod json;
pub mod names;

use millrace_connector_encode::types::{Field, PRECISION_MAX, Schema, Slot, Type, Unit};
use serde_json::Value;

/// Most columns of a table, at all levels together.
pub const COLUMNS_MAX: usize = 10_000;

/// A column, or a field of a struct.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// By which files know it.
    pub id: i32,
    /// By which people do.
    pub name: String,
    /// Whether it always has a value.
    pub required: bool,
    /// What it holds.
    pub kind: Kind,
    /// What people say of it.
    pub doc: Option<String>,
}

/// What a column holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// One value of a type without parts.
    Leaf(Type),
    /// What this sink can't write, as the table has it.
    Other(Value),
    /// Values.
    List(Box<Element>),
    /// Values by text.
    Map {
        /// The keys' id.
        key: i32,
        /// The values.
        value: Box<Element>,
    },
    /// Named values.
    Struct(Vec<Column>),
}

/// What is in a list, or the values of a map.
#[derive(Clone, Debug, PartialEq)]
pub struct Element {
    /// By which files know it.
    pub id: i32,
    /// Whether it is never null.
    pub required: bool,
    /// What it holds.
    pub kind: Kind,
}

/// The columns of a table, by one of its schemas.
#[derive(Clone, Debug, PartialEq)]
pub struct Columns {
    /// The schema's id.
    pub schema_id: i32,
    /// The columns.
    pub fields: Vec<Column>,
    /// Ids of columns that name a row; kept as they are.
    pub identifiers: Vec<i32>,
}

/// What is written of a table: columns of files, and their ids in the order that files have them.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Columns of files.
    pub schema: Schema,
    /// Their ids, each before what is in it.
    pub ids: Vec<i32>,
}

impl Columns {
    /// New columns for these fields, with ids from 1 on. Gives back the last id, too.
    pub fn new(fields: &[Field]) -> Result<(Self, i32), String> {
        let mut ids = Ids(0);
        let fields = ids.columns(fields)?;
        Ok((Self { schema_id: 0, fields, identifiers: Vec::new() }, ids.0))
    }

    /// The column of this id, at whatever depth of structs.
    pub fn find(&self, id: i32) -> Option<&Column> {
        fn within(columns: &[Column], id: i32) -> Option<&Column> {
            columns.iter().find_map(|column| match &column.kind {
                _ if column.id == id => Some(column),
                Kind::Struct(inner) => within(inner, id),
                _ => None,
            })
        }
        within(&self.fields, id)
    }

    /// What files of these columns are.
    pub fn layout(&self) -> Result<Layout, String> {
        let mut ids = Vec::new();
        let fields = writable(&self.fields, &mut ids)?;
        if fields.is_empty() {
            return Err("the table has no column that can be written".to_owned());
        }
        if ids.len() > COLUMNS_MAX {
            return Err(format!("the table has more than {COLUMNS_MAX} columns"));
        }
        Ok(Layout { schema: Schema { name: "table".to_owned(), fields }, ids })
    }
}

fn writable(columns: &[Column], ids: &mut Vec<i32>) -> Result<Vec<Field>, String> {
    let mut fields = Vec::new();
    for column in columns {
        let mut own = vec![column.id];
        match slot(&column.kind, column.required, &mut own) {
            Some(slot) => {
                ids.append(&mut own);
                fields.push(Field { name: column.name.clone(), slot });
            }
            None if column.required => {
                return Err(format!(
                    "the table's column {} is required, and its type can't be written",
                    column.name
                ));
            }
            None => {}
        }
    }
    Ok(fields)
}

/// The place for values of a kind; none: it can't be written.
fn slot(kind: &Kind, required: bool, ids: &mut Vec<i32>) -> Option<Slot> {
    let mut inner = |element: &Element| {
        ids.push(element.id);
        slot(&element.kind, element.required, ids).map(Box::new)
    };
    let ty = match kind {
        Kind::Leaf(ty) => ty.clone(),
        Kind::Other(_) => return None,
        Kind::List(element) => Type::List(inner(element)?),
        Kind::Map { key, value } => {
            ids.push(*key);
            ids.push(value.id);
            Type::Map(Box::new(slot(&value.kind, value.required, ids)?))
        }
        Kind::Struct(columns) => {
            let fields = writable(columns, ids).ok().filter(|fields| !fields.is_empty())?;
            Type::Struct(fields)
        }
    };
    Some(Slot { ty, optional: !required })
}

/// Gives ids to new columns.
#[derive(Debug)]
pub struct Ids(pub i32);

impl Ids {
    fn next(&mut self) -> Result<i32, String> {
        self.0 = self.0.checked_add(1).ok_or("the table has no ids left for columns")?;
        Ok(self.0)
    }

    /// New columns: those of one level first, as other writers number them.
    pub fn columns(&mut self, fields: &[Field]) -> Result<Vec<Column>, String> {
        names::check(None, fields.iter().map(|field| field.name.as_str()))?;
        let ids: Vec<i32> = fields.iter().map(|_| self.next()).collect::<Result<_, _>>()?;
        let column = |(field, id): (&Field, i32)| {
            let kind = self.kind(&field.slot.ty).map_err(|why| evolve::within(&field.name, &why))?;
            Ok(Column { id, name: field.name.clone(), required: !field.slot.optional, kind, doc: None })
        };
        fields.iter().zip(ids).map(column).collect()
    }

    fn element(&mut self, slot: &Slot, id: i32) -> Result<Box<Element>, String> {
        Ok(Box::new(Element { id, required: !slot.optional, kind: self.kind(&slot.ty)? }))
    }

    fn kind(&mut self, ty: &Type) -> Result<Kind, String> {
        Ok(match ty {
            Type::List(element) => {
                let id = self.next()?;
                Kind::List(self.element(element, id)?)
            }
            Type::Map(values) => {
                let (key, id) = (self.next()?, self.next()?);
                Kind::Map { key, value: self.element(values, id)? }
            }
            Type::Struct(fields) => Kind::Struct(self.columns(fields).map_err(|why| format!(".{why}"))?),
            Type::Decimal { precision, .. } if *precision > PRECISION_MAX => {
                return Err(format!("a decimal of more than {PRECISION_MAX} digits"));
            }
            leaf => Kind::Leaf(as_held(leaf)),
        })
    }
}

/// A type without parts as tables have it: they count microseconds.
pub fn as_held(ty: &Type) -> Type {
    match ty {
        Type::Time(_) => Type::Time(Unit::Micros),
        Type::Timestamp { local, .. } => Type::Timestamp { unit: Unit::Micros, local: *local },
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use millrace_connector_encode::types::avro;
    use serde_json::json;

    use super::*;

    fn made(schema: &Value) -> Columns {
        Columns::new(&avro::read(&schema.to_string()).expect("a schema").fields).expect("columns").0
    }

    #[test]
    fn columns_of_records_come_back_from_json() {
        let columns = made(&json!({ "type": "record", "name": "R", "fields": [
            { "name": "id", "type": "long" },
            { "name": "price", "type": { "type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2 } },
            { "name": "at", "type": ["null", { "type": "long", "logicalType": "timestamp-millis" }] },
            { "name": "tags", "type": { "type": "array", "items": "string" } },
            { "name": "by", "type": { "type": "map", "values": ["null", "double"] } },
            { "name": "to", "type": { "type": "record", "name": "To", "fields": [{ "name": "zip", "type": "int" }] } },
        ]}));
        let text = columns.json();
        assert_eq!(
            text["fields"][2],
            json!({ "id": 3, "name": "at", "required": false, "type": "timestamptz" })
        );
        assert_eq!(text["fields"][1]["type"], "decimal(9, 2)");
        assert_eq!(
            text["fields"][4]["type"],
            json!({ "type": "map", "key-id": 8, "key": "string", "value-id": 9, "value": "double", "value-required": false })
        );
        assert_eq!(Columns::read(&text).expect("read"), columns);
        let layout = columns.layout().expect("a layout");
        assert_eq!(layout.ids, [1, 2, 3, 4, 7, 5, 8, 9, 6, 10]);
        assert_eq!(columns.find(10).map(|column| column.name.as_str()), Some("zip"));
    }

    #[test]
    fn what_can_not_be_written_is_left_out_or_refused() {
        let table = |required: bool| {
            Columns::read(&json!({ "type": "struct", "schema-id": 3, "fields": [
                { "id": 1, "name": "n", "required": true, "type": "int" },
                { "id": 2, "name": "u", "required": required, "type": "uuid" },
                { "id": 3, "name": "m", "required": false, "type":
                    { "type": "map", "key-id": 4, "key": "int", "value-id": 5, "value": "int", "value-required": true } },
            ]}))
            .expect("read")
        };
        assert_eq!(table(false).layout().expect("a layout").ids, [1]);
        assert_eq!(table(false).json()["fields"][1]["type"], "uuid");
        assert!(table(true).layout().expect_err("refused").contains("column u is required"));
    }
}
