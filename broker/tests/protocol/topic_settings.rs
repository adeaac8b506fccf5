//! Each topic setting that no other file here is about shows its effect: what is taken, how it is stored, how long it stays.
//!
//! `cleanup.policy`, `delete.retention.ms` and `min.compaction.lag.ms` are in `compaction`; `flush.messages` in `fetch`;
//! `max.message.bytes`, `min.insync.replicas` and `message.timestamp.type` in `produce` and `settings`. What has no effect is
//! in docs/NOT_SUPPORTED.md.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_broker::BrokerHandle;
use millrace_log::disk::{Disk, SimDisk};
use millrace_wire::batch::{RawBatch, TimestampType};
use millrace_wire::compression::Compression;
use millrace_wire::record::BatchOptions;
use tokio::time::sleep;

use crate::compaction::{keyed, table};
use crate::fetch::{self, values};
use crate::produce::{base_offset, produce};
use crate::settings::{alter_kind, describe};
use crate::support::{Client, START_MS, batch, broker, broker_on, broker_with, build};
use crate::topics::{create_all, new_topic, with_config};

const TOPIC: i8 = 2;
const SET: i8 = 0;
/// OFFSET_OUT_OF_RANGE.
const OUT_OF_RANGE: i16 = 1;
/// MESSAGE_TOO_LARGE.
const MESSAGE_TOO_LARGE: i16 = 10;
/// INVALID_TIMESTAMP.
const INVALID_TIMESTAMP: i16 = 32;
/// INVALID_CONFIG.
const INVALID_CONFIG: i16 = 40;

/// A broker with this disk, and the topic `t` with these settings.
async fn with_topic(
    disk: &Arc<SimDisk>,
    broker: &[(&str, &str)],
    topic: &[(&str, &str)],
) -> (BrokerHandle, Client) {
    let broker = broker_on(disk.clone(), broker).await;
    let mut client = Client::new(&broker);
    let wanted =
        topic.iter().fold(new_topic("t", 1), |wanted, (name, value)| with_config(wanted, name, value));
    assert_eq!(create_all(&mut client, vec![wanted]).await, [0], "{topic:?}");
    (broker, client)
}

/// Names in the folder of `t-0` that end so.
fn files(disk: &SimDisk, ending: &str) -> usize {
    let entries = disk.list(Path::new("/data/t-0")).unwrap();
    entries.iter().filter(|entry| entry.name.ends_with(ending)).count()
}

fn at(time_ms: i64) -> Bytes {
    build(BatchOptions::default(), &["x"], START_MS + time_ms)
}

/// 600 kB that no codec makes smaller than the checks here ask for: they are stored as they are.
fn large() -> Bytes {
    batch(&["x".repeat(600_000).as_str()])
}

/// The first batch in the log.
async fn stored(client: &mut Client) -> RawBatch {
    let response = client.call(12, fetch::request("t", 0, 0)).await;
    fetch::batches(fetch::partition(&response).records.clone()).remove(0)
}

#[tokio::test(start_paused = true)]
async fn times_too_far_from_the_brokers_are_refused() {
    let disk = Arc::new(SimDisk::new());
    let bounds = [("message.timestamp.before.max.ms", "20000"), ("message.timestamp.after.max.ms", "10000")];
    let (_broker, mut client) = with_topic(&disk, &[], &bounds).await;
    for (time_ms, error) in
        [(-30_000, INVALID_TIMESTAMP), (-15_000, 0), (5_000, 0), (15_000, INVALID_TIMESTAMP)]
    {
        assert_eq!(produce(&mut client, 9, -1, "t", 0, at(time_ms)).await.error_code, error, "{time_ms}");
    }
    // The broker's own time needs no bounds.
    let changed = [("message.timestamp.type", SET, Some("LogAppendTime"))];
    assert_eq!(alter_kind(&mut client, TOPIC, "t", &changed).await, 0);
    assert_eq!(produce(&mut client, 9, -1, "t", 0, at(-30_000)).await.error_code, 0);
}

#[tokio::test(start_paused = true)]
async fn a_converted_batch_has_the_brokers_time_too() {
    let disk = Arc::new(SimDisk::new());
    let settings = [("compression.type", "zstd"), ("message.timestamp.type", "LogAppendTime")];
    let (_broker, mut client) = with_topic(&disk, &[], &settings).await;
    sleep(Duration::from_secs(100)).await;
    let options = BatchOptions { compression: Compression::Gzip, ..BatchOptions::default() };
    let response = produce(&mut client, 9, -1, "t", 0, build(options, &["a", "b"], START_MS)).await;
    let header = stored(&mut client).await.header;
    assert_eq!(header.attributes.compression().unwrap(), Compression::Zstd);
    assert_eq!(header.attributes.timestamp_type(), TimestampType::LogAppend);
    assert_eq!(header.max_timestamp, response.log_append_time_ms);
    assert!(header.max_timestamp >= START_MS + 100_000);
    assert_eq!(values(&mut client, "t", 0).await, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_must_fit_before_and_after_it_is_converted() {
    for (codec, sent) in [("gzip", Compression::None), ("uncompressed", Compression::Gzip)] {
        let disk = Arc::new(SimDisk::new());
        let settings = [("compression.type", codec), ("max.message.bytes", "500")];
        let (_broker, mut client) = with_topic(&disk, &[], &settings).await;
        let options = BatchOptions { compression: sent, ..BatchOptions::default() };
        for (length, error) in [(300, 0), (600, MESSAGE_TOO_LARGE)] {
            let records = build(options, &["x".repeat(length).as_str()], START_MS);
            assert_eq!(
                produce(&mut client, 9, -1, "t", 0, records).await.error_code,
                error,
                "{codec} {length}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn levels_of_compression_have_effect() {
    let text: String = (0..9_000_u64).map(|n| format!("{} ", n * n % 977)).collect();
    for (codec, low, high) in [("gzip", "1", "9"), ("zstd", "-50", "19")] {
        let name = format!("compression.{codec}.level");
        let mut sizes = Vec::new();
        for level in [low, high] {
            let disk = Arc::new(SimDisk::new());
            let settings = [("compression.type", codec), (&name, level)];
            let (_broker, mut client) = with_topic(&disk, &[], &settings).await;
            assert_eq!(produce(&mut client, 9, -1, "t", 0, batch(&[&text])).await.error_code, 0);
            sizes.push(stored(&mut client).await.bytes.len());
            assert_eq!(values(&mut client, "t", 0).await, [text.as_str()]);
        }
        assert!(sizes[0] > sizes[1] && sizes[0] < text.len(), "{codec}: {sizes:?} of {}", text.len());
    }
}

#[tokio::test(start_paused = true)]
async fn segments_are_as_large_as_the_topic_says() {
    for (bytes, expected) in [("1048576", 3), ("1500000", 2), ("10000000", 1)] {
        let disk = Arc::new(SimDisk::new());
        let (_broker, mut client) = with_topic(&disk, &[], &[("segment.bytes", bytes)]).await;
        for _ in 0..3 {
            assert_eq!(produce(&mut client, 9, -1, "t", 0, large()).await.error_code, 0);
        }
        assert_eq!(files(&disk, ".log"), expected, "{bytes}");
    }
}

#[tokio::test(start_paused = true)]
async fn segments_are_as_old_as_the_topic_says_less_the_jitter() {
    for (jitter, fewest, most) in [("0", 0, 0), ("1000000", 3, 17)] {
        let disk = Arc::new(SimDisk::new());
        let broker = broker_on(disk.clone(), &[]).await;
        let mut client = Client::new(&broker);
        let wanted = with_config(new_topic("t", 20), "segment.ms", "1000000");
        assert_eq!(
            create_all(&mut client, vec![with_config(wanted, "segment.jitter.ms", jitter)]).await,
            [0]
        );
        let mut early = 0;
        for index in 0..20 {
            let folder = format!("/data/t-{index}");
            let segments = || {
                let entries = disk.list(Path::new(&folder)).unwrap();
                entries.iter().filter(|entry| entry.name.ends_with(".log")).count()
            };
            for time_ms in [0, 500_000] {
                assert_eq!(produce(&mut client, 9, -1, "t", index, at(time_ms)).await.error_code, 0);
            }
            early += usize::from(segments() == 2);
            assert_eq!(produce(&mut client, 9, -1, "t", index, at(1_600_000)).await.error_code, 0);
            assert!(segments() >= 2, "partition {index} has a segment that is too old");
        }
        assert!((fewest..=most).contains(&early), "{early} of 20 rolled early with a jitter of {jitter}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_index_has_entries_in_intervals_and_a_full_one_ends_its_segment() {
    for (interval, expected) in [("1", 2..=6), ("1000000", 1..=1)] {
        let disk = Arc::new(SimDisk::new());
        let settings = [("index.interval.bytes", interval), ("segment.index.bytes", "40")];
        let (_broker, mut client) = with_topic(&disk, &[], &settings).await;
        for _ in 0..12 {
            assert_eq!(produce(&mut client, 9, -1, "t", 0, batch(&["a"])).await.error_code, 0);
        }
        let segments = files(&disk, ".log");
        assert!(expected.contains(&segments), "{segments} segments with entries every {interval} bytes");
    }
}

/// Retention is looked at every second.
const RETENTION: [(&str, &str); 1] = [("log.retention.check.interval.ms", "1000")];

async fn earliest(client: &mut Client) -> i64 {
    let response = client.call(12, fetch::request("t", 0, 0)).await;
    fetch::partition(&response).log_start_offset
}

#[tokio::test(start_paused = true)]
async fn old_segments_go_and_their_files_a_while_later() {
    let disk = Arc::new(SimDisk::new());
    let settings = [("retention.ms", "60000"), ("segment.ms", "1000"), ("file.delete.delay.ms", "120000")];
    let (_broker, mut client) = with_topic(&disk, &RETENTION, &settings).await;
    for time_ms in [0, 2_000, 4_000] {
        assert_eq!(produce(&mut client, 9, -1, "t", 0, at(time_ms)).await.error_code, 0);
    }
    sleep(Duration::from_secs(50)).await;
    assert_eq!((earliest(&mut client).await, files(&disk, ".deleted")), (0, 0));
    sleep(Duration::from_secs(20)).await;
    let gone = client.call(12, fetch::request("t", 0, 0)).await;
    assert_eq!(fetch::partition(&gone).error_code, OUT_OF_RANGE);
    assert!(files(&disk, ".log.deleted") == 3, "they wait");
    assert_eq!(base_offset(&produce(&mut client, 9, -1, "t", 0, at(1_000_000)).await), (0, 3));
    sleep(Duration::from_secs(200)).await;
    assert_eq!(files(&disk, ".deleted"), 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_delay_files_go_at_once() {
    let disk = Arc::new(SimDisk::new());
    let settings = [("retention.ms", "1000"), ("segment.ms", "1000"), ("file.delete.delay.ms", "0")];
    let (_broker, mut client) = with_topic(&disk, &RETENTION, &settings).await;
    assert_eq!(produce(&mut client, 9, -1, "t", 0, at(0)).await.error_code, 0);
    sleep(Duration::from_secs(5)).await;
    assert_eq!((files(&disk, ".deleted"), files(&disk, ".log")), (0, 1));
    assert_eq!(fetch::partition(&client.call(12, fetch::request("t", 0, 0)).await).error_code, OUT_OF_RANGE);
}

#[tokio::test(start_paused = true)]
async fn a_topic_may_outlive_the_brokers_retention() {
    let disk = Arc::new(SimDisk::new());
    let broker = [RETENTION[0], ("log.retention.ms", "1000"), ("log.roll.ms", "1000")];
    let (_broker, mut client) = with_topic(&disk, &broker, &[("retention.ms", "-1")]).await;
    assert_eq!(produce(&mut client, 9, -1, "t", 0, at(0)).await.error_code, 0);
    sleep(Duration::from_secs(300)).await;
    assert_eq!(values(&mut client, "t", 0).await, ["x"]);
    assert_eq!(alter_kind(&mut client, TOPIC, "t", &[("retention.ms", 1, None)]).await, 0);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(fetch::partition(&client.call(12, fetch::request("t", 0, 0)).await).error_code, OUT_OF_RANGE);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_too_large_loses_its_oldest_segments() {
    for (bytes, expected) in [("1500000", 1), ("1000000", 2), ("-1", 0)] {
        let disk = Arc::new(SimDisk::new());
        let settings = [("segment.bytes", "1048576"), ("retention.bytes", bytes)];
        let (_broker, mut client) = with_topic(&disk, &RETENTION, &settings).await;
        for _ in 0..4 {
            assert_eq!(produce(&mut client, 9, -1, "t", 0, large()).await.error_code, 0);
        }
        sleep(Duration::from_secs(5)).await;
        let response = client.call(12, fetch::request("t", 0, 3)).await;
        assert_eq!(fetch::partition(&response).log_start_offset, expected, "{bytes}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_relaxed_log_is_synced_after_its_time() {
    let mut lost = 0;
    for seed in 0..10 {
        for (flush_ms, waits) in [("2000", true), ("100000000", false)] {
            let disk = Arc::new(SimDisk::new());
            let settings = [("flush.messages", "1000000"), ("flush.ms", flush_ms)];
            let (broker, mut client) = with_topic(&disk, &[], &settings).await;
            assert_eq!(produce(&mut client, 9, -1, "t", 0, batch(&["a"])).await.error_code, 0);
            sleep(Duration::from_secs(3)).await;
            broker.abort();
            disk.power_cut(seed);
            let broker = broker_on(disk, &[]).await;
            let kept = values(&mut Client::new(&broker), "t", 0).await.len();
            assert!(kept == 1 || !waits, "seed {seed}: lost though flush.ms was over");
            lost += 1 - kept;
        }
    }
    assert!(lost > 0, "nothing was ever lost without a sync, so this test shows nothing");
}

/// The cleaner looks every second; segments are full after a second of the records' time.
const CLEANING: [(&str, &str); 2] = [("log.cleaner.backoff.ms", "1000"), ("log.roll.ms", "1000")];

#[tokio::test(start_paused = true)]
async fn the_dirty_ratio_holds_compaction_back_and_the_longest_lag_makes_it_happen() {
    for (topic, after_5_s, after_60_s) in [
        (&[("min.cleanable.dirty.ratio", "0.01")][..], false, false),
        (&[("min.cleanable.dirty.ratio", "1")][..], true, true),
        (&[("min.cleanable.dirty.ratio", "1"), ("max.compaction.lag.ms", "30000")][..], true, false),
    ] {
        let disk = Arc::new(SimDisk::new());
        let settings = [&[("cleanup.policy", "compact")], topic].concat();
        let (_broker, mut client) = with_topic(&disk, &CLEANING, &settings).await;
        for n in 0..10 {
            produce(&mut client, 9, -1, "t", 0, keyed("k", Some("v"), START_MS + n * 600)).await;
        }
        sleep(Duration::from_secs(5)).await;
        assert_eq!(table(&mut client, "t").await.len() == 10, after_5_s, "{topic:?}");
        sleep(Duration::from_secs(55)).await;
        assert_eq!(table(&mut client, "t").await.len() == 10, after_60_s, "{topic:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_here_or_contradicts_itself_is_refused() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    for (name, value) in [
        ("remote.storage.enable", "true"),
        ("leader.replication.throttled.replicas", "x"),
        ("follower.replication.throttled.replicas", "0:1,1"),
        ("compression.gzip.level", "0"),
        ("message.format.version", "3.0"),
    ] {
        let refused = create_all(&mut client, vec![with_config(new_topic("r", 1), name, value)]).await;
        assert_eq!(refused, [INVALID_CONFIG], "{name}={value}");
    }
    let [min, max] = ["min.compaction.lag.ms", "max.compaction.lag.ms"];
    let contradicts = with_config(with_config(new_topic("r", 1), min, "100"), max, "50");
    assert_eq!(create_all(&mut client, vec![contradicts]).await, [INVALID_CONFIG]);
    let fits = with_config(with_config(new_topic("t", 1), min, "40"), max, "50");
    assert_eq!(create_all(&mut client, vec![fits]).await, [0]);
    assert_eq!(alter_kind(&mut client, TOPIC, "t", &[(max, SET, Some("30"))]).await, INVALID_CONFIG);
    assert_eq!(alter_kind(&mut client, TOPIC, "t", &[(max, SET, Some("30")), (min, 1, None)]).await, 0);
}

#[tokio::test(start_paused = true)]
async fn all_of_kafkas_topic_settings_are_described() {
    let broker = broker_with(&[]).await;
    let mut client = Client::new(&broker);
    assert_eq!(create_all(&mut client, vec![new_topic("t", 1)]).await, [0]);
    let described = describe(&mut client, 4, TOPIC, "t", &[]).await;
    let names: Vec<&str> = described.configs.iter().map(|config| &*config.name).collect();
    // Those of Apache Kafka 4.3.
    let kafkas = [
        "cleanup.policy",
        "compression.gzip.level",
        "compression.lz4.level",
        "compression.type",
        "compression.zstd.level",
        "delete.retention.ms",
        "file.delete.delay.ms",
        "flush.messages",
        "flush.ms",
        "follower.replication.throttled.replicas",
        "index.interval.bytes",
        "leader.replication.throttled.replicas",
        "local.retention.bytes",
        "local.retention.ms",
        "max.compaction.lag.ms",
        "max.message.bytes",
        "message.timestamp.after.max.ms",
        "message.timestamp.before.max.ms",
        "message.timestamp.type",
        "min.cleanable.dirty.ratio",
        "min.compaction.lag.ms",
        "min.insync.replicas",
        "preallocate",
        "remote.log.copy.disable",
        "remote.log.delete.on.disable",
        "remote.storage.enable",
        "retention.bytes",
        "retention.ms",
        "segment.bytes",
        "segment.index.bytes",
        "segment.jitter.ms",
        "segment.ms",
        "unclean.leader.election.enable",
    ];
    assert_eq!(names, kafkas);
}
