//! The five codecs of record batches, with a limit on what a decompressor may put out.
//!
//! The frames are the ones the Java client reads and writes: gzip members, snappy in the xerial framing
//! (raw blocks are understood too, as librdkafka and sarama send them), LZ4 frames with independent
//! blocks, zstd frames. A batch that would unpack to more than the caller's limit is refused while it unpacks, so
//! that a few hostile bytes cannot fill the memory.

mod snappy;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, Read, Write};
use std::ops::RangeInclusive;

/// Codec in the lowest three bits of a batch's attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Records as they are.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy in the framing of xerial's snappy-java.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// RFC 8878; from Produce v7 and Fetch v10 on (KIP-110).
    Zstd,
}

/// Why records were not compressed or decompressed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The attributes name no known codec.
    #[error("unknown compression codec {0}; known are 0 (none) to 4 (zstd)")]
    UnknownCodec(i16),
    /// `compression.type` names no known codec.
    #[error("unknown compression type {0:?}; expected none, gzip, snappy, lz4 or zstd")]
    UnknownName(String),
    /// The data unpacks to more than the caller allows.
    #[error("{codec} data unpacks to more than the limit of {limit} bytes")]
    TooLarge {
        /// Codec of the data.
        codec: Compression,
        /// Most bytes that were allowed.
        limit: usize,
    },
    /// The codec refused the data.
    #[error("{codec} data is corrupt: {source}")]
    Corrupt {
        /// Codec of the data.
        codec: Compression,
        /// What the codec says.
        source: io::Error,
    },
}

impl Compression {
    /// All codecs, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec's number in a batch's attributes.
    pub fn id(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The codec with this number.
    pub fn from_id(id: i16) -> Result<Self, Error> {
        match id {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            other => Err(Error::UnknownCodec(other)),
        }
    }

    /// Name as in Kafka's `compression.type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Appends `input`, compressed at the codec's own default level, to `out`.
    pub fn compress(self, input: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        self.compress_at(None, input, out)
    }

    /// The same at a level: 1 to 9 for gzip, -131072 to 22 for zstd; what is beyond counts as the nearest. The others have no
    /// levels (LZ4's, which Kafka has, are not in the library).
    pub fn compress_at(self, level: Option<i32>, input: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let done = match self {
            Self::None => {
                out.extend_from_slice(input);
                Ok(())
            }
            Self::Gzip => gzip(level, input, out),
            Self::Snappy => snappy::compress(input, out),
            Self::Lz4 => lz4(input, out),
            Self::Zstd => zstd(level, input, out),
        };
        done.map_err(|source| Error::Corrupt { codec: self, source })
    }

    /// Unpacks `input`, refusing output of more than `limit` bytes.
    pub fn decompress(self, input: &[u8], limit: usize) -> Result<Vec<u8>, Error> {
        let corrupt = |source| Error::Corrupt { codec: self, source };
        match self {
            Self::None if input.len() > limit => Err(Error::TooLarge { codec: self, limit }),
            Self::None => Ok(input.to_vec()),
            Self::Gzip => self.read_limited(flate2::read::MultiGzDecoder::new(input), input.len(), limit),
            Self::Snappy => snappy::decompress(input, limit)
                .map_err(corrupt)?
                .ok_or(Error::TooLarge { codec: self, limit }),
            Self::Lz4 => self.read_limited(lz4_flex::frame::FrameDecoder::new(input), input.len(), limit),
            Self::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(input).map_err(corrupt)?;
                self.read_limited(decoder, input.len(), limit)
            }
        }
    }

    /// Reads to the end, or to one byte past the limit. The buffer grows with what really comes out.
    fn read_limited(self, reader: impl Read, input_len: usize, limit: usize) -> Result<Vec<u8>, Error> {
        let mut out = Vec::with_capacity(input_len.saturating_mul(USUAL_RATIO).min(limit));
        let mut limited = reader.take(limit as u64 + 1);
        limited.read_to_end(&mut out).map_err(|source| Error::Corrupt { codec: self, source })?;
        if out.len() > limit { Err(Error::TooLarge { codec: self, limit }) } else { Ok(out) }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Compression {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|c| c.name() == name).ok_or_else(|| Error::UnknownName(name.to_owned()))
    }
}

/// First guess of how much larger the output is; it only spares a few regrowths.
const USUAL_RATIO: usize = 3;

/// Level of gzip: zlib's own default, as in Kafka's `compression.gzip.level`.
const GZIP_LEVEL: i32 = 6;
/// What gzip has beside "not at all".
const GZIP_LEVELS: RangeInclusive<i32> = 1..=9;

/// Level of zstd, as in Kafka's `compression.zstd.level`.
const ZSTD_LEVEL: i32 = 3;
/// What zstd has; below zero it is quick and packs little.
const ZSTD_LEVELS: RangeInclusive<i32> = -131_072..=22;

fn gzip(level: Option<i32>, input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let level = level.unwrap_or(GZIP_LEVEL).clamp(*GZIP_LEVELS.start(), *GZIP_LEVELS.end());
    let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::new(level.unsigned_abs()));
    encoder.write_all(input)?;
    encoder.finish().map(|_| ())
}

fn lz4(input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    // 64 KiB independent blocks, as the Java client writes them; it refuses linked blocks.
    let frame = lz4_flex::frame::FrameInfo::new()
        .block_size(lz4_flex::frame::BlockSize::Max64KB)
        .block_mode(lz4_flex::frame::BlockMode::Independent);
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(frame, out);
    encoder.write_all(input)?;
    encoder.finish().map(|_| ()).map_err(io::Error::other)
}

fn zstd(level: Option<i32>, input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let level = level.unwrap_or(ZSTD_LEVEL).clamp(*ZSTD_LEVELS.start(), *ZSTD_LEVELS.end());
    let mut encoder = zstd::stream::write::Encoder::new(out, level)?;
    encoder.set_pledged_src_size(Some(input.len() as u64))?;
    encoder.write_all(input)?;
    encoder.finish().map(|_| ())
}
