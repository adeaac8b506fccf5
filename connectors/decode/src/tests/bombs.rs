//! Few bytes that stand for many.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use serde_json::json;

use super::read_all;
use crate::block::{Codec, unpack};
use crate::unpack::{PACKED_BYTES_MIN, STEP_BYTES, Unpack};

const PLAIN_BYTES: usize = 64 << 20;

fn zeros(write: &mut impl Write) {
    let piece = vec![b'0'; 1 << 20];
    for _ in 0..PLAIN_BYTES >> 20 {
        write.write_all(&piece).expect("written");
    }
}

fn gzip_bomb() -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    zeros(&mut encoder);
    encoder.finish().expect("finished")
}

/// A frame of blocks that repeat one byte 128 KiB long, four bytes each.
fn zstd_bomb() -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38];
    let blocks = PLAIN_BYTES / (128 << 10);
    for block in 0..blocks {
        let head = ((128_u32 << 10) << 3) | (1 << 1) | u32::from(block == blocks - 1);
        frame.extend_from_slice(&head.to_le_bytes()[..3]);
        frame.push(b'0');
    }
    frame
}

#[test]
fn a_step_never_gives_much() {
    for (compression, packed) in
        [(crate::options::Compression::Gzip, gzip_bomb()), (crate::options::Compression::Zstd, zstd_bomb())]
    {
        let mut unpack = Unpack::new(compression);
        let (mut rest, mut total, mut out) = (&packed[..], 0, Vec::new());
        loop {
            out.clear();
            let step = unpack.step(rest, true, &mut out).expect("a step");
            assert!(
                out.len() <= STEP_BYTES + (256 << 10) && out.capacity() <= 2 << 20,
                "{compression:?}: {}",
                out.len()
            );
            total += out.len();
            rest = &rest[step.taken..];
            if !step.more {
                break;
            }
        }
        assert_eq!((total, rest.len()), (PLAIN_BYTES, 0), "{compression:?}");
        assert!(packed.len() < PACKED_BYTES_MIN, "it is a bomb");
    }
}

#[test]
fn a_line_out_of_a_bomb_is_rejected_with_its_beginning() {
    for (name, packed) in [("a.gz", gzip_bomb()), ("a.zst", zstd_bomb())] {
        let read = read_all(&packed.into(), name, json!({}), false, 10, false);
        assert_eq!((read.values.len(), read.values[0].len(), read.trouble), (1, 1024, None), "{name}");
    }
}

#[test]
fn a_block_that_unpacks_to_too_much_is_refused() {
    let mut deflate = DeflateEncoder::new(Vec::new(), Compression::best());
    zeros(&mut deflate);
    let deflate = deflate.finish().expect("finished");
    let snappy = snap::raw::Encoder::new().compress_vec(&vec![0; 4 << 20]).expect("compressed");
    for (codec, packed) in [
        (Codec::Gzip, gzip_bomb()),
        (Codec::Deflate, deflate),
        (Codec::Zstd, zstd_bomb()),
        (Codec::Snappy, snappy),
        (Codec::None, vec![0; 2 << 20]),
    ] {
        let refused = format!("{:?}", unpack(codec, &packed, 1 << 20).expect_err("refused"));
        assert!(refused.contains("more than 1048576 bytes"), "{codec:?}: {refused}");
    }
}
