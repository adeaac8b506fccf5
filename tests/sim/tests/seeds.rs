//! The seeded simulation, a few seeds of it; `cargo xtask sim --seeds 1000` runs more.

use millrace_sim::{Options, run};

/// Seeds that each test run tries, always the same: what it says is of the change, not of the hour. New ones are for `cargo xtask sim`.
const SEEDS: [std::ops::Range<u64>; 2] = [0..12, 1000..1012];

#[test]
fn nothing_is_lost_doubled_or_seen_too_early() {
    for seed in SEEDS.into_iter().flatten() {
        if let Err(failure) = run(seed, Options::default()) {
            panic!("{failure}");
        }
    }
}

#[test]
fn a_seed_repeats_to_the_last_record() {
    for seed in 0..2 {
        let [first, second] =
            [(); 2].map(|()| run(seed, Options::default()).map_err(|failure| failure.to_string()));
        assert_eq!(first, second, "seed {seed} went two ways");
    }
}

/// The simulation can fail: on a disk that only says it has synced, acknowledged records must be found missing.
#[test]
fn a_disk_that_lies_is_caught() {
    let caught =
        (0..10).filter_map(|seed| run(seed, Options { lying_disk: true, ..Options::default() }).err());
    let kinds: Vec<_> = caught.flat_map(|failure| failure.anomalies).map(|anomaly| anomaly.kind).collect();
    assert!(kinds.contains(&"lost write"), "ten seeds on a lying disk showed only {kinds:?}");
}
