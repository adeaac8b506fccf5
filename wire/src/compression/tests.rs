//! Round trips, limits and hostile input for every codec.

use proptest::prelude::*;

use super::*;

fn pack(codec: Compression, input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    codec.compress(input, &mut out).unwrap();
    out
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(input in proptest::collection::vec(0u8..4, 0..100_000)) {
        for codec in Compression::ALL {
            let packed = pack(codec, &input);
            prop_assert_eq!(&codec.decompress(&packed, input.len()).unwrap(), &input, "{}", codec);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(input: Vec<u8>) {
        for codec in Compression::ALL {
            if let Ok(out) = codec.decompress(&input, 1000) {
                prop_assert!(out.len() <= 1000);
            }
        }
    }

    #[test]
    fn damage_never_panics(at in 0usize..1000, with: u8) {
        for codec in Compression::ALL {
            let mut packed = pack(codec, &[7; 5000]);
            let at = at % packed.len();
            packed[at] = with;
            let _ = codec.decompress(&packed, 10_000);
            let _ = codec.decompress(&packed[..at], 10_000);
        }
    }
}

#[test]
fn a_bomb_is_refused() {
    let bomb = vec![0u8; 50 << 20];
    for codec in Compression::ALL {
        let packed = pack(codec, &bomb);
        let error = codec.decompress(&packed, 1 << 20).unwrap_err();
        assert!(matches!(error, Error::TooLarge { limit: 1_048_576, .. }), "{codec}: {error}");
    }
}

#[test]
fn one_byte_over_the_limit_is_over() {
    for codec in Compression::ALL {
        let packed = pack(codec, &[1; 1000]);
        assert!(codec.decompress(&packed, 1000).is_ok(), "{codec}");
        assert!(matches!(codec.decompress(&packed, 999), Err(Error::TooLarge { .. })), "{codec}");
    }
}

#[test]
fn raw_snappy_is_understood() {
    let packed = snap::raw::Encoder::new().compress_vec(b"hello hello hello").unwrap();
    assert_eq!(Compression::Snappy.decompress(&packed, 100).unwrap(), b"hello hello hello");
}

#[test]
fn a_snappy_length_that_lies_allocates_nothing() {
    // The varint says 2 GiB; one literal byte follows.
    let lie = [0xff, 0xff, 0xff, 0xff, 0x07, 0x00, b'x'];
    let error = Compression::Snappy.decompress(&lie, usize::MAX).unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
}

#[test]
fn names_and_numbers_go_both_ways() {
    for codec in Compression::ALL {
        assert_eq!(Compression::from_id(codec.id()).unwrap(), codec);
        assert_eq!(codec.name().parse::<Compression>().unwrap(), codec);
    }
    assert_eq!(
        Compression::from_id(5).unwrap_err().to_string(),
        "unknown compression codec 5; known are 0 (none) to 4 (zstd)"
    );
}

#[test]
fn a_higher_level_packs_more() {
    // Two letters in no order, each block twice: what repeats lies behind hundreds of shorter matches, for whoever looks longer.
    let mut state = 1_u32;
    let letter = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if state >> 31 == 0 { 'a' } else { 'b' }
    };
    let letters: Vec<char> = std::iter::repeat_with(letter).take(60_000).collect();
    let text: String = letters.chunks(3_000).flat_map(|block| block.iter().chain(block)).collect();
    for (codec, low, high) in [(Compression::Gzip, 1, 9), (Compression::Zstd, -50, 19)] {
        let pack = |level: Option<i32>| {
            let mut packed = Vec::new();
            codec.compress_at(level, text.as_bytes(), &mut packed).unwrap();
            assert_eq!(codec.decompress(&packed, text.len()).unwrap(), text.as_bytes());
            packed.len()
        };
        assert!(pack(Some(low)) > pack(None) && pack(None) > pack(Some(high)), "{codec}");
        assert_eq!(pack(Some(i32::MAX)), pack(Some(if codec == Compression::Gzip { 9 } else { 22 })));
    }
}
