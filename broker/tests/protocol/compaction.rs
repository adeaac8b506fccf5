//! Compacted topics: the log cleaner at work while clients write and read.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::{GroupId, OffsetCommitRequest, OffsetFetchRequest};
use millrace_broker::{Broker, Config, Env};
use millrace_log::disk::{Disk, SimDisk};
use millrace_wire::ids::Offset;
use millrace_wire::record::{BatchBuilder, BatchOptions, decode};
use tokio::time::{sleep, timeout};

use crate::fetch::{batches, partition, request};
use crate::produce::{base_offset, produce};
use crate::support::{Client, START_MS, broker_on, text, topic};
use crate::topics::{create_all, new_topic, with_config};

/// The cleaner looks every second; segments are full after a second of the records' time.
const SETTINGS: [(&str, &str); 4] = [
    ("log.cleaner.backoff.ms", "1000"),
    ("log.roll.ms", "1000"),
    ("log.cleaner.min.cleanable.ratio", "0.01"),
    ("offsets.topic.num.partitions", "1"),
];

pub(crate) fn keyed(key: &str, value: Option<&str>, timestamp_ms: i64) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(timestamp_ms, Some(key.as_bytes()), value.map(str::as_bytes), []).unwrap();
    builder.build(Offset(0)).unwrap()
}

/// Everything a consumer sees: offset, key, value.
pub(crate) async fn table(client: &mut Client, name: &str) -> Vec<(i64, String, Option<String>)> {
    let string = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let mut seen = Vec::new();
    let mut from = 0;
    loop {
        let response = client.call(11, request(name, 0, from)).await;
        let fetched = partition(&response).clone();
        assert_eq!(fetched.error_code, 0);
        for batch in batches(fetched.records) {
            for record in decode(&batch, 1 << 20).unwrap().map(Result::unwrap) {
                seen.push((record.offset, string(record.key.unwrap()), record.value.map(string)));
            }
            from = batch.next_offset().0;
        }
        if from >= fetched.high_watermark {
            return seen;
        }
    }
}

fn segment_bytes(disk: &SimDisk, folder: &str) -> u64 {
    let entries = disk.list(&Path::new("/data").join(folder)).unwrap();
    entries.iter().filter(|entry| entry.name.ends_with(".log")).map(|entry| entry.len).sum()
}

#[tokio::test(start_paused = true)]
async fn the_newest_record_of_each_key_stays() {
    let disk = Arc::new(SimDisk::new());
    let broker = broker_on(disk.clone(), &SETTINGS).await;
    let mut client = Client::new(&broker);
    let compacted = with_config(new_topic("t", 1), "cleanup.policy", "compact");
    let compacted = with_config(compacted, "delete.retention.ms", "60000");
    assert_eq!(create_all(&mut client, vec![compacted]).await, [0]);
    for n in 0..20i64 {
        let value = format!("value {n}");
        // "gone" is deleted in between and never written again.
        let (key, value) = match n {
            3 => ("gone", Some("soon")),
            9 => ("gone", None),
            _ if n % 2 == 0 => ("even", Some(value.as_str())),
            _ => ("odd", Some(value.as_str())),
        };
        let batch = keyed(key, value, START_MS + n * 600);
        assert_eq!(base_offset(&produce(&mut client, 9, -1, "t", 0, batch).await), (0, n));
    }
    sleep(Duration::from_secs(5)).await;
    let offsets =
        |seen: &[(i64, String, Option<String>)]| seen.iter().map(|(at, ..)| *at).collect::<Vec<_>>();
    let seen = table(&mut client, "t").await;
    // The last two are in the active segment; the tombstone is still shown to late readers.
    assert_eq!(offsets(&seen), [9, 16, 17, 18, 19], "{seen:?}");
    assert_eq!(seen[0], (9, "gone".to_owned(), None));

    // A kill: what was compacted stays so. Then the tombstone's time is over.
    drop(client);
    broker.abort();
    disk.kill();
    let broker = broker_on(disk.clone(), &SETTINGS).await;
    let mut client = Client::new(&broker);
    assert_eq!(table(&mut client, "t").await, seen);
    sleep(Duration::from_secs(61)).await;
    for n in 20..24i64 {
        produce(&mut client, 9, -1, "t", 0, keyed("new", Some("x"), START_MS + n * 600)).await;
    }
    sleep(Duration::from_secs(5)).await;
    let seen = table(&mut client, "t").await;
    assert!(seen.iter().all(|(_, key, _)| key != "gone"), "{seen:?}");
    let checkpoint = disk.contents(Path::new("/data/cleaner-offset-checkpoint")).unwrap();
    assert!(String::from_utf8(checkpoint).unwrap().contains("t 0 2"));
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_not_compacted_and_a_cleaner_that_is_off_keep_everything() {
    let on = ("log.cleaner.enable", "true");
    for (policy, setting) in [
        ("delete", on),
        ("compact", ("log.cleaner.enable", "false")),
        ("compact", ("log.cleaner.threads", "0")),
    ] {
        let mut settings = SETTINGS.to_vec();
        settings.push(setting);
        let broker = broker_on(Arc::new(SimDisk::new()), &settings).await;
        let mut client = Client::new(&broker);
        let topic = with_config(new_topic("t", 1), "cleanup.policy", policy);
        assert_eq!(create_all(&mut client, vec![topic]).await, [0]);
        for n in 0..10 {
            produce(&mut client, 9, -1, "t", 0, keyed("k", Some("v"), START_MS + n * 600)).await;
        }
        sleep(Duration::from_secs(5)).await;
        assert_eq!(table(&mut client, "t").await.len(), 10);
    }
}

/// On the machine's own disk, as a simulation has one thread.
#[tokio::test]
async fn several_threads_compact_several_logs() {
    const PARTITIONS: i32 = 8;
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new();
    config.set_data_dir(folder.path());
    config.set_listen("127.0.0.1:0").unwrap();
    for (name, value) in SETTINGS.into_iter().chain([("log.cleaner.threads", "3")]) {
        config.set(name, value).unwrap();
    }
    let broker = Broker::start(config, Env::real()).await.unwrap();
    let mut client = Client::new(&broker);
    let compacted = with_config(new_topic("t", PARTITIONS), "cleanup.policy", "compact");
    assert_eq!(create_all(&mut client, vec![compacted]).await, [0]);
    for n in 0..10 {
        for partition in 0..PARTITIONS {
            let batch = keyed("k", Some("v"), START_MS + n * 600);
            assert_eq!(produce(&mut client, 9, -1, "t", partition, batch).await.error_code, 0);
        }
    }
    let is_clean = || {
        let text =
            std::fs::read_to_string(folder.path().join("cleaner-offset-checkpoint")).unwrap_or_default();
        text.lines().filter(|line| line.starts_with("t ")).count() == PARTITIONS as usize
    };
    timeout(Duration::from_secs(60), async {
        while !is_clean() {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("all logs are compacted");
    assert!(table(&mut client, "t").await.len() < 10);
    drop(client);
    broker.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn min_compaction_lag_keeps_young_records() {
    let broker = broker_on(Arc::new(SimDisk::new()), &SETTINGS).await;
    let mut client = Client::new(&broker);
    let compacted = with_config(new_topic("t", 1), "cleanup.policy", "compact");
    let compacted = with_config(compacted, "min.compaction.lag.ms", "60000");
    assert_eq!(create_all(&mut client, vec![compacted]).await, [0]);
    for n in 0..10 {
        produce(&mut client, 9, -1, "t", 0, keyed("k", Some("v"), START_MS + n * 600)).await;
    }
    sleep(Duration::from_secs(5)).await;
    assert_eq!(table(&mut client, "t").await.len(), 10);
    sleep(Duration::from_secs(70)).await;
    assert!(table(&mut client, "t").await.len() < 4);
}

#[tokio::test(start_paused = true)]
async fn offsets_of_groups_survive_the_compaction_of_their_topic() {
    let disk = Arc::new(SimDisk::new());
    let broker = broker_on(disk.clone(), &SETTINGS).await;
    let mut client = Client::new(&broker);
    assert_eq!(create_all(&mut client, vec![new_topic("t", 1)]).await, [0]);
    let group = || GroupId(text("g"));
    let mut grown = 0;
    for offset in 0..60i64 {
        let partition =
            OffsetCommitRequestPartition::default().with_partition_index(0).with_committed_offset(offset);
        let of_topic =
            OffsetCommitRequestTopic::default().with_name(topic("t")).with_partitions(vec![partition]);
        let commit = OffsetCommitRequest::default()
            .with_group_id(group())
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![of_topic]);
        loop {
            let response = client.call(8, commit.clone()).await;
            match response.topics[0].partitions[0].error_code {
                0 => break,
                // The coordinator loads its topic.
                14..=16 => sleep(Duration::from_millis(100)).await,
                code => panic!("{code}"),
            }
        }
        grown = grown.max(segment_bytes(&disk, "__consumer_offsets-0"));
        sleep(Duration::from_millis(300)).await;
    }
    sleep(Duration::from_secs(5)).await;
    let compacted = segment_bytes(&disk, "__consumer_offsets-0");
    assert!(compacted < 1_500 && grown > compacted, "{grown} to {compacted} bytes");
    drop(client);
    broker.abort();
    disk.kill();
    let broker = broker_on(disk, &SETTINGS).await;
    let mut client = Client::new(&broker);
    loop {
        let asked = OffsetFetchRequestTopics::default().with_name(topic("t")).with_partition_indexes(vec![0]);
        let asked = OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(Some(vec![asked]));
        let response = client.call(8, OffsetFetchRequest::default().with_groups(vec![asked])).await;
        let group = &response.groups[0];
        if group.error_code == 0 {
            assert_eq!(group.topics[0].partitions[0].committed_offset, 59);
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
}
