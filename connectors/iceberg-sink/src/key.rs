//! What names a row of a table that is upserted: columns whose values no two rows share.
//!
//! It is the setting `pk_fields`, or the table's identifier fields. What can't be found by an equality delete is refused here, before anything is written:
//! numbers with a floating point and values with parts (the specification allows neither), and a division by columns that are not in the key, since a
//! delete holds for one partition and a row could come to lie in another one.

use millrace_connector_encode::datum::Datum;
use millrace_connector_encode::types::Type;
use millrace_sdk::Error;

use crate::metadata::Metadata;
use crate::partition::Divider;
use crate::schema::{Columns, Kind, Layout};
use crate::settings::Settings;
use crate::single;

/// The key of a table's rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// Its columns, as files of equality deletes have them.
    pub layout: Layout,
    /// Where they are in a row.
    pub places: Vec<usize>,
    /// The partition that a key's row is in.
    pub divider: Divider,
}

fn wrong(why: String) -> Error {
    Error::fatal("table.key", why)
}

/// Whether values of a type can be told apart by what they are, as equality deletes do.
pub fn can_be_key(ty: &Type) -> bool {
    !matches!(ty, Type::Float | Type::Double | Type::List(_) | Type::Map(_) | Type::Struct(_))
}

impl Key {
    /// The key of this table; none: rows are only added.
    pub fn of(settings: &Settings, metadata: &Metadata) -> Result<Option<Self>, Error> {
        if !settings.upserts() {
            return Ok(None);
        }
        let broken = |why: String| Error::fatal("table.unwritable", why);
        let columns = metadata.columns().map_err(broken)?;
        let (spec, layout) = (metadata.spec().map_err(broken)?, columns.layout().map_err(broken)?);
        let names = names(settings, &columns)?;
        let mut key = Layout { schema: layout.schema.clone(), ids: Vec::new() };
        key.schema.fields.clear();
        let mut places = Vec::new();
        for name in &names {
            let column = columns.fields.iter().find(|column| column.name == *name);
            let column = column.ok_or_else(|| {
                wrong(format!("pk_fields: the table {} has no column {name}", settings.table))
            })?;
            match &column.kind {
                Kind::Leaf(ty) if can_be_key(ty) => {}
                _ => return Err(wrong(type_told(name))),
            }
            let at = layout.schema.fields.iter().position(|field| field.name == *name);
            let at = at.ok_or_else(|| wrong(format!("pk_fields: the column {name} can't be written")))?;
            places.push(at);
            key.ids.push(column.id);
            key.schema.fields.push(layout.schema.fields[at].clone());
        }
        if let Some(other) = spec.fields.iter().find(|field| !key.ids.contains(&field.source)) {
            return Err(wrong(division_told(&other.name, &names)));
        }
        let divider = Divider::new(&spec, &columns, &key).map_err(broken)?;
        Ok(Some(Self { layout: key, places, divider }))
    }

    /// The key of a row.
    pub fn in_row(&self, row: &[Datum]) -> Vec<Datum> {
        self.places.iter().map(|at| row.get(*at).cloned().unwrap_or(Datum::Null)).collect()
    }

    /// What tells keys apart.
    pub fn bytes(&self, key: &[Datum]) -> Vec<u8> {
        let mut out = Vec::new();
        for (value, field) in key.iter().zip(&self.layout.schema.fields) {
            let bytes = single::bytes(value, &field.slot.ty).unwrap_or_default();
            out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            out.extend_from_slice(&bytes);
        }
        out
    }
}

/// Says that a column can't be in a key.
pub fn type_told(name: &str) -> String {
    format!(
        "pk_fields: the column {name} can't be in a key: rows are found by whole numbers, decimals, text, bytes, booleans, dates and times"
    )
}

/// Says that a table is divided by what is not in its key.
pub fn division_told(field: &str, names: &[String]) -> String {
    format!(
        "the table is divided by {field}, which is not of the key ({}): a delete holds for one partition, and its row may be in another; divide \
         by columns of the key",
        names.join(", ")
    )
}

fn names(settings: &Settings, columns: &Columns) -> Result<Vec<String>, Error> {
    let name = |id: &i32| columns.find(*id).map(|column| column.name.clone());
    let own: Vec<String> = columns.identifiers.iter().filter_map(name).collect();
    match (settings.pk_fields.as_slice(), own.is_empty()) {
        ([], true) => Err(wrong(format!(
            "the table {} has no identifier fields that would be its key; name the key's columns in pk_fields",
            settings.table
        ))),
        ([], false) => Ok(own),
        (said, true) => Ok(said.to_vec()),
        (said, false) => {
            let sorted = |names: &[String]| {
                let mut names = names.to_vec();
                names.sort_unstable();
                names
            };
            if sorted(said) == sorted(&own) {
                return Ok(said.to_vec());
            }
            Err(wrong(format!(
                "pk_fields says {}, but the identifier fields of the table {} are {}: make it the same, or leave it out",
                said.join(", "),
                settings.table,
                own.join(", ")
            )))
        }
    }
}
