//! A batch written anew without some of its records: what log compaction makes of it.
//!
//! Everything that tells where the batch stands stays: base offset, last offset, leader epoch, producer, sequence,
//! codec; records keep their offsets and times. So a reader's position, a producer's next sequence and a follower's
//! epochs are the same before and after.
//!
//! A delete horizon (KIP-534) takes the place of the base timestamp; the records' time deltas then count from it.

use bytes::Bytes;

use super::builder::{body_size, write_record};
use super::{Error, Records};
use crate::batch::{Attributes, BatchHeader, HEADER_LEN, LENGTH_END, RawBatch, TimestampType, seal};
use crate::compression::Compression;
use crate::ids::{LeaderEpoch, NO_SEQUENCE, Offset, ProducerEpoch, ProducerId};
use crate::varint;

/// The batch with those of its `records` for which `keep` has a `true` in their place, and with a delete horizon if
/// one is given. `records` are the batch's, none of them taken yet.
///
/// # Errors
/// A record is malformed, the codec fails, or the batch would not fit the format's lengths.
pub fn retain(
    batch: &RawBatch,
    mut records: Records,
    keep: &[bool],
    delete_horizon_ms: Option<i64>,
) -> Result<Bytes, Error> {
    let header = &batch.header;
    let base_offset = header.base_offset;
    let base_timestamp = delete_horizon_ms.unwrap_or(header.base_timestamp);
    let mut out = Vec::with_capacity(HEADER_LEN + records.payload_len());
    out.resize(HEADER_LEN, 0);
    let (mut count, mut newest) = (0, -1);
    for keep in keep {
        let Some(record) = records.next_ref() else { break };
        let record = record?;
        if !keep {
            continue;
        }
        let delta = record.timestamp.wrapping_sub(base_timestamp);
        // The offset was made of these two.
        let offset_delta = record.offset.wrapping_sub(base_offset.0) as i32;
        let body = body_size(delta, offset_delta, record.key, record.value, record.headers);
        if body + varint::MAX_LEN_32 > (i32::MAX as usize).saturating_sub(out.len()) {
            return Err(Error::TooLarge { record_bytes: body, batch_bytes: out.len() });
        }
        write_record(&mut out, body, (delta, offset_delta), record.key, record.value, record.headers);
        count += 1;
        newest = newest.max(record.timestamp);
    }
    let compression = |source| Error::Compression { base_offset: base_offset.0, source };
    let codec = header.attributes.compression().map_err(compression)?;
    if codec != Compression::None {
        let mut packed = Vec::with_capacity(HEADER_LEN + out.len() / 2);
        packed.resize(HEADER_LEN, 0);
        codec.compress(&out[HEADER_LEN..], &mut packed).map_err(compression)?;
        out = packed;
    }
    let stamped = header.attributes.timestamp_type() == TimestampType::LogAppend;
    let horizon = delete_horizon_ms.is_some() || header.attributes.has_delete_horizon();
    let header = BatchHeader {
        batch_length: i32::try_from(out.len() - LENGTH_END).unwrap_or(i32::MAX),
        attributes: header.attributes.with_delete_horizon(horizon),
        base_timestamp,
        max_timestamp: if stamped { header.max_timestamp } else { newest },
        record_count: count,
        ..*header
    };
    seal(&mut out, &header);
    Ok(out.into())
}

/// The batch without any record: a header that remembers offsets and the producer's last sequence.
pub fn emptied(batch: &RawBatch) -> Bytes {
    let header = BatchHeader {
        batch_length: (HEADER_LEN - LENGTH_END) as i32,
        attributes: batch.header.attributes.with_compression(Compression::None).with_delete_horizon(false),
        base_timestamp: -1,
        record_count: 0,
        ..batch.header
    };
    let mut out = vec![0; HEADER_LEN];
    seal(&mut out, &header);
    out.into()
}

/// A batch without any record that stands for the offsets `first..end`; `None` if there are none, or more than a batch can have.
pub fn gap(first: Offset, end: Offset, epoch: LeaderEpoch) -> Option<Bytes> {
    let last = end.0.checked_sub(first.0)?.checked_sub(1)?;
    let last_offset_delta = i32::try_from(last).ok().filter(|delta| *delta >= 0)?;
    let header = BatchHeader {
        base_offset: first,
        batch_length: (HEADER_LEN - LENGTH_END) as i32,
        partition_leader_epoch: epoch,
        crc: 0,
        attributes: Attributes::default(),
        last_offset_delta,
        base_timestamp: -1,
        max_timestamp: -1,
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch::NONE,
        base_sequence: NO_SEQUENCE,
        record_count: 0,
    };
    let mut out = vec![0; HEADER_LEN];
    seal(&mut out, &header);
    Some(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{BatchBuilder, BatchOptions, ProducerStamp, Record, decode};

    fn sample(compression: Compression) -> RawBatch {
        let producer = Some(ProducerStamp { id: ProducerId(7), epoch: ProducerEpoch(1), base_sequence: 5 });
        let mut builder =
            BatchBuilder::new(BatchOptions { compression, producer, ..BatchOptions::default() });
        let header: (&[u8], Option<&[u8]>) = (b"h", None);
        for nth in 0..5i64 {
            let value = (nth != 3).then_some(&b"value"[..]);
            builder.push(1000 - nth * 10, Some(&[nth as u8]), value, [header]).unwrap();
        }
        RawBatch::parse(&builder.build(Offset(100)).unwrap()).unwrap()
    }

    #[test]
    fn a_gap_has_offsets_and_no_records() {
        let bytes = gap(Offset(7), Offset(10), LeaderEpoch(2)).unwrap();
        let batch = RawBatch::parse(&bytes).unwrap();
        assert_eq!((batch.header.base_offset, batch.next_offset()), (Offset(7), Offset(10)));
        assert!(records(&batch).is_empty());
        assert_eq!(gap(Offset(7), Offset(7), LeaderEpoch(2)), None);
        assert_eq!(gap(Offset(0), Offset(1 << 40), LeaderEpoch(2)), None);
    }

    fn records(batch: &RawBatch) -> Vec<Record> {
        batch.verify_crc().unwrap();
        decode(batch, 1 << 20).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn what_stays_is_unchanged_in_every_codec() {
        for codec in Compression::ALL {
            let before = sample(codec);
            let keep = [false, true, false, true, false];
            for horizon in [None, Some(90_000)] {
                let bytes = retain(&before, decode(&before, 1 << 20).unwrap(), &keep, horizon).unwrap();
                let after = RawBatch::parse(&bytes).unwrap();
                let all = records(&before);
                assert_eq!(records(&after), [all[1].clone(), all[3].clone()]);
                assert_eq!(after.header.delete_horizon_ms(), horizon);
                assert_eq!(after.header.max_timestamp, 990);
                assert_eq!(after.header.attributes.compression().unwrap(), codec);
                assert_eq!(after.header.base_offset, before.header.base_offset);
                assert_eq!(after.last_offset(), before.last_offset());
                assert_eq!(after.header.last_sequence(), before.header.last_sequence());
                // A second round keeps the horizon that the first one set.
                let again = retain(&after, decode(&after, 1 << 20).unwrap(), &[false, true], None).unwrap();
                let again = RawBatch::parse(&again).unwrap();
                assert_eq!(
                    (records(&again), again.header.delete_horizon_ms()),
                    (vec![all[3].clone()], horizon)
                );
            }
        }
    }

    #[test]
    fn an_emptied_batch_remembers_offsets_and_sequence() {
        let before = sample(Compression::Gzip);
        let after = RawBatch::parse(&emptied(&before)).unwrap();
        assert!(records(&after).is_empty());
        assert_eq!(after.last_offset(), Offset(104));
        assert_eq!((after.header.base_sequence, after.header.last_sequence()), (5, 9));
        assert_eq!(after.header.max_timestamp, 1000);
    }
}
