//! Decompression of a whole file as a stream: packed bytes in, plain bytes out, in pieces of bounded size, however much a few bytes may
//! stand for. gzip may have several members, Zstandard several frames, and both say with a checksum whether they are whole.

mod gzip;
mod zstd;

pub(crate) use self::zstd::whole as zstd_whole;

use crate::options::Compression;

/// Most plain bytes of one step, roughly: a block of Zstandard may come on top.
pub const STEP_BYTES: usize = 256 << 10;
/// Packed bytes without which no decoder has to be able to move on: a block of Zstandard with its header, and more.
pub const PACKED_BYTES_MIN: usize = 256 << 10;

/// A decompressor of one file.
#[derive(Debug)]
pub enum Unpack {
    /// There is nothing to do.
    Plain,
    /// See `gzip`.
    Gzip(Box<gzip::Gzip>),
    /// See `zstd`.
    Zstd(Box<zstd::Zstd>),
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Packed bytes that were taken.
    pub taken: usize,
    /// Whether plain bytes may come without more packed ones.
    pub more: bool,
}

/// What is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where it showed, in bytes behind the front of what was to be unpacked.
    pub at: usize,
    /// What.
    pub why: String,
}

impl Damage {
    fn new(at: usize, why: impl Into<String>) -> Self {
        Self { at, why: why.into() }
    }
}

impl Unpack {
    /// For a file compressed like this.
    pub fn new(compression: Compression) -> Self {
        match compression {
            Compression::Auto | Compression::None => Self::Plain,
            Compression::Gzip => Self::Gzip(Box::default()),
            Compression::Zstd => Self::Zstd(Box::default()),
        }
    }

    /// Takes from the front of `packed` and appends to `out`. `last`: nothing comes behind it, so that what is not whole never will be.
    /// Unless it is the last there have to be [`PACKED_BYTES_MIN`] bytes.
    pub fn step(&mut self, packed: &[u8], last: bool, out: &mut Vec<u8>) -> Result<Step, Damage> {
        match self {
            Self::Plain => {
                let taken = packed.len().min(STEP_BYTES);
                out.extend_from_slice(&packed[..taken]);
                Ok(Step { taken, more: false })
            }
            Self::Gzip(gzip) => gzip.step(packed, last, out),
            Self::Zstd(zstd) => zstd.step(packed, last, out),
        }
    }
}
