//! This program as cargo's compiler wrapper: adds the coverage pass for the crates that are fuzzed.
//!
//! Build scripts and procedural macros stay as they are: they run without libFuzzer's runtime, which defines what
//! the pass calls.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::cache;

/// Set by the fuzz verb for the cargo that it starts.
pub(crate) const VARIABLE: &str = "MILLRACE_FUZZ_WRAPPER";

/// The pass and what libFuzzer wants of it: counters per edge, a table of places, compared values.
const COVERAGE: [&str; 8] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Copt-level=2",
    "-Cdebug-assertions=on",
];

/// Whether cargo started this program as its compiler wrapper: the compiler is then the first argument.
pub(crate) fn is_asked_for() -> bool {
    env::var_os(VARIABLE).is_some()
        && env::args_os().nth(1).is_some_and(|program| program.to_string_lossy().contains("rustc"))
}

/// Where the wrapper is: a copy of this program, because cargo may replace the program itself while it builds.
pub(crate) fn path() -> Result<PathBuf> {
    Ok(cache::folder("fuzz")?.join("rustc-wrapper"))
}

/// Puts the copy in its place. To be called before the first build of a verb: once cargo has replaced this program,
/// its file cannot be found any more.
pub(crate) fn install() -> Result<()> {
    let own = env::current_exe().context("the path of this program")?;
    let program = fs::read(&own).with_context(|| format!("{}: cannot be read", own.display()))?;
    let wrapper = path()?;
    // An equal copy keeps its time of change: a new one would have cargo build all fuzzed crates again.
    if program != fs::read(&wrapper).unwrap_or_default() {
        // Beside it, then renamed: the one that is there may be running for another clone.
        let new = wrapper.with_extension("new");
        fs::copy(&own, &new)
            .and_then(|_| fs::rename(&new, &wrapper))
            .with_context(|| format!("{}: cannot be written", wrapper.display()))?;
    }
    Ok(())
}

/// Runs the compiler, with the coverage pass where it belongs.
pub(crate) fn run() -> Result<()> {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let (compiler, rest) = arguments.split_first().context("no compiler given")?;
    let mut command = Command::new(compiler);
    command.args(rest);
    if is_fuzzed(rest) {
        command.args(COVERAGE);
    }
    let status = command.status().context("the compiler cannot be started")?;
    std::process::exit(status.code().unwrap_or(1));
}

fn is_fuzzed(arguments: &[OsString]) -> bool {
    // The bundled connectors are built for WebAssembly by a build script, with this wrapper inherited.
    if arguments.iter().any(|argument| argument.to_string_lossy().starts_with("wasm32")) {
        return false;
    }
    let name =
        arguments.iter().position(|argument| argument == "--crate-name").and_then(|at| arguments.get(at + 1));
    name.and_then(|name| name.to_str())
        .is_some_and(|name| name.starts_with("millrace_") || name.starts_with("fuzz_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_crates_get_the_pass() {
        let arguments = |name: &str| ["--crate-name", name, "--edition=2024"].map(OsString::from);
        assert!(is_fuzzed(&arguments("millrace_wire")));
        assert!(is_fuzzed(&arguments("fuzz_frames")));
        assert!(!is_fuzzed(&arguments("build_script_build")));
        assert!(!is_fuzzed(&["-vV".into()]));
        assert!(!is_fuzzed(
            &["--crate-name", "millrace_sdk", "--target", "wasm32-wasip2"].map(OsString::from)
        ));
    }
}
