//! Dependency cycles between committed transactions (Adya's G0 and G1c, as Jepsen's Elle finds them).
//!
//! | edge from A to B | because |
//! |---|---|
//! | wr | B was given a record of A: A was committed before B |
//! | ww | A's records of a partition stand before B's |
//! | time | A's end was answered before B began |
//!
//! Every edge says that A was committed first, so that a cycle contradicts itself: with a wr edge in it, it is G1c, without
//! one G0. Kafka does not order the writes of transactions that overlap in time, so ww edges are drawn between others
//! only; and among those only where the log contradicts the time, since the rest is implied by time edges.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use super::Findings;
use crate::history::{History, Id, Partition, Transaction, Verdict};

/// Why one transaction comes before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    Read(Id),
    Wrote(Partition),
    Time,
}

/// One transaction comes before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    from: usize,
    to: usize,
    why: Why,
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, why } = self;
        match why {
            Why::Read(id) => write!(f, "{to} read {id:?} of {from}"),
            Why::Wrote(partition) => write!(f, "{to} wrote behind {from} in {partition:?}"),
            Why::Time => write!(f, "{to} began after {from} had ended"),
        }
    }
}

/// Finds a cycle, if there is one.
pub(super) fn check(history: &History, found: &mut Findings) {
    let Some(cycle) = shortest_cycle(&dependencies(history)) else { return };
    let is_read = cycle.iter().any(|edge| matches!(edge.why, Why::Read(_)));
    let kind = if is_read { "cyclic read (G1c)" } else { "write cycle (G0)" };
    let steps: Vec<_> = cycle.iter().map(Edge::to_string).collect();
    found.add(kind, format!("of transactions: {}", steps.join(", ")));
}

/// All edges between transactions of which it is known that they were committed.
fn dependencies(history: &History) -> BTreeSet<Edge> {
    let in_the_end: BTreeSet<Id> = history.last.committed.values().flatten().map(|&(_, id)| id).collect();
    let mut writer: BTreeMap<Id, usize> = BTreeMap::new();
    let mut committed: BTreeSet<usize> = BTreeSet::new();
    for sent in &history.sent {
        let Some(index) = sent.transaction else { continue };
        writer.insert(sent.id, index);
        if in_the_end.contains(&sent.id) {
            committed.insert(index);
        }
    }
    committed.extend(indexes(history, |transaction| transaction.verdict == Verdict::Committed));
    let mut edges = BTreeSet::new();
    for &to in &committed {
        let reads = history.transactions[to].reads.iter();
        let wr = reads.filter_map(|id| Some(Edge { from: *writer.get(id)?, to, why: Why::Read(*id) }));
        edges.extend(wr.filter(|edge| edge.from != to && committed.contains(&edge.from)));
    }
    edges.extend(time(history, &committed));
    edges.extend(writes_against_time(history, &committed, &writer));
    edges
}

fn indexes(history: &History, which: impl Fn(&Transaction) -> bool) -> impl Iterator<Item = usize> {
    history.transactions.iter().enumerate().filter(move |(_, t)| which(t)).map(|(index, _)| index)
}

fn comes_after(history: &History, earlier: usize, later: usize) -> bool {
    history.transactions[earlier].ended.is_some_and(|ended| ended < history.transactions[later].began)
}

/// Time edges without those that follow from two others.
fn time(history: &History, committed: &BTreeSet<usize>) -> Vec<Edge> {
    let mut edges = Vec::new();
    for &from in committed {
        let later = || committed.iter().copied().filter(move |&to| comes_after(history, from, to));
        let first_end = later().filter_map(|to| history.transactions[to].ended).min().unwrap_or(u64::MAX);
        let next = later().filter(|&to| history.transactions[to].began <= first_end);
        edges.extend(next.map(|to| Edge { from, to, why: Why::Time }));
    }
    edges
}

/// The ww edges that time edges do not imply.
fn writes_against_time(
    history: &History,
    committed: &BTreeSet<usize>,
    writer: &BTreeMap<Id, usize>,
) -> Vec<Edge> {
    let mut edges = Vec::new();
    for (&partition, records) in &history.last.committed {
        let mut spans: BTreeMap<usize, (i64, i64)> = BTreeMap::new();
        for (offset, id) in records {
            let Some(index) = writer.get(id).filter(|index| committed.contains(index)) else { continue };
            spans.entry(*index).or_insert((*offset, *offset)).1 = *offset;
        }
        for (&from, &(_, last)) in &spans {
            let behind = spans.iter().filter(|(_, (first, _))| *first > last).map(|(to, _)| *to);
            let against = behind.filter(|&to| comes_after(history, to, from));
            edges.extend(against.map(|to| Edge { from, to, why: Why::Wrote(partition) }));
        }
    }
    edges
}

/// The shortest cycle with a read in it; if there is none, the shortest of all.
fn shortest_cycle(edges: &BTreeSet<Edge>) -> Option<Vec<Edge>> {
    let mut next: BTreeMap<usize, Vec<Edge>> = BTreeMap::new();
    for edge in in_cycles(edges) {
        next.entry(edge.from).or_default().push(edge);
    }
    let closed = |first: &Edge| {
        let back = path(&next, first.to, first.from)?;
        Some([vec![*first], back].concat())
    };
    let shortest = |is_wanted: &dyn Fn(&Edge) -> bool| {
        next.values().flatten().filter(|edge| is_wanted(edge)).filter_map(closed).min_by_key(Vec::len)
    };
    shortest(&|edge| matches!(edge.why, Why::Read(_))).or_else(|| shortest(&|_| true))
}

/// What is left when transactions that nothing comes before are taken away again and again (Kahn): nothing, unless there
/// is a cycle.
fn in_cycles(edges: &BTreeSet<Edge>) -> impl Iterator<Item = Edge> {
    let mut before: BTreeMap<usize, usize> = BTreeMap::new();
    for edge in edges {
        before.entry(edge.from).or_default();
        *before.entry(edge.to).or_default() += 1;
    }
    let mut free: Vec<usize> =
        before.iter().filter(|(_, count)| **count == 0).map(|(node, _)| *node).collect();
    let mut taken = BTreeSet::new();
    while let Some(node) = free.pop() {
        taken.insert(node);
        let first = Edge { from: node, to: 0, why: Why::Read(Id { producer: 0, number: 0 }) };
        for edge in edges.range(first..).take_while(|edge| edge.from == node) {
            if let Some(count) = before.get_mut(&edge.to) {
                *count -= 1;
                if *count == 0 {
                    free.push(edge.to);
                }
            }
        }
    }
    edges.iter().copied().filter(move |edge| !taken.contains(&edge.from) && !taken.contains(&edge.to))
}

/// The shortest way from one transaction to another.
fn path(next: &BTreeMap<usize, Vec<Edge>>, from: usize, to: usize) -> Option<Vec<Edge>> {
    let mut reached: BTreeMap<usize, Edge> = BTreeMap::new();
    let mut queue = VecDeque::from([from]);
    while let Some(node) = queue.pop_front() {
        for edge in next.get(&node).into_iter().flatten() {
            if edge.to == from || reached.contains_key(&edge.to) {
                continue;
            }
            reached.insert(edge.to, *edge);
            queue.push_back(edge.to);
        }
    }
    let mut way = Vec::new();
    let mut node = to;
    while node != from {
        let edge = *reached.get(&node)?;
        way.push(edge);
        node = edge.from;
    }
    way.reverse();
    Some(way)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Outcome, Sent, Topic};

    const fn id(number: u32) -> Id {
        Id { producer: 0, number }
    }

    fn partition(number: i32) -> Partition {
        Partition { topic: Topic::Input, number }
    }

    /// One transaction of a history: when it began, when its end was answered, what it wrote (partition, offset, record)
    /// and read.
    type Story<'a> = (u64, Option<u64>, &'a [(i32, i64, u32)], &'a [u32]);

    fn history(stories: &[Story<'_>]) -> History {
        let mut history = History::default();
        for (index, &(began, ended, writes, reads)) in stories.iter().enumerate() {
            let verdict = if ended.is_some() { Verdict::Committed } else { Verdict::Unknown };
            let reads = reads.iter().map(|number| id(*number)).collect();
            history.transactions.push(Transaction { verdict, ended, reads, ..Transaction::begun(began) });
            for &(p, offset, number) in writes {
                let (outcome, transaction) = (Outcome::Acknowledged(offset), Some(index));
                let partition = partition(p);
                history.sent.push(Sent { id: id(number), partition, transaction, source: None, outcome });
                history.last.committed.entry(partition).or_default().push((offset, id(number)));
            }
        }
        history.last.committed.values_mut().for_each(|records| records.sort_unstable());
        history
    }

    fn found(stories: &[Story<'_>]) -> Vec<String> {
        let mut found = Findings::default();
        check(&history(stories), &mut found);
        found.list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn one_after_the_other_is_no_cycle() {
        let nothing = found(&[
            (1, Some(2), &[(0, 0, 1)], &[]),
            (3, Some(4), &[(0, 2, 2)], &[1]),
            (5, Some(6), &[(0, 4, 3)], &[1, 2]),
            (5, Some(7), &[(0, 5, 4)], &[1]),
        ]);
        assert_eq!(nothing, [""; 0]);
    }

    #[test]
    fn two_that_read_each_other_are_g1c() {
        let cycle = found(&[(1, Some(9), &[(0, 0, 1)], &[2]), (1, Some(9), &[(1, 0, 2)], &[1])]);
        let said = "cyclic read (G1c): of transactions: 1 read Id { producer: 0, number: 1 } of 0, \
                    0 read Id { producer: 0, number: 2 } of 1";
        assert_eq!(cycle, [said]);
    }

    #[test]
    fn a_longer_cycle_is_found_among_transactions_that_have_no_part_in_it() {
        let cycle = found(&[
            (1, Some(2), &[(0, 0, 1)], &[]),
            (3, Some(9), &[(0, 1, 2)], &[1, 4]),
            (3, Some(9), &[(1, 0, 3)], &[2]),
            (3, Some(9), &[(1, 1, 4)], &[3]),
            (10, Some(12), &[(1, 2, 5)], &[2, 3, 4]),
        ]);
        assert_eq!(cycle.len(), 1);
        assert_eq!(cycle[0].matches(" read Id").count(), 3, "{}", cycle[0]);
    }

    #[test]
    fn reading_what_began_only_after_the_end_is_g1c() {
        let cycle = found(&[(1, Some(2), &[(0, 0, 1)], &[2]), (3, Some(4), &[(0, 2, 2)], &[])]);
        assert!(cycle[0].starts_with("cyclic read (G1c)"), "{cycle:?}");
        assert!(cycle[0].contains("1 began after 0 had ended"), "{cycle:?}");
    }

    #[test]
    fn a_log_against_the_time_is_a_write_cycle() {
        let cycle = found(&[(1, Some(2), &[(0, 7, 1)], &[]), (3, Some(4), &[(0, 2, 2)], &[])]);
        assert!(cycle[0].starts_with("write cycle (G0)"), "{cycle:?}");
    }

    #[test]
    fn writes_of_transactions_that_overlap_may_cross() {
        let nothing = found(&[
            (1, Some(9), &[(0, 0, 1), (1, 5, 2)], &[]),
            (1, Some(9), &[(0, 5, 3), (1, 0, 4)], &[]),
            // Of this one the end is not known, so it overlaps with all that follow.
            (1, None, &[(0, 20, 5)], &[]),
            (10, Some(11), &[(0, 15, 6)], &[]),
        ]);
        assert_eq!(nothing, [""; 0]);
    }

    #[test]
    fn what_an_aborted_transaction_has_read_is_no_dependency() {
        let mut history = history(&[(1, Some(9), &[(0, 0, 1)], &[2]), (1, Some(9), &[(1, 0, 2)], &[1])]);
        history.transactions[1].verdict = Verdict::Aborted;
        history.last.committed.remove(&partition(1));
        assert_eq!(dependencies(&history), BTreeSet::new());
    }
}
