//! Golden scripts in `tests/scripts/`, and random runs that compare the live state with the state read again.

mod consumer;
mod harness;
mod random;
mod script;

use expect_test::expect_file;

/// One script: `UPDATE_EXPECT=1` writes the answers anew, to be read before they are committed.
macro_rules! scripts {
    ($($name:ident),* $(,)?) => {$(
        #[test]
        fn $name() {
            let path = concat!("tests/scripts/", stringify!($name), ".txt");
            let text = include_str!(concat!("tests/scripts/", stringify!($name), ".txt"));
            expect_file![path].assert_eq(&script::run(text));
        }
    )*};
}

scripts!(
    rebalance,
    static_members,
    liveness,
    refusals,
    offsets,
    transactional_offsets,
    expiry,
    administration,
    disk_errors,
    limits,
    consumer_members,
    consumer_migration,
    consumer_refusals
);
