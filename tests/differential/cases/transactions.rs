//! Transactions, as clients of the first protocol (KIP-98) speak them.

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeTransactionsRequest, EndTxnRequest, GroupId,
    InitProducerIdRequest, InitProducerIdResponse, ListTransactionsRequest, ProducerId, TransactionalId,
    TxnOffsetCommitRequest,
};

use super::records::{batch, fetch, produce};
use super::{create, text, topic};
use crate::both::{Both, Peer};
use millrace_wire::ids::{ProducerEpoch, ProducerId as WireProducerId};
use millrace_wire::record::{BatchOptions, ProducerStamp};

/// The code for "ask again: the markers are still being written".
const CONCURRENT_TRANSACTIONS: i16 = 51;

pub(super) fn ask(both: &mut Both) {
    create(both, "txn", 1);
    for version in 0..=3 {
        life(both, version);
    }
    refusals(both);
}

fn id(name: &str) -> TransactionalId {
    TransactionalId(text(name))
}

fn number(peer: &Peer, what: &str) -> i64 {
    peer.noted.get(what).and_then(|text| text.parse().ok()).unwrap_or(-1)
}

fn note(peer: &mut Peer, answer: &InitProducerIdResponse) {
    peer.noted.insert("producer".to_owned(), answer.producer_id.0.to_string());
    peer.noted.insert("epoch".to_owned(), answer.producer_epoch.to_string());
}

fn me(peer: &Peer) -> (ProducerId, i16) {
    (ProducerId(number(peer, "producer")), number(peer, "epoch") as i16)
}

fn init(name: &str) -> InitProducerIdRequest {
    InitProducerIdRequest::default().with_transactional_id(Some(id(name))).with_transaction_timeout_ms(60_000)
}

fn add(name: &str, peer: &Peer, partition: i32) -> AddPartitionsToTxnRequest {
    let (producer, epoch) = me(peer);
    let one = AddPartitionsToTxnTopic::default().with_name(topic("txn")).with_partitions(vec![partition]);
    AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(id(name))
        .with_v3_and_below_producer_id(producer)
        .with_v3_and_below_producer_epoch(epoch)
        .with_v3_and_below_topics(vec![one])
}

fn end(name: &str, peer: &Peer, commit: bool) -> EndTxnRequest {
    let (producer, epoch) = me(peer);
    EndTxnRequest::default()
        .with_transactional_id(id(name))
        .with_producer_id(producer)
        .with_producer_epoch(epoch)
        .with_committed(commit)
}

/// One transaction committed and one aborted.
fn life(both: &mut Both, version: i16) {
    let name = format!("life-{version}");
    let name = name.as_str();
    // The coordinator may still be loading.
    both.until("a producer id", |peer| {
        let answer = peer.ask(version, &init(name)).expect("an answer");
        note(peer, &answer);
        answer.error_code == 0
    });
    both.compare("init again", version, |_| init(name), note);
    for (round, commit) in [(0, true), (1, false)] {
        both.compare("no such partition", version, |peer| add(name, peer, 9), |_, _| ());
        // Kafka may still be writing markers of the transaction before, and says so.
        both.until("the transaction before to be over", |peer| {
            let answer = peer.ask(version, &add(name, peer, 0)).expect("an answer");
            let partition = &answer.results_by_topic_v3_and_below[0].results_by_partition[0];
            partition.partition_error_code != CONCURRENT_TRANSACTIONS
        });
        both.compare("a partition twice", version, |peer| add(name, peer, 0), |_, _| ());
        let write = |peer: &Peer| {
            let (producer, epoch) = me(peer);
            let stamp = ProducerStamp {
                id: WireProducerId(producer.0),
                epoch: ProducerEpoch(epoch),
                base_sequence: round,
            };
            let options =
                BatchOptions { producer: Some(stamp), transactional: true, ..BatchOptions::default() };
            produce("txn", 0, -1, Some(batch(options, &["x"]))).with_transactional_id(Some(id(name)))
        };
        both.compare("a transactional write", 11, write, |_, _| ());
        both.same("described while open", [0], |_| {
            DescribeTransactionsRequest::default().with_transactional_ids(vec![id(name)])
        });
        let (offsets, commits) = (version.min(3), version);
        both.compare(
            "offsets",
            offsets,
            |peer| {
                let (producer, epoch) = me(peer);
                AddOffsetsToTxnRequest::default()
                    .with_transactional_id(id(name))
                    .with_producer_id(producer)
                    .with_producer_epoch(epoch)
                    .with_group_id(GroupId(text("txn-group")))
            },
            |_, _| (),
        );
        both.compare("a commit of offsets", commits, |peer| offset_commit(name, peer), |_, _| ());
        both.compare("end", version, |peer| end(name, peer, commit), |_, _| ());
        both.until("the transaction to be complete", |peer| {
            let request = DescribeTransactionsRequest::default().with_transactional_ids(vec![id(name)]);
            let answer = peer.ask(0, &request).expect("an answer");
            answer.transaction_states[0].transaction_state.starts_with("Complete")
        });
    }
    both.compare("the other end", version, |peer| end(name, peer, true), |_, _| ());
    both.same("listed", 0..=1, |_| {
        ListTransactionsRequest::default().with_state_filters(vec![text("Ongoing")]).with_duration_filter(-1)
    });
    // Two records and two markers each: what stands in the log differs by producer ids only.
    let stable = 4 * (i64::from(version) + 1);
    both.until("everything to be stable", |peer| {
        let answer = peer.ask(11, &fetch("txn", 0, 0).with_isolation_level(1)).expect("records");
        answer.responses[0].partitions[0].last_stable_offset == stable
    });
}

fn offset_commit(name: &str, peer: &Peer) -> TxnOffsetCommitRequest {
    let (producer, epoch) = me(peer);
    let partition = TxnOffsetCommitRequestPartition::default()
        .with_partition_index(0)
        .with_committed_offset(5)
        .with_committed_metadata(Some(text("noted")));
    let one = TxnOffsetCommitRequestTopic::default().with_name(topic("txn")).with_partitions(vec![partition]);
    TxnOffsetCommitRequest::default()
        .with_transactional_id(id(name))
        .with_group_id(GroupId(text("txn-group")))
        .with_producer_id(producer)
        .with_producer_epoch(epoch)
        .with_generation_id(-1)
        .with_topics(vec![one])
}

fn refusals(both: &mut Both) {
    both.same("an empty id", 0..=5, |_| init(""));
    both.same("a long timeout", 0..=5, |_| init("long").with_transaction_timeout_ms(i32::MAX));
    both.same("no timeout", 0..=5, |_| init("none").with_transaction_timeout_ms(0));
    both.same("an id without name", 3..=5, |_| {
        InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(1000)
            .with_producer_id(ProducerId(5))
            .with_producer_epoch(-1)
    });
    both.compare("init", 3, |_| init("refused"), note);
    let stranger = |peer: &Peer| {
        let mut request = add("refused", peer, 0);
        request.v3_and_below_producer_id = ProducerId(123_456);
        request
    };
    let stale = |peer: &Peer| {
        let mut request = add("refused", peer, 0);
        request.v3_and_below_producer_epoch = 77;
        request
    };
    for version in 0..=3 {
        both.compare("another's id", version, stranger, |_, _| ());
        both.compare("another epoch", version, stale, |_, _| ());
        both.compare("nobody", version, |peer| add("nobody", peer, 0), |_, _| ());
        both.compare("end of nothing", version, |peer| end("refused", peer, true), |_, _| ());
        both.compare("end of nobody's", version, |peer| end("nobody", peer, true), |_, _| ());
    }
    both.same("an unknown transaction", [0], |_| {
        DescribeTransactionsRequest::default().with_transactional_ids(vec![id("nobody")])
    });
    both.same("an unnamed transaction", [0], |_| {
        DescribeTransactionsRequest::default().with_transactional_ids(vec![id("")])
    });
    both.same("an unknown state", 0..=1, |_| {
        ListTransactionsRequest::default().with_state_filters(vec![text("Odd")]).with_duration_filter(-1)
    });
}
