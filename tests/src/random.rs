//! Numbers from a seed, for tests that must replay.

pub use millrace_client::Random;

/// A number from `from` up to, not including, `to`.
pub fn between(random: &mut Random, (from, to): (u64, u64)) -> u64 {
    assert!(from < to, "an empty range has no number");
    from + random.below(to - from)
}

/// The seed of this run: `MILLRACE_SEED`, or the clock. Print it, so that a failure can be replayed.
pub fn seed() -> u64 {
    let clock = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |time| u64::from(time.subsec_nanos()))
    };
    std::env::var("MILLRACE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(clock)
}
