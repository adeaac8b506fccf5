//! Commands of the binary to a worker, and what they say.

use std::process::Output;

use millrace_tests::binary;
use millrace_tests::process::command;

/// A command to the worker at `HOST:PORT`.
pub(crate) fn millrace(address: &str, args: &[&str]) -> Output {
    let mut run = command(binary());
    run.args(args).env("MILLRACE_URL", format!("http://{address}"));
    run.output().expect("the binary can be run")
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a command that has to succeed prints; `log` is told when it doesn't.
pub(crate) fn printed(output: &Output, args: &[&str], log: &str) -> String {
    assert!(output.status.success(), "{args:?}: {}\n{log}", text(&output.stderr));
    text(&output.stdout)
}
