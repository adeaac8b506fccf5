//! Formatting, clippy, documentation and licences, each with warnings denied.

use std::process::Command;

use anyhow::Result;

use crate::cache;
use crate::process::{self, Log};
use crate::setup;
use crate::steps::{self, Step};

/// `cargo xtask lint`.
pub(crate) fn run() -> Result<()> {
    let mut all = vec![Step::new("toolchain", setup::rust)];
    all.extend(steps());
    steps::run(&all)
}

/// The steps of this verb, which `test` runs too.
pub(crate) fn steps() -> Vec<Step> {
    vec![
        Step::new("format", |log| log.run(&mut process::cargo(["fmt", "--all", "--check"]))),
        Step::new("clippy", |log| {
            let arguments = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
            log.run(&mut process::cargo(arguments))
        }),
        Step::new("documentation", |log| {
            let mut doc = process::cargo(["doc", "--workspace", "--no-deps", "--locked"]);
            log.run(doc.env("RUSTDOCFLAGS", "-D warnings"))
        }),
        Step::new("licences", licences),
    ]
}

/// Licences, banned crates and sources. Advisories are left out: their database comes from a git host, and a run
/// must not depend on one; `cargo deny check advisories` is for a person.
fn licences(log: &Log) -> Result<()> {
    let program = setup::cargo_deny(log)?;
    // It looks at the crates of every platform; a build has fetched only those of this one.
    log.run(&mut process::cargo(["fetch", "--locked"]))?;
    let mut deny = Command::new(program);
    deny.current_dir(cache::repository());
    log.run(deny.args(["--workspace", "--locked", "--offline", "check", "licenses", "bans", "sources"]))
}

/// `cargo xtask docs --open`.
pub(crate) fn api() -> Result<()> {
    process::run(&mut process::cargo(["doc", "--workspace", "--no-deps", "--open"]))
}
