//! What an append costs: CPU time per batch with and without syncs, beside the bare system call and checksum.
//!
//! `cargo run --release -p millrace-log --example append_bench [DIR]`

use std::fs::File;
use std::io::{IoSlice, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_log::disk::{Disk, OpenMode, RealDisk};
use millrace_log::{AppendOrigin, AppendRequest, CacheBudget, Log, LogConfig, OpenOptions, TopicPartition};
use millrace_wire::batch::RawBatch;
use millrace_wire::ids::{LeaderEpoch, Offset};
use millrace_wire::record::{BatchBuilder, BatchOptions};

const NOW_MS: i64 = 1_700_000_000_000;
/// What each measurement writes.
const TOTAL_BYTES: usize = 1 << 30;

fn batch(bytes: usize) -> RawBatch {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    while builder.size_bytes() + 110 < bytes || builder.is_empty() {
        builder.push(NOW_MS, None, Some(&[b'x'; 100]), []).expect("a small record fits");
    }
    RawBatch::parse(&builder.build(Offset(0)).expect("no codec")).expect("just built")
}

/// CPU time of this process, in nanoseconds.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn measure(what: &str, batches: usize, batch_bytes: usize, run: impl FnOnce()) {
    let (wall, used) = (Instant::now(), cpu());
    run();
    let (wall, used) = (wall.elapsed(), cpu() - used);
    let each = used.as_nanos() as f64 / batches as f64;
    let rate = (batches * batch_bytes) as f64 / (1 << 20) as f64 / wall.as_secs_f64();
    let _ = writeln!(std::io::stdout(), "{what:<44} {each:>9.0} ns CPU per batch {rate:>8.0} MiB/s");
}

fn open(dir: &Path, cache: CacheBudget) -> Log {
    let config = LogConfig { segment_bytes: 256 << 20, ..LogConfig::default() };
    let options = OpenOptions { cache: Arc::new(cache), ..OpenOptions::new(config, NOW_MS) };
    Log::open(Arc::new(RealDisk), dir, TopicPartition::new("bench", 0), options).expect("an empty folder").0
}

fn main() {
    let base = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    for batch_bytes in [1 << 10, 16 << 10, 128 << 10] {
        let batch = batch(batch_bytes);
        let batches = TOTAL_BYTES / batch_bytes / if batch_bytes < 4096 { 4 } else { 1 };
        let dir = base.join(format!("append-bench-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a writable folder");
        let _ = writeln!(std::io::stdout(), "batches of {} bytes", batch.bytes.len());

        measure("crc32c", batches, batch_bytes, || {
            (0..batches).for_each(|_| batch.verify_crc().expect("it is right"));
        });
        let file = RealDisk.open(&dir.join("raw"), OpenMode::Create).expect("a writable folder");
        measure("pwritev alone", batches, batch_bytes, || {
            for n in 0..batches {
                let parts = [IoSlice::new(&batch.bytes[..16]), IoSlice::new(&batch.bytes[16..])];
                file.write_all_at(&parts, (n * batch.bytes.len()) as u64).expect("room");
            }
        });
        drop(file);
        std::fs::remove_file(dir.join("raw")).expect("it is there");
        for (name, gathered, sync_every, cache) in [
            ("append, one request a call", 1, 0, true),
            ("append, one request a call, no cache", 1, 0, false),
            ("append, 16 requests a call", 16, 0, true),
            ("append, 16 requests a call, sync every 64", 16, 4, true),
        ] {
            let budget = if cache { CacheBudget::default() } else { CacheBudget::new(0, 0) };
            let log = open(&dir.join("log"), budget);
            let batches_of = vec![[batch.clone()]; gathered];
            let requests: Vec<_> = batches_of
                .iter()
                .map(|batches| AppendRequest {
                    batches,
                    leader_epoch: LeaderEpoch(0),
                    origin: AppendOrigin::Client,
                })
                .collect();
            measure(name, batches, batch_bytes, || {
                for n in 0..batches / gathered {
                    assert!(log.append_many(&requests, NOW_MS).iter().all(Result::is_ok));
                    if sync_every > 0 && n % sync_every == sync_every - 1 {
                        log.sync().expect("a disk that works");
                    }
                }
            });
            if gathered == 1 && !cache {
                read(&log, batches, batch_bytes);
            }
            drop(log);
            std::fs::remove_dir_all(dir.join("log")).expect("it is there");
        }
        std::fs::remove_dir_all(&dir).expect("it is there");
    }
}

fn read(log: &Log, batches: usize, batch_bytes: usize) {
    measure("read from the page cache, 1 MiB a call", batches, batch_bytes, || {
        let mut from = log.start_offset();
        while from < log.end_offset() {
            from = log.read(from, 1 << 20, log.end_offset(), true).expect("what was written").next_offset;
        }
    });
    let path = log.dir().join("00000000000000000000.log");
    let file = File::open(path).expect("the first segment");
    let len = file.metadata().expect("it is open").len() as usize;
    measure("pread alone, 1 MiB a call", len / batch_bytes, batch_bytes, || {
        for at in (0..len).step_by(1 << 20) {
            let mut buffer = vec![0; (1 << 20).min(len - at)];
            file.read_exact_at(&mut buffer, at as u64).expect("within the file");
        }
    });
}
