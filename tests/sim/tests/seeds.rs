//! The seeded simulation, a few seeds of it; `cargo xtask sim --seeds 1000` runs more.

use std::time::{SystemTime, UNIX_EPOCH};

use millrace_sim::{Options, run};

/// Seeds that each test run tries: fixed ones, so that a change which breaks one is known at once, and new ones.
const FIXED: u64 = 12;
const FRESH: u64 = 12;

#[test]
fn nothing_is_lost_doubled_or_seen_too_early() {
    let fresh = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs();
    for seed in (0..FIXED).chain(fresh..fresh + FRESH) {
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
