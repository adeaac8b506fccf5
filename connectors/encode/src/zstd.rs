//! Zstandard, written: frames that are whole by themselves. Readers take frames behind one another for one text, so that a file can be
//! added to by appending.
//!
//! The library is a young encoder, about as strong as the C library's level 1, and a frame that can't be unpacked is lost data: so each is
//! unpacked before it is given away, which costs about a third of what packing does.

use std::io::Read;

use ruzstd::decoding::StreamingDecoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

/// One frame with this content, and a checksum of it.
pub fn frame(plain: &[u8]) -> Vec<u8> {
    let packed = compress_to_vec(plain, CompressionLevel::Fastest);
    if unpacks_to(&packed, plain) { packed } else { compress_to_vec(plain, CompressionLevel::Uncompressed) }
}

fn unpacks_to(packed: &[u8], plain: &[u8]) -> bool {
    let Ok(mut decoder) = StreamingDecoder::new(packed) else { return false };
    let (mut rest, mut piece) = (plain, [0; 8 << 10]);
    loop {
        match decoder.read(&mut piece) {
            Ok(0) => return rest.is_empty(),
            Ok(length) => match rest.strip_prefix(&piece[..length]) {
                Some(behind) => rest = behind,
                None => return false,
            },
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By the C library.
    fn unpacked(packed: &[u8]) -> Vec<u8> {
        zstd::decode_all(packed).expect("whole frames")
    }

    fn texts() -> impl Strategy<Value = Vec<u8>> {
        let words = prop::sample::select(vec!["goose", "gull,", "{\"n\":", "\n", "0", "owl/eagle"]);
        prop_oneof![
            // Noise, few letters, and lines that are like each other.
            prop::collection::vec(any::<u8>(), 0..2_000),
            prop::collection::vec(0..3_u8, 0..20_000),
            prop::collection::vec(words, 0..4_000).prop_map(|words| words.concat().into_bytes()),
            (any::<Vec<u8>>(), 0..2_000_usize).prop_map(|(piece, times)| piece.repeat(times)),
        ]
    }

    proptest! {
        #[test]
        fn frames_behind_one_another_are_one_text(parts in prop::collection::vec(texts(), 1..4)) {
            let packed: Vec<u8> = parts.iter().flat_map(|part| frame(part)).collect();
            prop_assert_eq!(unpacked(&packed), parts.concat());
        }
    }

    #[test]
    fn whole_blocks_and_long_runs() {
        for length in [0, 1, (128 << 10) - 1, 128 << 10, (128 << 10) + 1, 3 << 20] {
            let numbers: Vec<u8> = (0..length).map(|n: usize| (n * n / 7) as u8).collect();
            for plain in [vec![7; length], numbers] {
                assert_eq!(unpacked(&frame(&plain)), plain, "{length}");
            }
        }
        let lines: String = (0..20_000).map(|n| format!("{{\"n\":{n},\"kind\":\"gull\"}}\n")).collect();
        let packed = frame(lines.as_bytes());
        assert!(packed.len() * 4 < lines.len(), "{} of {}", packed.len(), lines.len());
        assert_eq!(unpacked(&packed), lines.as_bytes());
    }

    #[test]
    fn what_does_not_unpack_is_found_out() {
        let mut packed = compress_to_vec(&b"gull gull gull gull gull goose"[..], CompressionLevel::Fastest);
        assert!(unpacks_to(&packed, b"gull gull gull gull gull goose"));
        assert!(!unpacks_to(&packed, b"gull gull gull gull gull goos"));
        assert!(!unpacks_to(&packed, b"gull gull gull gull gull goose "));
        packed.truncate(packed.len() / 2);
        assert!(!unpacks_to(&packed, b"gull gull gull gull gull goose"));
    }
}
