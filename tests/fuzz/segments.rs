//! Recovery of a partition whose files hold arbitrary bytes: an error or a log that works, never a panic.
//!
//! The first byte chooses the file and whether the last stop counts as clean; the rest replaces the file, or is a
//! list of patches to a good segment, which reaches further into recovery.

#![no_main]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use millrace_log::disk::{Disk, OpenMode, SimDisk};
use millrace_log::{AppendOrigin, AppendRequest, Log, LogConfig, OpenOptions, TopicPartition};
use millrace_wire::batch::{self, RawBatch};
use millrace_wire::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
use millrace_wire::record::{BatchBuilder, BatchOptions, ProducerStamp};

const NOW_MS: i64 = 1_700_000_000_000;

/// Files of a partition whose only segment begins at 0.
const FILES: [&str; 7] = [
    "00000000000000000000.log",
    "00000000000000000000.index",
    "00000000000000000000.timeindex",
    "00000000000000000000.txnindex",
    "00000000000000000000.snapshot",
    "leader-epoch-checkpoint",
    "partition.metadata",
];

/// Records of the good segment, a batch each.
const RECORDS: i32 = 8;

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else { return };
    let disk = SimDisk::new();
    let partition = TopicPartition { topic: "fuzz".to_owned(), partition: 0 };
    let dir = PathBuf::from("data").join("fuzz-0");
    write_good_log(&disk, &dir, &partition);
    match usize::from(choice >> 1) % (FILES.len() + 1) {
        0 => disk.corrupt(&dir.join(FILES[0]), |file| patch(file, bytes)),
        other => put(&disk, &dir.join(FILES[other - 1]), bytes),
    }

    let options =
        OpenOptions { clean_shutdown: choice & 1 == 1, ..OpenOptions::new(LogConfig::default(), NOW_MS) };
    let Ok((log, _)) = Log::open(Arc::new(disk), &dir, partition, options) else { return };
    if choice & 1 == 0 {
        read_to_the_end(&log);
    } else if let Ok(read) = log.read(log.start_offset(), 1 << 20, log.end_offset(), true) {
        drop(read);
    }
    let _ = log.offset_for_timestamp(NOW_MS);
    let _ = log.aborted_transactions(log.start_offset(), log.end_offset());
    if append(&log, 99).is_ok() {
        let _ = log.sync();
    }
    let _ = log.close_clean();
});

fn write_good_log(disk: &SimDisk, dir: &Path, partition: &TopicPartition) {
    let options = OpenOptions::new(LogConfig::default(), NOW_MS);
    let opened = Log::open(Arc::new(disk.clone()), dir, partition.clone(), options);
    let (log, _) = opened.expect("an empty folder can be opened");
    for sequence in 0..RECORDS {
        append(&log, sequence).expect("a good batch is taken");
    }
    log.sync().expect("a simulated disk without faults syncs");
    log.close_clean().expect("a simulated disk without faults closes");
}

fn append(log: &Log, sequence: i32) -> Result<(), String> {
    let producer = ProducerStamp { id: ProducerId(7), epoch: ProducerEpoch(0), base_sequence: sequence };
    let mut builder = BatchBuilder::new(BatchOptions { producer: Some(producer), ..BatchOptions::default() });
    let value = format!("value {sequence}");
    let pushed = builder.push(NOW_MS + i64::from(sequence), None, Some(value.as_bytes()), std::iter::empty());
    pushed.map_err(|error| error.to_string())?;
    let bytes = builder.build(Offset(0)).map_err(|error| error.to_string())?;
    let batches: Vec<RawBatch> = batch::split(bytes).flatten().collect();
    let request =
        AppendRequest { batches: &batches, leader_epoch: LeaderEpoch(0), origin: AppendOrigin::Client };
    log.append(request, NOW_MS).map(|_| ()).map_err(|error| error.to_string())
}

/// What recovery has kept must be whole: every batch checked, offsets without a gap behind them.
fn read_to_the_end(log: &Log) {
    let mut from = log.start_offset();
    while from < log.end_offset() {
        let read = log.read(from, 1 << 20, log.end_offset(), true).expect("a recovered log can be read");
        let mut next = from;
        for part in read.parts {
            for batch in batch::split(part) {
                let batch = batch.expect("recovery keeps whole batches");
                batch.verify_crc().expect("recovery keeps batches whose checksum is right");
                assert!(batch.header.last_offset() >= next, "offsets go back");
                next = batch.header.next_offset();
            }
        }
        if next <= from {
            // A gap at the end, as deleted records leave one.
            return;
        }
        from = next;
    }
}

fn patch(file: &mut Vec<u8>, patches: &[u8]) {
    for change in patches.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([change[0], change[1]]));
        if at < file.len() {
            file[at] ^= change[2];
        } else {
            file.truncate(at % (file.len() + 1));
        }
    }
}

fn put(disk: &SimDisk, path: &Path, bytes: &[u8]) {
    let file = disk.open(path, OpenMode::Truncate).expect("a simulated disk without faults opens");
    file.write_all_at(&[std::io::IoSlice::new(bytes)], 0).expect("a simulated disk without faults writes");
}
