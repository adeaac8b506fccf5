//! Thousands of partitions with few file descriptors, and a kill: the start after it reads only what lies past the checkpoint.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use millrace_client::{
    Admin, Client, ClientConfig, Isolation, NewTopic, OffsetSpec, ProduceRecord, Producer, ProducerConfig,
    TopicPartition,
};
use millrace_tests::broker::Broker;
use millrace_tests::process::wait_until;

use crate::{PATIENCE, client, runtime, status_kb};

/// `MILLRACE_PARTITIONS` of them, for figures; fewer in the usual run.
fn partitions() -> i32 {
    std::env::var("MILLRACE_PARTITIONS").ok().map_or(2_000, |text| text.parse().unwrap())
}

/// Fewer than partitions: those that nobody writes to must keep no file open.
const OPEN_FILES: u32 = 1024;

async fn produce(client: &Client, count: i32, value: &'static [u8]) {
    let producer = Producer::start(client, ProducerConfig::default()).await.unwrap();
    let mut sent = VecDeque::new();
    for partition in 0..count {
        let record = ProduceRecord {
            topic: "many".into(),
            partition: Some(partition),
            value: Some(Bytes::from_static(value)),
            ..ProduceRecord::default()
        };
        sent.push_back(producer.send(record).await.unwrap());
        if sent.len() > 500 {
            sent.pop_front().unwrap().wait().await.unwrap();
        }
    }
    for delivery in sent {
        delivery.wait().await.unwrap();
    }
}

async fn ends(client: &Client, count: i32) -> Vec<i64> {
    let wanted: BTreeMap<_, _> =
        (0..count).map(|partition| (TopicPartition::new("many", partition), OffsetSpec::Latest)).collect();
    let found = Admin::new(client).list_offsets(&wanted, Isolation::ReadUncommitted).await.unwrap();
    found.into_values().map(|listed| listed.offset.unwrap()).collect()
}

fn open_files(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count()
}

#[test]
fn few_open_files_serve_many_partitions_and_a_kill_costs_little() {
    let count = partitions();
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Broker::start_with_open_files(folder.path(), OPEN_FILES, &[]);
    let runtime = runtime();
    let address = broker.bootstrap();
    let client = Client::new(ClientConfig {
        bootstrap: vec![address.clone()],
        api_timeout: Duration::from_secs(120),
        request_timeout: Duration::from_secs(120),
        ..ClientConfig::default()
    })
    .unwrap();
    let (created, filled) = runtime.block_on(async {
        let began = Instant::now();
        let made = Admin::new(&client).create_topics(&[NewTopic::new("many", count)]).await.unwrap();
        assert!(made.into_iter().all(|(_, result)| result.is_ok()));
        let created = began.elapsed();
        produce(&client, count, b"first").await;
        (created, began.elapsed() - created)
    });
    let memory = status_kb(broker.id(), "VmRSS");
    let files = open_files(broker.id());
    assert!(files < OPEN_FILES as usize, "{files} open files");
    // Past the next checkpoint everything is flushed; then one partition in ten gets more.
    let checkpoint = broker.data_dir().join("recovery-point-offset-checkpoint");
    wait_until("the checkpoint", PATIENCE, || {
        let text = std::fs::read_to_string(&checkpoint).unwrap_or_default();
        text.lines().filter(|line| line.starts_with("many ") && line.ends_with(" 1")).count()
            == count as usize
    });
    runtime.block_on(produce(&client, count / 10, b"second"));
    broker.kill();
    let began = Instant::now();
    broker.restart();
    let restarted = began.elapsed();
    let found = runtime.block_on(ends(&self::client(&address), count));
    let expected = (0..count).map(|partition| if partition < count / 10 { 2 } else { 1 });
    assert!(found.into_iter().eq(expected), "acknowledged records are there");
    let after = status_kb(broker.id(), "VmRSS");
    assert!(open_files(broker.id()) < OPEN_FILES as usize);
    let recovered = broker.log().matches("log recovered").count();
    broker.stop();
    let began = Instant::now();
    broker.restart();
    println!(
        "{count} partitions: created in {created:?}, a record each in {filled:?}, {memory} kB; restart after a kill in \
         {restarted:?}, {after} kB, {recovered} logs read; after a clean stop in {:?}",
        began.elapsed()
    );
}
