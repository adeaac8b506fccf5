//! Pipelines to and from real HTTP servers, as users run them.
//!
//! The connectors' logic is tested natively, beside the code, and the host's part in `connect-runtime`. Here is what only the
//! whole can show: that each record arrives, that what a server refuses is a dead letter and what it can't take now is not,
//! that secrets stay in the host.

mod secrets;
mod sink;
mod source;
mod webhook;

use std::fs;
use std::path::Path;
use std::process::Output;

use millrace_tests::binary;
use millrace_tests::process::command;

/// Runs `pipeline.yaml` of `folder` to its end, with `SERVER` in its environment.
fn run(folder: &Path, server: &str) -> Output {
    let mut run = command(binary());
    run.args(["run", "pipeline.yaml", "--data-dir", "data", "--listen", "127.0.0.1:0", "--exit-when-done"]);
    run.current_dir(folder).env("SERVER", server).env("MILLRACE_LOG", "warn").env("TOKEN", "hunter2");
    run.output().expect("the binary can be run")
}

/// The same for a run that has to end well.
fn succeed(folder: &Path, server: &str) -> String {
    let output = run(folder, server);
    let said = told(&output);
    assert!(output.status.success(), "{}\n{said}", output.status);
    said
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).expect("the temporary folder can be written");
}
