//! Snappy in the framing of xerial's snappy-java, which Kafka settled on: a magic, two version numbers, then blocks,
//! each a big-endian length and that many bytes of a raw snappy block.
//!
//! Some clients send a single raw block without the framing; the missing magic tells.

use std::io;

/// Magic, then version 1, then "compatible with version 1".
const HEADER: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
/// What must match when reading; the versions after it are informative.
const MAGIC_LEN: usize = 8;
/// Uncompressed bytes per block, snappy-java's default.
const BLOCK: usize = 32 * 1024;

/// Appends `input` as framed blocks.
pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    out.extend_from_slice(&HEADER);
    let mut encoder = snap::raw::Encoder::new();
    for block in input.chunks(BLOCK) {
        let at = out.len();
        out.resize(at + 4 + snap::raw::max_compress_len(block.len()), 0);
        let written = encoder.compress(block, &mut out[at + 4..])?;
        // A compressed 32 KiB block is far below 4 GiB.
        out[at..at + 4].copy_from_slice(&(written as u32).to_be_bytes());
        out.truncate(at + 4 + written);
    }
    Ok(())
}

/// Unpacks framed or raw data; `None` if it would be more than `limit` bytes.
pub(super) fn decompress(input: &[u8], limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut out = Vec::new();
    let mut decoder = snap::raw::Decoder::new();
    if !input.starts_with(&HEADER[..MAGIC_LEN]) {
        return Ok(append_block(&mut decoder, input, limit, &mut out)?.then_some(out));
    }
    let mut rest = input.get(HEADER.len()..).ok_or_else(|| corrupt("the header ends early"))?;
    while !rest.is_empty() {
        let (len, tail) =
            rest.split_first_chunk::<4>().ok_or_else(|| corrupt("a block length ends early"))?;
        let len = u32::from_be_bytes(*len) as usize;
        let (block, tail) = tail.split_at_checked(len).ok_or_else(|| corrupt("a block ends early"))?;
        if !append_block(&mut decoder, block, limit, &mut out)? {
            return Ok(None);
        }
        rest = tail;
    }
    Ok(Some(out))
}

/// Appends one raw block, or says `false` if there is no room for it under `limit`.
fn append_block(
    decoder: &mut snap::raw::Decoder,
    block: &[u8],
    limit: usize,
    out: &mut Vec<u8>,
) -> io::Result<bool> {
    let len = snap::raw::decompress_len(block)?;
    // A snappy element of three bytes copies at most 64: a claim beyond that ratio is a lie, whatever the limit.
    if len > block.len().saturating_mul(MAX_RATIO) {
        return Err(corrupt("a block claims more than it can hold"));
    }
    let at = out.len();
    if len > limit - at {
        return Ok(false);
    }
    out.resize(at + len, 0);
    let written = decoder.decompress(block, &mut out[at..])?;
    out.truncate(at + written);
    Ok(true)
}

/// Above the best ratio snappy can reach (64 bytes from a two-byte or three-byte element).
const MAX_RATIO: usize = 64;

fn corrupt(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
