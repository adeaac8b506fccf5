//! Which cursors are safe. One that is not would miss rows in silence, so that it is refused, with what mends it.

use millrace_sdk::Error;
use millrace_sdk::postgres::identifier;

use crate::name;
use crate::pgoutput::Column;
use crate::server::table::KeyColumn;

/// A table as the catalog has it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// `relkind`
    pub(crate) kind: String,
    pub(crate) columns: Vec<ColumnFacts>,
    pub(crate) indexes: Vec<Index>,
    /// Names of the primary key's columns.
    pub(crate) key: Vec<String>,
}

/// A column.
#[derive(Clone, Debug)]
pub(crate) struct ColumnFacts {
    pub(crate) column: Column,
    pub(crate) order: KeyColumn,
    pub(crate) is_null_free: bool,
    /// A sequence that is the column's, or that its default takes numbers of: its name, and how many of them a session takes at once.
    pub(crate) sequence: Option<(String, u64)>,
    /// Whether the server gives values by itself, triggers aside.
    pub(crate) has_default: bool,
}

/// A valid B-tree over all rows.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    pub(crate) is_unique: bool,
    /// Names; none: an expression.
    pub(crate) columns: Vec<Option<String>>,
}

/// int8, int2, int4, numeric: what sequences give.
const NUMBERS: [u32; 4] = [20, 21, 23, 1700];
const TIMESTAMP: u32 = 1114;
const TIMESTAMP_TZ: u32 = 1184;

impl Facts {
    pub(crate) fn column(&self, name: &str) -> Option<&ColumnFacts> {
        self.columns.iter().find(|known| known.column.name == name)
    }
}

/// Refuses what would miss rows, and gives what is only slow or doubtful.
pub(crate) fn checked(table: &str, cursor: &[String], facts: &Facts) -> Result<Vec<String>, Error> {
    let refused = |message: String| Err(Error::fatal("postgres.cursor", message));
    let quoted = name::quoted(table);
    let list = |names: &[String]| names.iter().map(|name| identifier(name)).collect::<Vec<_>>().join(", ");
    if facts.columns.is_empty() {
        return refused(format!("there is no table {table}"));
    }
    if !matches!(facts.kind.as_str(), "r" | "p") {
        return refused(format!("{table} is no table: of anything else nobody can say which rows are final"));
    }
    for name in cursor {
        let Some(column) = facts.column(name) else {
            let known: Vec<&str> = facts.columns.iter().map(|known| known.column.name.as_str()).collect();
            return refused(format!("table {table} has no column {name}, but {}", known.join(", ")));
        };
        if !column.is_null_free {
            return refused(format!(
                "rows of {table} whose {name} is null would never be read; run: ALTER TABLE {quoted} ALTER {} SET NOT NULL",
                identifier(name)
            ));
        }
    }
    let Some(first) = cursor.first().and_then(|name| facts.column(name)) else {
        return refused(format!("table {table} has no cursor"));
    };
    let kind = first.column.type_oid;
    if !NUMBERS.contains(&kind) && kind != TIMESTAMP && kind != TIMESTAMP_TZ {
        return refused(format!(
            "column {} of {table} is of type {}, which does not rise as rows are written; choose a number of a sequence, or a timestamp that \
             the server sets",
            first.column.name, first.order.type_name
        ));
    }
    if let Some((sequence, cache)) = first.sequence.as_ref().filter(|(_, cache)| *cache > 1) {
        return refused(format!(
            "sessions take {cache} numbers of {sequence} at once and write the smaller ones later, behind the cursor; run: ALTER SEQUENCE \
             {sequence} CACHE 1; sessions that are open keep the numbers they have"
        ));
    }
    let within = |index: &Index| {
        let is_in = |name: &Option<String>| name.as_ref().is_some_and(|name| cursor.contains(name));
        index.is_unique && index.columns.iter().all(is_in)
    };
    if !facts.indexes.iter().any(within) {
        let proposed: Vec<String> =
            cursor.iter().chain(facts.key.iter().filter(|name| !cursor.contains(name))).cloned().collect();
        let way = match proposed.len() > cursor.len() {
            true => format!("add the primary key: [{}]", proposed.join(", ")),
            false => "add the columns of a unique index".to_owned(),
        };
        return refused(format!(
            "rows of {table} may have the same {}, and some of them would be missed; {way}",
            cursor.join(", ")
        ));
    }
    let mut doubts = Vec::new();
    let leads = |index: &Index| {
        index.columns.len() >= cursor.len()
            && index.columns.iter().zip(cursor).all(|(one, other)| one.as_ref() == Some(other))
    };
    if !facts.indexes.iter().any(leads) {
        doubts.push(format!(
            "each poll reads all of {table} in order to find what is new; run: CREATE INDEX ON {quoted} ({})",
            list(cursor)
        ));
    }
    if !first.has_default {
        doubts.push(format!(
            "column {} of {table} has no default: if no trigger sets it, whoever writes rows does, and one that is smaller than what was read is missed",
            first.column.name
        ));
    }
    if kind == TIMESTAMP {
        doubts.push(format!(
            "column {} of {table} has no time zone: where sessions have one with summer time an hour comes twice, and rows of it are missed; \
             make it timestamptz",
            first.column.name
        ));
    }
    Ok(doubts)
}
