//! Which partitions are told again.

use super::harness::Harness;
use crate::coordinators::{Token, TopicPartition};
use crate::transaction::config::Config;
use crate::transaction::event::{AddPartitions, End, Event, Init, Reply};
use crate::transaction::state::Protocol;

const ID: &str = "tx";

#[test]
fn only_partitions_that_were_not_told_are_told_again() {
    let mut harness = Harness::new(Config {
        transaction_max_timeout_ms: 900_000,
        transactional_id_expiration_ms: 604_800_000,
        transaction_remove_expired_transaction_cleanup_interval_ms: 3_600_000,
    });
    let init =
        Init { transactional_id: ID.to_owned(), timeout_ms: 60_000, expected: None, fresh_producer_id: None };
    harness.step(Event::Init(Token(1), init), 0);
    harness.disk(Ok(()), 0);
    let Some((1, Reply::Init(Ok(producer)))) = harness.replies.pop() else { panic!("no producer id") };
    let transactional_id = ID.to_owned();
    let partitions: Vec<_> = (0..3).map(|index| TopicPartition::new("t", index)).collect();
    let add = AddPartitions {
        transactional_id: transactional_id.clone(),
        producer,
        partitions: partitions.clone(),
        protocol: Protocol::First,
    };
    harness.step(Event::AddPartitions(Token(2), add), 0);
    harness.disk(Ok(()), 0);
    let protocol = Protocol::First;
    let end = End { transactional_id, producer, commit: true, protocol, fresh_producer_id: None };
    harness.step(Event::End(Token(3), end), 0);
    harness.disk(Ok(()), 0);
    assert_eq!(harness.markers[0].partitions, partitions);

    let late = vec![partitions[1].clone()];
    harness.all_partitions_but(late.clone(), 10);
    for now_ms in [200, 400] {
        harness.step(Event::Tick, now_ms);
        assert_eq!(harness.markers[0].partitions, late);
        harness.all_partitions_but(if now_ms == 200 { late.clone() } else { Vec::new() }, now_ms);
    }
    // The end of it is stored once that one is told too.
    assert_eq!(harness.in_flight.len(), 1);
    harness.disk(Ok(()), 500);
    assert!(harness.markers.is_empty());
}
