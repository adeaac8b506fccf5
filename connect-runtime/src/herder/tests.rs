//! Golden scripts in `tests/scripts/`, and random runs of several workers.

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

scripts!(lifecycle, changes, failures, several_workers, moves, start, upgrades);
