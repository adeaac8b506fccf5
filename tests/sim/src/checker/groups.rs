//! Judges consumer groups: what they were given, what they committed and what came out.
//!
//! A transactional group has to process each committed record of the input exactly once: by the records of its output, not
//! by what its members believed. Another group has to be given each at least once. No group's offsets go back.

use std::collections::{BTreeMap, BTreeSet};

use super::{Findings, Place, verdict};
use crate::history::{Assignment, Group, History, Id, Offsets, Partition, Topic, Verdict};

/// Records, and where they stand.
type Records = Vec<(Place, Id)>;

pub(super) fn check(history: &History, found: &mut Findings) {
    for group in &history.groups {
        shared_partitions(group, found);
        offsets_back(group, found);
        if group.is_transactional {
            unfounded_offsets(history, group, found);
            exactly_once(history, group, found);
        } else {
            at_least_once(history, group, found);
        }
    }
}

fn shared_partitions(group: &Group, found: &mut Findings) {
    let mut owners: BTreeMap<(i32, Partition), &str> = BTreeMap::new();
    for Assignment { generation, member, partitions } in &group.assignments {
        for &partition in partitions {
            match owners.insert((*generation, partition), member) {
                Some(other) if other != member => {
                    let detail = format!(
                        "{} generation {generation}: {partition:?} is with {member} and {other}",
                        group.name
                    );
                    found.add("shared partition", detail);
                }
                _ => {}
            }
        }
    }
}

/// No answer may be below what was known before the question.
fn offsets_back(group: &Group, found: &mut Findings) {
    let acknowledged = group.acknowledged.iter().map(|committed| (committed.at, &committed.offsets));
    let observed = group.observed.iter().map(|observed| (observed.at, &observed.offsets));
    let mut known: Vec<(u64, &Offsets)> = acknowledged.chain(observed).collect();
    known.sort_by_key(|(at, _)| *at);
    let mut known = known.into_iter().peekable();
    let mut lowest = Offsets::new();
    for observed in &group.observed {
        while let Some((_, offsets)) = known.next_if(|(at, _)| *at < observed.asked) {
            for (&partition, &offset) in offsets {
                let low = lowest.entry(partition).or_insert(offset);
                *low = offset.max(*low);
            }
        }
        for (&partition, &low) in &lowest {
            let offset = observed.offsets.get(&partition).copied();
            if offset.is_none_or(|offset| offset < low) {
                let detail =
                    format!("{}: {partition:?} from {low} to {offset:?} at {}", group.name, observed.at);
                found.add("offset went back", detail);
            }
        }
    }
}

/// What is committed was asked to be, before it was seen, by a transaction that was not aborted.
fn unfounded_offsets(history: &History, group: &Group, found: &mut Findings) {
    let mut asked: BTreeMap<Place, u64> = BTreeMap::new();
    for transaction in history.transactions.iter().filter(|t| t.verdict != Verdict::Aborted) {
        let Some(at) = transaction.asked else { continue };
        for (&partition, &offset) in &transaction.offsets {
            let first = asked.entry((partition, offset)).or_insert(at);
            *first = at.min(*first);
        }
    }
    for observed in &group.observed {
        for (&partition, &offset) in &observed.offsets {
            if asked.get(&(partition, offset)).is_none_or(|at| observed.at < *at) {
                let detail = format!("{}: {partition:?}/{offset} at {}", group.name, observed.at);
                found.add("offset that nobody committed", detail);
            }
        }
    }
}

/// The committed records of the input: those that stand before the group's last offsets, and those behind them.
fn input(history: &History, group: &Group) -> (Records, Records) {
    let offsets = group.observed.last().map(|observed| &observed.offsets);
    let committed =
        |partition: &Partition| offsets.and_then(|offsets| offsets.get(partition)).copied().unwrap_or(0);
    let partitions = history.last.committed.iter().filter(|(p, _)| p.topic == Topic::Input);
    let records = partitions.flat_map(|(p, records)| records.iter().map(|&(offset, id)| ((*p, offset), id)));
    records.partition(|((partition, offset), _)| *offset < committed(partition))
}

fn exactly_once(history: &History, group: &Group, found: &mut Findings) {
    let source_of: BTreeMap<Id, Id> =
        history.sent.iter().filter_map(|sent| Some((sent.id, sent.source?))).collect();
    let mut output: BTreeMap<Id, Id> = BTreeMap::new();
    for (_, id) in history.last.committed.values().flatten() {
        let Some(&source) = source_of.get(id) else { continue };
        if let Some(other) = output.insert(source, *id) {
            found.add("processed twice", format!("{}: {source:?} became {other:?} and {id:?}", group.name));
        }
    }
    let (before, behind) = input(history, group);
    for ((partition, offset), id) in before.into_iter().filter(|(_, id)| !output.contains_key(id)) {
        found.add("never processed", format!("{}: {id:?} at {partition:?}/{offset}", group.name));
    }
    for ((partition, offset), id) in behind.into_iter().filter(|(_, id)| output.contains_key(id)) {
        let detail = format!("{}: {id:?} at {partition:?}/{offset} became {:?}", group.name, output[&id]);
        found.add("processed, not committed", detail);
    }
    let aborted: BTreeSet<Id> = history
        .sent
        .iter()
        .filter(|sent| verdict(history, sent) == Verdict::Aborted)
        .map(|sent| sent.id)
        .collect();
    for (source, id) in output.iter().filter(|(source, _)| aborted.contains(source)) {
        found.add("aborted read (G1a)", format!("{}: {source:?} became {id:?}", group.name));
    }
}

fn at_least_once(history: &History, group: &Group, found: &mut Findings) {
    let sessions = group.sessions.iter().filter_map(|index| history.sessions.get(*index));
    let given: BTreeSet<Id> = sessions.flat_map(|session| session.seen.iter().map(|seen| seen.id)).collect();
    let (before, _) = input(history, group);
    for ((partition, offset), id) in before.into_iter().filter(|(_, id)| !given.contains(id)) {
        found.add("never processed", format!("{}: {id:?} at {partition:?}/{offset}", group.name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Committed, Final, Observed, Outcome, Seen, Sent, Session, Transaction};

    const IN: Partition = Partition { topic: Topic::Input, number: 0 };
    const OUT: Partition = Partition { topic: Topic::Output, number: 0 };

    fn id(producer: u32, number: u32) -> Id {
        Id { producer, number }
    }

    fn offset(offset: i64) -> Offsets {
        [(IN, offset)].into()
    }

    /// Three records in the input; a transaction made outputs of two of them, another one of the third. A second group was
    /// given all three.
    fn sound() -> History {
        let made = |number, transaction| Sent {
            id: id(9, number),
            partition: OUT,
            transaction: Some(transaction),
            source: Some(id(1, number)),
            outcome: Outcome::Acknowledged(number.into()),
        };
        let transaction = |began: u64, next| Transaction {
            verdict: Verdict::Committed,
            asked: Some(began + 1),
            ended: Some(began + 2),
            offsets: offset(next),
            ..Transaction::begun(began)
        };
        let group = |name, is_transactional, sessions| Group {
            name,
            is_transactional,
            assignments: vec![Assignment { generation: 1, member: "a".into(), partitions: vec![IN] }],
            acknowledged: vec![
                Committed { at: 3, offsets: offset(2) },
                Committed { at: 9, offsets: offset(3) },
            ],
            observed: vec![
                Observed { asked: 4, at: 5, offsets: offset(2) },
                Observed { asked: 10, at: 11, offsets: offset(3) },
            ],
            sessions,
        };
        let input: Vec<(i64, Id)> = (0..3).map(|number| (number.into(), id(1, number))).collect();
        let output: Vec<(i64, Id)> = (0..3).map(|number| (number.into(), id(9, number))).collect();
        let last: BTreeMap<_, _> = [(IN, input.clone()), (OUT, output)].into();
        let seen = input.iter().map(|&(offset, id)| Seen { partition: IN, offset, id, at: 8 }).collect();
        History {
            sent: vec![made(0, 0), made(1, 0), made(2, 1)],
            transactions: vec![transaction(1, 2), transaction(7, 3)],
            groups: vec![group("exact", true, vec![]), group("plain", false, vec![0])],
            sessions: vec![Session { committed_only: true, from_start: false, seen }],
            last: Final { all: last.clone(), committed: last },
            ..History::default()
        }
    }

    fn kinds(damage: impl FnOnce(&mut History)) -> BTreeSet<&'static str> {
        let mut history = sound();
        damage(&mut history);
        let mut found = Findings::default();
        check(&history, &mut found);
        found.list.into_iter().map(|anomaly| anomaly.kind).collect()
    }

    fn committed(history: &mut History, partition: Partition) -> &mut Vec<(i64, Id)> {
        history.last.committed.get_mut(&partition).expect("the partition is there")
    }

    #[test]
    fn a_sound_group_has_no_anomaly() {
        assert_eq!(kinds(|_| {}), BTreeSet::new());
    }

    #[test]
    fn each_damage_to_the_output_is_found_under_its_name() {
        assert_eq!(
            kinds(|h| h.sent[1].source = Some(id(1, 0))),
            ["processed twice", "never processed"].into()
        );
        assert_eq!(kinds(|h| _ = committed(h, OUT).pop()), ["never processed"].into());
        assert_eq!(kinds(|h| _ = h.sessions[0].seen.remove(1)), ["never processed"].into());
        let lost = |h: &mut History| {
            h.groups[0].acknowledged.pop();
            h.groups[0].observed.pop();
        };
        assert_eq!(kinds(lost), ["processed, not committed"].into());
        let aborted = |h: &mut History| {
            h.transactions.push(Transaction { verdict: Verdict::Aborted, ..Transaction::begun(1) });
            h.sent.push(Sent {
                id: id(1, 0),
                partition: IN,
                source: None,
                transaction: Some(2),
                ..h.sent[0]
            });
        };
        assert_eq!(kinds(aborted), ["aborted read (G1a)"].into());
    }

    #[test]
    fn each_damage_to_the_offsets_is_found_under_its_name() {
        assert_eq!(kinds(|h| h.groups[1].observed[1].offsets = offset(1)), ["offset went back"].into());
        assert_eq!(kinds(|h| h.groups[1].observed[0].offsets.clear()), ["offset went back"].into());
        let nobody = "offset that nobody committed";
        assert_eq!(kinds(|h| h.groups[0].observed[1].offsets = offset(7)), [nobody].into());
        assert_eq!(kinds(|h| h.transactions[1].verdict = Verdict::Aborted), [nobody].into());
        assert_eq!(kinds(|h| h.transactions[1].asked = Some(12)), [nobody].into());
    }

    #[test]
    fn an_answer_that_was_asked_for_before_the_commit_may_be_the_older_one() {
        assert_eq!(kinds(|h| h.groups[1].observed[0].asked = 2), BTreeSet::new());
        let older = |h: &mut History| {
            h.groups[1].observed[0] = Observed { asked: 2, at: 5, offsets: Offsets::new() };
        };
        assert_eq!(kinds(older), BTreeSet::new());
    }

    #[test]
    fn a_partition_with_two_members_is_found_within_a_generation_only() {
        let another = |generation| Assignment { generation, member: "b".into(), partitions: vec![IN] };
        assert_eq!(kinds(|h| h.groups[0].assignments.push(another(1))), ["shared partition"].into());
        assert_eq!(kinds(|h| h.groups[0].assignments.push(another(2))), BTreeSet::new());
    }
}
