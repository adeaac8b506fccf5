//! Which partition of the internal topic a group or a transactional id belongs to.
//!
//! Kafka's rule, `abs(key.hashCode()) % partitions` with Java's string hash, so that a data directory keeps its
//! meaning when it is carried over. Java hashes UTF-16 units and its `Utils.abs` maps the smallest integer to 0.

/// The partition, in `0..partitions`, of `key`. `partitions` must be positive.
pub(crate) fn partition_for(key: &str, partitions: i32) -> i32 {
    let hash =
        key.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    let positive = if hash == i32::MIN { 0 } else { hash.abs() };
    positive % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values from Java: `Math.abs("...".hashCode()) % 50`.
    #[test]
    fn agrees_with_java() {
        assert_eq!(partition_for("", 50), 0);
        assert_eq!(partition_for("a", 50), 47); // 97
        assert_eq!(partition_for("hello", 50), 22); // 99162322
        assert_eq!(partition_for("polygenelubricants", 50), 0); // hashes to the smallest integer
    }
}
