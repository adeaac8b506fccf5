//! Tables: their columns and key as the catalog has them, and rows in the order of the key.

use std::cmp::Ordering;

use millrace_sdk::Error;
use millrace_sdk::postgres::{Failure, Row, Rows as Answer, identifier, literal};

use super::{Server, odd};
use crate::lsn::Lsn;
use crate::name;
use crate::pgoutput::Column;
use crate::snapshot::Snapshot;
use crate::tables::{KEY_BYTES_MAX, Key, key_bytes};
use crate::upstream::{Begun, Division, Range, Read, Rows, too_large_without_key};

/// Bytes of rows after which a chunk ends, whatever the number of rows.
const CHUNK_BYTES: usize = 8 << 20;
/// The same of the chunks of all readers: they wait in the component's memory.
const CHUNKS_BYTES: usize = 48 << 20;
/// Most bytes of a table that has no key, and so is read in one piece.
const KEYLESS_BYTES_MAX: usize = 32 << 20;
/// Rows fetched first, when it is not known how large they are.
const FETCH_FIRST: usize = 16;
/// Bytes and rows of one fetch.
const FETCH_BYTES: usize = 1 << 20;
const FETCH_ROWS_MAX: usize = 10_000;
/// The host's word for an answer over the connection's `result_max`.
const RESULT_SIZE: &str = "postgres.result-size";
/// Blocks of a table that are looked at to divide it.
const SAMPLE_BLOCKS: u64 = 256;
/// Chunks that a part should have at least: smaller ones are not worth a session.
const PART_CHUNKS_MIN: u64 = 2;

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
    /// A query for a table as it is in the transaction's snapshot, which it tells, too, with a place behind all that it sees.
    pub(super) fn query(table: &str, publication: &str) -> String {
        let regclass = literal(&name::quoted(table));
        let (schema, name) = name::parts(table);
        let (publication, schema, name) = (literal(publication), literal(schema), literal(name));
        // The first part of the statement's work is its snapshot. Before version 15 publications had neither columns nor a filter.
        format!(
            "SELECT pg_current_snapshot()::text, pg_current_wal_insert_lsn()::text, r.relkind, \
             (SELECT json_agg(json_build_array(a.attname, a.atttypid::bigint, a.atttypmod) ORDER BY a.attnum) FROM pg_attribute a \
             WHERE a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''), \
             (SELECT json_agg(json_build_array(k.name, k.type_name, k.type_oid::bigint, k.collation_name) ORDER BY k.place) \
             FROM ({}) k(name, place, type_name, type_oid, collation_name)), p.published -> 'attnames', p.published ->> 'rowfilter' \
             FROM pg_class r LEFT JOIN (SELECT to_jsonb(t) AS published FROM pg_publication_tables t \
             WHERE pubname = {publication} AND schemaname = {schema} AND tablename = {name}) p ON true WHERE r.oid = {regclass}::regclass",
            key_of(&format!("{regclass}::regclass"))
        )
    }

    /// What such a query gave.
    pub(super) fn read(rows: &Answer) -> Option<(Self, Snapshot, Lsn)> {
        let row = rows.first()?;
        let (snapshot, lsn) = (row.text(0)?.parse().ok()?, row.text(1)?.parse().ok()?);
        let is_only = row.text(2) != Some("p");
        let columns: Vec<(String, u32, i32)> = serde_json::from_str(row.text(3).unwrap_or("[]")).ok()?;
        let key: Vec<(String, String, u32, Option<String>)> =
            serde_json::from_str(row.text(4).unwrap_or("[]")).ok()?;
        let names: Option<Vec<String>> = row.text(5).and_then(|text| serde_json::from_str(text).ok());
        let filter = row.text(6).map(str::to_owned);
        let columns = columns.into_iter().map(|(name, type_oid, type_modifier)| Column {
            is_identity: false,
            name,
            type_oid,
            type_modifier,
        });
        let is_published = |column: &Column| names.as_ref().is_none_or(|names| names.contains(&column.name));
        let columns: Vec<Column> = columns.filter(is_published).collect();
        let key = key.into_iter().map(|(name, type_name, type_oid, collation)| KeyColumn {
            name,
            type_name,
            type_oid,
            collation,
        });
        // A key that rows don't show (generated, or not published) is none: the table is one piece.
        let mut key: Vec<KeyColumn> = key.collect();
        if !key.iter().all(|of| columns.iter().any(|column| column.name == of.name)) {
            key.clear();
        }
        Some((Self { columns, key, is_only, filter }, snapshot, lsn))
    }

    /// What `answer` to the query says, if rows of `range` can be read in its snapshot; or why not.
    pub(super) fn for_rows(
        answer: &Answer,
        range: &Range<'_>,
        accept: &mut dyn FnMut(&Snapshot) -> bool,
    ) -> Result<Result<(Self, Begun), Read>, Error> {
        let (description, snapshot, lsn) = Self::read(answer).ok_or_else(|| odd(range.table))?;
        if !accept(&snapshot) {
            return Ok(Err(Read::NotYet));
        }
        let (columns, key) = (description.columns.clone(), description.key_names());
        if (range.after.is_some() || range.upto.is_some()) && range.key != key {
            return Ok(Err(Read::Changed));
        }
        Ok(Ok((description, Begun { columns, key, snapshot, lsn })))
    }

    /// Names of the key's columns.
    pub(super) fn key_names(&self) -> Vec<String> {
        self.key.iter().map(|column| column.name.clone()).collect()
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

    /// How many of these keys, which rise, another one is behind, where that is known without asking.
    pub(super) fn place(&self, key: &Key, bounds: &[&Key]) -> Option<usize> {
        let (mut from, mut to) = (0, bounds.len());
        while from < to {
            let middle = from + (to - from) / 2;
            match self.compared(key, bounds[middle])? {
                Ordering::Greater => from = middle + 1,
                _ => to = middle,
            }
        }
        Some(from)
    }

    /// A query for the same.
    pub(super) fn comparison(&self, key: &Key, bounds: &[&Key]) -> String {
        let values = |key: &Key| {
            let value = |(column, text): (&KeyColumn, &String)| {
                let collate =
                    column.collation.as_ref().map_or(String::new(), |name| format!(" COLLATE {name}"));
                format!("{}::{}{collate}", literal(text), column.type_name)
            };
            self.key.iter().zip(key).map(value).collect::<Vec<_>>().join(", ")
        };
        let key = values(key);
        let is_behind = |bound: &&Key| format!("(ROW({key}) > ROW({}))::int", values(bound));
        format!("SELECT {}", bounds.iter().map(is_behind).collect::<Vec<_>>().join(" + "))
    }

    /// A condition on rows: how their key compares with this one.
    pub(crate) fn beside(&self, operator: &str, other: &Key) -> String {
        let value =
            |(column, text): (&KeyColumn, &String)| format!("{}::{}", literal(text), column.type_name);
        let values: Vec<String> = self.key.iter().zip(other).map(value).collect();
        let key: Vec<String> = self.key.iter().map(|column| identifier(&column.name)).collect();
        format!("ROW({}) {operator} ROW({})", key.join(", "), values.join(", "))
    }

    /// The rows behind `after`, up to `upto`.
    pub(crate) fn select(
        &self,
        table: &str,
        after: Option<&Key>,
        upto: Option<&Key>,
        rows_max: Option<u32>,
    ) -> String {
        let list = |names: Vec<String>| names.join(", ");
        let columns = list(self.columns.iter().map(|column| identifier(&column.name)).collect());
        let key: Vec<String> = self.key.iter().map(|column| identifier(&column.name)).collect();
        let mut conditions: Vec<String> = self.filter.iter().map(|filter| format!("({filter})")).collect();
        if let Some(after) = after {
            conditions.push(self.beside(">", after));
        }
        if let Some(upto) = upto {
            conditions.push(self.beside("<=", upto));
        }
        let only = if self.is_only { "ONLY " } else { "" };
        let mut sql = format!("SELECT {columns} FROM {only}{}", name::quoted(table));
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

    /// A query for keys that divide a table into so many parts of about as many rows: of a sample of its blocks, in percent. Each row has the number of
    /// the sample's rows besides.
    fn sample(&self, table: &str, percent: f64, parts: usize) -> String {
        let key: Vec<String> = self.key.iter().map(|column| identifier(&column.name)).collect();
        let key = key.join(", ");
        let only = if self.is_only { "ONLY " } else { "" };
        let filter = self.filter.as_ref().map_or(String::new(), |filter| format!(" WHERE ({filter})"));
        format!(
            "SELECT total, {key} FROM (SELECT {key}, row_number() OVER (ORDER BY {key}) AS place, count(*) OVER () AS total \
             FROM {only}{} TABLESAMPLE SYSTEM ({percent}){filter}) s WHERE place = total OR place * {parts} % total < {parts} ORDER BY place",
            name::quoted(table)
        )
    }
}

impl Server {
    /// Looks at a table.
    pub(super) fn described(&mut self, table: &str) -> Result<Description, Error> {
        let query = Description::query(table, &self.settings.publication);
        let rows = self.rows(&query)?;
        let (found, ..) = Description::read(&rows).ok_or_else(|| odd(table))?;
        self.descriptions.insert(table.to_owned(), found.clone());
        Ok(found)
    }

    /// See [`crate::upstream::Upstream::division`].
    pub(super) fn divided(&mut self, table: &str, parts: usize) -> Result<Division, Failure> {
        let query = Description::query(table, &self.settings.publication);
        let rows = self.rows(&query)?;
        let Some((description, ..)) = Description::read(&rows) else { return Ok(Division::default()) };
        if description.key.is_empty() {
            return Ok(Division::default());
        }
        let regclass = format!("{}::regclass", literal(&name::quoted(table)));
        let blocks = self.rows(&format!(
            "SELECT ceil(coalesce((SELECT sum(pg_relation_size(relid)) FROM pg_partition_tree({regclass})), pg_relation_size({regclass})) \
             / current_setting('block_size')::numeric)"
        ))?;
        let blocks = blocks.first().and_then(|row| row.text(0)?.parse::<u64>().ok()).unwrap_or_default();
        let percent = (SAMPLE_BLOCKS as f64 / blocks.max(1) as f64 * 100.0).min(100.0);
        let sample = self.rows(&description.sample(table, percent, parts))?;
        let total = sample.first().and_then(|row| row.text(0)?.parse::<f64>().ok()).unwrap_or_default();
        let rows = (total / percent * 100.0) as u64;
        let width = description.key.len();
        let key =
            |row: Row<'_>| (1..=width).map(|at| row.text(at).map(str::to_owned)).collect::<Option<Key>>();
        let mut ends: Vec<Key> = sample.iter().filter_map(key).collect();
        // Behind the last one is nothing that is known of.
        ends.pop();
        ends.retain(|end| key_bytes(end) <= KEY_BYTES_MAX);
        let worth = rows / (u64::from(self.settings.chunk_rows) * PART_CHUNKS_MIN);
        let parts = parts.min(usize::try_from(worth).unwrap_or(usize::MAX));
        Ok(Division { key: description.key_names(), ends: thinned(ends, parts), rows })
    }

    /// Begins a transaction that reads a table; or why not.
    pub(crate) fn begin_read(&mut self, table: &str) -> Result<Option<Read>, Error> {
        match self.sql(|session| session.run(&begin(table))) {
            Ok(()) => Ok(None),
            Err(failure) => not_begun(table, failure).map(Some),
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
        self.sql(|session| session.run(&declare(select))).map_err(|failure| refused(table, failure))?;
        let (mut rows, mut fetch) =
            (Rows::default(), Fetch::new(self.has_large_rows, self.settings.snapshot_max_threads));
        loop {
            let fetched = match self.rows(&fetch.sql()) {
                // The session is over. What was fetched before is read again, in the next one.
                Err(failure) if fetch.is_too_large(&failure) => {
                    self.has_large_rows = true;
                    return Ok(None);
                }
                fetched => fetched.map_err(|failure| refused(table, failure))?,
            };
            let is_at_end = fetch.took(&fetched, &mut rows);
            if is_at_end || fetch.is_full(table, is_whole)? {
                return Ok(Some((rows, fetch.count, is_at_end)));
            }
        }
    }
}

/// How many of these keys are left when there are to be so many parts.
fn thinned(ends: Vec<Key>, parts: usize) -> Vec<Key> {
    let (count, wanted) = (ends.len(), parts.saturating_sub(1).min(ends.len()));
    let is_kept = |place: &usize| (place + 1) * wanted / count.max(1) > place * wanted / count.max(1);
    ends.into_iter().enumerate().filter(|(place, _)| is_kept(place)).map(|(_, end)| end).collect()
}

/// Begins a transaction that reads a table. The lock comes before the snapshot: a table that is written anew in between would look empty.
pub(super) fn begin(table: &str) -> String {
    format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; LOCK TABLE {} IN ACCESS SHARE MODE",
        name::quoted(table)
    )
}

/// Why one could not begin.
pub(super) fn not_begun(table: &str, failure: Failure) -> Result<Read, Error> {
    match &failure {
        Failure::Statement(error) => match error.code.as_str() {
            "42P01" | "3F000" => Ok(Read::Gone),
            "55P03" | "57014" => Ok(Read::NotYet),
            "42501" => Err(no_select(table, &failure)),
            _ => Err(failure.into()),
        },
        Failure::Session(_) => Err(failure.into()),
    }
}

/// The cursor that rows are fetched from.
pub(super) fn declare(select: &str) -> String {
    format!("DECLARE millrace_rows NO SCROLL CURSOR FOR {select}")
}

/// What a refusal means while rows are fetched.
pub(super) fn refused(table: &str, failure: Failure) -> Error {
    match failure {
        Failure::Statement(ref error) if error.code == "42501" => no_select(table, &failure),
        Failure::Session(error) if error.code == RESULT_SIZE => {
            Error::fatal(error.code, format!("a row of table {table}: {}", error.message))
        }
        failure => failure.into(),
    }
}

/// How rows are fetched: few first, then as many as are some bytes.
#[derive(Debug)]
pub(super) struct Fetch {
    /// Rows of the next fetch.
    step: usize,
    /// One by one, since some don't fit into an answer together.
    is_single: bool,
    /// Bytes after which the chunk ends.
    chunk_bytes: usize,
    /// Rows and bytes so far.
    pub(super) count: usize,
    pub(super) bytes: usize,
}

impl Fetch {
    pub(super) fn new(is_single: bool, readers: usize) -> Self {
        let chunk_bytes = CHUNK_BYTES.min(CHUNKS_BYTES / readers.max(1));
        Self { step: if is_single { 1 } else { FETCH_FIRST }, is_single, chunk_bytes, count: 0, bytes: 0 }
    }

    pub(super) fn sql(&self) -> String {
        format!("FETCH FORWARD {} FROM millrace_rows", self.step)
    }

    /// Whether it failed because of how much it was.
    pub(super) fn is_too_large(&self, failure: &Failure) -> bool {
        self.step > 1 && matches!(failure, Failure::Session(error) if error.code == RESULT_SIZE)
    }

    /// Adds what was fetched to `rows`; whether that was all.
    pub(super) fn took(&mut self, fetched: &Answer, rows: &mut Rows) -> bool {
        let before = rows.data.len();
        for row in fetched.iter() {
            for column in 0..fetched.columns().len() {
                let bytes = row.bytes(column);
                rows.lens.push(bytes.map_or(-1, |bytes| i32::try_from(bytes.len()).unwrap_or(i32::MAX)));
                rows.data.extend_from_slice(bytes.unwrap_or_default());
            }
        }
        self.count += fetched.len();
        self.bytes += rows.data.len() - before;
        let is_at_end = fetched.len() < self.step;
        if !self.is_single {
            self.step = (FETCH_BYTES / (self.bytes / self.count.max(1)).max(1)).clamp(1, FETCH_ROWS_MAX);
        }
        is_at_end
    }

    /// Whether a chunk is large enough; in one piece a table may not become too large.
    pub(super) fn is_full(&self, table: &str, is_whole: bool) -> Result<bool, Error> {
        if is_whole && self.bytes > KEYLESS_BYTES_MAX {
            let most = format!("{} MiB in the table", KEYLESS_BYTES_MAX >> 20);
            return Err(too_large_without_key(table, &most));
        }
        Ok(!is_whole && self.bytes >= self.chunk_bytes)
    }
}

pub(crate) fn no_select(table: &str, failure: &Failure) -> Error {
    let message = format!(
        "{failure}; the role needs to read the table, run: GRANT SELECT ON {} TO ...",
        name::quoted(table)
    );
    Error::fatal("postgres.rights", message)
}
