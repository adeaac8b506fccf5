//! Transactions: commit, abort, fencing, offsets.

use millrace_client::{Consumer, ConsumerConfig, GroupMetadata, Isolation};

use crate::support::{Test, offsets, unique};

#[tokio::test(flavor = "multi_thread")]
async fn committed_records_are_seen_and_aborted_ones_are_not() {
    let test = Test::new("txn", 2).await;
    let producer = test.transactional("a").await;
    for round in 0..6 {
        producer.begin_transaction().unwrap();
        for partition in 0..2 {
            for i in 0..3 {
                drop(producer.send(test.record(partition, format!("{round}.{i}"))).await.unwrap());
            }
        }
        match round % 2 {
            0 => producer.commit_transaction().await.unwrap(),
            _ => producer.abort_transaction().await.unwrap(),
        }
    }
    let expected: Vec<_> = [0, 2, 4].iter().flat_map(|r| (0..3).map(move |i| format!("{r}.{i}"))).collect();
    for partition in 0..2 {
        assert_eq!(test.values(partition, Isolation::ReadCommitted).await, expected);
    }
    // Uncommitted readers also see what an abort let through: whole rounds or nothing, as the abort came sooner.
    let all = test.values(0, Isolation::ReadUncommitted).await;
    assert!(all.len() >= expected.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn flushed_and_aborted_records_stay_invisible() {
    let test = Test::new("flushed", 1).await;
    let producer = test.transactional("a").await;
    producer.begin_transaction().unwrap();
    drop(producer.send(test.record(0, "void")).await.unwrap());
    producer.flush().await.unwrap();
    producer.abort_transaction().await.unwrap();
    producer.begin_transaction().unwrap();
    drop(producer.send(test.record(0, "counts")).await.unwrap());
    producer.commit_transaction().await.unwrap();
    assert_eq!(test.values(0, Isolation::ReadCommitted).await, ["counts"]);
    assert_eq!(test.values(0, Isolation::ReadUncommitted).await, ["void", "counts"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_producer_fences_the_first() {
    let test = Test::new("fence", 1).await;
    let zombie = test.transactional("a").await;
    zombie.begin_transaction().unwrap();
    drop(zombie.send(test.record(0, "of the zombie")).await.unwrap());
    zombie.flush().await.unwrap();
    let heir = test.transactional("a").await;
    let error = zombie.commit_transaction().await.unwrap_err();
    assert!(error.is_fenced() && error.is_fatal(), "{error}");
    let error = zombie.send(test.record(0, "again")).await.unwrap_err();
    assert!(error.is_fatal(), "{error}");
    heir.begin_transaction().unwrap();
    drop(heir.send(test.record(0, "of the heir")).await.unwrap());
    heir.commit_transaction().await.unwrap();
    assert_eq!(test.values(0, Isolation::ReadCommitted).await, ["of the heir"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_count_only_with_their_transaction() {
    let test = Test::new("offsets", 1).await;
    let group = GroupMetadata::outside(&unique("group"));
    let producer = test.transactional("a").await;
    let config = ConsumerConfig { group_id: Some(group.group_id.clone()), ..Default::default() };
    let consumer = Consumer::start(&test.client, config).await.unwrap();
    // Asking for the partition by name waits until the transaction's end has reached the group.
    let committed =
        async || consumer.committed(&[test.tp(0)]).await.unwrap().get(&test.tp(0)).map(|o| o.offset);

    producer.begin_transaction().unwrap();
    producer.send_offsets_to_transaction(offsets(&test, &[(0, 5)]), &group).await.unwrap();
    producer.abort_transaction().await.unwrap();
    assert_eq!(committed().await, None);

    producer.begin_transaction().unwrap();
    drop(producer.send(test.record(0, "v")).await.unwrap());
    producer.send_offsets_to_transaction(offsets(&test, &[(0, 7)]), &group).await.unwrap();
    producer.commit_transaction().await.unwrap();
    assert_eq!(committed().await, Some(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_error_only_an_abort_leads_on() {
    let test = Test::new("abortable", 1).await;
    let config = millrace_client::ProducerConfig {
        transactional_id: Some(unique("abortable")),
        max_request_size: 10 << 20,
        ..Default::default()
    };
    let producer = test.producer(config).await;
    let error = producer.begin_transaction().unwrap_err().to_string();
    assert_eq!(error, "begin_transaction is not possible: init_transactions was not called");
    producer.init_transactions().await.unwrap();

    producer.begin_transaction().unwrap();
    drop(producer.send(test.record(0, "before")).await.unwrap());
    let large = producer.send(test.record(0, vec![b'x'; 3 << 20])).await.unwrap();
    assert!(large.wait().await.unwrap_err().needs_abort());
    let error = producer.commit_transaction().await.unwrap_err();
    assert!(error.needs_abort() && !error.is_fatal(), "{error}");
    assert!(producer.send(test.record(0, "more")).await.unwrap_err().needs_abort());
    producer.abort_transaction().await.unwrap();

    producer.begin_transaction().unwrap();
    drop(producer.send(test.record(0, "after")).await.unwrap());
    producer.commit_transaction().await.unwrap();
    assert_eq!(test.values(0, Isolation::ReadCommitted).await, ["after"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_transaction_costs_nothing() {
    let test = Test::new("empty", 1).await;
    let producer = test.transactional("a").await;
    producer.begin_transaction().unwrap();
    producer.commit_transaction().await.unwrap();
    producer.begin_transaction().unwrap();
    producer.abort_transaction().await.unwrap();
    assert!(test.values(0, Isolation::ReadUncommitted).await.is_empty());
}
