//! Columns that change: by what readers of old files can bear, and nothing else.
//!
//! A new field is a new column, which may be empty. A type may become a wider one as the format has it: int to long, float to double, more
//! digits of a decimal. Everything else doesn't fit; whose fault that is, the record's or the settings', others decide.

use millrace_connector_encode::types::{Field, Type};

use super::json::leaf_name;
use super::{Column, Element, Ids, Kind, as_held, names};

/// How fields are told from columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// By a schema: types count.
    Schema,
    /// By values alone: a column keeps its type, whatever the values look like.
    Values,
}

/// Widens columns so that rows of these fields fit. False: they fit already.
pub fn widen(columns: &mut Vec<Column>, fields: &[Field], by: By, ids: &mut Ids) -> Result<bool, String> {
    let mut changed = false;
    let mut new = Vec::new();
    for field in fields {
        match columns.iter_mut().find(|column| column.name == field.name) {
            Some(column) => {
                changed |= kind(&mut column.kind, &field.slot.ty, by, ids)
                    .map_err(|why| within(&field.name, &why))?;
            }
            None => new.push(field.clone()),
        }
    }
    let known = columns.iter().map(|column| column.name.as_str());
    names::check(known, new.iter().map(|field| field.name.as_str()))?;
    for field in &mut new {
        field.slot.optional = true;
    }
    changed |= !new.is_empty();
    columns.extend(ids.columns(&new)?);
    Ok(changed)
}

pub(super) fn within(name: &str, why: &str) -> String {
    match why.starts_with(['.', '[']) {
        true => format!("{name}{why}"),
        false => format!("{name}: {why}"),
    }
}

fn kind(kind: &mut Kind, ty: &Type, by: By, ids: &mut Ids) -> Result<bool, String> {
    match (kind, ty) {
        (Kind::Leaf(held), ty) => leaf(held, &as_held(ty), by),
        (Kind::List(inner), Type::List(slot)) => {
            element(inner, &slot.ty, by, ids).map_err(|why| within("[]", &why))
        }
        (Kind::Map { value, .. }, Type::Map(slot)) => {
            element(value, &slot.ty, by, ids).map_err(|why| within(".*", &why))
        }
        // By values, an object is as good as a map.
        (Kind::Map { .. }, Type::Struct(_)) if by == By::Values => Ok(false),
        (Kind::Struct(columns), Type::Struct(fields)) => {
            widen(columns, fields, by, ids).map_err(|why| format!(".{why}"))
        }
        (Kind::Other(_), _) => Err("the table's type can't be written".to_owned()),
        (Kind::List(_) | Kind::Map { .. } | Kind::Struct(_), _) if by == By::Values => Ok(false),
        (held, ty) => Err(format!("the table has {}, the records {}", name(held), leaf_name(ty))),
    }
}

fn element(element: &mut Element, ty: &Type, by: By, ids: &mut Ids) -> Result<bool, String> {
    kind(&mut element.kind, ty, by, ids)
}

fn leaf(held: &mut Type, ty: &Type, by: By) -> Result<bool, String> {
    if by == By::Values {
        return Ok(false);
    }
    match (&*held, ty) {
        (held, ty) if held == ty => Ok(false),
        (Type::Long, Type::Int) | (Type::Double, Type::Float) => Ok(false),
        (Type::Int, Type::Long) | (Type::Float, Type::Double) => {
            *held = ty.clone();
            Ok(true)
        }
        (Type::Decimal { precision, scale }, Type::Decimal { precision: wanted, scale: same })
            if scale == same =>
        {
            let wider = wanted > precision;
            if wider {
                *held = ty.clone();
            }
            Ok(wider)
        }
        (held, ty) => Err(format!("the table has {}, the records {}", leaf_name(held), leaf_name(ty))),
    }
}

fn name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Leaf(_) | Kind::Other(_) => "a value",
        Kind::List(_) => "list",
        Kind::Map { .. } => "map",
        Kind::Struct(_) => "struct",
    }
}

#[cfg(test)]
mod tests {
    use millrace_connector_encode::types::avro;
    use serde_json::{Value, json};

    use super::*;
    use crate::schema::Columns;

    fn fields(fields: Value) -> Vec<Field> {
        avro::read(&json!({ "type": "record", "name": "R", "fields": fields }).to_string())
            .expect("a schema")
            .fields
    }

    fn widened(from: Value, to: Value) -> Result<(bool, Value), String> {
        let (mut columns, last) = Columns::new(&fields(from)).expect("columns");
        let changed = widen(&mut columns.fields, &fields(to), By::Schema, &mut Ids(last))?;
        Ok((changed, columns.json()["fields"].clone()))
    }

    #[test]
    fn what_readers_can_bear_is_widened() {
        let decimal = |digits: u32, behind: u32| json!({ "type": "bytes", "logicalType": "decimal", "precision": digits, "scale": behind });
        let from = json!([{ "name": "a", "type": "int" }, { "name": "d", "type": decimal(5, 2) },
            { "name": "s", "type": { "type": "record", "name": "S", "fields": [{ "name": "x", "type": "float" }] } }]);
        let to = json!([{ "name": "a", "type": "long" }, { "name": "d", "type": decimal(9, 2) }, { "name": "new", "type": "string" },
            { "name": "s", "type": { "type": "record", "name": "S", "fields": [
                { "name": "x", "type": "double" }, { "name": "y", "type": "int" }] } }]);
        let (changed, columns) = widened(from.clone(), to.clone()).expect("fits");
        assert!(changed);
        assert_eq!(columns[0], json!({ "id": 1, "name": "a", "required": true, "type": "long" }));
        assert_eq!(columns[1]["type"], "decimal(9, 2)");
        assert_eq!(
            columns[2]["type"]["fields"][1],
            json!({ "id": 5, "name": "y", "required": false, "type": "int" })
        );
        assert_eq!(columns[3], json!({ "id": 6, "name": "new", "required": false, "type": "string" }));
        // What is narrower fits as it is, and so does what is left out.
        assert_eq!(widened(to, from.clone()).map(|(changed, _)| changed), Ok(false));
        for (name, ty) in
            [("a", json!("double")), ("a", json!("string")), ("d", decimal(9, 3)), ("s", json!("long"))]
        {
            let why = widened(from.clone(), json!([{ "name": name, "type": ty }])).expect_err("does not fit");
            assert!(why.starts_with(&format!("{name}: the table has ")), "{why}");
        }
    }
}
