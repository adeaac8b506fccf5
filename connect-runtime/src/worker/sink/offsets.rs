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
//!
//! A position means nothing in another topic of the same name, one that was deleted and made again or is on another cluster: a task
//! that went on at it would pass over whatever the new one holds before. So the topic's id stands beside each offset, from before
//! the first record is read; and because a group forgets its offsets when nothing is committed for a week, in `connect-offsets`, too
//! ([`super::identity`]).

use std::collections::BTreeMap;

use millrace_client::{OffsetAndMetadata, TopicPartition};
use uuid::Uuid;

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
    /// The target's own position at that time.
    noted: Option<i64>,
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
    /// As it goes to the group, from a topic with this id.
    pub(super) fn noted(self, topic: Option<Uuid>) -> OffsetAndMetadata {
        let mut metadata = target(self.held);
        if let Some(topic) = topic {
            metadata = format!("{metadata};topic={topic}");
        }
        OffsetAndMetadata { offset: self.next, metadata, ..OffsetAndMetadata::default() }
    }
}

/// The target's part of the note beside a committed offset.
fn target(held: Option<i64>) -> String {
    held.map_or_else(|| "target=none".to_owned(), |held| format!("target={held}"))
}

/// The note's parts: the target's, and the topic's id.
fn parts(note: &str) -> (&str, Option<Uuid>) {
    match note.split_once(";topic=") {
        Some((target, topic)) => (target, topic.parse().ok()),
        None => (note, None),
    }
}

/// What is known of a partition's topic.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Topic {
    /// Its id; none: the cluster has no ids, and nothing can be told.
    pub(super) now: Option<Uuid>,
    /// The id that it had when this connector read it first; none: not known.
    pub(super) before: Option<Uuid>,
}

/// The target's position speaks of another topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stranger;

/// Where to begin: see the head of this file. None: at the first record.
pub(super) fn start(
    held: Option<i64>,
    committed: Option<&OffsetAndMetadata>,
    topic: Topic,
) -> Result<Option<i64>, Stranger> {
    // A target that stands at the beginning passes over nothing.
    let written = held.filter(|held| *held > 0);
    let Some(now) = topic.now else { return Ok(where_to(held, committed)) };
    match committed {
        Some(committed) => match parts(&committed.metadata).1 {
            Some(id) if id != now => match written {
                Some(_) => Err(Stranger),
                None => Ok(None),
            },
            _ => Ok(where_to(held, Some(committed))),
        },
        None if written.is_some() && topic.before != Some(now) => Err(Stranger),
        None => Ok(held),
    }
}

/// Whether a committed offset says that it speaks of this topic.
pub(super) fn is_of(committed: &OffsetAndMetadata, topic: Option<Uuid>) -> bool {
    parts(&committed.metadata).1 == topic
}

/// Where to begin in a topic that is known to be the one.
fn where_to(held: Option<i64>, committed: Option<&OffsetAndMetadata>) -> Option<i64> {
    match committed {
        Some(committed) if parts(&committed.metadata).0 == target(held) => {
            Some(committed.offset.max(held.unwrap_or(0)))
        }
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
        let committed = committed.unwrap_or(-1);
        let place = Place { offered, done: from, given: false, held, committed, noted: held };
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
                place.noted = commit.held;
            }
        }
    }

    /// What was committed last, to be committed again so that the group doesn't forget it.
    pub(super) fn known(&self) -> BTreeMap<TopicPartition, Commit> {
        let known = |(tp, place): (&TopicPartition, &Place)| {
            let commit = Commit { next: place.committed, held: place.noted };
            (place.committed >= 0).then(|| (tp.clone(), commit))
        };
        self.0.iter().filter_map(known).collect()
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
        let noted = Commit { next: 10, held: Some(8) }.noted(None);
        let start = |held| start(Some(held), Some(&noted), Topic::default());
        assert_eq!((start(8), start(5)), (Ok(Some(10)), Ok(Some(5))));
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

    fn topic(now: u128, before: Option<u128>) -> Topic {
        Topic { now: Some(Uuid::from_u128(now)), before: before.map(Uuid::from_u128) }
    }

    #[test]
    fn the_group_counts_while_the_target_says_the_same() {
        // With the topic's id and without, as older workers and brokers have it.
        for (id, topic) in [(None, Topic::default()), (None, topic(1, None)), (Some(1), topic(1, None))] {
            let noted = |next, held| Commit { next, held }.noted(id.map(Uuid::from_u128));
            let group = noted(12, Some(8));
            let start = |held, committed: Option<OffsetAndMetadata>| start(held, committed.as_ref(), topic);
            assert_eq!(start(Some(8), Some(group.clone())), Ok(Some(12)));
            // The target went on, and was killed before the group heard of it.
            assert_eq!(start(Some(15), Some(group.clone())), Ok(Some(15)));
            // The target was put back.
            assert_eq!(start(Some(3), Some(group.clone())), Ok(Some(3)));
            // A sink without positions of its own.
            assert_eq!(start(None, Some(noted(12, None))), Ok(Some(12)));
            assert_eq!(start(None, Some(OffsetAndMetadata::from(12))), Ok(Some(12)));
            assert_eq!(start(None, None), Ok(None));
        }
        assert_eq!(start(Some(8), None, Topic::default()), Ok(Some(8)));
    }

    #[test]
    fn a_position_in_another_topic_of_the_name_is_none() {
        let of_one = |held| Commit { next: 12, held }.noted(Some(Uuid::from_u128(1)));
        // Deleted and made again under a group that remembers.
        assert_eq!(start(Some(8), Some(&of_one(Some(8))), topic(2, Some(1))), Err(Stranger));
        assert_eq!(start(None, Some(&of_one(None)), topic(2, Some(1))), Ok(None));
        assert_eq!(start(Some(0), Some(&of_one(Some(0))), topic(2, Some(1))), Ok(None));
        // The group went with the topic, or is on another cluster.
        assert_eq!(start(Some(8), None, topic(2, Some(1))), Err(Stranger));
        assert_eq!(start(Some(8), None, topic(2, None)), Err(Stranger));
        assert_eq!(start(Some(0), None, topic(2, None)), Ok(Some(0)));
        // The group forgot.
        assert_eq!(start(Some(8), None, topic(1, Some(1))), Ok(Some(8)));
        // Somebody says that it is the same.
        assert_eq!(start(Some(8), Some(&OffsetAndMetadata::from(8)), topic(2, Some(1))), Ok(Some(8)));
    }

    #[test]
    fn what_was_committed_last_is_known() {
        let mut places = Places::default();
        places.start(&t(), 5, None, None);
        assert_eq!(places.known(), BTreeMap::new());
        places.took(t(), 7);
        places.passed(t(), 12);
        places.committed(&places.committable(&up_to(8)));
        places.took(t(), 20);
        assert_eq!(places.known(), one(12, Some(8)));
    }
}
