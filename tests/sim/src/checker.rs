//! Judges a [`History`] in the manner of Jepsen's workload for Kafka: every anomaly is named, with the records it is about.
//!
//! | anomaly | what it says |
//! |---|---|
//! | lost write | acknowledged (and its transaction committed), and not there in the end |
//! | lost read | a consumer was given a record that is not there in the end: it was shown before it was durable |
//! | moved write | acknowledged at one offset, found at another |
//! | duplicate | there twice |
//! | reordered | a producer's records of one partition stand in another order than they were sent |
//! | inconsistent offsets | one offset held different records at different times |
//! | aborted read (G1a) | a read_committed reader was given a record of an aborted transaction |
//! | precommitted read (G1b) | a read_committed reader was given a record before anybody asked for its transaction's commit |
//! | write cycle (G0), cyclic read (G1c) | transactions depend on each other in a circle: see `cycles` |
//! | fractured transaction | some of a transaction's records are committed, others not |
//! | poll skip | a reader was taken past a record that is there |
//! | non-monotonic poll | a reader was taken back |
//!
//! And of consumer groups, see `groups`:
//!
//! | anomaly | what it says |
//! |---|---|
//! | processed twice | a record of the input has two in the output |
//! | never processed | the group's offset is past a record that nobody made anything of |
//! | processed, not committed | a record's output is committed, the group's offset is not past the record |
//! | offset went back | a committed offset is lower than one that was acknowledged or seen before |
//! | offset that nobody committed | a committed offset that only an aborted transaction, an unfinished one or no member at all wrote |
//! | shared partition | two members of one generation were given the same partition |

mod cycles;
mod groups;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::history::{History, Id, Outcome, Partition, Sent, Session, Verdict};

/// Most anomalies of one kind that are listed; more are only a symptom of the same fault.
const LISTED_MAX: usize = 5;

/// One thing that must not have happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anomaly {
    /// The name in the table above.
    pub kind: &'static str,
    /// Which records, where.
    pub detail: String,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.detail)
    }
}

/// Everything that is wrong with `history`; empty when nothing is.
pub fn check(history: &History) -> Vec<Anomaly> {
    let mut found = Findings::default();
    let places = places(history, &mut found);
    writes(history, &places, &mut found);
    order(history, &mut found);
    offsets(history, &mut found);
    transactions(history, &mut found);
    for (index, session) in history.sessions.iter().enumerate() {
        polls(history, index, session, &mut found);
    }
    cycles::check(history, &mut found);
    groups::check(history, &mut found);
    found.list
}

/// A partition and an offset.
type Place = (Partition, i64);

#[derive(Default)]
struct Findings {
    list: Vec<Anomaly>,
    counts: BTreeMap<&'static str, usize>,
}

impl Findings {
    fn add(&mut self, kind: &'static str, detail: String) {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        if *count <= LISTED_MAX {
            self.list.push(Anomaly { kind, detail });
        }
    }
}

/// Where each record stands in the end; finds duplicates on the way.
fn places(history: &History, found: &mut Findings) -> BTreeMap<Id, Place> {
    let mut places = BTreeMap::new();
    for (&partition, records) in &history.last.all {
        for &(offset, id) in records {
            if let Some((p, o)) = places.insert(id, (partition, offset)) {
                found.add("duplicate", format!("{id:?} at {p:?}/{o} and {partition:?}/{offset}"));
            }
        }
    }
    places
}

fn writes(history: &History, places: &BTreeMap<Id, Place>, found: &mut Findings) {
    let committed: BTreeSet<Id> = history.last.committed.values().flatten().map(|&(_, id)| id).collect();
    for sent in &history.sent {
        let Outcome::Acknowledged(offset) = sent.outcome else { continue };
        match places.get(&sent.id) {
            None => found.add("lost write", format!("{sent:?}")),
            Some(&place) if place != (sent.partition, offset) => {
                found.add("moved write", format!("{sent:?} found at {place:?}"));
            }
            Some(_) => {}
        }
        if verdict(history, sent) == Verdict::Committed && !committed.contains(&sent.id) {
            found.add("lost write", format!("{sent:?} is there, but not for read_committed"));
        }
    }
    for session in &history.sessions {
        for seen in &session.seen {
            if places.get(&seen.id) != Some(&(seen.partition, seen.offset)) {
                found.add("lost read", format!("{seen:?}, in the end at {:?}", places.get(&seen.id)));
            }
        }
    }
}

/// A send outside of any transaction counts as committed.
fn verdict(history: &History, sent: &Sent) -> Verdict {
    sent.transaction.map_or(Verdict::Committed, |index| history.transactions[index].verdict)
}

fn order(history: &History, found: &mut Findings) {
    for (&partition, records) in &history.last.all {
        let mut last: BTreeMap<u32, u32> = BTreeMap::new();
        for &(offset, id) in records {
            match last.insert(id.producer, id.number) {
                Some(before) if before >= id.number => {
                    found.add(
                        "reordered",
                        format!("{id:?} at {partition:?}/{offset} stands after number {before}"),
                    );
                }
                _ => {}
            }
        }
    }
}

fn offsets(history: &History, found: &mut Findings) {
    let mut held: BTreeMap<Place, Id> = BTreeMap::new();
    let in_the_end =
        history.last.all.iter().flat_map(|(&p, records)| records.iter().map(move |&(o, id)| (p, o, id)));
    let read = history.sessions.iter().flat_map(|s| s.seen.iter().map(|r| (r.partition, r.offset, r.id)));
    for (partition, offset, id) in in_the_end.chain(read) {
        match held.insert((partition, offset), id) {
            Some(before) if before != id => {
                found.add(
                    "inconsistent offsets",
                    format!("{partition:?}/{offset} held {before:?} and {id:?}"),
                );
            }
            _ => {}
        }
    }
}

fn transactions(history: &History, found: &mut Findings) {
    let committed: BTreeSet<Id> = history.last.committed.values().flatten().map(|&(_, id)| id).collect();
    let mut halves: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for sent in &history.sent {
        let Some(index) = sent.transaction else { continue };
        // Of an unacknowledged record nothing is known even within a committed transaction: the client may have
        // given it up before it asked for the commit.
        if sent.outcome == Outcome::Unknown {
            continue;
        }
        let half = halves.entry(index).or_default();
        if committed.contains(&sent.id) {
            half.0 += 1;
            if history.transactions[index].verdict == Verdict::Aborted {
                found.add("aborted read (G1a)", format!("{sent:?} is committed in the end"));
            }
        } else {
            half.1 += 1;
        }
    }
    for (index, (there, missing)) in halves {
        if there > 0 && missing > 0 {
            let verdict = history.transactions[index].verdict;
            found.add(
                "fractured transaction",
                format!("{verdict:?} number {index}: {there} records are committed, {missing} are not"),
            );
        }
    }
    let transaction_of: BTreeMap<Id, usize> =
        history.sent.iter().filter_map(|sent| Some((sent.id, sent.transaction?))).collect();
    for session in history.sessions.iter().filter(|s| s.committed_only) {
        for seen in &session.seen {
            let Some(index) = transaction_of.get(&seen.id) else { continue };
            if history.transactions[*index].asked.is_none_or(|asked| seen.at < asked) {
                found.add("precommitted read (G1b)", format!("{seen:?} of transaction {index}"));
            }
        }
    }
    let aborted: BTreeSet<Id> =
        history.sent.iter().filter(|s| verdict(history, s) == Verdict::Aborted).map(|s| s.id).collect();
    for session in history.sessions.iter().filter(|s| s.committed_only) {
        for seen in session.seen.iter().filter(|seen| aborted.contains(&seen.id)) {
            found.add("aborted read (G1a)", format!("{seen:?}"));
        }
    }
}

fn polls(history: &History, index: usize, session: &Session, found: &mut Findings) {
    let log = if session.committed_only { &history.last.committed } else { &history.last.all };
    let mut last: BTreeMap<Partition, i64> = BTreeMap::new();
    for seen in &session.seen {
        let from = last.insert(seen.partition, seen.offset);
        if from.is_some_and(|from| seen.offset <= from) {
            found.add("non-monotonic poll", format!("session {index}: {seen:?} after offset {from:?}"));
            continue;
        }
        let begins = if session.from_start { 0 } else { seen.offset };
        let from = from.map_or(begins, |from| from + 1);
        let records = log.get(&seen.partition).map_or(&[][..], Vec::as_slice);
        let next = records.partition_point(|(offset, _)| *offset < from);
        let skipped = records.get(next).filter(|(offset, _)| *offset < seen.offset);
        if let Some((offset, id)) = skipped {
            found.add(
                "poll skip",
                format!("session {index}: {id:?} at {:?}/{offset} before {seen:?}", seen.partition),
            );
        }
    }
}
