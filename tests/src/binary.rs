//! The `millrace` binary under test.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The path of the binary: `MILLRACE_BIN`, or the development build, brought up to date once per test process.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| env::var_os("MILLRACE_BIN").map_or_else(build, PathBuf::from))
}

/// The root of the clone.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests live in a folder of the clone")
}

/// The folder in which cargo built this test: `<target>/<profile>`.
pub fn profile_dir() -> PathBuf {
    let test = env::current_exe().expect("the running test has a path");
    test.ancestors().nth(2).expect("cargo puts tests into <target>/<profile>/deps").to_path_buf()
}

fn build() -> PathBuf {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--workspace", "--bin", "millrace"])
        .current_dir(repository())
        .status();
    assert!(status.is_ok_and(|status| status.success()), "cargo build --workspace --bin millrace failed");
    profile_dir().join("millrace")
}
