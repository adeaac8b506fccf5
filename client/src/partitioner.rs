//! Which partition a record goes to: by the key's murmur2 hash, as the Java client does it, so that records with equal keys
//! meet whichever client wrote them.
//!
//! Records without a key go round by batches: the producer stays with a random partition until a batch is full (the
//! sticky partitioner of KIP-480), which makes fewer, larger batches.

/// Partition of a key, equal to the Java client's `BuiltInPartitioner.partitionForKey`.
pub fn partition_for_key(key: &[u8], partitions: i32) -> i32 {
    // `toPositive` in Java: drop the sign, do not negate.
    let positive = murmur2(key) & 0x7fff_ffff;
    (positive % partitions.max(1) as u32) as i32
}

/// 32-bit murmur2 with Kafka's seed.
pub fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    let mut hash = SEED ^ data.len() as u32;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (index, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of Apache Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn hashes_equal_the_java_clients() {
        let cases: [(&[u8], i32); 6] = [
            (b"21", -973932308),
            (b"foobar", -790332482),
            (b"a-little-bit-long-string", -985981536),
            (b"a-little-bit-longer-string", -1486304829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
            (b"abc", 479470107),
        ];
        for (key, hash) in cases {
            assert_eq!(murmur2(key) as i32, hash, "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn partitions_are_in_range() {
        for n in 1..50i32 {
            for key in 0..100u32 {
                assert!((0..n).contains(&partition_for_key(&key.to_be_bytes(), n)));
            }
        }
        assert_eq!(partition_for_key(b"foobar", 10), ((-790332482i32 & 0x7fff_ffff) % 10));
    }
}
