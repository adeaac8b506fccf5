//! Deadlines by key, without a clock.
//!
//! A state machine sets and cancels deadlines; whoever drives it asks for the [`next`](Timers::next) one, sleeps, and
//! calls back with the time. Two deadlines at the same millisecond fire in the order of their keys, so that a run
//! can be repeated exactly.

use std::collections::{BTreeMap, BTreeSet};

/// A set of deadlines, at most one per key.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    by_time: BTreeSet<(i64, K)>,
    by_key: BTreeMap<K, i64>,
}

impl<K: Ord + Clone> Timers<K> {
    /// No deadlines.
    pub(crate) fn new() -> Self {
        Self { by_time: BTreeSet::new(), by_key: BTreeMap::new() }
    }

    /// Sets the deadline of `key`, replacing the one it had.
    pub(crate) fn set(&mut self, key: K, at_ms: i64) {
        self.cancel(&key);
        self.by_key.insert(key.clone(), at_ms);
        self.by_time.insert((at_ms, key));
    }

    /// Forgets the deadline of `key`, if it has one.
    pub(crate) fn cancel(&mut self, key: &K) {
        if let Some(at_ms) = self.by_key.remove(key) {
            self.by_time.remove(&(at_ms, key.clone()));
        }
    }

    /// Moves all deadlines, as the clock has been set: `by_ms` forward or back.
    pub(crate) fn shift(&mut self, by_ms: i64) {
        let moved = |at_ms: i64| at_ms.saturating_add(by_ms);
        self.by_key.values_mut().for_each(|at_ms| *at_ms = moved(*at_ms));
        let by_time = std::mem::take(&mut self.by_time);
        self.by_time = by_time.into_iter().map(|(at_ms, key)| (moved(at_ms), key)).collect();
    }

    /// Whether `key` has a deadline.
    pub(crate) fn has(&self, key: &K) -> bool {
        self.by_key.contains_key(key)
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<i64> {
        self.by_time.first().map(|(at_ms, _)| *at_ms)
    }

    /// Takes the earliest key whose deadline is at or before `now_ms`.
    pub(crate) fn pop_due(&mut self, now_ms: i64) -> Option<K> {
        if self.next()? > now_ms {
            return None;
        }
        let (_, key) = self.by_time.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_deadlines_move_with_the_clock() {
        let mut timers = Timers::new();
        timers.set("a", 5);
        timers.set("b", 9);
        timers.shift(1000);
        assert_eq!(timers.pop_due(1004), None);
        timers.cancel(&"b");
        assert_eq!(timers.pop_due(1005), Some("a"));
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn the_earliest_fires_first_and_a_new_deadline_replaces_the_old() {
        let mut timers = Timers::new();
        timers.set("b", 5);
        timers.set("a", 5);
        timers.set("c", 1);
        timers.set("c", 9);
        timers.set("d", 2);
        timers.cancel(&"d");
        assert_eq!(timers.next(), Some(5));
        assert_eq!(timers.pop_due(4), None);
        assert_eq!(timers.pop_due(8), Some("a"));
        assert_eq!(timers.pop_due(8), Some("b"));
        assert_eq!(timers.pop_due(8), None);
        assert_eq!(timers.pop_due(9), Some("c"));
        assert_eq!(timers.next(), None);
    }
}
