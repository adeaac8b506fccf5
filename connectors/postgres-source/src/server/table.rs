//! Tables: their columns and key as the catalog has them, and rows in the order of the key.

use std::cmp::Ordering;

use millrace_sdk::Error;
use millrace_sdk::postgres::{Failure, Row, Session, Statement, identifier, literal};

use super::setup::quoted_table;
use super::{Server, odd};
use crate::lsn::Lsn;
use crate::pgoutput::Column;
use crate::snapshot::Snapshot;
use crate::tables::Key;
use crate::upstream::{Chunk, Read, Rows, too_large_without_key};

/// Bytes of rows after which a chunk ends, whatever the number of rows.
const CHUNK_BYTES: usize = 8 << 20;
/// Most bytes of a table that has no key, and so is read in one piece.
const KEYLESS_BYTES_MAX: usize = 32 << 20;
/// Rows fetched first, when it is not known how large they are.
const FETCH_FIRST: usize = 16;
/// Bytes and rows of one fetch.
const FETCH_BYTES: usize = 1 << 20;
const FETCH_ROWS_MAX: usize = 10_000;
/// The host's word for an answer over the connection's `result_max`.
const RESULT_SIZE: &str = "postgres.result-size";

/// A table as the catalog has it, and as it is published.
#[derive(Clone, Debug, Default)]
pub(crate) struct Description {
    pub(crate) columns: Vec<Column>,
    /// What rows are ordered by.
    pub(crate) key: Vec<KeyColumn>,
    /// Rows of children are theirs.
    pub(crate) is_only: bool,
    /// The publication's WHERE.
    pub(crate) filter: Option<String>,
}

/// A column of the key.
#[derive(Clone, Debug)]
pub(crate) struct KeyColumn {
    pub(crate) name: String,
    /// As in `'...'::TYPE`.
    pub(crate) type_name: String,
    pub(crate) type_oid: u32,
    /// As SQL writes it; none: the type has none.
    pub(crate) collation: Option<String>,
}

/// A query for the columns of a table's key, with their places in its index as `k.place`; `relation` is the table's OID in SQL.
pub(crate) fn key_of(relation: &str) -> String {
    format!(
        "SELECT a.attname, k.place, format_type(a.atttypid, a.atttypmod), a.atttypid, \
         CASE WHEN c.oid IS NOT NULL THEN quote_ident(n.nspname) || '.' || quote_ident(c.collname) END \
         FROM pg_class r JOIN pg_index i ON i.indrelid = r.oid AND CASE r.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END \
         CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, place) \
         JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum = k.attnum \
         LEFT JOIN pg_collation c ON c.oid = a.attcollation LEFT JOIN pg_namespace n ON n.oid = c.collnamespace \
         WHERE r.oid = {relation} AND k.place <= i.indnkeyatts"
    )
}

impl Description {
    fn read(session: &mut Session, table: &str, publication: &str) -> Result<Self, Failure> {
        let regclass = format!("{}::regclass", literal(&quoted_table(table)));
        let parts = table.split_once('.').unwrap_or(("public", table));
        let sql = "SELECT to_jsonb(p) -> 'attnames', to_jsonb(p) ->> 'rowfilter' FROM pg_publication_tables p \
                   WHERE pubname = $1 AND schemaname = $2 AND tablename = $3";
        let published = session.query(&Statement::new(sql).text(publication).text(parts.0).text(parts.1))?;
        let row = published.first();
        // Before version 15 publications had neither.
        let names: Option<Vec<String>> =
            row.and_then(|row| row.text(0)).and_then(|text| serde_json::from_str(text).ok());
        let filter = row.and_then(|row| row.text(1)).map(str::to_owned);
        let columns = session.rows(&format!(
            "SELECT a.attname, a.atttypid, a.atttypmod, r.relkind FROM pg_attribute a JOIN pg_class r ON r.oid = a.attrelid \
             WHERE r.oid = {regclass} AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum"
        ))?;
        let is_only = columns.first().is_some_and(|row| row.text(3) != Some("p"));
        let is_published = |column: &Column| names.as_ref().is_none_or(|names| names.contains(&column.name));
        let columns: Vec<Column> = columns.iter().filter_map(column).filter(is_published).collect();
        let key = session.rows(&format!("{} ORDER BY k.place", key_of(&regclass)))?;
        let key = key.iter().filter_map(|row| {
            Some(KeyColumn {
                name: row.text(0)?.to_owned(),
                type_name: row.text(2)?.to_owned(),
                type_oid: row.text(3)?.parse().ok()?,
                collation: row.text(4).map(str::to_owned),
            })
        });
        // A key that rows don't show (generated, or not published) is none: the table is one piece.
        let mut key: Vec<KeyColumn> = key.collect();
        if !key.iter().all(|of| columns.iter().any(|column| column.name == of.name)) {
            key.clear();
        }
        Ok(Self { columns, key, is_only, filter })
    }

    /// The order of two keys, where it is known without asking: numbers, UUIDs, texts by their bytes.
    pub(super) fn compared(&self, one: &Key, other: &Key) -> Option<Ordering> {
        for (column, (one, other)) in self.key.iter().zip(one.iter().zip(other)) {
            let collation = column.collation.as_deref();
            let is_plain = matches!(collation, Some("pg_catalog.\"C\"" | "pg_catalog.\"POSIX\""));
            let order = match column.type_oid {
                20 | 21 | 23 | 26 => one.parse::<i64>().ok()?.cmp(&other.parse().ok()?),
                2950 => one.cmp(other),
                25 | 1043 if is_plain => one.as_bytes().cmp(other.as_bytes()),
                _ if one == other => Ordering::Equal,
                _ => return None,
            };
            if order.is_ne() {
                return Some(order);
            }
        }
        Some(Ordering::Equal)
    }

    /// A query for whether a key is behind another.
    pub(super) fn comparison(&self, key: &Key, bound: &Key) -> String {
        let values = |key: &Key| {
            let value = |(column, text): (&KeyColumn, &String)| {
                let collate =
                    column.collation.as_ref().map_or(String::new(), |name| format!(" COLLATE {name}"));
                format!("{}::{}{collate}", literal(text), column.type_name)
            };
            self.key.iter().zip(key).map(value).collect::<Vec<_>>().join(", ")
        };
        format!("SELECT ROW({}) > ROW({})", values(key), values(bound))
    }

    /// A condition on rows: how their key compares with this one.
    pub(crate) fn beside(&self, operator: &str, other: &Key) -> String {
        let value =
            |(column, text): (&KeyColumn, &String)| format!("{}::{}", literal(text), column.type_name);
        let values: Vec<String> = self.key.iter().zip(other).map(value).collect();
        let key: Vec<String> = self.key.iter().map(|column| identifier(&column.name)).collect();
        format!("ROW({}) {operator} ROW({})", key.join(", "), values.join(", "))
    }

    /// The rows behind `after`.
    pub(crate) fn select(&self, table: &str, after: Option<&Key>, rows_max: Option<u32>) -> String {
        let list = |names: Vec<String>| names.join(", ");
        let columns = list(self.columns.iter().map(|column| identifier(&column.name)).collect());
        let key: Vec<String> = self.key.iter().map(|column| identifier(&column.name)).collect();
        let mut conditions: Vec<String> = self.filter.iter().map(|filter| format!("({filter})")).collect();
        if let Some(after) = after {
            conditions.push(self.beside(">", after));
        }
        let only = if self.is_only { "ONLY " } else { "" };
        let mut sql = format!("SELECT {columns} FROM {only}{}", quoted_table(table));
        if !conditions.is_empty() {
            sql.push_str(&format!(" WHERE {}", conditions.join(" AND ")));
        }
        if !key.is_empty() {
            sql.push_str(&format!(" ORDER BY {}", key.join(", ")));
        }
        if let Some(most) = rows_max {
            sql.push_str(&format!(" LIMIT {most}"));
        }
        sql
    }
}

fn column(row: Row<'_>) -> Option<Column> {
    Some(Column {
        is_identity: false,
        name: row.text(0)?.to_owned(),
        type_oid: row.text(1)?.parse().ok()?,
        type_modifier: row.text(2)?.parse().ok()?,
    })
}

impl Server {
    /// Looks at a table.
    pub(super) fn described(&mut self, table: &str) -> Result<Description, Error> {
        let publication = self.settings.publication.clone();
        let found = self.sql(|session| Description::read(session, table, &publication))?;
        self.descriptions.insert(table.to_owned(), found.clone());
        Ok(found)
    }

    /// See [`crate::upstream::Upstream::chunk`].
    pub(super) fn read_chunk(
        &mut self,
        table: &str,
        after: Option<(&[String], &Key)>,
        accept: &mut dyn FnMut(&Snapshot) -> bool,
    ) -> Result<Read, Error> {
        if let Some(why_not) = self.begin_read(table)? {
            return Ok(why_not);
        }
        let (snapshot, lsn) = self.snapshot()?;
        if !accept(&snapshot) {
            self.sql(|session| session.run("ROLLBACK"))?;
            return Ok(Read::NotYet);
        }
        let description = self.described(table)?;
        let key: Vec<String> = description.key.iter().map(|column| column.name.clone()).collect();
        if after.is_some_and(|(names, _)| names != key) {
            self.sql(|session| session.run("ROLLBACK"))?;
            return Ok(Read::Changed);
        }
        let rows_max = (!key.is_empty()).then_some(self.settings.chunk_rows);
        let select = description.select(table, after.map(|(_, key)| key), rows_max);
        let Some((rows, count, is_at_end)) = self.fetch(table, &select, key.is_empty())? else {
            return Ok(Read::NotYet);
        };
        self.sql(|session| session.run("COMMIT"))?;
        let is_last = is_at_end && rows_max.is_none_or(|most| count < most as usize);
        Ok(Read::Chunk(Chunk { columns: description.columns, key, rows, is_last, snapshot, lsn }))
    }

    /// Begins a transaction that reads a table; or why not.
    pub(crate) fn begin_read(&mut self, table: &str) -> Result<Option<Read>, Error> {
        // The lock comes before the snapshot: a table that is written anew in between would look empty.
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; LOCK TABLE {} IN ACCESS SHARE MODE",
            quoted_table(table)
        );
        let Err(failure) = self.sql(|session| session.run(&begin)) else { return Ok(None) };
        match &failure {
            Failure::Statement(error) => match error.code.as_str() {
                "42P01" | "3F000" => Ok(Some(Read::Gone)),
                "55P03" | "57014" => Ok(Some(Read::NotYet)),
                "42501" => Err(no_select(table, &failure)),
                _ => Err(failure.into()),
            },
            Failure::Session(_) => Err(failure.into()),
        }
    }

    /// The snapshot of the transaction that has begun, and a place behind all that it sees.
    fn snapshot(&mut self) -> Result<(Snapshot, Lsn), Error> {
        // The first part of the statement's work is its snapshot.
        let rows = self.rows("SELECT pg_current_snapshot()::text, pg_current_wal_insert_lsn()::text")?;
        let row = rows.first();
        let text = |column: usize| row.and_then(|row| row.text(column)).unwrap_or_default();
        match (text(0).parse(), text(1).parse()) {
            (Ok(snapshot), Ok(lsn)) => Ok((snapshot, lsn)),
            _ => Err(odd("its snapshot")),
        }
    }

    /// Rows of a query, as many as a chunk may have; how many, and whether these are all. None: they were too large to come together,
    /// and come one by one from the next call on.
    pub(crate) fn fetch(
        &mut self,
        table: &str,
        select: &str,
        is_whole: bool,
    ) -> Result<Option<(Rows, usize, bool)>, Error> {
        let declare = format!("DECLARE millrace_rows NO SCROLL CURSOR FOR {select}");
        let refused = |failure: Failure| match &failure {
            Failure::Statement(error) if error.code == "42501" => no_select(table, &failure),
            _ => failure.into(),
        };
        self.sql(|session| session.run(&declare)).map_err(refused)?;
        let (mut rows, mut count) = (Rows::default(), 0);
        let mut step = if self.has_large_rows { 1 } else { FETCH_FIRST };
        loop {
            let fetched = match self.rows(&format!("FETCH FORWARD {step} FROM millrace_rows")) {
                // The session is over. What was fetched before is read again, in the next one.
                Err(Failure::Session(error)) if error.code == RESULT_SIZE && step > 1 => {
                    self.has_large_rows = true;
                    return Ok(None);
                }
                Err(Failure::Session(error)) if error.code == RESULT_SIZE => {
                    let message = format!("a row of table {table}: {}", error.message);
                    return Err(Error::fatal(error.code, message));
                }
                fetched => fetched.map_err(refused)?,
            };
            for row in fetched.iter() {
                for column in 0..fetched.columns().len() {
                    let bytes = row.bytes(column);
                    rows.lens.push(bytes.map_or(-1, |bytes| i32::try_from(bytes.len()).unwrap_or(i32::MAX)));
                    rows.data.extend_from_slice(bytes.unwrap_or_default());
                }
            }
            count += fetched.len();
            if fetched.len() < step {
                return Ok(Some((rows, count, true)));
            }
            if is_whole && rows.data.len() > KEYLESS_BYTES_MAX {
                let most = format!("{} MiB in the table", KEYLESS_BYTES_MAX >> 20);
                return Err(too_large_without_key(table, &most));
            }
            if !is_whole && rows.data.len() >= CHUNK_BYTES {
                return Ok(Some((rows, count, false)));
            }
            if !self.has_large_rows {
                step = (FETCH_BYTES / (rows.data.len() / count).max(1)).clamp(1, FETCH_ROWS_MAX);
            }
        }
    }
}

pub(crate) fn no_select(table: &str, failure: &Failure) -> Error {
    let message = format!(
        "{failure}; the role needs to read the table, run: GRANT SELECT ON {} TO ...",
        quoted_table(table)
    );
    Error::fatal("postgres.rights", message)
}
