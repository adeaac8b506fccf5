//! Numbers from a seed, for tests that must replay.

/// SplitMix64 (Steele, Lea, Flood 2014): small, and good enough to choose moments and sizes.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A stream of numbers that depends on the seed only.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `from` up to, not including, `to`.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        assert!(from < to, "an empty range has no number");
        from + self.next_u64() % (to - from)
    }
}

/// The seed of this run: `MILLRACE_SEED`, or the clock. Print it, so that a failure can be replayed.
pub fn seed() -> u64 {
    let clock = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |time| u64::from(time.subsec_nanos()))
    };
    std::env::var("MILLRACE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(clock)
}
