//! Transactions by the second protocol (KIP-890), and what is refused because its partition was not added.

use kafka_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, DescribeProducersRequest, EndTxnRequest, ListTransactionsRequest, ProducerId,
    WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};
use millrace_wire::ids as wire;
use millrace_wire::record::{BatchOptions, ProducerStamp};

use crate::groups::fetch as fetch_offset;
use crate::produce::request as produce_request;
use crate::support::{Client, START_MS, batch, broker, broker_with, build, text, topic};
use crate::topics::create;
use crate::transactions::{
    Me, add, commit_offset, commit_offset_as, committed, end, init, tx, until_committed, write_as,
};

async fn write(client: &mut Client, version: i16, me: Me, sequence: i32, value: &str) -> i16 {
    write_as(client, version, "app", me, sequence, value).await
}

/// Ends a transaction; who the producer is from then on.
async fn end_v5(client: &mut Client, me: Me, commit: bool) -> Result<Me, i16> {
    let request = EndTxnRequest::default()
        .with_transactional_id(tx("app"))
        .with_producer_id(ProducerId(me.id))
        .with_producer_epoch(me.epoch)
        .with_committed(commit);
    let response = client.call(5, request).await;
    match response.error_code {
        0 => Ok(Me { id: response.producer_id.0, epoch: response.producer_epoch }),
        code => Err(code),
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_adds_its_partition_and_every_end_begins_an_epoch() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let mut me = init(&mut client, 5, "app", None).await.expect("a producer id");
    let mut expected = Vec::new();
    for round in 0..10 {
        let (value, commit) = (format!("v{round}"), round % 2 == 0);
        assert_eq!(write(&mut client, 12, me, 0, &value).await, 0);
        assert_eq!(write(&mut client, 12, me, 1, "more").await, 0);
        let next = end_v5(&mut client, me, commit).await.expect("the next epoch");
        assert_eq!(next, Me { id: me.id, epoch: me.epoch + 1 });
        // A record that comes late is refused by its epoch, before and after the next transaction began.
        assert_eq!(write(&mut client, 12, me, 2, "late").await, 47);
        assert_eq!(write(&mut client, 12, next, 0, "open").await, 0);
        assert_eq!(write(&mut client, 12, me, 2, "late").await, 47);
        // So is an EndTxn.
        assert_eq!(end_v5(&mut client, me, commit).await, Err(90));
        assert_eq!(end(&mut client, 4, "app", me, commit).await, 90);
        me = end_v5(&mut client, next, false).await.expect("the epoch after");
        if commit {
            expected.extend([value, "more".to_owned()]);
        }
        until_committed(&mut client, &expected.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_repeated_end_is_the_first_one() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let me = init(&mut client, 5, "app", None).await.expect("a producer id");
    assert_eq!(write(&mut client, 12, me, 0, "v").await, 0);
    let next = end_v5(&mut client, me, true).await.expect("the next epoch");
    until_committed(&mut client, &["v"]).await;
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!(end_v5(&mut client, me, true).await, Ok(next));
    assert_eq!(end_v5(&mut client, me, false).await, Err(48));
    // What was never begun can be aborted, and not committed.
    assert_eq!(end_v5(&mut client, next, true).await, Err(48));
    assert_eq!(end_v5(&mut client, next, false).await, Ok(Me { epoch: next.epoch + 1, ..next }));
}

#[tokio::test(start_paused = true)]
async fn offsets_need_no_request_of_their_own() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let me = init(&mut client, 5, "app", None).await.expect("a producer id");
    assert_eq!(commit_offset(&mut client, 3, me, 7).await, 48, "the group was not added");
    assert_eq!(commit_offset(&mut client, 4, me, 7).await, 120, "the group was not added");
    assert_eq!(commit_offset(&mut client, 5, me, 7).await, 0);
    let next = end_v5(&mut client, me, true).await.expect("the next epoch");
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert_eq!(fetch_offset(&mut client, 9, "g", "t", true).await.0, 7);
    assert_eq!(commit_offset(&mut client, 5, me, 8).await, 47);
    assert_eq!(commit_offset(&mut client, 5, next, 8).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_write_outside_of_its_transaction_is_refused() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let me = init(&mut client, 5, "app", None).await.expect("a producer id");
    assert_eq!(write(&mut client, 9, me, 0, "v").await, 48);
    assert_eq!(write(&mut client, 11, me, 0, "v").await, 120);
    assert_eq!(add(&mut client, 3, "app", me, &[0]).await, [0]);
    assert_eq!(write(&mut client, 9, me, 0, "v").await, 0);
    assert_eq!(end(&mut client, 4, "app", me, true).await, 0);
    until_committed(&mut client, &["v"]).await;
    // The epoch is the same, so only the list of partitions tells that this one is late.
    assert_eq!(write(&mut client, 9, me, 1, "late").await, 48);
    assert_eq!(committed(&mut client).await, (vec!["v".to_owned()], 2), "nothing hangs");
}

/// `kafka-transactions.sh`: a transaction that no coordinator knows of is found, and ended by hand.
#[tokio::test(start_paused = true)]
async fn what_is_not_verified_hangs_until_it_is_ended_by_hand() {
    let broker = broker_with(&[("transaction.partition.verification.enable", "false")]).await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let me = init(&mut client, 5, "app", None).await.expect("a producer id");
    assert_eq!(write(&mut client, 11, me, 0, "v").await, 0);
    let plain = produce_request(-1, "t", 0, Some(batch(&["behind it"])));
    client.call(11, plain).await;
    assert_eq!(committed(&mut client).await, (vec![], 0));
    // The coordinator has nothing open; the partition has.
    let listed = client.call(2, ListTransactionsRequest::default()).await;
    assert_eq!(&*listed.transaction_states[0].transaction_state, "Empty");
    let asked = TopicRequest::default().with_name(topic("t")).with_partition_indexes(vec![0]);
    let described = client.call(0, DescribeProducersRequest::default().with_topics(vec![asked])).await;
    let found = &described.topics[0].partitions[0].active_producers[0];
    assert_eq!((found.producer_id.0, found.current_txn_start_offset), (me.id, 0));

    let abort = |epoch: i16, partitions: Vec<i32>| {
        let topic =
            WritableTxnMarkerTopic::default().with_name(topic("t")).with_partition_indexes(partitions);
        let marker = WritableTxnMarker::default()
            .with_producer_id(ProducerId(me.id))
            .with_producer_epoch(epoch)
            .with_coordinator_epoch(found.coordinator_epoch.max(0))
            .with_topics(vec![topic]);
        WriteTxnMarkersRequest::default().with_markers(vec![marker])
    };
    let codes = |response: WriteTxnMarkersResponse| {
        let partitions = response.markers[0].topics[0].partitions.iter();
        partitions.map(|partition| partition.error_code).collect::<Vec<_>>()
    };
    assert_eq!(codes(client.call(1, abort(-1, vec![0])).await), [47]);
    assert_eq!(codes(client.call(1, abort(me.epoch, vec![0, 9])).await), [0, 3]);
    assert_eq!(committed(&mut client).await, (vec!["behind it".to_owned()], 3));
}

#[tokio::test(start_paused = true)]
async fn transactions_are_listed_by_pattern() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    for id in ["app-1", "app-2", "other"] {
        init(&mut client, 5, id, None).await.expect("a producer id");
    }
    for (pattern, expected) in [("app-.*", 2), ("app", 0), ("other|app-1", 2), ("", 3)] {
        let request = ListTransactionsRequest::default().with_transactional_id_pattern(Some(text(pattern)));
        let listed = client.call(2, request).await;
        assert_eq!((listed.error_code, listed.transaction_states.len()), (0, expected), "{pattern:?}");
    }
    let request = ListTransactionsRequest::default().with_transactional_id_pattern(Some(text("(")));
    assert_eq!(client.call(2, request).await.error_code, 128);
}

#[tokio::test(start_paused = true)]
async fn writes_that_wait_for_the_coordinator_keep_their_order() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let me = init(&mut client, 5, "app", None).await.expect("a producer id");
    let mut sent = Vec::new();
    for sequence in 0..5 {
        let producer = ProducerStamp {
            id: wire::ProducerId(me.id),
            epoch: wire::ProducerEpoch(me.epoch),
            base_sequence: sequence,
        };
        let options =
            BatchOptions { producer: Some(producer), transactional: true, ..BatchOptions::default() };
        let request = produce_request(-1, "t", 0, Some(build(options, &["v"], START_MS)));
        sent.push(client.send(12, &request.with_transactional_id(Some(tx("app")))).await);
    }
    for (offset, sent) in sent.into_iter().enumerate() {
        let (received, response) = client.receive::<kafka_protocol::messages::ProduceRequest>(12).await;
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!((received, partition.error_code, partition.base_offset), (sent, 0, offset as i64));
    }
}

#[tokio::test(start_paused = true)]
async fn brokers_add_and_verify_for_many_transactions() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 2).await;
    let me = init(&mut client, 5, "app", None).await.expect("a producer id");
    let asked = |verify_only: bool, epoch: i16| {
        let topic = AddPartitionsToTxnTopic::default().with_name(topic("t")).with_partitions(vec![1]);
        AddPartitionsToTxnTransaction::default()
            .with_transactional_id(tx("app"))
            .with_producer_id(ProducerId(me.id))
            .with_producer_epoch(epoch)
            .with_verify_only(verify_only)
            .with_topics(vec![topic])
    };
    for (version, missing) in [(4, 48), (5, 120)] {
        let many = vec![asked(true, 0), asked(true, 3)];
        let request = AddPartitionsToTxnRequest::default().with_transactions(many);
        let response = client.call(version, request).await;
        let codes: Vec<i16> = response
            .results_by_transaction
            .iter()
            .map(|one| one.topic_results[0].results_by_partition[0].partition_error_code)
            .collect();
        assert_eq!(codes, [missing, 90]);
    }
    for verify_only in [false, true] {
        let request = AddPartitionsToTxnRequest::default().with_transactions(vec![asked(verify_only, 0)]);
        let response = client.call(5, request).await;
        let result = &response.results_by_transaction[0].topic_results[0].results_by_partition[0];
        assert_eq!(result.partition_error_code, 0);
    }
}

/// The next transaction is begun while the partitions are still being told of the end of the one before: their markers, which
/// carry the next transaction's epoch, must not pass for its end.
#[tokio::test(start_paused = true)]
async fn many_producers_move_offsets_one_transaction_after_the_other() {
    let settings = [("offsets.topic.num.partitions", "1"), ("transaction.state.log.num.partitions", "1")];
    let broker = broker_with(&settings).await;
    create(&mut Client::new(&broker), "t", 1).await;
    let mut producers = tokio::task::JoinSet::new();
    for number in 0..20 {
        let mut client = Client::new(&broker);
        producers.spawn(async move {
            let id = format!("app-{number}");
            let mut me = init(&mut client, 5, &id, None).await.expect("a producer id");
            for round in 0..20 {
                let moved = commit_offset_as(&mut client, 5, &id, me, round).await;
                assert_eq!(moved, 0, "producer {number}, transaction {round}");
                let request = EndTxnRequest::default()
                    .with_transactional_id(tx(&id))
                    .with_producer_id(ProducerId(me.id))
                    .with_producer_epoch(me.epoch)
                    .with_committed(true);
                let ended = client.call(5, request).await;
                assert_eq!(ended.error_code, 0);
                me = Me { id: ended.producer_id.0, epoch: ended.producer_epoch };
            }
        });
    }
    while let Some(done) = producers.join_next().await {
        done.unwrap();
    }
}
