//! Decompression of one block or page that is there as a whole, with a limit of its plain size.

use std::io::Read;

use flate2::read::{DeflateDecoder, MultiGzDecoder};

use crate::Trouble;
use crate::unpack::zstd_whole;

/// How a block is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Not at all.
    None,
    /// deflate without a header
    Deflate,
    /// gzip
    Gzip,
    /// Snappy, without a frame
    Snappy,
    /// Zstandard
    Zstd,
}

/// The plain bytes, at most `bytes_max` of them.
pub fn unpack(codec: Codec, packed: &[u8], bytes_max: usize) -> Result<Vec<u8>, Trouble> {
    let mut out = Vec::new();
    let too_much = || Trouble::Rotten(format!("a block that unpacks to more than {bytes_max} bytes"));
    match codec {
        Codec::None if packed.len() > bytes_max => return Err(too_much()),
        Codec::None => out.extend_from_slice(packed),
        Codec::Deflate => read(DeflateDecoder::new(packed), bytes_max, &mut out)?,
        Codec::Gzip => read(MultiGzDecoder::new(packed), bytes_max, &mut out)?,
        Codec::Snappy => {
            let damaged = |error: snap::Error| Trouble::Rotten(format!("a damaged block: {error}"));
            // The length stands in front and is believed only so far.
            if snap::raw::decompress_len(packed).map_err(damaged)? > bytes_max {
                return Err(too_much());
            }
            out = snap::raw::Decoder::new().decompress_vec(packed).map_err(damaged)?;
        }
        Codec::Zstd => zstd_whole(packed, bytes_max, &mut out)?,
    }
    if out.len() > bytes_max { Err(too_much()) } else { Ok(out) }
}

/// All that comes, and one byte more than is allowed, so that it shows.
fn read(packed: impl Read, bytes_max: usize, out: &mut Vec<u8>) -> Result<(), Trouble> {
    let most = bytes_max as u64 + 1;
    let read = packed.take(most).read_to_end(out);
    read.map(drop).map_err(|error| Trouble::Rotten(format!("a damaged block: {error}")))
}
