//! Rows without a session for them: the main one reads a chunk whole, and its transaction is over before anything else is asked of it.

use millrace_sdk::Error;

use super::Server;
use super::table::Description;
use crate::snapshot::Snapshot;
use crate::upstream::{Asked, Range, Read, Rows};

/// What the main session reads.
#[derive(Debug)]
pub(super) enum Alone {
    Asked(Asked),
    /// It was read.
    Done {
        rows: Rows,
        is_last: bool,
    },
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
            Alone::Asked(asked) => self.read_chunk(&asked.range(), accept),
        }
    }

    fn read_chunk(
        &mut self,
        range: &Range<'_>,
        accept: &mut dyn FnMut(&Snapshot) -> bool,
    ) -> Result<Read, Error> {
        let table = range.table;
        if let Some(why_not) = self.begin_read(table)? {
            return Ok(why_not);
        }
        let answer = self.rows(&Description::query(table, &self.settings.publication))?;
        let (description, begun) = match Description::for_rows(&answer, range, accept)? {
            Ok(seen) => seen,
            Err(why_not) => {
                self.sql(|session| session.run("ROLLBACK"))?;
                return Ok(why_not);
            }
        };
        let is_whole = begun.key.is_empty();
        let rows_max = (!is_whole).then_some(self.settings.chunk_rows);
        let select = description.select(table, range.after, range.upto, rows_max);
        let Some((rows, count, is_at_end)) = self.fetch(table, &select, is_whole)? else {
            return Ok(Read::NotYet);
        };
        self.sql(|session| session.run("COMMIT"))?;
        let is_last = is_at_end && rows_max.is_none_or(|most| count < most as usize);
        self.alone = Some(Alone::Done { rows, is_last });
        self.descriptions.insert(table.to_owned(), description);
        Ok(Read::Begun(begun))
    }
}
