//! A metadata log through crashes at every step of a snapshot, and with snapshots that rotted.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_log::disk::{Disk, Fault, FaultOp, SimDisk};
use millrace_log::{LogConfig, LogManager, ManagerOptions, TopicPartition};
use uuid::Uuid;

use super::*;
use crate::config::{Config, group};
use crate::controller::record::{RESOURCE_BROKER, RESOURCE_TOPIC};
use crate::controller::step::{Command, NewTopic, step};
use crate::env::Random;

const NOW_MS: i64 = 1_700_000_000_000;
const NODE: i32 = 1;
const DATA: &str = "data";

/// A log that is opened, used, and dies.
struct Life {
    logs: LogManager,
    log: MetadataLog,
    image: Image,
}

fn name() -> TopicPartition {
    TopicPartition::new("__cluster_metadata", 0)
}

fn folder() -> PathBuf {
    Path::new(DATA).join(name().dir_name())
}

fn open(disk: &SimDisk, limits: Limits) -> Result<Life, Error> {
    let config =
        LogConfig { segment_bytes: 4_000, delete: false, file_delete_delay_ms: 0, ..LogConfig::default() };
    let options = ManagerOptions {
        new_ids: [Uuid::from_u128(1), Uuid::from_u128(2)],
        ..ManagerOptions::new(NODE, config.clone(), NOW_MS)
    };
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let (logs, _) = LogManager::open(disk.clone(), Path::new(DATA), options)?;
    assert!(logs.failed().is_empty(), "{:?}", logs.failed());
    let log = match logs.get(&name()) {
        Some(log) => log,
        None => logs.create(&name(), Uuid::from_u128(1), config, NOW_MS)?,
    };
    let clock = Clock::Tokio { start_ms: NOW_MS, start: tokio::time::Instant::now() };
    let (log, replayed) = MetadataLog::open(disk, log, NODE, limits, clock)?;
    Ok(Life { logs, log, image: replayed.image })
}

/// Cuts the log at every snapshot.
const TIGHT: Limits = Limits { bytes_between: 1, interval_ms: 0, retention_bytes: 0 };

/// Metadata without the place that it has in the log.
fn facts(image: &Image) -> Image {
    let mut facts = image.clone();
    (facts.offset, facts.epoch, facts.timestamp_ms) = (0, LeaderEpoch(0), 0);
    facts
}

/// Some command; many of them are refused.
fn command(random: &Random) -> Command {
    let below = |limit: u64| random.next_u64() % limit;
    let name = format!("topic-{}", below(6));
    let value = (below(3) > 0).then(|| (below(1_000_000) + 1).to_string());
    match below(9) {
        0 | 1 => Command::CreateTopic(NewTopic {
            name,
            id: random.uuid(),
            partitions: 1 + below(4) as i32,
            replication_factor: 1,
            directory: random.uuid(),
            ..NewTopic::default()
        }),
        2 => Command::CreatePartitions { name, count: 1 + below(9) as i32, assignments: None },
        3 => Command::AlterConfig {
            resource_type: RESOURCE_TOPIC,
            resource: name,
            changes: vec![("retention.ms".to_owned(), value)],
        },
        4 => Command::AlterConfig {
            resource_type: RESOURCE_BROKER,
            resource: ["", "1"][below(2) as usize].to_owned(),
            changes: vec![("log.retention.ms".to_owned(), value)],
        },
        5 => {
            let client = (below(2) > 0).then(|| format!("client-{}", below(3)));
            let rate = value.and_then(|value| value.parse().ok());
            let changes = vec![("producer_byte_rate".to_owned(), rate)];
            Command::AlterQuotas { entity: vec![("client-id".to_owned(), client)], changes }
        }
        6 => Command::AllocateProducerIds { broker_id: NODE },
        7 => Command::AlterGroupConfig {
            group: format!("group-{}", below(3)),
            changes: vec![(
                "consumer.session.timeout.ms".to_owned(),
                (below(3) > 0).then(|| "45000".to_owned()),
            )],
            limits: group::Limits::of(&Config::new()),
        },
        _ => Command::StartBroker {
            id: NODE,
            incarnation: random.uuid(),
            epoch: below(1000) as i64,
            host: "localhost".to_owned(),
            port: 9092,
            rack: (below(2) > 0).then(|| "a".to_owned()),
            clean: below(2) > 0,
        },
    }
}

/// Deletes a topic now and then, or runs some other command; what is to be committed.
fn change(image: &Image, random: &Random) -> (Vec<MetadataRecord>, Image) {
    let doomed = image.topics.values().next().filter(|_| random.next_u64().is_multiple_of(6));
    let command = doomed.map_or_else(|| command(random), |topic| Command::DeleteTopic { id: topic.id });
    let records = step(image, &command).map_or_else(|_| Vec::new(), |(records, _)| records);
    let mut after = image.clone();
    records.iter().for_each(|record| after.apply(record));
    (records, after)
}

fn commit(life: &mut Life, random: &Random) -> Result<(), Error> {
    let (records, mut after) = change(&life.image, random);
    if !records.is_empty() {
        life.log.commit(&records, &mut after)?;
        life.image = after;
    }
    Ok(())
}

fn snapshot(life: &Life) -> Result<(), Error> {
    life.log.write_snapshot(&life.image, life.log.bytes_since_snapshot())
}

fn checkpoints(disk: &SimDisk) -> Vec<PathBuf> {
    let names = disk.list(&folder()).unwrap().into_iter().map(|entry| entry.name);
    names.filter(|name| name.ends_with(".checkpoint")).map(|name| folder().join(name)).collect()
}

#[tokio::test(start_paused = true)]
async fn an_image_comes_back_from_its_records() {
    let random = Random::new(11);
    let (mut image, mut topics_max, mut quotas_max, mut groups_max) = (Image::default(), 0, 0, 0);
    for _ in 0..2_000 {
        image = change(&image, &random).1;
        let mut again = Image::default();
        image.records().for_each(|record| {
            again.apply(&MetadataRecord::decode(record.encode()).unwrap());
        });
        assert_eq!(again, image);
        (topics_max, quotas_max) = (topics_max.max(image.topics.len()), quotas_max.max(image.quotas.len()));
        groups_max = groups_max.max(image.group_configs.len());
    }
    assert!(topics_max > 1 && quotas_max > 0 && groups_max > 0 && image.next_producer_id > 0);
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_step_loses_nothing_that_was_committed() {
    let mut cut_logs = 0;
    for seed in 0..150 {
        let (disk, random) = (SimDisk::new(), Random::new(seed));
        let mut facts_before = facts(&Image::default());
        for life in 0..6 {
            let mut this = open(&disk, TIGHT).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            assert_eq!(facts(&this.image), facts_before, "seed {seed}, life {life}");
            cut_logs += usize::from(this.log.log.start_offset() > Offset(0));
            // Counted from somewhere in the middle of what follows, so that each kind of step is hit.
            let quiet = random.next_u64() % 20;
            let mut possible = None;
            for nth in 0.. {
                if nth == quiet {
                    disk.die_after((random.next_u64() % 60) as u32);
                }
                let step = match random.next_u64() % 4 {
                    0 => snapshot(&this),
                    1 => this.logs.checkpoint().map_err(Error::from),
                    _ => {
                        let (records, mut after) = change(&this.image, &random);
                        if records.is_empty() {
                            continue;
                        }
                        let committed = this.log.commit(&records, &mut after);
                        match &committed {
                            Ok(()) => this.image = after,
                            Err(_) => possible = Some(facts(&after)),
                        }
                        committed
                    }
                };
                if step.is_err() {
                    break;
                }
            }
            let committed = facts(&this.image);
            drop(this);
            if random.next_u64().is_multiple_of(3) {
                disk.kill()
            } else {
                disk.power_cut(random.next_u64())
            }
            let found =
                facts(&open(&disk, TIGHT).unwrap_or_else(|error| panic!("seed {seed}: {error}")).image);
            assert!(found == committed || Some(&found) == possible.as_ref(), "seed {seed}, life {life}");
            facts_before = found;
            disk.kill();
        }
    }
    assert!(cut_logs > 150, "{cut_logs} lives began with a log that had lost its front");
}

/// A log with two snapshots that was cut at the older one, and what it holds.
fn with_two_snapshots(disk: &SimDisk, random: &Random) -> Image {
    let mut life = open(disk, TIGHT).unwrap();
    for round in 0..80 {
        commit(&mut life, random).unwrap();
        if round % 20 == 19 {
            snapshot(&life).unwrap();
        }
    }
    for _ in 0..5 {
        commit(&mut life, random).unwrap();
    }
    assert!(life.log.log.start_offset() > Offset(0));
    let image = facts(&life.image);
    drop(life);
    disk.kill();
    image
}

/// What happens to a file: a flipped bit, a lost end, the whole file.
fn ruin(disk: &SimDisk, path: &Path, random: &Random) {
    match random.next_u64() % 3 {
        0 => disk.corrupt(path, |bytes| {
            let at = random.next_u64() as usize % bytes.len();
            bytes[at] ^= 1 << (random.next_u64() % 8);
        }),
        1 => disk.corrupt(path, |bytes| bytes.truncate(random.next_u64() as usize % bytes.len())),
        _ => disk.remove_file(path).unwrap(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_ruined_snapshot_is_replaced_by_the_one_before_it_and_two_are_an_error() {
    for seed in 0..100 {
        let (disk, random) = (SimDisk::new(), Random::new(seed));
        let expected = with_two_snapshots(&disk, &random);
        let there = checkpoints(&disk);
        assert_eq!(there.len(), 2, "{there:?}");
        ruin(&disk, &there[1], &random);
        let mut life = open(&disk, TIGHT).unwrap();
        assert_eq!(facts(&life.image), expected, "seed {seed}");
        // The next snapshot doesn't count on the ruined one.
        commit(&mut life, &random).unwrap();
        snapshot(&life).unwrap();
        let (newer, expected) = (checkpoints(&disk), facts(&life.image));
        assert_eq!((newer.len(), &newer[0]), (2, &there[0]), "seed {seed}");
        drop(life);
        disk.kill();
        ruin(&disk, &newer[1], &random);
        assert_eq!(facts(&open(&disk, TIGHT).unwrap().image), expected, "seed {seed}");
        disk.kill();
        ruin(&disk, &newer[0], &random);
        let error = open(&disk, TIGHT).err().unwrap().to_string();
        assert!(error.contains("no snapshot that reaches it can be read"), "{error}");
        assert!(error.contains("restore the folder from a backup"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_the_disk_does_not_give_now_stays_and_is_there_when_it_is_needed() {
    let (disk, random) = (SimDisk::new(), Random::new(8));
    with_two_snapshots(&disk, &random);
    let mut life = open(&disk, TIGHT).unwrap();
    commit(&mut life, &random).unwrap();
    let before = checkpoints(&disk);
    assert!(life.log.log.start_offset() > Offset(0));
    // Neither of the older ones can be read while the newest is written, and that one rots later.
    for path in &before {
        let path = path.to_string_lossy().into_owned();
        disk.fail_next(Fault { op: FaultOp::Read, path, after: 0 });
    }
    snapshot(&life).unwrap();
    let expected = facts(&life.image);
    drop(life);
    disk.kill();
    let there = checkpoints(&disk);
    assert_eq!(there[..2], before);
    disk.corrupt(&there[2], |bytes| bytes.truncate(10));
    let mut life = open(&disk, TIGHT).unwrap();
    assert_eq!(facts(&life.image), expected);
    // With a good one before the newest, the others go.
    commit(&mut life, &random).unwrap();
    snapshot(&life).unwrap();
    let there = checkpoints(&disk);
    assert_eq!((there.len(), &there[0]), (2, &before[1]));
}

#[tokio::test(start_paused = true)]
async fn a_log_that_has_everything_needs_no_snapshot() {
    let limits = Limits { retention_bytes: u64::MAX, ..TIGHT };
    let (disk, random) = (SimDisk::new(), Random::new(3));
    let mut life = open(&disk, limits).unwrap();
    for _ in 0..50 {
        commit(&mut life, &random).unwrap();
        snapshot(&life).unwrap();
    }
    assert_eq!(life.log.log.start_offset(), Offset(0));
    let expected = facts(&life.image);
    drop(life);
    disk.kill();
    let there = checkpoints(&disk);
    assert_eq!(there.len(), 2);
    there.iter().for_each(|path| disk.remove_file(path).unwrap());
    assert_eq!(facts(&open(&disk, limits).unwrap().image), expected);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_ends_before_its_snapshot_is_not_taken_for_the_truth() {
    let (disk, random) = (SimDisk::new(), Random::new(4));
    with_two_snapshots(&disk, &random);
    for entry in disk.list(&folder()).unwrap() {
        if entry.name.ends_with(".log") {
            disk.remove_file(&folder().join(entry.name)).unwrap();
        }
    }
    let error = open(&disk, TIGHT).err().unwrap().to_string();
    assert!(error.contains("its last segments are missing"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_leaves_the_last_snapshot_and_is_tried_again_later() {
    let (disk, random) = (SimDisk::new(), Random::new(5));
    let mut life = open(&disk, TIGHT).unwrap();
    for _ in 0..20 {
        commit(&mut life, &random).unwrap();
    }
    assert!(life.log.snapshot_is_due());
    disk.set_capacity(Some(0));
    assert!(snapshot(&life).is_err());
    assert!(checkpoints(&disk).is_empty() && !life.log.snapshot_is_due());
    let left = disk.list(&folder()).unwrap();
    assert!(left.iter().all(|entry| !entry.name.ends_with(".part")), "{left:?}");
    disk.set_capacity(None);
    tokio::time::advance(std::time::Duration::from_millis(RETRY_MS as u64)).await;
    assert!(life.log.snapshot_is_due());
    snapshot(&life).unwrap();
    assert!(!life.log.snapshot_is_due());
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_due_by_bytes_or_by_age() {
    let random = Random::new(6);
    let limits = Limits { bytes_between: 3_000, interval_ms: 60_000, retention_bytes: 0 };
    let disk = SimDisk::new();
    let mut life = open(&disk, limits).unwrap();
    while life.log.bytes_since_snapshot() < 3_000 {
        assert!(!life.log.snapshot_is_due());
        commit(&mut life, &random).unwrap();
    }
    assert!(life.log.snapshot_is_due());
    snapshot(&life).unwrap();
    tokio::time::advance(std::time::Duration::from_secs(61)).await;
    assert!(!life.log.snapshot_is_due(), "nothing has changed");
    while life.log.bytes_since_snapshot() == 0 {
        commit(&mut life, &random).unwrap();
    }
    assert!(life.log.snapshot_is_due(), "changed, and the last one is old");
}
