//! Headers, splitting and patching of batches.

use proptest::prelude::*;

use super::*;
use crate::ids::{LeaderEpoch, ProducerEpoch, ProducerId};
use crate::record::{BatchBuilder, BatchOptions, decode};

fn sample(base_offset: i64, values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for (index, value) in values.iter().enumerate() {
        builder.push(1000 + index as i64, None, Some(value.as_bytes()), []).unwrap();
    }
    builder.build(Offset(base_offset)).unwrap()
}

#[test]
fn batches_are_cut_apart() {
    let bytes = [sample(10, &["a", "b"]), sample(12, &["c"])].concat();
    let batches: Vec<_> = split(Bytes::from(bytes)).collect::<Result<_, _>>().unwrap();
    assert_eq!(batches.len(), 2);
    assert_eq!((batches[0].header.base_offset, batches[0].last_offset()), (Offset(10), Offset(11)));
    assert_eq!(batches[1].next_offset(), Offset(13));
    assert!(batches.iter().all(|batch| batch.verify_crc().is_ok()));
}

#[test]
fn a_partial_tail_is_refused_or_left_out() {
    let whole = sample(0, &["a"]);
    let next = sample(1, &["b"]);
    for cut in 1..next.len() {
        let bytes = Bytes::from([&whole[..], &next[..cut]].concat());
        assert_eq!(split_whole(bytes.clone()).map(Result::unwrap).count(), 1, "cut at {cut}");
        let last = split(bytes).last().unwrap();
        assert!(matches!(last, Err(Error::Truncated { .. })), "cut at {cut}");
    }
}

#[test]
fn a_new_prefix_moves_the_batch_and_keeps_the_crc() {
    let batch = RawBatch::parse(&sample(0, &["a", "b"])).unwrap();
    let prefix = batch.header.prefix(Offset(500), LeaderEpoch(7));
    let moved = Bytes::from([&prefix[..], &batch.after_prefix()].concat());
    let moved = RawBatch::parse(&moved).unwrap();
    moved.verify_crc().unwrap();
    assert_eq!((moved.header.base_offset, moved.last_offset()), (Offset(500), Offset(501)));
    assert_eq!(moved.header.partition_leader_epoch, LeaderEpoch(7));
}

#[test]
fn log_append_time_overrides_the_records() {
    let batch = RawBatch::parse(&sample(0, &["a", "b"])).unwrap().with_log_append_time(99);
    batch.verify_crc().unwrap();
    assert_eq!(RawBatch::parse(&batch.bytes).unwrap(), batch);
    assert!(decode(&batch, 0).unwrap().all(|record| record.unwrap().timestamp == 99));
}

#[test]
fn a_producer_can_restamp() {
    let stamp = ProducerStamp { id: ProducerId(5), epoch: ProducerEpoch(2), base_sequence: 8 };
    let batch = RawBatch::parse(&sample(0, &["a", "b"])).unwrap().with_producer(stamp);
    batch.verify_crc().unwrap();
    let header = RawBatch::parse(&batch.bytes).unwrap().header;
    assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (stamp.id, stamp.epoch, 8));
    assert_eq!(header.last_sequence(), 9);
}

#[test]
fn damage_is_noticed() {
    let good = sample(0, &["hello"]);
    for at in CRC_AT..good.len() {
        let mut bad = good.to_vec();
        bad[at] ^= 0x10;
        let noticed = match RawBatch::parse(&Bytes::from(bad)) {
            Ok(batch) => batch.verify_crc().is_err(),
            Err(_) => true,
        };
        assert!(noticed, "a flipped bit at {at} went unnoticed");
    }
}

#[test]
fn fields_that_no_writer_writes_are_refused() {
    let refuse = |at: usize, bytes: &[u8]| {
        let mut bad = sample(0, &["a"]).to_vec();
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        RawBatch::parse(&Bytes::from(bad)).unwrap_err().to_string()
    };
    assert_eq!(
        refuse(16, &[1]),
        "record batch has magic 1; only 2 is supported (message formats 0 and 1 ended with Kafka 4.0)"
    );
    assert_eq!(refuse(8, &(-1i32).to_be_bytes()), "record batch at offset 0 has batch length -1");
    assert_eq!(refuse(8, &48i32.to_be_bytes()), "record batch at offset 0 has batch length 48");
    assert_eq!(refuse(8, &i32::MAX.to_be_bytes()), "record batch is cut off: 69 bytes of 2147483659");
    assert_eq!(refuse(23, &(-1i32).to_be_bytes()), "record batch at offset 0 has last offset delta -1");
    assert_eq!(refuse(57, &(-2i32).to_be_bytes()), "record batch at offset 0 has record count -2");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        for batch in split(Bytes::from(bytes.clone())).flatten() { let _ = batch.verify_crc(); }
        split_whole(Bytes::from(bytes)).for_each(drop);
    }

    #[test]
    fn a_damaged_header_never_panics(at in 0usize..HEADER_LEN, with: [u8; 4]) {
        let mut bytes = sample(3, &["a", "bb", "ccc"]).to_vec();
        for (byte, new) in bytes[at..].iter_mut().zip(with) { *byte = new; }
        for batch in split(Bytes::from(bytes)).flatten() {
            let _ = (batch.verify_crc(), batch.next_offset(), batch.header.last_sequence());
            if let Ok(records) = decode(&batch, 1 << 20) { records.for_each(drop); }
        }
    }
}
