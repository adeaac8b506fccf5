//! Apache Kafka's own `kafka-dump-log` reads what our log writes: segments, both indexes, producer snapshots and
//! transaction indexes, while the log is in use, after a clean shutdown, after a recovery and after compaction; and the broker's
//! metadata snapshots.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use millrace_client::{Admin, Client, ClientConfig, NewTopic};
use millrace_log::disk::RealDisk;
use millrace_log::{
    AppendOrigin, AppendRequest, Cleaner, Log, LogConfig, LogManager, ManagerOptions, TopicPartition,
};
use millrace_tests::broker::Broker;
use millrace_tests::process::wait_until;
use millrace_tests::tools;
use millrace_wire::batch::RawBatch;
use millrace_wire::compression::Compression;
use millrace_wire::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
use millrace_wire::record::{BatchBuilder, BatchOptions, ControlKind, ProducerStamp};

const NOW_MS: i64 = 1_700_000_000_000;

fn options() -> ManagerOptions {
    let config = LogConfig { segment_bytes: 40_000, index_interval_bytes: 1_000, ..LogConfig::default() };
    ManagerOptions::new(1, config, NOW_MS)
}

fn open(data: &Path) -> LogManager {
    LogManager::open(Arc::new(RealDisk), data, options()).unwrap().0
}

/// Writes some of everything; returns how many records there are, markers included.
fn fill(log: &Log) -> usize {
    let mut sequences = [0; 3];
    for n in 0..300usize {
        let producer = n % 4;
        // Producers 1 and 2 write transactions of eight batches each; 3 has a producer id only, 0 not even that.
        let stamp = (producer > 0).then(|| ProducerStamp {
            id: ProducerId(1000 + producer as i64),
            epoch: ProducerEpoch(5),
            base_sequence: sequences[producer - 1],
        });
        let mut builder = BatchBuilder::new(BatchOptions {
            compression: Compression::ALL[n % Compression::ALL.len()],
            producer: stamp,
            transactional: producer == 1 || producer == 2,
            ..Default::default()
        });
        for nth in 0..1 + n % 13 {
            let value = format!("value {nth} of batch {n} {}", "x".repeat(n % 7 * 50));
            let headers = [(&b"header"[..], Some(&b"1"[..])), (b"null", None)];
            builder
                .push(NOW_MS + n as i64 * 100 - nth as i64, Some(b"key"), Some(value.as_bytes()), headers)
                .unwrap();
        }
        if producer > 0 {
            sequences[producer - 1] += builder.len() as i32;
        }
        let batches = [RawBatch::parse(&builder.build(Offset(0)).unwrap()).unwrap()];
        let leader_epoch = LeaderEpoch(n as i32 / 100);
        let request = AppendRequest { batches: &batches, leader_epoch, origin: AppendOrigin::Client };
        log.append(request, NOW_MS).unwrap();
        if n % 32 >= 30 && (producer == 1 || producer == 2) {
            let kind = if n % 64 < 32 { ControlKind::Abort } else { ControlKind::Commit };
            let id = (ProducerId(1000 + producer as i64), ProducerEpoch(5));
            log.append_marker(kind, id, 7, leader_epoch, NOW_MS).unwrap();
        }
    }
    log.end_offset().0 as usize
}

/// The files of a folder by their suffix.
fn files(dir: &Path) -> BTreeMap<String, Vec<PathBuf>> {
    let mut found: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let suffix = path.extension().unwrap_or_default().to_string_lossy().into_owned();
        found.entry(suffix).or_default().push(path);
    }
    found.values_mut().for_each(|paths| paths.sort());
    found
}

fn dump(files: &[&Path], arguments: &[&str], gaps_allowed: bool) -> String {
    let names: Vec<_> = files.iter().map(|path| path.to_str().unwrap()).collect();
    let mut command = tools::kafka("dump-log");
    let output = command.args(arguments).arg("--files").arg(names.join(",")).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{err}\n{out}");
    // It says of every segment that does not begin at 0, Apache Kafka's own too, that "-1 is followed by" its first offset.
    let gaps = err.lines().filter(|line| line.contains(" is followed by ") && !line.starts_with("  -1 is "));
    assert!(gaps_allowed || gaps.count() == 0, "{err}");
    for complaint in ["mismatch", "invalid", "corrupt", "ignoring", "not found", "out of order", "exception"]
    {
        assert!(!err.to_lowercase().contains(complaint), "{complaint}: {err}");
    }
    assert!(!out.contains("invalid bytes") && !out.contains("isvalid: false"), "{out}");
    out.into_owned()
}

/// Everything in a partition's folder is read without a complaint and has what was written.
fn check(dir: &Path, records: usize) {
    let files = files(dir);
    let all = |suffix: &str| files.get(suffix).into_iter().flatten().map(PathBuf::as_path);
    let filled = |suffix| all(suffix).filter(|path| fs::metadata(path).unwrap().len() > 0);
    let segments: Vec<_> = all("log").collect();
    assert!(segments.len() > 2, "{files:?}");

    let out = dump(&segments, &["--deep-iteration"], false);
    assert_eq!(out.lines().filter(|line| line.starts_with('|')).count(), records, "{out}");

    let indexes: Vec<_> = filled("index").chain(filled("timeindex")).collect();
    assert!(indexes.len() >= 4, "{files:?}");
    let out = dump(&indexes, &["--index-sanity-check"], false);
    assert_eq!(out.matches("passed sanity check").count(), indexes.len(), "{out}");

    let aborted: Vec<_> = filled("txnindex").collect();
    let snapshots: Vec<_> = filled("snapshot").collect();
    let others: Vec<_> = indexes.iter().chain(&aborted).chain(&snapshots).copied().collect();
    let out = dump(&others, &[], false);
    assert!(out.lines().filter(|line| line.starts_with("offset: ")).count() > 10, "{out}");
    assert!(out.lines().filter(|line| line.starts_with("timestamp: ")).count() > 10, "{out}");
    let aborts = out.lines().filter(|line| line.starts_with("version: 0 producerId: 100")).count();
    assert!(aborts > 2, "{out}");
    for id in 1001..=1003 {
        assert!(out.contains(&format!("producerId: {id} producerEpoch: 5")), "{out}");
    }
    dump(&indexes, &["--verify-index-only"], false);
}

#[test]
fn a_log_in_use_closed_and_recovered_is_read_by_apache_kafka() {
    let data = tempfile::tempdir().unwrap();
    let partition = TopicPartition::new("orders", 0);
    let dir = data.path().join("orders-0");
    let manager = open(data.path());
    let log = manager.create(&partition, Default::default(), options().config, NOW_MS).unwrap();
    let records = fill(&log);
    manager.checkpoint().unwrap();
    check(&dir, records);

    manager.close().unwrap();
    drop((manager, log));
    check(&dir, records);

    // A kill, a torn tail, and no checkpoint that would allow to skip a segment.
    let last = files(&dir)["log"].last().unwrap().clone();
    let mut file = fs::OpenOptions::new().append(true).open(&last).unwrap();
    let whole = fs::read(&files(&dir)["log"][0]).unwrap();
    file.write_all(&whole[..100]).unwrap();
    for name in [".kafka_cleanshutdown", "recovery-point-offset-checkpoint"] {
        fs::remove_file(data.path().join(name)).unwrap();
    }
    for suffix in ["index", "timeindex", "txnindex"] {
        files(&dir)[suffix].iter().for_each(|path| fs::remove_file(path).unwrap());
    }
    let manager = open(data.path());
    let log = manager.get(&partition).unwrap();
    assert_eq!(log.end_offset(), Offset(records as i64));
    manager.close().unwrap();
    check(&dir, records);
}

#[test]
fn a_compacted_log_is_read_by_apache_kafka() {
    let data = tempfile::tempdir().unwrap();
    let partition = TopicPartition::new("table", 0);
    let dir = data.path().join("table-0");
    let manager = open(data.path());
    let config = LogConfig { compact: true, delete: false, file_delete_delay_ms: 0, ..options().config };
    let log = manager.create(&partition, Default::default(), config, NOW_MS).unwrap();
    let records = fill(&log);
    // Tombstones in every codec, some of which are newer than the keys' records.
    for (n, compression) in Compression::ALL.into_iter().cycle().take(40).enumerate() {
        let mut builder = BatchBuilder::new(BatchOptions { compression, ..Default::default() });
        for nth in 0..5 {
            let key = format!("key {}", (n + nth) % 7);
            builder.push(NOW_MS, Some(key.as_bytes()), (nth != 2).then_some(b"value"), []).unwrap();
        }
        let batches = [RawBatch::parse(&builder.build(Offset(0)).unwrap()).unwrap()];
        let request =
            AppendRequest { batches: &batches, leader_epoch: LeaderEpoch(5), origin: AppendOrigin::Client };
        log.append(request, NOW_MS).unwrap();
    }
    for kind in [ControlKind::Abort, ControlKind::Commit] {
        for id in [1001, 1002] {
            let id = (ProducerId(id), ProducerEpoch(5));
            log.append_marker(kind, id, 7, LeaderEpoch(5), NOW_MS).unwrap();
        }
    }
    log.roll(NOW_MS).unwrap();
    log.set_high_watermark(log.end_offset());
    let dirty = manager.dirtiest(NOW_MS, &Default::default()).unwrap();
    let report = manager.compact(&dirty, &mut Cleaner::new(1 << 20, 0.9), NOW_MS, &mut |_| true).unwrap();
    assert!(report.bytes_after * 3 < report.bytes_before, "{report:?}");
    assert_eq!(manager.dirtiest(NOW_MS, &Default::default()), None);

    let files = files(&dir);
    let all = |suffix: &str| files.get(suffix).into_iter().flatten().map(PathBuf::as_path);
    let filled = |suffix| all(suffix).filter(|path| fs::metadata(path).unwrap().len() > 0);
    let segments: Vec<_> = filled("log").collect();
    let out = dump(&segments, &["--deep-iteration"], true);
    let left = out.lines().filter(|line| line.starts_with('|')).count();
    assert!(left > 10 && left * 3 < records, "{out}");
    assert!(out.contains("deleteHorizonMs: OptionalLong[1700086400000]"), "{out}");
    let indexes: Vec<_> = filled("index").chain(filled("timeindex")).collect();
    let out = dump(&indexes, &["--index-sanity-check"], true);
    assert_eq!(out.matches("passed sanity check").count(), indexes.len(), "{out}");
    let others: Vec<_> = indexes.into_iter().chain(filled("txnindex")).chain(filled("snapshot")).collect();
    let out = dump(&others, &[], true);
    assert!(out.contains("producerId: 1003 producerEpoch: 5"), "{out}");

    manager.close().unwrap();
    drop((manager, log));
    let manager = open(data.path());
    let log = manager.get(&partition).unwrap();
    let known: Vec<_> = log.active_producers().iter().map(|producer| producer.last_sequence).collect();
    assert!(known.iter().all(|sequence| *sequence > 100), "{known:?}");
}

#[test]
fn a_metadata_snapshot_is_read_by_apache_kafka() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path(), &["metadata.log.max.record.bytes.between.snapshots=1"]);
    let client = Client::new(ClientConfig { bootstrap: vec![broker.bootstrap()], ..ClientConfig::default() });
    let client = client.unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let dir = broker.data_dir().join("__cluster_metadata-0");
    let has_topic = |path: &PathBuf| fs::read(path).unwrap().windows(6).any(|name| name == b"orders");
    let newest = || files(&dir).remove("checkpoint").and_then(|mut paths| paths.pop());
    runtime.block_on(async {
        let created = Admin::new(&client).create_topics(&[NewTopic::new("orders", 3)]).await.unwrap();
        assert!(created.iter().all(|(_, result)| result.is_ok()), "{created:?}");
    });
    wait_until("a snapshot with the topic", Duration::from_secs(60), || {
        newest().is_some_and(|path| has_topic(&path))
    });
    let snapshot = newest().unwrap();
    let out = dump(&[snapshot.as_path()], &["--cluster-metadata-decoder"], false);
    for part in
        ["SnapshotHeader", "FEATURE_LEVEL_RECORD", "REGISTER_BROKER_RECORD", "TOPIC_RECORD", "SnapshotFooter"]
    {
        assert!(out.contains(part), "no {part}: {out}");
    }
    assert_eq!(out.matches("\"PARTITION_RECORD\"").count(), 3, "{out}");
}
