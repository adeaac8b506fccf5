//! Where a sink task stands in each of its partitions.
//!
//! Two places per partition, because transforms may drop records that the sink then never hears of:
//! - `offered`: after the last record that the sink was given;
//! - `done`: up to where the host knows that nothing is left to give it: past dropped records, control records, and the
//!   rejected ones.
//!
//! A sink that says "safe up to what I was given last" is therefore at `done`.
//!
//! A target that holds its own position knows nothing of records that it was never given, so after a restart it would be
//! offered the dropped ones at its end again, and dead letters would be sent once more. Each commit to the group therefore notes
//! what the target's position was: as long as the target still says the same, the group's offset counts; if it says
//! anything else (it went on before a kill, or was put back to a backup), the target is right.

use std::collections::BTreeMap;

use millrace_client::{OffsetAndMetadata, TopicPartition};

use crate::component::{Durable, TopicOffset};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    offered: i64,
    done: i64,
    /// Whether the sink was given a record since the start.
    given: bool,
    /// What the target said of itself; none: it holds no position.
    held: Option<i64>,
    /// As committed to the group; below 0: not known.
    committed: i64,
}

/// What is to be committed for a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Commit {
    /// The next record to read.
    pub(super) next: i64,
    /// The target's own position at that time.
    pub(super) held: Option<i64>,
}

impl Commit {
    /// As it goes to the group.
    pub(super) fn noted(self) -> OffsetAndMetadata {
        OffsetAndMetadata { offset: self.next, metadata: note(self.held), ..OffsetAndMetadata::default() }
    }
}

/// The note beside a committed offset.
fn note(held: Option<i64>) -> String {
    held.map_or_else(|| "target=none".to_owned(), |held| format!("target={held}"))
}

/// Where to begin: see the head of this file. None: at the first record.
pub(super) fn start(held: Option<i64>, committed: Option<&OffsetAndMetadata>) -> Option<i64> {
    match committed {
        Some(committed) if committed.metadata == note(held) => Some(committed.offset.max(held.unwrap_or(0))),
        committed => held.or(committed.map(|committed| committed.offset)),
    }
}

/// The places of all partitions of a task.
#[derive(Debug, Default)]
pub(super) struct Places(BTreeMap<TopicPartition, Place>);

impl Places {
    /// Begins at `from`, with what the target and the group know.
    pub(super) fn start(
        &mut self,
        tp: &TopicPartition,
        from: i64,
        held: Option<i64>,
        committed: Option<i64>,
    ) {
        let offered = held.unwrap_or(from);
        let place = Place { offered, done: from, given: false, held, committed: committed.unwrap_or(-1) };
        self.0.insert(tp.clone(), place);
    }

    /// The sink took the record at `offset`.
    pub(super) fn took(&mut self, tp: TopicPartition, offset: i64) {
        let place = self.0.entry(tp).or_default();
        place.given = true;
        place.offered = place.offered.max(offset + 1);
        place.done = place.done.max(offset + 1);
    }

    /// Everything before `next` was given to the sink, or is not for it.
    pub(super) fn passed(&mut self, tp: TopicPartition, next: i64) {
        let place = self.0.entry(tp).or_default();
        place.done = place.done.max(next);
    }

    /// What a flush allows to be committed, where that is news for the group.
    pub(super) fn committable(&self, durable: &Durable) -> BTreeMap<TopicPartition, Commit> {
        let safe = |(tp, place): (&TopicPartition, &Place)| {
            let commit = match durable {
                Durable::Everything => Commit { next: place.done, held: place.held },
                // It was given nothing, so whatever was passed over was not for it.
                Durable::UpTo(_) if !place.given => Commit { next: place.done, held: place.held },
                Durable::UpTo(offsets) => {
                    let named = |o: &&TopicOffset| *o.topic == *tp.topic && o.partition == tp.partition;
                    let offset = offsets.iter().find(named)?.offset;
                    // Never past what it was given: a sink can't know of more.
                    let next = if offset >= place.offered { place.done } else { offset };
                    Commit { next, held: Some(offset) }
                }
            };
            (commit.next > place.committed && commit.next >= 0).then(|| (tp.clone(), commit))
        };
        self.0.iter().filter_map(safe).collect()
    }

    /// What is to be committed once a sink is closed that holds its positions in the target: all that it took is durable then, and the
    /// target stands behind it.
    pub(super) fn closed(&self) -> BTreeMap<TopicPartition, Commit> {
        let all = |(tp, place): (&TopicPartition, &Place)| {
            let held = if place.given { Some(place.offered) } else { place.held };
            (place.done > place.committed).then(|| (tp.clone(), Commit { next: place.done, held }))
        };
        self.0.iter().filter_map(all).collect()
    }

    /// The group knows of these now.
    pub(super) fn committed(&mut self, commits: &BTreeMap<TopicPartition, Commit>) {
        for (tp, commit) in commits {
            if let Some(place) = self.0.get_mut(tp) {
                place.committed = commit.next;
            }
        }
    }

    /// The offset after what is durable; none: not known.
    pub(super) fn durable(&self, tp: &TopicPartition) -> Option<i64> {
        self.0.get(tp).map(|place| place.committed).filter(|offset| *offset >= 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up_to(offset: i64) -> Durable {
        Durable::UpTo(vec![TopicOffset { topic: "t".into(), partition: 0, offset }])
    }

    fn t() -> TopicPartition {
        TopicPartition::new("t", 0)
    }

    fn one(next: i64, held: Option<i64>) -> BTreeMap<TopicPartition, Commit> {
        BTreeMap::from([(t(), Commit { next, held })])
    }

    #[test]
    fn dropped_records_at_the_end_count_as_written() {
        let mut places = Places::default();
        places.start(&t(), 5, None, None);
        places.took(t(), 7);
        places.passed(t(), 12);
        assert_eq!(places.committable(&up_to(6)), one(6, Some(6)));
        assert_eq!(places.committable(&up_to(8)), one(12, Some(8)));
        assert_eq!(places.committable(&Durable::Everything), one(12, None));
        let other = Durable::UpTo(vec![TopicOffset { topic: "other".into(), partition: 0, offset: 8 }]);
        assert_eq!(places.committable(&other), BTreeMap::new());
    }

    #[test]
    fn a_target_that_was_given_nothing_holds_nobody_up() {
        let mut places = Places::default();
        places.start(&t(), 12, Some(8), Some(12));
        places.passed(t(), 20);
        assert_eq!(places.committable(&Durable::UpTo(Vec::new())), one(20, Some(8)));
        places.took(t(), 20);
        assert_eq!(places.committable(&Durable::UpTo(Vec::new())), BTreeMap::new());
        assert_eq!(places.committable(&up_to(21)), one(21, Some(21)));
    }

    #[test]
    fn a_sink_that_is_closed_has_written_all_that_it_took() {
        let mut places = Places::default();
        places.start(&t(), 5, Some(5), Some(5));
        assert_eq!(places.closed(), BTreeMap::new());
        places.took(t(), 7);
        // A record that was dropped, and the marker of a transaction.
        places.passed(t(), 10);
        assert_eq!(places.committable(&up_to(5)), BTreeMap::new());
        let news = places.closed();
        assert_eq!(news, one(10, Some(8)));
        places.committed(&news);
        assert_eq!((places.durable(&t()), places.closed()), (Some(10), BTreeMap::new()));
        // The next start goes on behind what was dropped, unless the target says that it is not as it was told.
        let noted = Commit { next: 10, held: Some(8) }.noted();
        assert_eq!((start(Some(8), Some(&noted)), start(Some(5), Some(&noted))), (Some(10), Some(5)));
    }

    #[test]
    fn what_the_group_knows_is_not_committed_again() {
        let mut places = Places::default();
        places.start(&t(), 5, None, Some(5));
        assert_eq!(places.committable(&Durable::Everything), BTreeMap::new());
        places.took(t(), 5);
        let news = places.committable(&Durable::Everything);
        places.committed(&news);
        assert_eq!((news, places.durable(&t())), (one(6, None), Some(6)));
        assert_eq!(places.committable(&Durable::Everything), BTreeMap::new());
    }

    #[test]
    fn the_group_counts_while_the_target_says_the_same() {
        let group = Commit { next: 12, held: Some(8) }.noted();
        assert_eq!(start(Some(8), Some(&group)), Some(12));
        // The target went on, and was killed before the group heard of it.
        assert_eq!(start(Some(15), Some(&group)), Some(15));
        // The target was put back.
        assert_eq!(start(Some(3), Some(&group)), Some(3));
        assert_eq!(start(Some(8), None), Some(8));
        // A sink without positions of its own.
        assert_eq!(start(None, Some(&Commit { next: 12, held: None }.noted())), Some(12));
        assert_eq!(start(None, Some(&OffsetAndMetadata::from(12))), Some(12));
        assert_eq!(start(None, None), None);
    }
}
