//! Names of tables: `schema.table`, or a table of the schema `public`.

use millrace_sdk::postgres::identifier;

/// Schema and table.
pub(crate) fn parts(table: &str) -> (&str, &str) {
    table.split_once('.').unwrap_or(("public", table))
}

/// As SQL writes it, with quotes.
pub(crate) fn quoted(table: &str) -> String {
    let (schema, name) = parts(table);
    format!("{}.{}", identifier(schema), identifier(name))
}
