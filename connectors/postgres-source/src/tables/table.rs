//! A table: its parts, in the order of the key. Most tables are one part.

use millrace_sdk::Error;

use super::part::Part;
use super::{Key, Place, Verdict};
use crate::lsn::Lsn;

/// Parts of a table. Each is a checkpoint.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Table {
    /// At least one; all but the last have an end.
    parts: Vec<Part>,
}

impl Default for Table {
    fn default() -> Self {
        Self { parts: vec![Part::default()] }
    }
}

impl Table {
    /// A table whose rows are not read: all its changes are told.
    pub(crate) fn streamed() -> Self {
        Self { parts: vec![Part { is_read: true, ..Part::default() }] }
    }

    /// A table of these parts; none: they are not those of one table.
    pub(crate) fn of(parts: Vec<Part>) -> Option<Self> {
        let (last, others) = parts.split_last()?;
        let is_whole = last.upto.is_none() && others.iter().all(|part| part.upto.is_some());
        is_whole.then_some(Self { parts })
    }

    /// Divides a table that is not begun behind these keys, which rise. The names are those of the key's columns.
    pub(crate) fn divide(&mut self, names: &[String], ends: Vec<Key>, rows_expected: Option<u64>) {
        let ends = ends.into_iter().map(Some).chain([None]);
        let part = |upto| Part { key: names.to_vec(), upto, ..Part::default() };
        self.parts = ends.map(part).collect();
        self.parts[0].rows_expected = rows_expected;
    }

    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    pub(crate) fn part_mut(&mut self, part: usize) -> Option<&mut Part> {
        self.parts.get_mut(part)
    }

    /// A part, and the key that it begins behind.
    pub(crate) fn part(&self, part: usize) -> Option<(&Part, Option<&Key>)> {
        let before = part.checked_sub(1).and_then(|before| self.parts.get(before));
        Some((self.parts.get(part)?, before.and_then(|before| before.upto.as_ref())))
    }

    /// Sets what rows are ordered by.
    pub(crate) fn order_by(&mut self, names: &[String]) {
        self.parts.iter_mut().for_each(|part| part.key = names.to_vec());
    }

    /// Whether rows were ordered by other columns than these.
    pub(crate) fn is_ordered_unlike(&self, names: &[String]) -> bool {
        (self.is_begun() || self.parts.len() > 1) && self.parts[0].key != names
    }

    /// Whether there is nothing left but the stream.
    pub(crate) fn is_settled(&self) -> bool {
        self.parts.iter().all(Part::is_settled)
    }

    /// Whether all rows have been read.
    pub(crate) fn is_read(&self) -> bool {
        self.parts.iter().all(|part| part.is_read)
    }

    /// Whether a chunk has been read, or a part of one.
    pub(crate) fn is_begun(&self) -> bool {
        self.parts.iter().any(Part::is_begun)
    }

    /// Rows read so far.
    pub(crate) fn rows(&self) -> u64 {
        self.parts.iter().map(|part| part.rows).sum()
    }

    /// How many rows there were about, when it was begun.
    pub(crate) fn rows_expected(&self) -> Option<u64> {
        self.parts[0].rows_expected
    }

    /// The stream has given all transactions that committed before `lsn`; which parts have changed by that. In the end there is one.
    pub(super) fn passed(&mut self, lsn: Lsn) -> Vec<usize> {
        let parts = self.parts.iter_mut().enumerate();
        let changed: Vec<usize> =
            parts.filter_map(|(number, part)| part.passed(lsn).then_some(number)).collect();
        if changed.is_empty() || !self.is_settled() {
            return changed;
        }
        let all = (0..self.parts.len()).collect();
        self.parts = vec![Part { is_read: true, rows: self.rows(), ..Part::default() }];
        all
    }

    /// What to do with a change of the row with this key.
    pub(crate) fn row(&self, xid: u32, key: &Key, place: &mut Place<'_>) -> Result<Verdict, Error> {
        if self.is_settled() {
            return Ok(Verdict::Tell);
        }
        let (mut bounds, mut verdicts) = (Vec::new(), Vec::new());
        self.parts.iter().for_each(|part| part.verdicts(xid, &mut bounds, &mut verdicts));
        let behind = if bounds.is_empty() { 0 } else { place(key, &bounds)? };
        Ok(verdicts.get(behind).copied().unwrap_or(Verdict::Skip))
    }

    /// What to do with a TRUNCATE. If some chunks saw it and others didn't, the rows of the former would go with those of the latter.
    pub(crate) fn truncated(&self, xid: u32) -> Verdict {
        if !self.is_begun() {
            return Verdict::Skip;
        }
        let chunks = || self.parts.iter().flat_map(|part| &part.chunks);
        let seen = chunks().filter(|chunk| chunk.snapshot.sees(xid)).count();
        let is_settled = |part: &Part| part.settled.is_some() || part.is_settled();
        let has_others = seen < chunks().count() || self.parts.iter().any(is_settled);
        match (seen, has_others) {
            (0, _) => Verdict::Tell,
            (_, false) => Verdict::Skip,
            (_, true) => Verdict::Restart,
        }
    }
}
