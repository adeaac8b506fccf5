//! Every kind of damage is found, and a whole directory has none.

use std::sync::Arc;

use millrace_wire::batch::RawBatch;
use millrace_wire::ids::{LeaderEpoch, ProducerEpoch, ProducerId};
use millrace_wire::record::{BatchBuilder, BatchOptions, ControlKind, ProducerStamp};

use super::*;
use crate::disk::SimDisk;
use crate::{AppendOrigin, AppendRequest, LogConfig, LogManager, ManagerOptions};

const NOW_MS: i64 = 1_700_000_000_000;
const DIR: &str = "data/orders-0";

/// A directory with some of everything, of a broker that was stopped (cleanly, or killed after a checkpoint).
fn directory(clean: bool) -> SimDisk {
    let disk = SimDisk::new();
    let config = LogConfig { segment_bytes: 4_000, index_interval_bytes: 300, ..LogConfig::default() };
    let options = ManagerOptions::new(1, config.clone(), NOW_MS);
    let (manager, _) = LogManager::open(Arc::new(disk.clone()), Path::new("data"), options).unwrap();
    for topic in ["orders", "other"] {
        let name = TopicPartition::new(topic, 0);
        let log = manager.create(&name, uuid::Uuid::from_u128(3), config.clone(), NOW_MS).unwrap();
        for n in 0..40 {
            let stamp = ProducerStamp { id: ProducerId(1), epoch: ProducerEpoch(0), base_sequence: n };
            let options = BatchOptions { producer: Some(stamp), transactional: true, ..Default::default() };
            let mut builder = BatchBuilder::new(options);
            builder.push(NOW_MS + i64::from(n), Some(b"k"), Some(&[1; 200]), []).unwrap();
            let batches = [RawBatch::parse(&builder.build(Offset(0)).unwrap()).unwrap()];
            let (leader_epoch, origin) = (LeaderEpoch(n / 10), AppendOrigin::Client);
            log.append(AppendRequest { batches: &batches, leader_epoch, origin }, NOW_MS).unwrap();
            if n % 10 == 9 {
                let producer = (ProducerId(1), ProducerEpoch(0));
                log.append_marker(ControlKind::Abort, producer, 0, LeaderEpoch(n / 10), NOW_MS).unwrap();
            }
        }
    }
    match clean {
        true => manager.close().unwrap(),
        false => manager.checkpoint().unwrap(),
    }
    drop(manager);
    disk.kill();
    metadata_snapshot(&disk);
    disk
}

/// Batches as a broker's metadata snapshot has them.
fn metadata_snapshot(disk: &SimDisk) {
    let mut bytes = Vec::new();
    for (offset, control) in [(0, true), (1, false), (2, true)] {
        let mut builder = BatchBuilder::new(BatchOptions { control, ..Default::default() });
        builder.push(NOW_MS, Some(b"key"), Some(b"value"), []).unwrap();
        bytes.extend_from_slice(&builder.build(Offset(offset)).unwrap());
    }
    let path = Path::new(DIR).join("00000000000000000044-0000000003.checkpoint");
    let file = disk.open(&path, crate::disk::OpenMode::Truncate).unwrap();
    file.write_all_at(&[std::io::IoSlice::new(&bytes)], 0).unwrap();
}

fn scrub(disk: &SimDisk, topic: Option<&str>) -> (VerifyReport, Vec<String>) {
    let mut findings = Vec::new();
    let report = verify(disk, Path::new("data"), topic, &mut |finding| findings.push(finding.to_string()));
    (report.unwrap(), findings)
}

#[test]
fn a_whole_directory_has_no_findings() {
    for clean in [true, false] {
        let disk = directory(clean);
        let (report, findings) = scrub(&disk, None);
        assert_eq!(findings, [""; 0]);
        assert_eq!((report.partitions, report.batches, report.records), (2, 88, 88));
        assert_eq!(scrub(&disk, Some("orders")).0.partitions, 1);
    }
}

#[test]
fn a_flipped_bit_anywhere_is_found_with_its_file() {
    let whole = directory(true);
    let names = whole.list(Path::new(DIR)).unwrap();
    let mut checked = 0;
    for entry in names.iter().filter(|entry| entry.len > 0) {
        // Bytes that carry no checksum and no order: the leader epoch of a batch, a transaction's last stable offset.
        let step = if entry.name.ends_with(".log") { 97 } else { 7 };
        for at in (0..entry.len as usize).step_by(step) {
            let path = Path::new(DIR).join(&entry.name);
            let before = whole.contents(&path).unwrap();
            let unchecked = (entry.name.ends_with(".txnindex") && (2..10).contains(&(at % 34)))
                || (entry.name.ends_with(".txnindex") && at % 34 >= 10)
                || !entry.name.starts_with('0');
            whole.corrupt(&path, |bytes| bytes[at] ^= 0x40);
            let (report, findings) = scrub(&whole, Some("orders"));
            if !unchecked {
                let named = findings.iter().any(|finding| finding.contains(&entry.name));
                let prefix = entry.name.ends_with(".log");
                assert!(report.damages > 0 && (named || prefix), "{} at {at}: {findings:?}", entry.name);
                checked += 1;
            }
            whole.corrupt(&path, |bytes| *bytes = before);
        }
    }
    assert!(checked > 200);
}

#[test]
fn what_is_missing_is_found() {
    let name = "00000000000000000000.log";
    let disk = directory(true);
    disk.corrupt(&Path::new(DIR).join(name), |bytes| bytes.truncate(1000));
    let (report, findings) = scrub(&disk, None);
    assert!(report.damages > 1 && findings[0].contains(name), "{findings:?}");

    let disk = directory(true);
    disk.remove_file(&Path::new(DIR).join(name)).unwrap();
    let last =
        disk.list(Path::new(DIR)).unwrap().into_iter().rfind(|entry| entry.name.ends_with(".log")).unwrap();
    disk.remove_file(&Path::new(DIR).join(&last.name)).unwrap();
    let (_, findings) = scrub(&disk, Some("orders"));
    assert!(findings.iter().any(|finding| finding.contains("below its recovery point 44")), "{findings:?}");
}

#[test]
fn a_torn_tail_after_a_kill_is_a_remark_and_a_used_directory_is_refused() {
    let disk = directory(false);
    let last =
        disk.list(Path::new(DIR)).unwrap().into_iter().rfind(|entry| entry.name.ends_with(".log")).unwrap();
    let path = Path::new(DIR).join(&last.name);
    disk.corrupt(&path, |bytes| bytes.extend_from_slice(&[7; 100]));
    let (report, findings) = scrub(&disk, None);
    assert_eq!((report.damages, report.remarks), (0, 1), "{findings:?}");
    assert!(findings[0].contains(&format!("{} at byte {}: a torn tail of 100", last.name, last.len)));

    let _held = disk.lock(Path::new("data/.lock")).unwrap().unwrap();
    assert!(matches!(verify(&disk, Path::new("data"), None, &mut |_| {}), Err(Error::Locked(_))));
}
