//! Newtypes over the protocol's integers, so that an offset is never passed for an epoch.
//!
//! The number inside is public (`.0`): these types exist to keep the compiler watching, not to hide anything.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(transparent)]
        pub struct $name(pub $int);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$int> for $name {
            fn from(value: $int) -> Self {
                Self(value)
            }
        }

        impl From<$name> for $int {
            fn from(value: $name) -> Self {
                value.0
            }
        }
    };
}

id! {
    /// Position of a record in a partition, counted from 0.
    Offset(i64)
}
id! {
    /// How often the leadership of a partition has changed (KIP-101). -1: unknown.
    LeaderEpoch(i32)
}
id! {
    /// `node.id` of a broker. -1: none.
    BrokerId(i32)
}
id! {
    /// Identity of an idempotent or transactional producer (KIP-98). -1: none.
    ProducerId(i64)
}
id! {
    /// Generation of a [`ProducerId`]; a higher one fences the lower (KIP-98). -1: none.
    ProducerEpoch(i16)
}

impl Offset {
    /// The offset after this one; stays at the end of the range instead of wrapping.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl LeaderEpoch {
    /// No epoch known.
    pub const NONE: Self = Self(-1);
}

impl BrokerId {
    /// No broker.
    pub const NONE: Self = Self(-1);
}

impl ProducerId {
    /// The batch was not written by an idempotent producer.
    pub const NONE: Self = Self(-1);
}

impl ProducerEpoch {
    /// The batch was not written by an idempotent producer.
    pub const NONE: Self = Self(-1);
}

/// First sequence number of a batch that has no producer id.
pub const NO_SEQUENCE: i32 = -1;

/// `sequence + by`, wrapping from `i32::MAX` to 0 as Kafka's sequence numbers do.
pub fn next_sequence(sequence: i32, by: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(by);
    let modulus = i64::from(i32::MAX) + 1;
    // The remainder of a division by 2^31 is below 2^31, so it is an i32.
    sum.rem_euclid(modulus) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(next_sequence(0, 5), 5);
        assert_eq!(next_sequence(i32::MAX, 1), 0);
        assert_eq!(next_sequence(i32::MAX - 1, 3), 1);
    }

    #[test]
    fn ids_print_their_number() {
        assert_eq!(format!("{:>4}", Offset(42)), "  42");
        assert_eq!(LeaderEpoch::NONE.to_string(), "-1");
    }
}
