//! Statements that write many rows at once.
//!
//! Values go as one array of text per column, which the server takes apart and casts: the statement is the same however many rows
//! there are, and no type has to be known here.

use millrace_sdk::postgres::{Statement, identifier};

use crate::plan::{Op, Shape};
use crate::settings::InsertMode;
use crate::table::Table;
use crate::value::element_text;

/// Writes, or deletes, these rows.
pub fn statement(mode: InsertMode, table: &Table, shape: &Shape, ops: &[&Op]) -> Statement {
    let column = |at: usize| &table.columns[shape.columns[at]];
    let name = |at: usize| identifier(&column(at).name);
    let count = shape.columns.len();
    let list = |of: &dyn Fn(usize) -> String, separator: &str| {
        (0..count).map(of).collect::<Vec<_>>().join(separator)
    };
    let arrays = list(&|at| format!("${}::text[]", at + 1), ", ");
    let raw = list(&|at| format!("c{at}"), ", ");
    let cast = |at: usize| format!("r.c{at}::{}", column(at).sql_type);
    let matches = |target: &str| {
        let keys = shape.key.iter().map(|at| format!("{target}.{} = {}", name(*at), cast(*at)));
        keys.collect::<Vec<_>>().join(" AND ")
    };
    let others: Vec<usize> = (0..count).filter(|at| !shape.key.contains(at)).collect();
    let target = table.name.sql();
    let rows = format!("unnest({arrays}) AS r({raw})");
    let mode = if shape.update && mode == InsertMode::Upsert { InsertMode::Update } else { mode };
    let sql = match mode {
        _ if shape.delete => format!("DELETE FROM {target} AS t USING {rows} WHERE {}", matches("t")),
        InsertMode::Update => {
            let set: Vec<_> = others.iter().map(|at| format!("{} = {}", name(*at), cast(*at))).collect();
            format!("UPDATE {target} AS t SET {} FROM {rows} WHERE {}", set.join(", "), matches("t"))
        }
        InsertMode::Insert | InsertMode::Upsert => {
            let always = (0..count).any(|at| column(at).identity_always);
            let overriding = if always { " OVERRIDING SYSTEM VALUE" } else { "" };
            let mut sql = format!(
                "INSERT INTO {target} ({}){overriding} SELECT {} FROM {rows}",
                list(&name, ", "),
                list(&cast, ", ")
            );
            if mode == InsertMode::Upsert {
                let key: Vec<_> = shape.key.iter().map(|at| name(*at)).collect();
                // An identity column can't be set to anything but DEFAULT.
                let set = others.iter().filter(|at| !column(**at).identity_always);
                let set: Vec<_> = set.map(|at| format!("{0} = EXCLUDED.{0}", name(*at))).collect();
                let then = if set.is_empty() {
                    "NOTHING".to_owned()
                } else {
                    format!("UPDATE SET {}", set.join(", "))
                };
                sql.push_str(&format!(" ON CONFLICT ({}) DO {then}", key.join(", ")));
            }
            sql
        }
    };
    (0..count).fold(Statement::new(sql), |statement, at| statement.text(array(ops, at)))
}

/// A column of rows as the text of an array.
fn array(ops: &[&Op], column: usize) -> String {
    let mut text = String::from("{");
    for (at, op) in ops.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        element_text(op.values[column].as_deref(), &mut text);
    }
    text.push('}');
    text
}

/// COPY for new rows, and its data.
pub fn copy(table: &Table, shape: &Shape, ops: &[&Op]) -> (String, Vec<u8>) {
    let names: Vec<_> = shape.columns.iter().map(|column| identifier(&table.columns[*column].name)).collect();
    let mut data = Vec::new();
    for op in ops {
        for (at, value) in op.values.iter().enumerate() {
            if at > 0 {
                data.push(b'\t');
            }
            let Some(value) = value else {
                data.extend_from_slice(b"\\N");
                continue;
            };
            for byte in value.bytes() {
                match byte {
                    b'\\' => data.extend_from_slice(b"\\\\"),
                    b'\t' => data.extend_from_slice(b"\\t"),
                    b'\n' => data.extend_from_slice(b"\\n"),
                    b'\r' => data.extend_from_slice(b"\\r"),
                    byte => data.push(byte),
                }
            }
        }
        data.push(b'\n');
    }
    (format!("COPY {} ({}) FROM STDIN", table.name.sql(), names.join(", ")), data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Column, Name};
    use crate::value::Kind;

    #[test]
    fn statements_are_the_same_however_many_rows_there_are() {
        let column = |name: &str, sql_type: &str| Column {
            name: name.into(),
            sql_type: sql_type.into(),
            kind: Kind::Other,
            generated: false,
            identity_always: false,
            is_required: false,
        };
        let name = Name { schema: Some("shop".into()), table: "Or\"ders".into() };
        let table = Table { name, columns: vec![column("id", "bigint"), column("Na me", "text")] };
        let shape = Shape { table: 0, delete: false, update: false, columns: vec![0, 1], key: vec![0] };
        let op = |id: &str, name: Option<&str>| Op {
            record: 0,
            shape: 0,
            values: vec![Some(id.into()), name.map(str::to_owned)],
        };
        let (one, two) = (op("1", Some("a\"\\,{}\t\n")), op("2", None));
        let upsert = statement(InsertMode::Upsert, &table, &shape, &[&one, &two]);
        assert_eq!(
            upsert.sql,
            r#"INSERT INTO "shop"."Or""ders" ("id", "Na me") SELECT r.c0::bigint, r.c1::text FROM unnest($1::text[], $2::text[]) AS r(c0, c1) ON CONFLICT ("id") DO UPDATE SET "Na me" = EXCLUDED."Na me""#
        );
        let texts: Vec<_> =
            upsert.params.iter().flatten().map(|p| String::from_utf8_lossy(p).into_owned()).collect();
        assert_eq!(texts, [r#"{"1","2"}"#, "{\"a\\\"\\\\,{}\t\n\",NULL}"]);
        let update = statement(InsertMode::Update, &table, &shape, &[&one]).sql;
        assert_eq!(
            update,
            r#"UPDATE "shop"."Or""ders" AS t SET "Na me" = r.c1::text FROM unnest($1::text[], $2::text[]) AS r(c0, c1) WHERE t."id" = r.c0::bigint"#
        );
        let partial = Shape { update: true, ..shape.clone() };
        assert_eq!(statement(InsertMode::Upsert, &table, &partial, &[&one]).sql, update);
        let delete = Shape { delete: true, columns: vec![0], ..shape.clone() };
        assert_eq!(
            statement(InsertMode::Insert, &table, &delete, &[&two]).sql,
            r#"DELETE FROM "shop"."Or""ders" AS t USING unnest($1::text[]) AS r(c0) WHERE t."id" = r.c0::bigint"#
        );
        let (sql, data) = copy(&table, &shape, &[&one, &two]);
        assert_eq!(sql, r#"COPY "shop"."Or""ders" ("id", "Na me") FROM STDIN"#);
        assert_eq!(data, b"1\ta\"\\\\,{}\\t\\n\n2\t\\N\n");
    }
}
