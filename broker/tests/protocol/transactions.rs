//! InitProducerId with a transactional id, AddPartitionsToTxn, AddOffsetsToTxn, TxnOffsetCommit, EndTxn,
//! DescribeTransactions, ListTransactions, and what readers see of it.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeProducersRequest, DescribeTransactionsRequest,
    EndTxnRequest, GroupId, InitProducerIdRequest, ListTransactionsRequest, ProducerId, TransactionalId,
    TxnOffsetCommitRequest,
};
use millrace_log::disk::SimDisk;
use millrace_wire::ids as wire;
use millrace_wire::record::{BatchOptions, ProducerStamp};

use crate::fetch::{partition, request as fetch_request, texts};
use crate::groups::fetch as fetch_offset;
use crate::produce::{produce, request as produce_request};
use crate::support::{Client, START_MS, broker, broker_on, build, idempotent, text, topic};
use crate::topics::create;

/// A producer's view of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Me {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

pub(crate) fn tx(id: &str) -> TransactionalId {
    TransactionalId(text(id))
}

pub(crate) async fn init(client: &mut Client, version: i16, id: &str, was: Option<Me>) -> Result<Me, i16> {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(tx(id)))
        .with_transaction_timeout_ms(60_000);
    let request = match was {
        Some(was) => request.with_producer_id(ProducerId(was.id)).with_producer_epoch(was.epoch),
        None => request,
    };
    let response = client.call(version, request).await;
    match response.error_code {
        0 => Ok(Me { id: response.producer_id.0, epoch: response.producer_epoch }),
        code => Err(code),
    }
}

/// Comes again while told CONCURRENT_TRANSACTIONS, as clients do.
async fn init_patiently(client: &mut Client, id: &str) -> Me {
    for _ in 0..50 {
        match init(client, 4, id, None).await {
            Ok(me) => return me,
            Err(51) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(code) => panic!("error {code}"),
        }
    }
    panic!("the coordinator never let us in");
}

pub(crate) async fn add(client: &mut Client, version: i16, id: &str, me: Me, partitions: &[i32]) -> Vec<i16> {
    let asked = AddPartitionsToTxnTopic::default().with_name(topic("t")).with_partitions(partitions.to_vec());
    let request = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(tx(id))
        .with_v3_and_below_producer_id(ProducerId(me.id))
        .with_v3_and_below_producer_epoch(me.epoch)
        .with_v3_and_below_topics(vec![asked]);
    let response = client.call(version, request).await;
    let results = &response.results_by_topic_v3_and_below[0].results_by_partition;
    results.iter().map(|result| result.partition_error_code).collect()
}

/// Adds a partition, waiting for the transaction before to be over.
async fn add_patiently(client: &mut Client, id: &str, me: Me) {
    for _ in 0..50 {
        match add(client, 3, id, me, &[0]).await[..] {
            [0] => return,
            [51] => tokio::time::sleep(Duration::from_millis(20)).await,
            ref codes => panic!("errors {codes:?}"),
        }
    }
    panic!("the transaction before never ended");
}

pub(crate) async fn end(client: &mut Client, version: i16, id: &str, me: Me, commit: bool) -> i16 {
    let request = EndTxnRequest::default()
        .with_transactional_id(tx(id))
        .with_producer_id(ProducerId(me.id))
        .with_producer_epoch(me.epoch)
        .with_committed(commit);
    client.call(version, request).await.error_code
}

async fn write(client: &mut Client, id: &str, me: Me, sequence: i32, value: &str) -> i16 {
    write_as(client, 9, id, me, sequence, value).await
}

/// A record of a transaction, by a Produce request of a given version; its error code.
pub(crate) async fn write_as(
    client: &mut Client,
    version: i16,
    id: &str,
    me: Me,
    sequence: i32,
    value: &str,
) -> i16 {
    let producer = ProducerStamp {
        id: wire::ProducerId(me.id),
        epoch: wire::ProducerEpoch(me.epoch),
        base_sequence: sequence,
    };
    let options = BatchOptions { producer: Some(producer), transactional: true, ..BatchOptions::default() };
    let request = produce_request(-1, "t", 0, Some(build(options, &[value], START_MS)));
    let response = client.call(version, request.with_transactional_id(Some(tx(id)))).await;
    response.responses[0].partition_responses[0].error_code
}

/// What a reader that wants only what is committed sees: the values, without those of aborted transactions, as clients
/// filter them, and the last stable offset.
pub(crate) async fn committed(client: &mut Client) -> (Vec<String>, i64) {
    let response =
        client.call(12, fetch_request("t", 0, 0).with_isolation_level(1).with_max_wait_ms(0)).await;
    let data = partition(&response);
    let mut aborted = data.aborted_transactions.clone().unwrap_or_default();
    let mut values = Vec::new();
    let mut skipping = std::collections::BTreeSet::new();
    for batch in crate::fetch::batches(data.records.clone()) {
        let id = batch.header.producer_id.0;
        while let Some(at) = aborted.iter().position(|one| one.first_offset <= batch.last_offset().0) {
            skipping.insert(aborted.remove(at).producer_id.0);
        }
        if batch.header.attributes.is_control() {
            skipping.remove(&id);
        } else if !skipping.contains(&id) {
            values.extend(texts(Some(batch.bytes.clone())));
        }
    }
    (values, data.last_stable_offset)
}

/// Waits until readers see `values`.
pub(crate) async fn until_committed(client: &mut Client, values: &[&str]) {
    for _ in 0..100 {
        if committed(client).await.0 == values {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(committed(client).await.0, values);
}

#[tokio::test(start_paused = true)]
async fn commits_are_seen_and_aborts_are_not_in_every_version() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 2).await;
    let mut expected = Vec::new();
    for version in 0..=5 {
        let id = format!("tx{version}");
        let me = init(&mut client, version, &id, None).await.expect("a producer id");
        assert_eq!(me.epoch, 0);
        assert_eq!(add(&mut client, version.min(3), &id, me, &[0, 1]).await, [0, 0]);
        let value = format!("committed {version}");
        assert_eq!(write(&mut client, &id, me, 0, &value).await, 0);
        let before = committed(&mut client).await;
        assert!(!before.0.contains(&value), "nobody sees it before the commit");
        assert_eq!(end(&mut client, version.min(4), &id, me, true).await, 0);
        expected.push(value);
        until_committed(&mut client, &expected.iter().map(String::as_str).collect::<Vec<_>>()).await;

        add_patiently(&mut client, &id, me).await;
        assert_eq!(write(&mut client, &id, me, 1, "aborted").await, 0);
        assert_eq!(end(&mut client, version.min(4), &id, me, false).await, 0);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let (values, stable) = committed(&mut client).await;
        assert_eq!(values, expected);
        assert_eq!(stable, i64::from(version + 1) * 4, "two records and two markers for each version");
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_producer_fences_the_first_and_aborts_what_it_left_open() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let old = init(&mut client, 4, "app", None).await.expect("a producer id");
    add(&mut client, 3, "app", old, &[0]).await;
    assert_eq!(write(&mut client, "app", old, 0, "left open").await, 0);

    assert_eq!(init(&mut client, 4, "app", None).await, Err(51), "first the old transaction is aborted");
    let new = init_patiently(&mut client, "app").await;
    assert_eq!(new, Me { id: old.id, epoch: old.epoch + 2 });

    // Whatever the old one does is refused, by its version's name for it.
    assert_eq!(write(&mut client, "app", old, 1, "zombie").await, 47);
    assert_eq!(add(&mut client, 3, "app", old, &[0]).await, [90]);
    assert_eq!(add(&mut client, 1, "app", old, &[0]).await, [47]);
    assert_eq!(end(&mut client, 4, "app", old, true).await, 90);
    assert_eq!(end(&mut client, 1, "app", old, true).await, 47);
    assert_eq!(init(&mut client, 4, "app", Some(old)).await, Err(90));
    assert_eq!(init(&mut client, 3, "app", Some(old)).await, Err(47));

    add_patiently(&mut client, "app", new).await;
    assert_eq!(write(&mut client, "app", new, 0, "new").await, 0);
    assert_eq!(end(&mut client, 4, "app", new, true).await, 0);
    until_committed(&mut client, &["new"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_open_transaction_times_out() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let me = init(&mut client, 4, "app", None).await.expect("a producer id");
    add(&mut client, 3, "app", me, &[0]).await;
    write(&mut client, "app", me, 0, "forgotten").await;
    assert_eq!(committed(&mut client).await, (vec![], 0));
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(committed(&mut client).await, (vec![], 2), "the last stable offset moves on");
    assert_eq!(end(&mut client, 4, "app", me, true).await, 90);
}

#[tokio::test(start_paused = true)]
async fn a_decision_outlives_the_broker() {
    for seed in 0..20 {
        let disk = Arc::new(SimDisk::new());
        let broker = broker_on(disk.clone(), &[]).await;
        let mut client = Client::new(&broker);
        create(&mut client, "t", 1).await;
        let me = init(&mut client, 4, "app", None).await.expect("a producer id");
        add(&mut client, 3, "app", me, &[0]).await;
        assert_eq!(write(&mut client, "app", me, 0, "value").await, 0);
        assert_eq!(end(&mut client, 4, "app", me, true).await, 0);
        // The power goes right after the answer, before or while the partitions are told.
        broker.abort();
        disk.power_cut(seed);
        let broker = broker_on(disk.clone(), &[]).await;
        let mut client = Client::new(&broker);
        until_committed(&mut client, &["value"]).await;
        // The producer goes on where it was.
        add_patiently(&mut client, "app", me).await;
        assert_eq!(write(&mut client, "app", me, 1, "more").await, 0, "seed {seed}");
        assert_eq!(end(&mut client, 4, "app", me, true).await, 0);
        until_committed(&mut client, &["value", "more"]).await;
        broker.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn offsets_move_with_the_transaction_in_every_version() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let me = init(&mut client, 4, "app", None).await.expect("a producer id");
    for version in 0..=4 {
        for commit in [false, true] {
            let before = fetch_offset(&mut client, 9, "g", "t", false).await.0;
            add_offsets(&mut client, version, me).await;
            let offset = i64::from(version) * 10 + i64::from(commit);
            assert_eq!(commit_offset(&mut client, version, me, offset).await, 0);
            assert_eq!(fetch_offset(&mut client, 9, "g", "t", false).await.0, before, "not yet");
            assert_eq!(fetch_offset(&mut client, 9, "g", "t", true).await.2, 88);
            assert_eq!(end(&mut client, 4, "app", me, commit).await, 0);
            tokio::time::sleep(Duration::from_millis(100)).await;
            let after = if commit { offset } else { before };
            assert_eq!(fetch_offset(&mut client, 9, "g", "t", true).await, (after, after_note(after), 0));
        }
    }
    // A producer that was fenced is refused by the partition of the offsets.
    let new = init(&mut client, 4, "app", None).await.expect("the next epoch");
    add_offsets(&mut client, 4, new).await;
    assert_eq!(commit_offset(&mut client, 4, new, 99).await, 0);
    assert_eq!(commit_offset(&mut client, 4, me, 100).await, 47);
}

fn after_note(offset: i64) -> String {
    if offset < 0 { String::new() } else { "note".to_owned() }
}

async fn add_offsets(client: &mut Client, version: i16, me: Me) {
    let request = AddOffsetsToTxnRequest::default()
        .with_transactional_id(tx("app"))
        .with_producer_id(ProducerId(me.id))
        .with_producer_epoch(me.epoch)
        .with_group_id(GroupId(text("g")));
    assert_eq!(client.call(version, request).await.error_code, 0, "version {version}");
}

pub(crate) async fn commit_offset(client: &mut Client, version: i16, me: Me, offset: i64) -> i16 {
    commit_offset_as(client, version, "app", me, offset).await
}

pub(crate) async fn commit_offset_as(
    client: &mut Client,
    version: i16,
    id: &str,
    me: Me,
    offset: i64,
) -> i16 {
    let one = TxnOffsetCommitRequestPartition::default()
        .with_partition_index(0)
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text("note")));
    let asked = TxnOffsetCommitRequestTopic::default().with_name(topic("t")).with_partitions(vec![one]);
    let request = TxnOffsetCommitRequest::default()
        .with_transactional_id(tx(id))
        .with_group_id(GroupId(text("g")))
        .with_producer_id(ProducerId(me.id))
        .with_producer_epoch(me.epoch)
        .with_topics(vec![asked]);
    client.call(version, request).await.topics[0].partitions[0].error_code
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_is_told() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    assert_eq!(init(&mut client, 4, "", None).await, Err(42));
    let slow = InitProducerIdRequest::default()
        .with_transactional_id(Some(tx("app")))
        .with_transaction_timeout_ms(900_001);
    assert_eq!(client.call(4, slow).await.error_code, 50);
    let stranger = Me { id: 7, epoch: 0 };
    assert_eq!(add(&mut client, 3, "app", stranger, &[0]).await, [49]);
    assert_eq!(end(&mut client, 4, "app", stranger, true).await, 49);
    let me = init(&mut client, 4, "app", None).await.expect("a producer id");
    assert_eq!(end(&mut client, 4, "app", me, true).await, 48, "nothing to commit");
    // All or nothing: the partition that exists is not attempted.
    assert_eq!(add(&mut client, 3, "app", me, &[0, 5]).await, [55, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_write_beside_the_open_transaction_is_refused() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let me = init(&mut client, 4, "app", None).await.expect("a producer id");
    assert_eq!(add(&mut client, 3, "app", me, &[0]).await, [0]);
    assert_eq!(write(&mut client, "app", me, 0, "within").await, 0);
    let beside = idempotent(me.id, me.epoch, 1, &["beside"]);
    assert_eq!(produce(&mut client, 9, -1, "t", 0, beside).await.error_code, 48);
    assert_eq!(end(&mut client, 4, "app", me, true).await, 0);
    until_committed(&mut client, &["within"]).await;
}

#[tokio::test(start_paused = true)]
async fn the_next_transaction_waits_for_the_one_before_instead_of_being_refused() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let me = init(&mut client, 4, "app", None).await.expect("a producer id");
    for sequence in 0..20 {
        assert_eq!(add(&mut client, 3, "app", me, &[0]).await, [0], "transaction {sequence}");
        assert_eq!(write(&mut client, "app", me, sequence, "v").await, 0);
        assert_eq!(end(&mut client, 4, "app", me, sequence % 2 == 0).await, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn producers_are_described() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let me = init(&mut client, 4, "app", None).await.expect("a producer id");
    add(&mut client, 3, "app", me, &[0]).await;
    write(&mut client, "app", me, 0, "v").await;
    let asked = TopicRequest::default().with_name(topic("t")).with_partition_indexes(vec![0, 7]);
    let response = client.call(0, DescribeProducersRequest::default().with_topics(vec![asked])).await;
    let [known, unknown] = &response.topics[0].partitions[..] else { panic!("two partitions") };
    let found = &known.active_producers[0];
    assert_eq!((known.error_code, found.producer_id.0, found.last_sequence), (0, me.id, 0));
    assert_eq!(found.current_txn_start_offset, 0);
    assert_eq!(unknown.error_code, 3);
}

#[tokio::test(start_paused = true)]
async fn transactions_are_described_and_listed() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let me = init(&mut client, 4, "app", None).await.expect("a producer id");
    add(&mut client, 3, "app", me, &[0]).await;
    let request =
        DescribeTransactionsRequest::default().with_transactional_ids(vec![tx("app"), tx("nobody")]);
    let described = client.call(0, request).await;
    let found = &described.transaction_states[0];
    assert_eq!((found.error_code, &*found.transaction_state, found.producer_id.0), (0, "Ongoing", me.id));
    assert_eq!(
        (found.topics[0].topic.to_string(), &found.topics[0].partitions[..]),
        ("t".to_owned(), &[0][..])
    );
    assert_eq!(described.transaction_states[1].error_code, 105);
    for version in 0..=1 {
        let listed = client.call(version, ListTransactionsRequest::default()).await;
        assert_eq!(
            (listed.transaction_states.len(), &*listed.transaction_states[0].transactional_id.0),
            (1, "app")
        );
    }
    let filter = ListTransactionsRequest::default().with_state_filters(vec![text("Empty"), text("Odd")]);
    let listed = client.call(1, filter).await;
    assert_eq!((listed.transaction_states.len(), &*listed.unknown_state_filters[0]), (0, "Odd"));
    let filter = ListTransactionsRequest::default().with_duration_filter(30_000);
    assert!(client.call(1, filter.clone()).await.transaction_states.is_empty());
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(client.call(1, filter).await.transaction_states.len(), 1);
}
