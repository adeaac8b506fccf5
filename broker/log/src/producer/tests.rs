//! The rules of KIP-98, one by one, and snapshots.

use super::*;
use crate::error::AppendError;

fn batch(producer: i64, epoch: i16, first: i32, count: i32) -> ProducerBatch {
    ProducerBatch {
        producer: ProducerId(producer),
        epoch: ProducerEpoch(epoch),
        first_sequence: first,
        last_sequence: millrace_wire::ids::next_sequence(first, count - 1),
        offset_delta: count - 1,
        timestamp: 1000,
        transactional: false,
    }
}

fn transactional(batch: ProducerBatch) -> ProducerBatch {
    ProducerBatch { transactional: true, ..batch }
}

fn marker(producer: i64, epoch: i16, coordinator_epoch: i32, aborts: bool) -> Marker {
    let (producer, epoch) = (ProducerId(producer), ProducerEpoch(epoch));
    Marker { producer, epoch, coordinator_epoch, timestamp: 2000, aborts }
}

/// Checks a batch as a client's and writes it at `at`.
fn write(state: &mut Producers, batch: ProducerBatch, at: i64) -> Result<Checked, AppendError> {
    let checked = state.check(&batch, AppendOrigin::Client)?;
    if checked == Checked::Write {
        state.apply(&batch, Offset(at), Offset(at + i64::from(batch.offset_delta)));
    }
    Ok(checked)
}

fn code(result: Result<Checked, AppendError>) -> i16 {
    result.unwrap_err().code()
}

#[test]
fn the_last_five_batches_are_recognised() {
    let mut state = Producers::default();
    for n in 0..7 {
        assert_eq!(write(&mut state, batch(1, 0, n * 10, 10), i64::from(n) * 100).unwrap(), Checked::Write);
    }
    for n in 2..7 {
        let first = Offset(i64::from(n) * 100);
        let duplicate = Checked::Duplicate { first, last: Offset(first.0 + 9), timestamp: 1000 };
        assert_eq!(write(&mut state, batch(1, 0, n * 10, 10), 999).unwrap(), duplicate);
    }
    assert_eq!(code(write(&mut state, batch(1, 0, 10, 10), 999)), 45, "too old to be known");
    assert_eq!(code(write(&mut state, batch(1, 0, 71, 1), 999)), 45, "a gap");
    assert_eq!(code(write(&mut state, batch(1, 0, 60, 5), 999)), 45, "the same start, another length");
    assert_eq!(write(&mut state, batch(1, 0, 70, 1), 999).unwrap(), Checked::Write);
}

#[test]
fn epochs_fence_and_begin_at_zero() {
    let mut state = Producers::default();
    write(&mut state, batch(1, 3, 500, 10), 0).expect("of an unknown producer any sequence is taken");
    assert_eq!(code(write(&mut state, batch(1, 2, 510, 1), 10)), 47);
    assert_eq!(code(write(&mut state, batch(1, 4, 510, 1), 10)), 45);
    write(&mut state, batch(1, 4, 0, 1), 10).unwrap();
    assert_eq!(code(write(&mut state, batch(1, 3, 510, 1), 11)), 47);
}

#[test]
fn sequences_wrap() {
    let mut state = Producers::default();
    write(&mut state, batch(1, 0, i32::MAX - 1, 2), 0).unwrap();
    write(&mut state, batch(1, 0, 0, 1), 2).unwrap();
    let mut state = Producers::default();
    write(&mut state, batch(1, 0, i32::MAX, 3), 0).unwrap();
    assert_eq!(code(write(&mut state, batch(1, 0, 3, 1), 3)), 45);
    write(&mut state, batch(1, 0, 2, 1), 3).unwrap();
}

#[test]
fn a_transaction_holds_the_stable_offset_back_until_its_marker_is_committed() {
    let mut state = Producers::default();
    write(&mut state, transactional(batch(1, 0, 0, 5)), 10).unwrap();
    write(&mut state, transactional(batch(2, 0, 0, 5)), 15).unwrap();
    assert_eq!(code(write(&mut state, batch(1, 0, 5, 1), 20)), 48, "not transactional within a transaction");
    assert_eq!(state.stable_view().first_unstable(Offset(100)), Some(Offset(10)));

    state.check_marker(&marker(1, 0, 7, true)).unwrap();
    let (_, aborted) = state.apply_marker(&marker(1, 0, 7, true), Offset(20));
    let expected = AbortedTxn {
        producer_id: ProducerId(1),
        first_offset: Offset(10),
        last_offset: Offset(20),
        last_stable_offset: Offset(15),
    };
    assert_eq!(aborted, Some(expected));
    assert_eq!(
        state.stable_view().first_unstable(Offset(20)),
        Some(Offset(10)),
        "the marker itself is not committed"
    );
    assert_eq!(state.stable_view().first_unstable(Offset(21)), Some(Offset(15)));
    let (_, committed) = state.apply_marker(&marker(2, 1, 7, false), Offset(21));
    assert_eq!(committed, None);
    state.on_high_watermark(Offset(22));
    assert_eq!(state.stable_view().first_unstable(Offset(22)), None);
    assert!(!state.has_transactions());
    let (_, empty) = state.apply_marker(&marker(9, 0, 7, true), Offset(22));
    assert_eq!(empty, None, "a transaction that wrote nothing leaves no trace in the index");
}

#[test]
fn markers_of_zombies_are_refused() {
    let mut state = Producers::default();
    write(&mut state, transactional(batch(1, 4, 0, 1)), 0).unwrap();
    assert_eq!(state.check_marker(&marker(1, 3, 5, true)).unwrap_err().code(), 47);
    state.check_marker(&marker(1, 5, 5, true)).expect("the coordinator raises the epoch to fence");
    state.apply_marker(&marker(1, 5, 5, true), Offset(1));
    assert_eq!(state.check_marker(&marker(1, 5, 4, true)).unwrap_err().code(), 52);
    assert_eq!(code(write(&mut state, batch(1, 4, 1, 1), 2)), 47, "the fenced producer");
    assert_eq!(code(write(&mut state, batch(1, 5, 3, 1), 2)), 45, "an epoch known by its marker begins at 0");
    write(&mut state, batch(1, 5, 0, 1), 2).unwrap();
}

#[test]
fn a_coordinators_batches_have_no_sequence_but_an_epoch() {
    let mut state = Producers::default();
    let mut plain = transactional(batch(1, 2, 0, 1));
    (plain.first_sequence, plain.last_sequence) = (-1, -1);
    for at in 0..3 {
        assert_eq!(state.check(&plain, AppendOrigin::Coordinator).unwrap(), Checked::Write);
        state.apply(&plain, Offset(at), Offset(at));
    }
    let old = ProducerBatch { epoch: ProducerEpoch(1), ..plain };
    assert_eq!(state.check(&old, AppendOrigin::Coordinator).unwrap_err().code(), 47);
    assert_eq!(state.first_open(), Some(Offset(0)));
}

#[test]
fn undo_restores_what_was() {
    let mut state = Producers::default();
    write(&mut state, transactional(batch(1, 0, 0, 1)), 0).unwrap();
    let before = format!("{state:?}");
    let undos = [
        state.apply(&transactional(batch(1, 0, 1, 1)), Offset(1), Offset(1)),
        state.apply(&transactional(batch(2, 0, 0, 1)), Offset(2), Offset(2)),
        state.apply_marker(&marker(1, 1, 3, true), Offset(3)).0,
        state.apply(&transactional(batch(1, 1, 0, 1)), Offset(4), Offset(4)),
    ];
    undos.into_iter().rev().for_each(|undo| state.undo(undo));
    assert_eq!(format!("{state:?}"), before);
}

#[test]
fn idle_producers_are_forgotten_unless_a_transaction_is_open() {
    let mut state = Producers::default();
    write(&mut state, batch(1, 0, 0, 1), 0).unwrap();
    write(&mut state, transactional(batch(2, 0, 0, 1)), 1).unwrap();
    let ids = |state: &Producers| -> Vec<i64> { state.active().iter().map(|p| p.producer_id.0).collect() };
    // The batches' own time, 1000, is long ago.
    state.expire(1_000_000, 100);
    state.expire(1_000_099, 100);
    assert_eq!(ids(&state), [1, 2]);
    // A sign of life.
    write(&mut state, batch(1, 0, 1, 1), 2).unwrap();
    state.expire(1_000_100, 100);
    state.expire(1_000_199, 100);
    assert_eq!(ids(&state), [1, 2]);
    state.expire(1_000_200, 100);
    assert_eq!(ids(&state), [2]);
    assert_eq!(state.found.len(), 1);
}

#[test]
fn of_what_was_read_back_the_old_is_forgotten_unless_it_is_near_the_end() {
    let mut state = Producers::default();
    write(&mut state, batch(1, 0, 0, 1), 0).unwrap();
    write(&mut state, batch(2, 0, 0, 1), 50).unwrap();
    state.expire_before(Offset(40), 1_000_000, 100);
    let left: Vec<_> = state.active().iter().map(|p| p.producer_id.0).collect();
    assert_eq!(left, [2]);
    state.expire_before(Offset(60), 1_099, 100);
    assert_eq!(state.active().len(), 1, "its time is not up");
}

#[test]
fn snapshots_round_trip_in_apache_kafkas_form() {
    let mut state = Producers::default();
    write(&mut state, batch(1, 0, i32::MAX, 3), 40).unwrap();
    write(&mut state, transactional(batch(2, 7, 0, 1)), 43).unwrap();
    state.apply_marker(&marker(3, 1, 9, false), Offset(44));
    let bytes = snapshot::encode(state.entries());
    assert_eq!(bytes.len(), 10 + 3 * 46);
    assert_eq!(bytes[..2], [0, 1]);
    assert_eq!(bytes[6..18], [0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1]);
    let read = Producers::from_entries(snapshot::decode(&bytes).unwrap());
    assert_eq!(format!("{:?}", read.entries), format!("{:?}", state.entries));
    assert_eq!(read.open, state.open);

    for at in 0..bytes.len() {
        let mut broken = bytes.clone();
        broken[at] ^= 1;
        assert!(snapshot::decode(&broken).is_err(), "a flipped bit at {at}");
        assert!(snapshot::decode(&bytes[..at]).is_err(), "cut at {at}");
    }
}
