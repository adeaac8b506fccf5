//! Nanoseconds per record for building and decoding batches of 200-byte records: `cargo bench -p millrace-wire`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use millrace_wire::batch::RawBatch;
use millrace_wire::compression::Compression;
use millrace_wire::ids::Offset;
use millrace_wire::record::{BatchBuilder, BatchOptions, decode};

const RECORDS: u32 = 1000;
const RUN: Duration = Duration::from_millis(500);

fn main() {
    let value: Vec<u8> = (0..200u32).map(|i| b'a' + (i * i % 26) as u8).collect();
    for compression in Compression::ALL {
        let options = BatchOptions { compression, capacity: 300 * 1024, ..Default::default() };
        let mut bytes = Vec::new();
        report(&format!("build {compression}"), || {
            let mut builder = BatchBuilder::new(options);
            for i in 0..RECORDS {
                builder.push(i.into(), Some(&i.to_be_bytes()), Some(&value), []).expect("the batch is small");
            }
            let built = builder.build(Offset(0)).expect("the codecs take any bytes");
            bytes = built.to_vec();
            built.len()
        });
        let batch = RawBatch::parse(&bytes.into()).expect("it was just built");
        report(&format!("lend {compression}"), || {
            let mut records = decode(&batch, 1 << 20).expect("it was just built");
            let mut sum = 0;
            while let Some(record) = records.next_ref() {
                sum += record.expect("it was just built").value.map_or(0, <[u8]>::len);
            }
            sum
        });
        report(&format!("own {compression}"), || {
            let records = decode(&batch, 1 << 20).expect("it was just built");
            records.map(|record| record.expect("it was just built").value.map_or(0, |v| v.len())).sum()
        });
    }
}

fn report(what: &str, mut work: impl FnMut() -> usize) {
    let started = Instant::now();
    let mut rounds = 0;
    while started.elapsed() < RUN {
        black_box(work());
        rounds += 1;
    }
    let per_record = started.elapsed().as_secs_f64() * 1e9 / f64::from(rounds) / f64::from(RECORDS);
    println!("{what:14} {per_record:8.1} ns/record");
}
