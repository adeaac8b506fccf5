//! A real server: what the catalog says of tables, rows by their cursor, and who is at work.

use std::collections::BTreeSet;

use millrace_sdk::Error;
use millrace_sdk::postgres::{Failure, Row, identifier, literal};

use super::check::{self, ColumnFacts, Facts, Index};
use super::{Batch, Store};
use crate::name;
use crate::pgoutput::Column;
use crate::server::table::{Description, KeyColumn, key_of, no_select};
use crate::server::{Server, odd};
use crate::tables::Key;
use crate::types::Entry;
use crate::upstream::{Read, Upstream};

/// Open transactions of this database, others than this one. Each holds a lock on its own virtual number from its first statement to after
/// the moment at which it is seen, and everybody may see those locks. Autovacuum has no user, and writes no rows. What was prepared has no
/// session any more.
const OPEN: &str = "SELECT l.virtualtransaction || ' of process ' || l.pid FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid \
                    WHERE l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock' AND l.granted AND l.pid <> pg_backend_pid() \
                    AND (a.pid IS NULL OR a.datname = current_database() AND a.usesysid IS NOT NULL) \
                    UNION ALL SELECT 'prepared ' || transaction || ' ' || gid FROM pg_prepared_xacts WHERE database = current_database()";

impl Server {
    /// Checks the server, and that each table has a cursor that misses nothing; the name of the database.
    pub(crate) fn prepare_query(&mut self) -> Result<String, Error> {
        let (database, _) = self.check(false)?;
        for (table, cursor) in self.settings.cursors.clone() {
            for doubt in check::checked(&table, &cursor, &self.facts(&table)?)? {
                millrace_sdk::warn!("{doubt}");
            }
        }
        Ok(database)
    }

    pub(crate) fn facts(&mut self, table: &str) -> Result<Facts, Error> {
        let relation = format!("to_regclass({})", literal(&name::quoted(table)));
        let columns = self.rows(&format!(
            "SELECT a.attname, a.atttypid, a.atttypmod, format_type(a.atttypid, a.atttypmod), \
             CASE WHEN c.oid IS NOT NULL THEN quote_ident(n.nspname) || '.' || quote_ident(c.collname) END, a.attnotnull, r.relkind, \
             s.seqrelid::regclass, s.seqcache, a.atthasdef OR a.attidentity <> '' \
             FROM pg_class r JOIN pg_attribute a ON a.attrelid = r.oid \
             LEFT JOIN pg_collation c ON c.oid = a.attcollation LEFT JOIN pg_namespace n ON n.oid = c.collnamespace \
             LEFT JOIN pg_sequence s ON s.seqrelid IN (\
             SELECT d.objid FROM pg_depend d WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = r.oid AND d.refobjsubid = a.attnum \
             AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') UNION \
             SELECT d.refobjid FROM pg_attrdef f JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid \
             AND d.refclassid = 'pg_class'::regclass WHERE f.adrelid = r.oid AND f.adnum = a.attnum) \
             WHERE r.oid = {relation} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum, s.seqcache DESC"
        ))?;
        let kind = columns.first().and_then(|row| row.text(6)).unwrap_or_default().to_owned();
        let mut found: Vec<ColumnFacts> = Vec::new();
        for column in columns.iter().map(|row| column(&row)) {
            let column = column.ok_or_else(|| odd("a column"))?;
            // One with several sequences is there several times, the one that takes most numbers first.
            if found.last().is_none_or(|last| last.column.name != column.column.name) {
                found.push(column);
            }
        }
        let indexes = self.rows(&format!(
            "SELECT i.indisunique, to_json(ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, place) \
             LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum WHERE k.place <= i.indnkeyatts ORDER BY k.place)) \
             FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam \
             WHERE i.indrelid = {relation} AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND m.amname = 'btree'"
        ))?;
        let index = |row: Row<'_>| {
            let columns = serde_json::from_str(row.text(1)?).ok()?;
            Some(Index { is_unique: row.is_true(0), columns })
        };
        let indexes = indexes.iter().map(index).collect::<Option<_>>().ok_or_else(|| odd("an index"))?;
        let key = self.rows(&format!("{} ORDER BY k.place", key_of(&relation)))?;
        let key = key.iter().filter_map(|row| row.text(0).map(str::to_owned)).collect();
        Ok(Facts { kind, columns: found, indexes, key })
    }

    /// The table with its cursor, which is safe, as what rows are ordered by; and the primary key.
    fn ordered(&mut self, table: &str) -> Result<(Description, Vec<String>), Error> {
        let facts = self.facts(table)?;
        let cursor = self.settings.cursors.get(table).cloned().unwrap_or_default();
        check::checked(table, &cursor, &facts)?;
        let key =
            cursor.iter().filter_map(|name| facts.column(name).map(|known| known.order.clone())).collect();
        let is_only = facts.kind == "r";
        let columns = facts.columns.into_iter().map(|known| known.column).collect();
        let description = Description { columns, key, is_only, filter: None };
        self.descriptions.insert(table.to_owned(), description.clone());
        Ok((description, facts.key))
    }
}

fn column(row: &Row<'_>) -> Option<ColumnFacts> {
    let (name, type_oid) = (row.text(0)?.to_owned(), row.text(1)?.parse().ok()?);
    let column = Column {
        is_identity: false,
        name: name.clone(),
        type_oid,
        type_modifier: row.text(2)?.parse().ok()?,
    };
    let (type_name, collation) = (row.text(3)?.to_owned(), row.text(4).map(str::to_owned));
    let sequence = row.text(7).and_then(|name| Some((name.to_owned(), row.text(8)?.parse().ok()?)));
    let order = KeyColumn { name, type_name, type_oid, collation };
    let has_default = row.is_true(9);
    Some(ColumnFacts { column, order, is_null_free: row.is_true(5), sequence, has_default })
}

impl Store for Server {
    fn greatest(&mut self, table: &str, after: Option<&Key>) -> Result<Option<Key>, Error> {
        let description = match self.descriptions.get(table) {
            Some(known) => known.clone(),
            None => self.ordered(table)?.0,
        };
        let names: Vec<String> = description.key.iter().map(|column| identifier(&column.name)).collect();
        let behind =
            after.map_or(String::new(), |after| format!(" WHERE {}", description.beside(">", after)));
        let sql = format!(
            "SELECT {} FROM {}{}{behind} ORDER BY {} DESC LIMIT 1",
            names.join(", "),
            if description.is_only { "ONLY " } else { "" },
            name::quoted(table),
            names.join(" DESC, ")
        );
        let rows = self.rows(&sql).map_err(|failure| {
            // It may have another shape by now: it is looked at again.
            self.descriptions.remove(table);
            match &failure {
                Failure::Statement(error) if error.code == "42501" => no_select(table, &failure),
                _ => failure.into(),
            }
        })?;
        let Some(row) = rows.first() else { return Ok(None) };
        let key = (0..names.len()).map(|at| row.text(at).map(str::to_owned)).collect::<Option<Key>>();
        key.ok_or_else(|| odd("a cursor")).map(Some)
    }

    fn open_transactions(&mut self) -> Result<BTreeSet<String>, Error> {
        let rows = self.rows(OPEN)?;
        Ok(rows.iter().filter_map(|row| row.text(0).map(str::to_owned)).collect())
    }

    fn rows(&mut self, table: &str, after: Option<&Key>, upto: &Key) -> Result<Option<Batch>, Error> {
        match self.begin_read(table)? {
            None => {}
            Some(Read::Gone) => {
                return Err(Error::fatal("postgres.cursor", format!("there is no table {table} any more")));
            }
            Some(_) => return Ok(None),
        }
        let (mut description, key) = self.ordered(table)?;
        description.filter = Some(description.beside("<=", upto));
        let most = self.settings.chunk_rows;
        let select = description.select(table, after, None, Some(most));
        let Some((rows, count, is_at_end)) = self.fetch(table, &select, false)? else { return Ok(None) };
        self.sql(|session| session.run("COMMIT"))?;
        let is_last = is_at_end && count < most as usize;
        Ok(Some(Batch { columns: description.columns, key, rows, is_last }))
    }

    fn type_entry(&mut self, oid: u32) -> Result<Option<Entry>, Error> {
        Upstream::type_entry(self, oid)
    }
}
