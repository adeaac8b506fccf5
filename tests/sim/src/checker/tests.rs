//! A sound history, and what each damage to it is called.

use super::*;
use crate::history::{Final, Seen, Topic, Transaction};

const PARTITION: Partition = Partition { topic: Topic::Input, number: 0 };

fn id(number: u32) -> Id {
    Id { producer: 1, number }
}

fn sent(number: u32, offset: i64, transaction: Option<usize>) -> Sent {
    Sent {
        id: id(number),
        partition: PARTITION,
        transaction,
        source: None,
        outcome: Outcome::Acknowledged(offset),
    }
}

/// Three plain records, then a committed and an aborted transaction of one record each, all read back.
fn sound() -> History {
    let all = vec![(0, id(0)), (1, id(1)), (2, id(2)), (3, id(3)), (5, id(4))];
    let committed = all[..4].to_vec();
    let read = |records: &[(i64, Id)]| {
        records.iter().map(|&(offset, id)| Seen { partition: PARTITION, offset, id, at: 9 }).collect()
    };
    History {
        sent: vec![
            sent(0, 0, None),
            sent(1, 1, None),
            sent(2, 2, None),
            sent(3, 3, Some(0)),
            sent(4, 5, Some(1)),
        ],
        transactions: vec![
            Transaction { verdict: Verdict::Committed, asked: Some(5), ..Transaction::begun(0) },
            Transaction { verdict: Verdict::Aborted, ..Transaction::begun(0) },
        ],
        moment: 9,
        sessions: vec![
            Session { committed_only: false, from_start: true, seen: read(&all) },
            Session { committed_only: true, from_start: true, seen: read(&committed) },
        ],
        last: Final { all: [(PARTITION, all)].into(), committed: [(PARTITION, committed)].into() },
        ..History::default()
    }
}

/// The kinds found after `damage` was done to a sound history.
fn kinds(damage: impl FnOnce(&mut History)) -> BTreeSet<&'static str> {
    let mut history = sound();
    damage(&mut history);
    check(&history).into_iter().map(|a| a.kind).collect()
}

fn final_all(history: &mut History) -> &mut Vec<(i64, Id)> {
    history.last.all.get_mut(&PARTITION).expect("partition 0 is there")
}

#[test]
fn a_sound_history_has_no_anomaly() {
    assert_eq!(check(&sound()), []);
}

#[test]
fn each_damage_is_found_under_its_name() {
    assert!(kinds(|h| _ = final_all(h).remove(1)).is_superset(&["lost write", "lost read"].into()));
    assert!(kinds(|h| final_all(h).push((9, id(1)))).contains("duplicate"));
    assert!(kinds(|h| h.sent[1].outcome = Outcome::Acknowledged(7)).contains("moved write"));
    assert!(kinds(|h| final_all(h).swap(0, 1)).contains("reordered"));
    assert!(kinds(|h| h.sessions[0].seen[2].id = id(77)).contains("inconsistent offsets"));
    assert!(kinds(|h| _ = h.sessions[0].seen.remove(1)).contains("poll skip"));
    assert!(kinds(|h| h.sessions[0].seen.swap(1, 2)).contains("non-monotonic poll"));
    assert!(kinds(|h| h.transactions[0].verdict = Verdict::Aborted).contains("aborted read (G1a)"));
    assert!(kinds(|h| h.sessions[1].seen[3].at = 4).contains("precommitted read (G1b)"));
    assert!(kinds(|h| h.sent[0].transaction = Some(1)).contains("fractured transaction"));
}

#[test]
fn what_is_not_known_is_no_anomaly() {
    let found = kinds(|h| {
        h.sent[1].outcome = Outcome::Unknown;
        h.transactions.iter_mut().for_each(|transaction| transaction.verdict = Verdict::Unknown);
    });
    assert_eq!(found, BTreeSet::new());
}

#[test]
fn a_session_that_began_elsewhere_skips_nothing_before_it() {
    let found = kinds(|h| {
        h.sessions[0].from_start = false;
        h.sessions[0].seen.remove(0);
    });
    assert_eq!(found, BTreeSet::new());
    assert!(kinds(|h| _ = h.sessions[0].seen.remove(0)).contains("poll skip"));
}
