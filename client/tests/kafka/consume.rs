//! The consumer with partitions assigned by hand.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_client::{
    Consumer, ConsumerConfig, Error, Isolation, OffsetReset, OffsetSpec, Polled, Position, ProducerConfig,
};
use tokio::time::Instant;

use crate::support::{LIMIT, Test, text, unique};

async fn filled(name: &str, partitions: i32, each: i32) -> Test {
    let test = Test::new(name, partitions).await;
    let producer = test.producer(ProducerConfig { batch_size: 2000, ..Default::default() }).await;
    for i in 0..each {
        for partition in 0..partitions {
            drop(producer.send(test.record(partition, format!("{i}"))).await.unwrap());
        }
    }
    producer.flush().await.unwrap();
    test
}

/// Polls until `count` records came; values by partition.
async fn collect(consumer: &mut Consumer, count: usize) -> BTreeMap<i32, Vec<String>> {
    let mut values: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    let deadline = Instant::now() + LIMIT;
    while values.values().map(Vec::len).sum::<usize>() < count {
        assert!(Instant::now() < deadline, "only {values:?}");
        if let Polled::Records(fetched) = consumer.poll(Duration::from_millis(500)).await.unwrap() {
            for partition in fetched {
                let entry = values.entry(partition.partition).or_default();
                entry.extend(partition.records().map(|record| text(record.unwrap().value.as_ref())));
            }
        }
    }
    values
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_read_in_order_from_where_asked() {
    let test = filled("read", 3, 1000).await;
    let mut consumer = Consumer::start(&test.client, ConsumerConfig::default()).await.unwrap();
    let positions = [
        (test.tp(0), Position::Earliest),
        (test.tp(1), Position::Offset(990)),
        (test.tp(2), Position::Latest),
    ];
    consumer.assign(positions.into()).unwrap();
    let values = collect(&mut consumer, 1010).await;
    assert_eq!(values[&0], (0..1000).map(|i| i.to_string()).collect::<Vec<_>>());
    assert_eq!(values[&1], (990..1000).map(|i| i.to_string()).collect::<Vec<_>>());
    assert!(!values.contains_key(&2));
    assert_eq!(consumer.position(&test.tp(0)), Some(1000));
    assert_eq!(consumer.high_watermark(&test.tp(0)), Some(1000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_partition_wakes_the_long_poll() {
    let test = Test::new("wake", 1).await;
    let config = ConsumerConfig { fetch_max_wait: Duration::from_secs(20), ..Default::default() };
    let mut consumer = Consumer::start(&test.client, config).await.unwrap();
    consumer.assign([(test.tp(0), Position::Earliest)].into()).unwrap();
    assert!(matches!(consumer.poll(Duration::from_millis(300)).await.unwrap(), Polled::Nothing));
    let producer = test.producer(ProducerConfig::default()).await;
    let started = Instant::now();
    drop(producer.send(test.record(0, "news")).await.unwrap());
    assert_eq!(collect(&mut consumer, 1).await[&0], ["news"]);
    assert!(started.elapsed() < Duration::from_secs(10), "the fetch was not woken: {:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn seeking_and_pausing() {
    let test = filled("seek", 2, 100).await;
    let mut consumer = Consumer::start(&test.client, ConsumerConfig::default()).await.unwrap();
    let everything = [(test.tp(0), Position::Earliest), (test.tp(1), Position::Earliest)];
    consumer.assign(everything.into()).unwrap();
    consumer.pause(&[test.tp(1)]);
    assert!(!collect(&mut consumer, 100).await.contains_key(&1));
    consumer.seek(&test.tp(0), Position::Offset(95)).unwrap();
    assert_eq!(collect(&mut consumer, 5).await[&0], ["95", "96", "97", "98", "99"]);
    consumer.resume(&[test.tp(1)]);
    assert_eq!(collect(&mut consumer, 100).await[&1].len(), 100);
    assert!(consumer.seek(&test.tp(9), Position::Earliest).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_buffer_reads_all_the_same() {
    let test = filled("small", 3, 2000).await;
    let config = ConsumerConfig {
        buffer_bytes: 5000,
        max_partition_fetch_bytes: 3000,
        fetch_max_bytes: 6000,
        ..Default::default()
    };
    let mut consumer = Consumer::start(&test.client, config).await.unwrap();
    consumer.assign((0..3).map(|p| (test.tp(p), Position::Earliest)).collect()).unwrap();
    let values = collect(&mut consumer, 6000).await;
    for partition in 0..3 {
        assert_eq!(values[&partition], (0..2000).map(|i| i.to_string()).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_that_is_gone_is_reset_or_reported() {
    let test = filled("range", 1, 10).await;
    for reset in [OffsetReset::Earliest, OffsetReset::None] {
        let config = ConsumerConfig { auto_offset_reset: reset, ..Default::default() };
        let mut consumer = Consumer::start(&test.client, config).await.unwrap();
        consumer.assign([(test.tp(0), Position::Offset(500))].into()).unwrap();
        match reset {
            OffsetReset::Earliest => assert_eq!(collect(&mut consumer, 10).await[&0].len(), 10),
            _ => {
                let error = consumer.poll(LIMIT).await.unwrap_err();
                assert!(error.to_string().contains("OffsetOutOfRange"), "{error}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn committed_offsets_are_where_reading_goes_on() {
    let test = filled("commit", 1, 20).await;
    let config = ConsumerConfig {
        group_id: Some(unique("group")),
        auto_offset_reset: OffsetReset::None,
        ..Default::default()
    };
    let mut consumer = Consumer::start(&test.client, config.clone()).await.unwrap();
    consumer.assign([(test.tp(0), Position::Committed)].into()).unwrap();
    let error = consumer.poll(LIMIT).await.unwrap_err();
    assert!(matches!(error, Error::NoPosition { .. }), "{error}");
    consumer.commit([(test.tp(0), 15.into())].into()).await.unwrap();
    drop(consumer);

    let mut consumer = Consumer::start(&test.client, config).await.unwrap();
    consumer.assign([(test.tp(0), Position::Committed)].into()).unwrap();
    assert_eq!(collect(&mut consumer, 5).await[&0], ["15", "16", "17", "18", "19"]);
    consumer.commit_positions().await.unwrap();
    assert_eq!(consumer.committed(&[test.tp(0)]).await.unwrap()[&test.tp(0)].offset, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_holds_committed_readers_back() {
    let test = Test::new("lso", 1).await;
    let producer = test.transactional("a").await;
    producer.begin_transaction().unwrap();
    drop(producer.send(test.record(0, "open")).await.unwrap());
    producer.flush().await.unwrap();
    let config = ConsumerConfig { isolation: Isolation::ReadCommitted, ..Default::default() };
    let mut consumer = Consumer::start(&test.client, config).await.unwrap();
    consumer.assign([(test.tp(0), Position::Earliest)].into()).unwrap();
    assert!(matches!(consumer.poll(Duration::from_secs(1)).await.unwrap(), Polled::Nothing));
    let latest = consumer.list_offsets(&[(test.tp(0), OffsetSpec::Latest)].into()).await.unwrap();
    assert_eq!(latest[&test.tp(0)].offset, Some(0), "the last stable offset");
    producer.commit_transaction().await.unwrap();
    assert_eq!(collect(&mut consumer, 1).await[&0], ["open"]);
    // The position passes the marker.
    let deadline = Instant::now() + LIMIT;
    while consumer.position(&test.tp(0)) != Some(2) {
        assert!(Instant::now() < deadline, "the marker was not passed: {:?}", consumer.position(&test.tp(0)));
        assert!(matches!(consumer.poll(Duration::from_millis(200)).await.unwrap(), Polled::Nothing));
    }
}
