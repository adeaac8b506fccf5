//! The fields of a batch header: reading, checking, writing.

use super::{Error, HEADER_LEN, LENGTH_END, MAGIC, PREFIX_LEN};
use crate::compression::{self, Compression};
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// Header of a record batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record (a producer writes 0).
    pub base_offset: Offset,
    /// Bytes from the leader epoch on.
    pub batch_length: i32,
    /// Epoch of the leader that appended the batch.
    pub partition_leader_epoch: LeaderEpoch,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    /// Codec and flags.
    pub attributes: Attributes,
    /// Offset of the last record minus the base offset; kept by compaction.
    pub last_offset_delta: i32,
    /// Milliseconds since 1970 that the records' time deltas count from; the delete horizon if that flag is set.
    pub base_timestamp: i64,
    /// Latest time of a record, milliseconds since 1970; -1 if none.
    pub max_timestamp: i64,
    /// Who wrote it, or -1.
    pub producer_id: ProducerId,
    /// Generation of who wrote it, or -1.
    pub producer_epoch: ProducerEpoch,
    /// Sequence number of the first record, or -1.
    pub base_sequence: i32,
    /// Records in the batch; fewer than `last_offset_delta + 1` after compaction.
    pub record_count: i32,
}

/// Attribute bits of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Attributes(pub i16);

/// Whose clock a batch's times come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// The producer's.
    Create,
    /// The broker's at the append; all records have the batch's max timestamp.
    LogAppend,
}

const CODEC_MASK: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
const DELETE_HORIZON: i16 = 0x40;

impl Attributes {
    /// How the records are compressed.
    pub fn compression(self) -> Result<Compression, compression::Error> {
        Compression::from_id(self.0 & CODEC_MASK)
    }

    /// Whose clock the times come from.
    pub fn timestamp_type(self) -> TimestampType {
        if self.has(LOG_APPEND_TIME) { TimestampType::LogAppend } else { TimestampType::Create }
    }

    /// Whether the batch belongs to a transaction (KIP-98).
    pub fn is_transactional(self) -> bool {
        self.has(TRANSACTIONAL)
    }

    /// Whether it holds a control record that no application sees.
    pub fn is_control(self) -> bool {
        self.has(CONTROL)
    }

    /// Whether `base_timestamp` is the time at which tombstones may go (KIP-534).
    pub fn has_delete_horizon(self) -> bool {
        self.has(DELETE_HORIZON)
    }

    /// The same with another codec.
    pub fn with_compression(self, codec: Compression) -> Self {
        Self(self.0 & !CODEC_MASK | codec.id())
    }

    /// The same with the transactional flag on or off.
    pub fn with_transactional(self, on: bool) -> Self {
        self.with(TRANSACTIONAL, on)
    }

    /// The same with the control flag on or off.
    pub fn with_control(self, on: bool) -> Self {
        self.with(CONTROL, on)
    }

    /// The same with another clock.
    pub fn with_timestamp_type(self, kind: TimestampType) -> Self {
        self.with(LOG_APPEND_TIME, kind == TimestampType::LogAppend)
    }

    /// The same with `base_timestamp` being the delete horizon, or not.
    pub fn with_delete_horizon(self, on: bool) -> Self {
        self.with(DELETE_HORIZON, on)
    }

    fn has(self, flag: i16) -> bool {
        self.0 & flag != 0
    }

    fn with(self, flag: i16, on: bool) -> Self {
        Self(if on { self.0 | flag } else { self.0 & !flag })
    }
}

impl BatchHeader {
    /// The time from which on tombstones and transaction markers in the batch may be removed (KIP-534), if one is set.
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        self.attributes.has_delete_horizon().then_some(self.base_timestamp)
    }

    /// Reads the header at the front of `bytes`. The records need not be there.
    ///
    /// Refuses lengths, counts and offset deltas that no writer writes; does not check the CRC.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        // The magic stands at the same place in all formats, so an old format is named before a length is doubted.
        if let Some(magic) = bytes.get(PREFIX_LEN).map(|byte| *byte as i8)
            && magic != MAGIC
        {
            return Err(Error::UnsupportedMagic(magic));
        }
        let Some(fixed) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(Error::Truncated { have: bytes.len(), need: HEADER_LEN });
        };
        let header = Self::from_bytes(fixed);
        header.check()?;
        Ok(header)
    }

    /// Bytes of the whole batch, header included.
    pub fn size(&self) -> usize {
        // `check` keeps the length positive.
        LENGTH_END + self.batch_length as usize
    }

    /// Offset of the last record; also of records that compaction removed.
    pub fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0.saturating_add(i64::from(self.last_offset_delta)))
    }

    /// Offset after the last record.
    pub fn next_offset(&self) -> Offset {
        self.last_offset().next()
    }

    /// Sequence number of the last record, or -1 without a producer.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return self.base_sequence;
        }
        crate::ids::next_sequence(self.base_sequence, self.last_offset_delta)
    }

    /// Whether an idempotent producer wrote it.
    pub fn has_producer(&self) -> bool {
        self.producer_id.0 >= 0
    }

    /// Bytes 0..16 with another base offset and leader epoch; they lie outside the CRC.
    pub fn prefix(&self, base_offset: Offset, epoch: LeaderEpoch) -> [u8; PREFIX_LEN] {
        let mut prefix = [0; PREFIX_LEN];
        prefix[..8].copy_from_slice(&base_offset.0.to_be_bytes());
        prefix[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        prefix[12..].copy_from_slice(&epoch.0.to_be_bytes());
        prefix
    }

    /// The header as it stands on the wire.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[..16].copy_from_slice(&self.prefix(self.base_offset, self.partition_leader_epoch));
        out[16] = MAGIC as u8;
        out[17..21].copy_from_slice(&self.crc.to_be_bytes());
        out[21..23].copy_from_slice(&self.attributes.0.to_be_bytes());
        out[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        out[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        out[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        out[43..51].copy_from_slice(&self.producer_id.0.to_be_bytes());
        out[51..53].copy_from_slice(&self.producer_epoch.0.to_be_bytes());
        out[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        out[57..].copy_from_slice(&self.record_count.to_be_bytes());
        out
    }

    fn from_bytes(bytes: &[u8; HEADER_LEN]) -> Self {
        Self {
            base_offset: Offset(i64::from_be_bytes(at(bytes, 0))),
            batch_length: i32::from_be_bytes(at(bytes, 8)),
            partition_leader_epoch: LeaderEpoch(i32::from_be_bytes(at(bytes, 12))),
            crc: u32::from_be_bytes(at(bytes, 17)),
            attributes: Attributes(i16::from_be_bytes(at(bytes, 21))),
            last_offset_delta: i32::from_be_bytes(at(bytes, 23)),
            base_timestamp: i64::from_be_bytes(at(bytes, 27)),
            max_timestamp: i64::from_be_bytes(at(bytes, 35)),
            producer_id: ProducerId(i64::from_be_bytes(at(bytes, 43))),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(at(bytes, 51))),
            base_sequence: i32::from_be_bytes(at(bytes, 53)),
            record_count: i32::from_be_bytes(at(bytes, 57)),
        }
    }

    fn check(&self) -> Result<(), Error> {
        let least = (HEADER_LEN - LENGTH_END) as i64;
        let fields = [
            ("batch length", i64::from(self.batch_length), least),
            ("last offset delta", i64::from(self.last_offset_delta), 0),
            ("record count", i64::from(self.record_count), 0),
            ("base offset", self.base_offset.0, 0),
        ];
        for (field, value, least) in fields {
            if value < least {
                return Err(Error::InvalidField { base_offset: self.base_offset.0, field, value });
            }
        }
        Ok(())
    }
}

/// The `N` bytes at a fixed place; all callers stay inside the header.
fn at<const N: usize>(bytes: &[u8; HEADER_LEN], start: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[start..start + N]);
    field
}
