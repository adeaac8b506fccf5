//! `compression.type`: a batch that came in another codec than its topic asks for is written anew.
//!
//! The only place where the broker looks into records before it stores them, and only for topics that ask for a codec.
//! Everything else about the batch stays: offsets, times, headers, producer and sequence.

use millrace_log::AppendError;
use millrace_wire::batch::RawBatch;
use millrace_wire::ids::Offset;
use millrace_wire::record::{BatchBuilder, BatchOptions, ProducerStamp, decode};

use super::Error;
use crate::config::topic::Codec;

/// What a batch may unpack to.
const UNCOMPRESSED_BYTES_MAX: usize = 256 << 20;

/// The batch in the codec that the topic asks for; as it is if that is the one it has, at whatever level.
///
/// # Errors
/// The batch is corrupt or can't be unpacked.
pub(crate) fn recompress(batch: RawBatch, codec: Option<Codec>) -> Result<RawBatch, Error> {
    let Some(Codec { compression, level }) = codec else { return Ok(batch) };
    if batch.header.attributes.compression().is_ok_and(|present| present == compression) {
        return Ok(batch);
    }
    batch.verify_crc().map_err(corrupt)?;
    let header = &batch.header;
    let producer = header.has_producer().then_some(ProducerStamp {
        id: header.producer_id,
        epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
    });
    let transactional = header.attributes.is_transactional();
    let options = BatchOptions { compression, level, producer, transactional, ..BatchOptions::default() };
    let mut builder = BatchBuilder::new(options);
    let mut records = decode(&batch, UNCOMPRESSED_BYTES_MAX).map_err(invalid)?;
    while let Some(record) = records.next_ref() {
        let record = record.map_err(invalid)?;
        builder.push(record.timestamp, record.key, record.value, record.headers).map_err(invalid)?;
    }
    let bytes = builder.build(Offset(0)).map_err(invalid)?;
    RawBatch::parse(&bytes).map_err(corrupt)
}

fn corrupt(error: millrace_wire::batch::Error) -> Error {
    AppendError::Corrupt(error.to_string()).into()
}

fn invalid(error: millrace_wire::record::Error) -> Error {
    AppendError::InvalidRecord(error.to_string()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_wire::compression::Compression;
    use millrace_wire::ids::{ProducerEpoch, ProducerId};

    fn sample(compression: Compression) -> RawBatch {
        let producer = Some(ProducerStamp { id: ProducerId(7), epoch: ProducerEpoch(1), base_sequence: 5 });
        let options = BatchOptions { compression, producer, ..BatchOptions::default() };
        let mut builder = BatchBuilder::new(options);
        let headers: [(&[u8], Option<&[u8]>); 2] = [(b"h", Some(b"1")), (b"h", None)];
        builder.push(1000, Some(b"k"), None, headers).unwrap();
        builder.push(1500, None, Some(b"value"), []).unwrap();
        RawBatch::parse(&builder.build(Offset(0)).unwrap()).unwrap()
    }

    #[test]
    fn every_codec_keeps_everything_else() {
        let records = |batch: &RawBatch| -> Vec<_> {
            decode(batch, 1 << 20).unwrap().map(|record| record.unwrap()).collect()
        };
        let original = sample(Compression::None);
        for compression in Compression::ALL {
            let codec = Codec { compression, level: None };
            let written = recompress(sample(Compression::Gzip), Some(codec)).unwrap();
            assert_eq!(written.header.attributes.compression().ok(), Some(compression));
            assert_eq!(records(&written), records(&original), "{compression}");
            assert_eq!(written.header.producer_id, original.header.producer_id);
            assert_eq!(written.header.base_sequence, 5);
            assert_eq!(written.header.max_timestamp, 1500);
            written.verify_crc().unwrap();
        }
    }

    #[test]
    fn the_producers_choice_is_left_alone() {
        let batch = sample(Compression::Lz4);
        assert_eq!(recompress(batch.clone(), None).unwrap(), batch);
        let codec = Codec { compression: Compression::Lz4, level: None };
        assert_eq!(recompress(batch.clone(), Some(codec)).unwrap(), batch);
    }
}
