//! Text on its way into a file, compressed or not.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::{Codec, zstd};

/// What gzip's encoder holds besides what it was given.
const GZIP_BYTES: usize = 300 << 10;
/// Text that makes a frame of Zstandard.
const FRAME_BYTES: usize = 1 << 20;

/// How text is compressed as a whole.
#[derive(Debug)]
pub(super) enum Pack {
    /// Not at all; rows of Avro and Parquet neither, which are compressed in blocks.
    Plain,
    Gzip(GzEncoder<Vec<u8>>),
    /// Text that is not in a frame yet.
    Zstd(Vec<u8>),
}

impl Pack {
    pub(super) fn new(codec: Codec) -> Self {
        match codec {
            Codec::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), Compression::default())),
            Codec::Zstd => Self::Zstd(Vec::new()),
            Codec::None | Codec::Snappy => Self::Plain,
        }
    }

    /// Bytes in memory.
    pub(super) fn held(&self) -> usize {
        match self {
            Self::Plain => 0,
            Self::Gzip(_) => GZIP_BYTES,
            Self::Zstd(text) => text.len(),
        }
    }

    /// Adds text.
    pub(super) fn add(&mut self, text: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Plain => out.extend_from_slice(text),
            Self::Gzip(gzip) => {
                // Into memory: it does not fail.
                let _ = gzip.write_all(text);
                out.append(gzip.get_mut());
            }
            Self::Zstd(held) => {
                held.extend_from_slice(text);
                if held.len() >= FRAME_BYTES {
                    self.relieve(out);
                }
            }
        }
    }

    /// Gives what it can give before the end.
    pub(super) fn relieve(&mut self, out: &mut Vec<u8>) {
        if let Self::Zstd(held) = self
            && !held.is_empty()
        {
            out.extend_from_slice(&zstd::frame(held));
            held.clear();
        }
    }

    /// Gives all that is left.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        self.relieve(out);
        if let Self::Gzip(gzip) = std::mem::replace(self, Self::Plain) {
            out.append(&mut gzip.finish().map_err(|error| error.to_string())?);
        }
        Ok(())
    }
}
