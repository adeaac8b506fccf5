//! The idempotent producer.

use std::time::Duration;

use bytes::Bytes;
use millrace_client::partitioner::partition_for_key;
use millrace_client::{Isolation, ProduceRecord, ProducerConfig, ResponseError};
use millrace_wire::compression::Compression;
use millrace_wire::record::{BatchBuilder, BatchOptions};

use crate::support::{Test, text};

#[tokio::test(flavor = "multi_thread")]
async fn records_arrive_in_order_with_all_they_have() {
    let test = Test::new("all", 1).await;
    let producer = test.producer(ProducerConfig::default()).await;
    let headers = vec![
        (Bytes::from("twice"), Some(Bytes::from("a"))),
        (Bytes::from("twice"), None),
        (Bytes::from(""), Some(Bytes::new())),
    ];
    let full = ProduceRecord {
        key: Some("k".into()),
        headers: headers.clone(),
        timestamp: Some(1_700_000_000_000),
        ..test.record(0, "v")
    };
    let tombstone = ProduceRecord { key: Some(Bytes::new()), value: None, ..test.record(0, "") };
    let first = producer.send(full).await.unwrap();
    let second = producer.send(tombstone).await.unwrap();
    let first = first.wait().await.unwrap();
    assert_eq!((first.offset, first.partition, first.timestamp), (0, 0, 1_700_000_000_000));
    assert_eq!(second.wait().await.unwrap().offset, 1);
    let records = test.read(0, Isolation::ReadUncommitted).await;
    assert_eq!(records[0].headers, headers);
    assert_eq!((text(records[0].key.as_ref()), records[0].timestamp), ("k".to_owned(), 1_700_000_000_000));
    assert_eq!((&records[1].key, &records[1].value), (&Some(Bytes::new()), &None));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_records_keep_their_order_in_every_codec() {
    for compression in Compression::ALL {
        let test = Test::new(&format!("codec-{compression}"), 2).await;
        let config = ProducerConfig { compression, batch_size: 4000, ..Default::default() };
        let producer = test.producer(config).await;
        for i in 0..5000 {
            let delivery = producer.send(test.record(i % 2, format!("value {i}"))).await.unwrap();
            drop(delivery);
        }
        producer.flush().await.unwrap();
        for partition in 0..2 {
            let expected: Vec<_> = (0..2500).map(|i| format!("value {}", 2 * i + partition)).collect();
            assert_eq!(test.values(partition, Isolation::ReadUncommitted).await, expected, "{compression}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_batches_go_in_between() {
    let test = Test::new("batches", 1).await;
    let producer = test.producer(ProducerConfig::default()).await;
    let mut deliveries = Vec::new();
    for batch in 0..20 {
        let mut builder =
            BatchBuilder::new(BatchOptions { compression: Compression::Lz4, ..Default::default() });
        for record in 0..100 {
            builder.push(0, None, Some(format!("{batch}.{record}").as_bytes()), []).unwrap();
        }
        deliveries.push(producer.send_batch(&test.topic, 0, builder).await.unwrap());
        deliveries.push(producer.send(test.record(0, format!("{batch}.single"))).await.unwrap());
    }
    let mut offset = 0;
    for pair in deliveries.chunks(2) {
        assert_eq!(pair[0].clone().wait().await.unwrap().offset, offset);
        assert_eq!(pair[1].clone().wait().await.unwrap().offset, offset + 100);
        offset += 101;
    }
    let values = test.values(0, Isolation::ReadUncommitted).await;
    assert_eq!(values.len(), 20 * 101);
    assert_eq!((values[0].as_str(), values[100].as_str(), values[101].as_str()), ("0.0", "0.single", "1.0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_choose_the_partition() {
    let test = Test::new("keys", 7).await;
    let producer = test.producer(ProducerConfig::default()).await;
    for key in 0..50 {
        let key = format!("key {key}");
        let expected = partition_for_key(key.as_bytes(), 7);
        let record = ProduceRecord { partition: None, key: Some(key.into()), ..test.record(0, "v") };
        assert_eq!(producer.send(record).await.unwrap().wait().await.unwrap().partition, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_batch_does_not_stop_the_others() {
    let test = Test::new("refused", 1).await;
    // Larger than the broker's max.message.bytes, not larger than our own limit.
    let config = ProducerConfig { max_request_size: 10 << 20, ..Default::default() };
    let producer = test.producer(config).await;
    let mut deliveries = Vec::new();
    for i in 0..9 {
        let value = if i == 4 { vec![b'x'; 3 << 20] } else { format!("{i}").into_bytes() };
        deliveries.push(producer.send(test.record(0, value)).await.unwrap());
    }
    for (i, delivery) in deliveries.into_iter().enumerate() {
        match delivery.wait().await {
            Ok(_) => assert_ne!(i, 4),
            Err(error) => {
                assert_eq!((i, error.code()), (4, Some(ResponseError::MessageTooLarge)), "{error}");
            }
        }
    }
    let values = test.values(0, Isolation::ReadUncommitted).await;
    assert_eq!(values, ["0", "1", "2", "3", "5", "6", "7", "8"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded_and_given_back() {
    let test = Test::new("memory", 1).await;
    let config = ProducerConfig { buffer_memory: 50_000, batch_size: 10_000, ..Default::default() };
    let producer = test.producer(config).await;
    for _ in 0..300 {
        let delivery = producer.send(test.record(0, vec![b'x'; 1000])).await.unwrap();
        drop(delivery);
    }
    let error = producer.send(test.record(0, vec![0; 60_000])).await.unwrap_err().to_string();
    assert!(error.contains("larger than max.request.size 50000"), "{error}");
    producer.close(Duration::from_secs(30)).await.unwrap();
    assert_eq!(test.values(0, Isolation::ReadUncommitted).await.len(), 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_at_once() {
    let test = Test::new("refusals", 2).await;
    let producer = test.producer(ProducerConfig::default()).await;
    let error = producer.send(test.record(2, "v")).await.unwrap_err().to_string();
    assert_eq!(error, format!("topic {} has no partition 2; it has 2", test.topic));
    let error = producer.begin_transaction().unwrap_err().to_string();
    assert_eq!(error, "a transaction is not possible: the producer has no transactional.id");
}
