//! Tables as the server has them, and how they are made and widened.

use millrace_sdk::postgres::{Row, Rows, Statement, identifier};

use crate::record::Field;
use crate::value::Kind;

/// Schema, if it is said, and table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// Without it: the first of `search_path` that has the table.
    pub schema: Option<String>,
    /// Table.
    pub table: String,
}

impl Name {
    /// As SQL writes it.
    pub fn sql(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", identifier(schema), identifier(&self.table)),
            None => identifier(&self.table),
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.table),
            None => f.write_str(&self.table),
        }
    }
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Name.
    pub name: String,
    /// Its type as SQL writes it, without length or precision: a cast would cut off silently what the column itself refuses.
    pub sql_type: String,
    /// What it takes.
    pub kind: Kind,
    /// Whether its values are computed: nothing can be written.
    pub generated: bool,
    /// Whether it is `GENERATED ALWAYS AS IDENTITY`.
    pub identity_always: bool,
    /// Whether a row can't be made without a value for it.
    pub is_required: bool,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Name.
    pub name: Name,
    /// Columns, in order.
    pub columns: Vec<Column>,
}

/// Asks for a table's columns; no rows: there is no such table.
pub fn columns_of(name: &Name) -> Statement {
    Statement::new(
        "SELECT a.attname, pg_catalog.format_type(a.atttypid, -1),
            b.typcategory, COALESCE(e.typname, b.typname), COALESCE(e.typcategory, ''),
            a.attgenerated <> '', a.attidentity = 'a', a.attnotnull AND NOT a.atthasdef AND a.attidentity = '',
            COALESCE(e.typdelim, ',')
         FROM pg_catalog.pg_attribute a
         JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
         JOIN pg_catalog.pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
         LEFT JOIN pg_catalog.pg_type e ON b.typcategory = 'A' AND e.oid = b.typelem
         WHERE a.attrelid = pg_catalog.to_regclass($1::text) AND a.attnum > 0 AND NOT a.attisdropped
         ORDER BY a.attnum",
    )
    .text(name.sql())
}

impl Table {
    /// What the server answered; none: there is no such table.
    pub fn read(name: Name, rows: &Rows) -> Option<Self> {
        let columns: Vec<Column> = rows.iter().map(|row| column(&row)).collect();
        (!columns.is_empty()).then_some(Self { name, columns })
    }

    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }
}

fn column(row: &Row<'_>) -> Column {
    let text = |at| row.text(at).unwrap_or_default();
    let base = kind(text(3));
    let delimiter = text(8).chars().next().unwrap_or(',');
    let kind = if text(2) == "A" { Kind::Array { element: Box::new(base), delimiter } } else { base };
    Column {
        name: text(0).to_owned(),
        sql_type: text(1).to_owned(),
        kind,
        generated: text(5) == "t",
        identity_always: text(6) == "t",
        is_required: text(7) == "t",
    }
}

/// Of a type's own name.
fn kind(name: &str) -> Kind {
    match name {
        "int2" | "int4" | "int8" | "oid" => Kind::Integer,
        "json" | "jsonb" => Kind::Json,
        "bytea" => Kind::Bytes,
        "date" => Kind::Date,
        "time" | "timetz" => Kind::Time,
        "timestamp" | "timestamptz" => Kind::Timestamp,
        _ => Kind::Other,
    }
}

/// The type of a column that is to hold a field; none: its value is null and there is no schema, so nobody knows yet.
pub fn sql_type(field: &Field<'_>) -> Option<String> {
    if let Some(kind) = &field.kind {
        return Some(kind.sql());
    }
    let kind = match field.value.as_bytes().first()? {
        b'n' => return None,
        b't' | b'f' => "boolean",
        b'"' => "text",
        b'{' | b'[' => "jsonb",
        // What doesn't fit, or has a fraction, keeps its digits.
        _ if field.value.parse::<i64>().is_ok() => "bigint",
        _ => "numeric",
    };
    Some(kind.to_owned())
}

/// Makes a table of these fields.
pub fn create(name: &Name, fields: &[Field<'_>], key: &[String]) -> String {
    let column = |field: &Field<'_>| {
        let is_key = key.iter().any(|name| **name == field.name);
        let null =
            if is_key || field.kind.as_ref().is_some_and(|kind| !kind.optional) { " NOT NULL" } else { "" };
        Some(format!("{} {}{null}", identifier(&field.name), sql_type(field)?))
    };
    let mut parts: Vec<String> = fields.iter().filter_map(column).collect();
    if !key.is_empty() {
        let names: Vec<String> = key.iter().map(|name| identifier(name)).collect();
        parts.push(format!("PRIMARY KEY ({})", names.join(", ")));
    }
    format!("CREATE TABLE IF NOT EXISTS {} ({})", name.sql(), parts.join(", "))
}

/// Adds columns for these fields. They may be null: rows are there already.
pub fn widen(name: &Name, fields: &[&Field<'_>]) -> Option<String> {
    let column = |field: &&Field<'_>| {
        Some(format!("ADD COLUMN IF NOT EXISTS {} {}", identifier(&field.name), sql_type(field)?))
    };
    let parts: Vec<String> = fields.iter().filter_map(column).collect();
    (!parts.is_empty()).then(|| format!("ALTER TABLE {} {}", name.sql(), parts.join(", ")))
}
