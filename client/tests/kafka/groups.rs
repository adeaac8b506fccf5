//! Consumer groups: members come and go, partitions move, offsets stay.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use millrace_client::{
    Admin, Assignor, Consumer, ConsumerConfig, OffsetReset, Polled, ProducerConfig, TopicPartition,
};
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::support::{LIMIT, Test, text, unique};

/// What all members of a test's group saw.
#[derive(Default)]
struct Seen {
    values: Mutex<BTreeMap<String, usize>>,
    owners: Mutex<BTreeMap<String, BTreeSet<TopicPartition>>>,
}

fn config(group: &str, assignor: Assignor) -> ConsumerConfig {
    ConsumerConfig {
        group_id: Some(group.to_owned()),
        auto_offset_reset: OffsetReset::Earliest,
        assignors: vec![assignor],
        session_timeout: Duration::from_secs(10),
        heartbeat_interval: Duration::from_millis(300),
        ..Default::default()
    }
}

/// A member that reads, commits when it must give up partitions, and leaves when told.
fn member(
    test: &Test,
    name: &str,
    config: ConsumerConfig,
    seen: Arc<Seen>,
    stop: tokio::sync::oneshot::Receiver<()>,
) -> JoinHandle<()> {
    let (client, topic, name) = (test.client.clone(), test.topic.clone(), name.to_owned());
    tokio::spawn(async move {
        let mut consumer = Consumer::start(&client, config).await.unwrap();
        consumer.subscribe(&[topic]).unwrap();
        let mut stop = stop;
        while stop.try_recv().is_err() {
            match consumer.poll(Duration::from_millis(100)).await.unwrap() {
                Polled::Records(fetched) => {
                    for record in fetched.iter().flat_map(|partition| partition.records()) {
                        *seen.values.lock().entry(text(record.unwrap().value.as_ref())).or_default() += 1;
                    }
                }
                Polled::Revoking(_) => {
                    consumer.commit_positions().await.unwrap();
                    seen.owners.lock().remove(&name);
                }
                Polled::Lost(_) => drop(seen.owners.lock().remove(&name)),
                Polled::Assigned(partitions) => {
                    seen.owners.lock().insert(name.clone(), partitions.into_iter().collect());
                }
                Polled::Nothing => {}
            }
        }
        consumer.commit_positions().await.unwrap();
        seen.owners.lock().remove(&name);
        consumer.close().await.unwrap();
    })
}

/// Waits until exactly these members own all partitions between them.
async fn settled(seen: &Seen, members: &[&str], partitions: usize) {
    let deadline = Instant::now() + LIMIT;
    loop {
        {
            let owners = seen.owners.lock();
            let names: Vec<_> = owners.keys().map(String::as_str).collect();
            let owned: BTreeSet<_> = owners.values().flatten().collect();
            let total: usize = owners.values().map(BTreeSet::len).sum();
            if names == members && owned.len() == partitions && total == partitions {
                return;
            }
            assert!(Instant::now() < deadline, "not settled: {owners:?}");
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn rebalances(assignor: Assignor) {
    let test = Test::new(&format!("group-{}", assignor.name()), 6).await;
    let group = unique("group");
    let producer = test.producer(ProducerConfig::default()).await;
    let produce = async |from: i32, to: i32| {
        for i in from..to {
            drop(producer.send(test.record(i % 6, format!("{i}"))).await.unwrap());
        }
        producer.flush().await.unwrap();
    };
    let seen = Arc::new(Seen::default());
    let mut stops = BTreeMap::new();
    let mut join = |name: &'static str| {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        stops.insert(name, (stop, member(&test, name, config(&group, assignor), seen.clone(), stopped)));
    };
    join("a");
    settled(&seen, &["a"], 6).await;
    produce(0, 300).await;
    join("b");
    settled(&seen, &["a", "b"], 6).await;
    produce(300, 600).await;
    join("c");
    settled(&seen, &["a", "b", "c"], 6).await;
    assert!(seen.owners.lock().values().all(|owned| owned.len() == 2));
    let described = Admin::new(&test.client).describe_group(&group).await.unwrap();
    assert_eq!((described.state.as_str(), described.members.len()), ("Stable", 3));
    assert_eq!(described.protocol, assignor.name());
    produce(600, 900).await;
    let (stop, left) = stops.remove("b").unwrap();
    stop.send(()).unwrap();
    left.await.unwrap();
    settled(&seen, &["a", "c"], 6).await;
    produce(900, 1200).await;

    let deadline = Instant::now() + LIMIT;
    while seen.values.lock().len() < 1200 {
        assert!(Instant::now() < deadline, "only {} values came", seen.values.lock().len());
        sleep(Duration::from_millis(50)).await;
    }
    for (stop, left) in stops.into_values() {
        stop.send(()).unwrap();
        left.await.unwrap();
    }
    // Everybody committed before giving up, so nothing came twice.
    let twice: Vec<_> = seen.values.lock().iter().filter(|(_, n)| **n > 1).map(|(v, _)| v.clone()).collect();
    assert!(twice.is_empty(), "came more than once: {twice:?}");
    let committed = Admin::new(&test.client).group_offsets(&group).await.unwrap();
    assert_eq!(committed.values().map(|offset| offset.offset).sum::<i64>(), 1200);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_members_share_by_range() {
    rebalances(Assignor::Range).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_members_share_round_robin() {
    rebalances(Assignor::RoundRobin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_does_not_poll_loses_its_partitions() {
    let test = Test::new("idle", 2).await;
    let group = unique("group");
    let config =
        ConsumerConfig { max_poll_interval: Duration::from_secs(2), ..config(&group, Assignor::Range) };
    let mut consumer = Consumer::start(&test.client, config).await.unwrap();
    consumer.subscribe(&[&test.topic]).unwrap();
    let deadline = Instant::now() + LIMIT;
    loop {
        assert!(Instant::now() < deadline);
        if let Polled::Assigned(partitions) = consumer.poll(Duration::from_secs(1)).await.unwrap() {
            assert_eq!(partitions.len(), 2);
            break;
        }
    }
    sleep(Duration::from_secs(4)).await;
    let polled = consumer.poll(Duration::from_secs(1)).await.unwrap();
    assert!(matches!(&polled, Polled::Lost(partitions) if partitions.len() == 2), "{polled:?}");
    // And it may come back.
    let deadline = Instant::now() + LIMIT;
    while !matches!(consumer.poll(Duration::from_secs(1)).await.unwrap(), Polled::Assigned(_)) {
        assert!(Instant::now() < deadline);
    }
}
