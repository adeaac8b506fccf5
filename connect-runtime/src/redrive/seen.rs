//! Letters that were seen while a dead letter topic is read: one that was written twice is one letter.
//!
//! A sink that is killed between its dead letters and its flush writes them again. Letters of one origin and the same number of retries are
//! copies of one another; the first that is read counts. Those of a source stand in one transaction with its position, and have no copies.

use std::collections::HashMap;

use super::scan::Found;

/// Most letters of one connector in a topic: each is remembered while they are read.
pub(super) const LETTERS_MAX: usize = 10_000_000;

/// Where a letter's record was read, and the try that failed: the same for a letter that was written twice.
type Key = (i32, i64, u32);

/// Letters of one connector that were seen, by topic, and whether each is handled.
#[derive(Default)]
pub(super) struct Seen {
    topics: HashMap<String, HashMap<Key, bool>>,
    pub(super) count: usize,
}

impl Seen {
    /// What became of an earlier copy of this letter; none: it is the first.
    pub(super) fn earlier(&self, found: &Found<'_>) -> Option<bool> {
        let (topic, partition, offset) = found.letter.origin.as_ref()?;
        self.topics.get(&**topic)?.get(&(*partition, *offset, found.letter.retries)).copied()
    }

    pub(super) fn note(&mut self, found: &Found<'_>, is_handled: bool) {
        let Some((topic, partition, offset)) = &found.letter.origin else { return };
        let key = (*partition, *offset, found.letter.retries);
        match self.topics.get_mut(&**topic) {
            Some(keys) => drop(keys.insert(key, is_handled)),
            None => drop(self.topics.insert(topic.to_string(), HashMap::from([(key, is_handled)]))),
        }
        self.count += 1;
    }
}
