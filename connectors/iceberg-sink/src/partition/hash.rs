//! The hash of buckets: MurmurHash3, 32 bits for x86, with the seed 0 (specification, appendix B).

use millrace_connector_encode::datum::Datum;

use crate::single;

/// The hash of a value; null has none.
pub(super) fn hash(value: &Datum) -> Option<i32> {
    let of = match value {
        // 32-bit integers hash as 64-bit ones do, so that a column can be widened.
        Datum::Int(value) => murmur3(&i64::from(*value).to_le_bytes()),
        Datum::Long(value) => murmur3(&value.to_le_bytes()),
        Datum::Text(text) => murmur3(text.as_bytes()),
        Datum::Bytes(bytes) => murmur3(bytes),
        Datum::Decimal(digits) => murmur3(&single::digits(*digits)),
        _ => return None,
    };
    Some(of as i32)
}

fn murmur3(bytes: &[u8]) -> u32 {
    let scramble = |block: u32| block.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let mut hash = 0_u32;
    let mut blocks = bytes.chunks_exact(4);
    for block in &mut blocks {
        let block = u32::from_le_bytes([block[0], block[1], block[2], block[3]]);
        hash = (hash ^ scramble(block)).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    let rest = blocks.remainder().iter().rev().fold(0, |rest: u32, byte| rest << 8 | u32::from(*byte));
    hash ^= scramble(rest);
    hash ^= bytes.len() as u32;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of the specification's appendix B.
    #[test]
    fn it_is_the_specifications() {
        for (value, wanted) in [
            (Datum::Int(34), 2_017_239_379),
            (Datum::Long(34), 2_017_239_379),
            (Datum::Decimal(1420), -500_754_589),
            // 2017-11-16
            (Datum::Int(17_486), -653_330_422),
            // 22:31:08
            (Datum::Long(81_068_000_000), -662_762_989),
            // 2017-11-16T22:31:08
            (Datum::Long(1_510_871_468_000_000), -2_047_944_441),
            (Datum::Text("iceberg".into()), 1_210_000_089),
            (Datum::Bytes(vec![0, 1, 2, 3]), -188_683_207),
        ] {
            assert_eq!(hash(&value), Some(wanted), "{value:?}");
        }
    }
}
