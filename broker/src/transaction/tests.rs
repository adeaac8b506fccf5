//! Golden scripts in `tests/scripts/`, and random runs with crashes.

mod harness;
mod markers;
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
    commit_and_abort,
    fencing,
    recovering_producers,
    timeouts,
    crashes,
    disk_errors,
    refusals,
    second_protocol,
    epochs_run_out,
);
