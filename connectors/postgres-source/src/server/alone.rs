//! Rows without a session for them: the main one reads a chunk whole, and its transaction is over before anything else is asked of it.

use millrace_sdk::Error;

use super::table::{Description, begin, not_begun};
use super::{Server, odd};
use crate::snapshot::Snapshot;
use crate::tables::Key;
use crate::upstream::{Begun, Range, Read, Rows};

/// What the main session reads.
#[derive(Debug)]
pub(super) enum Alone {
    Asked {
        table: String,
        key: Vec<String>,
        after: Option<Key>,
        upto: Option<Key>,
    },
    /// It was read.
    Done {
        rows: Rows,
        is_last: bool,
    },
}

impl Alone {
    pub(super) fn new(range: &Range<'_>) -> Self {
        Self::Asked {
            table: range.table.to_owned(),
            key: range.key.to_vec(),
            after: range.after.cloned(),
            upto: range.upto.cloned(),
        }
    }
}

impl Server {
    /// See [`crate::upstream::Upstream::next`].
    pub(super) fn next_alone(
        &mut self,
        work: Alone,
        accept: &mut dyn FnMut(&Snapshot) -> bool,
    ) -> Result<Read, Error> {
        match work {
            Alone::Done { rows, is_last } => Ok(Read::End { rows, is_last }),
            Alone::Asked { table, key, after, upto } => {
                let range = Range { table: &table, key: &key, after: after.as_ref(), upto: upto.as_ref() };
                self.read_chunk(&range, accept)
            }
        }
    }

    fn read_chunk(
        &mut self,
        range: &Range<'_>,
        accept: &mut dyn FnMut(&Snapshot) -> bool,
    ) -> Result<Read, Error> {
        let table = range.table;
        let query = Description::query(table, &self.settings.publication);
        if let Err(failure) = self.sql(|session| session.run(&begin(table))) {
            return not_begun(table, failure);
        }
        let answer = self.rows(&query)?;
        let (description, snapshot, lsn) = Description::read(&answer).ok_or_else(|| odd(table))?;
        if !accept(&snapshot) {
            self.sql(|session| session.run("ROLLBACK"))?;
            return Ok(Read::NotYet);
        }
        let key = description.key_names();
        if (range.after.is_some() || range.upto.is_some()) && range.key != key {
            self.sql(|session| session.run("ROLLBACK"))?;
            return Ok(Read::Changed);
        }
        let rows_max = (!key.is_empty()).then_some(self.settings.chunk_rows);
        let select = description.select(table, range.after, range.upto, rows_max);
        let Some((rows, count, is_at_end)) = self.fetch(table, &select, key.is_empty())? else {
            return Ok(Read::NotYet);
        };
        self.sql(|session| session.run("COMMIT"))?;
        let is_last = is_at_end && rows_max.is_none_or(|most| count < most as usize);
        self.alone = Some(Alone::Done { rows, is_last });
        let columns = description.columns.clone();
        self.descriptions.insert(table.to_owned(), description);
        Ok(Read::Begun(Begun { columns, key, snapshot, lsn }))
    }
}
