//! How rows are divided among files: partition specs, read from the table or made of the setting `partition_by`.
//!
//! Rooms: `transform` (values into partition values), `hash` (Iceberg's, for buckets).

mod hash;
pub mod transform;

use millrace_connector_encode::datum::Datum;
use millrace_connector_encode::types::{Field, Slot, Type};
use serde_json::{Value, json};

use self::transform::Transform;
use crate::metadata::PARTITION_IDS;
use crate::schema::{Column, Columns, Kind, Layout};
use crate::single;

/// Most fields of a spec.
pub const FIELDS_MAX: usize = 16;

/// A partition spec. One without fields puts all rows together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spec {
    /// Its id.
    pub id: i32,
    /// Its fields.
    pub fields: Vec<SpecField>,
}

/// What one value of a partition is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct SpecField {
    /// The column's id.
    pub source: i32,
    /// Its own.
    pub id: i32,
    /// Its name.
    pub name: String,
    /// What is done to the column's values.
    pub transform: Transform,
}

impl Spec {
    /// Reads a spec of metadata.
    pub fn read(json: &Value) -> Result<Self, String> {
        let number = |json: &Value, name: &str| json[name].as_i64().and_then(|id| i32::try_from(id).ok());
        let field = |field: &Value| {
            let name = field["name"].as_str().ok_or("a partition field without a name")?;
            let transform = field["transform"].as_str().unwrap_or_default();
            Ok(SpecField {
                source: number(field, "source-id")
                    .ok_or_else(|| format!("partition field {name} has no column"))?,
                id: number(field, "field-id").ok_or_else(|| format!("partition field {name} has no id"))?,
                name: name.to_owned(),
                transform: Transform::read(transform).ok_or_else(|| {
                    format!(
                        "the table is partitioned by {name} in a way that isn't known here: {transform:?}"
                    )
                })?,
            })
        };
        let fields = json["fields"].as_array().ok_or("a partition spec without fields")?;
        Ok(Self {
            id: number(json, "spec-id").unwrap_or(0),
            fields: fields.iter().map(field).collect::<Result<_, String>>()?,
        })
    }

    /// As metadata has it.
    pub fn json(&self) -> Value {
        json!({ "spec-id": self.id, "fields": self.fields_json() })
    }

    /// Its fields, as metadata and manifests have them.
    pub fn fields_json(&self) -> Value {
        let field = |field: &SpecField| json!({ "source-id": field.source, "field-id": field.id, "name": field.name, "transform": field.transform.to_string() });
        self.fields.iter().map(field).collect()
    }

    /// The last id of its fields.
    pub fn last_id(&self) -> i32 {
        self.fields.iter().map(|field| field.id).max().unwrap_or(PARTITION_IDS - 1)
    }

    /// Whether rows that are together by one are so by the other, in whatever order their fields are.
    pub fn divides_as(&self, other: &Self) -> bool {
        let sorted = |spec: &Self| {
            let mut parts: Vec<_> =
                spec.fields.iter().map(|field| (field.source, field.transform.to_string())).collect();
            parts.sort_unstable();
            parts
        };
        sorted(self) == sorted(other)
    }

    /// As the setting `partition_by` would have it.
    pub fn told(&self, columns: &Columns) -> String {
        let field = |field: &SpecField| {
            let path = path_of(&columns.fields, field.source).unwrap_or_else(|| field.name.clone());
            field.transform.told(&path)
        };
        self.fields.iter().map(field).collect::<Vec<_>>().join(", ")
    }

    /// The spec that the setting `partition_by` means for these columns: `column`, `day(column)`, `bucket(column, 16)`.
    pub fn of(texts: &[String], columns: &Columns) -> Result<Self, String> {
        let mut fields: Vec<SpecField> = Vec::new();
        for (text, id) in texts.iter().zip(PARTITION_IDS..) {
            let (transform, path) = transform::parse(text)?;
            let column = named(&columns.fields, path)
                .ok_or_else(|| format!("{text}: there is no column {path} that rows could be divided by"))?;
            let Kind::Leaf(ty) = &column.kind else {
                return Err(format!("{text}: rows are divided by single values, {path} is none"));
            };
            transform.result(ty).map_err(|why| format!("{text}: {why}"))?;
            let name = format!("{}{}", path.replace('.', "_"), transform.suffix());
            if fields.iter().any(|field| field.name == name) {
                return Err(format!("{text}: it is there twice"));
            }
            fields.push(SpecField { source: column.id, id, name, transform });
        }
        Ok(Self { id: 0, fields })
    }
}

/// A column by its name, or that of a field in it behind a dot.
fn named<'c>(columns: &'c [Column], path: &str) -> Option<&'c Column> {
    if let Some(column) = columns.iter().find(|column| column.name == path) {
        return Some(column);
    }
    path.match_indices('.').find_map(|(at, _)| {
        let column = columns.iter().find(|column| column.name == path[..at])?;
        let Kind::Struct(inner) = &column.kind else { return None };
        named(inner, &path[at + 1..])
    })
}

/// A column's name by its id, with those of the structs that it is in.
fn path_of(columns: &[Column], id: i32) -> Option<String> {
    columns.iter().find_map(|column| match &column.kind {
        _ if column.id == id => Some(column.name.clone()),
        Kind::Struct(inner) => path_of(inner, id).map(|path| format!("{}.{path}", column.name)),
        _ => None,
    })
}

/// A spec that is applied to rows of a layout.
#[derive(Clone, Debug, PartialEq)]
pub struct Divider {
    /// The spec.
    pub spec: Spec,
    /// What its values are, with the names of its fields.
    pub fields: Vec<Field>,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq)]
struct Part {
    /// Where the value stands in a row: places in structs.
    place: Vec<usize>,
    ty: Type,
    transform: Transform,
}

impl Divider {
    /// Applies a spec.
    pub fn new(spec: &Spec, columns: &Columns, layout: &Layout) -> Result<Self, String> {
        let (mut fields, mut parts) = (Vec::new(), Vec::new());
        for field in &spec.fields {
            let wrong = |why: &str| format!("the table is partitioned by {}: {why}", field.name);
            let mut place = Vec::new();
            let ty = place_of(&columns.fields, field.source, &layout.schema.fields, &mut place)
                .ok_or_else(|| wrong("its column can't be written"))?;
            let result = field.transform.result(&ty).map_err(|why| wrong(&why))?;
            fields.push(Field { name: field.name.clone(), slot: Slot { ty: result, optional: true } });
            parts.push(Part { place, ty, transform: field.transform });
        }
        Ok(Self { spec: spec.clone(), fields, parts })
    }

    /// The partition of a row.
    pub fn partition(&self, row: &[Datum]) -> Vec<Datum> {
        let value = |part: &Part| {
            let (last, path) = part.place.split_last()?;
            let mut row = row;
            for at in path {
                let Some(Datum::Struct(inner)) = row.get(*at) else { return None };
                row = inner;
            }
            part.transform.apply(row.get(*last)?, &part.ty)
        };
        self.parts.iter().map(|part| value(part).unwrap_or(Datum::Null)).collect()
    }

    /// What tells partitions apart.
    pub fn key(&self, partition: &[Datum]) -> Vec<Option<Vec<u8>>> {
        partition
            .iter()
            .zip(&self.fields)
            .map(|(value, field)| single::bytes(value, &field.slot.ty))
            .collect()
    }
}

/// Finds a column in the fields that are written.
fn place_of(columns: &[Column], id: i32, fields: &[Field], place: &mut Vec<usize>) -> Option<Type> {
    for column in columns {
        let Some(at) = fields.iter().position(|field| field.name == column.name) else { continue };
        place.push(at);
        if column.id == id {
            return Some(fields[at].slot.ty.clone());
        }
        if let (Kind::Struct(inner), Type::Struct(written)) = (&column.kind, &fields[at].slot.ty)
            && let Some(ty) = place_of(inner, id, written, place)
        {
            return Some(ty);
        }
        place.pop();
    }
    None
}

#[cfg(test)]
mod tests {
    use millrace_connector_encode::types::avro;

    use super::*;

    fn columns() -> Columns {
        let schema = json!({ "type": "record", "name": "R", "fields": [
            { "name": "n", "type": "long" },
            { "name": "to", "type": ["null", { "type": "record", "name": "To", "fields": [{ "name": "city", "type": "string" }] }] },
            { "name": "at", "type": { "type": "long", "logicalType": "timestamp-micros" } },
            { "name": "tags", "type": { "type": "array", "items": "string" } },
        ]});
        Columns::new(&avro::read(&schema.to_string()).expect("a schema").fields).expect("columns").0
    }

    fn of(texts: &[&str]) -> Result<Spec, String> {
        Spec::of(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), &columns())
    }

    #[test]
    fn settings_become_specs_and_rows_have_partitions() {
        let spec = of(&["to.city", "day(at)", "bucket(n, 16)"]).expect("a spec");
        assert_eq!(Spec::read(&spec.json()).expect("read"), spec);
        assert_eq!(spec.told(&columns()), "to.city, day(at), bucket(n, 16)");
        assert_eq!(
            spec.json()["fields"][2],
            json!({ "source-id": 1, "field-id": 1002, "name": "n_bucket", "transform": "bucket[16]" })
        );
        let columns = columns();
        let divider = Divider::new(&spec, &columns, &columns.layout().expect("a layout")).expect("applied");
        let row = |to: Datum| vec![Datum::Long(34), to, Datum::Long(86_400_000_000), Datum::List(Vec::new())];
        let city = Datum::Struct(vec![Datum::Text("Oslo".into())]);
        assert_eq!(divider.partition(&row(city)), [Datum::Text("Oslo".into()), Datum::Int(1), Datum::Int(3)]);
        assert_eq!(divider.partition(&row(Datum::Null))[0], Datum::Null);
    }

    #[test]
    fn what_rows_can_not_be_divided_by_is_told() {
        for (text, why) in [
            ("x", "there is no column x"),
            ("tags", "single values"),
            ("day(n)", "day needs a date or a timestamp"),
            ("bucket(n)", "a number"),
            ("bucket(n, 0)", "a number"),
            ("ring(n)", "is not known"),
        ] {
            let said = of(&[text]).expect_err("refused");
            assert!(said.starts_with(text) && said.contains(why), "{said}");
        }
        assert!(of(&["n", "n"]).expect_err("refused").contains("twice"));
    }
}
