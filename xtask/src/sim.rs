//! `cargo xtask sim`: the seeded simulation of `tests/sim`, as long as asked.

use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::cache;
use crate::process::{self, Log};

/// What to simulate.
#[derive(Args)]
pub(crate) struct Options {
    /// How many seeds to run
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed, by default one from the clock; a failing run prints the one to give here
    #[arg(long)]
    from: Option<u64>,
}

/// From so many seeds on it pays to compile with optimisation: a seed then takes a quarter of the time.
const OPTIMISED_FROM: u64 = 200;

/// Runs the simulation with its output on the terminal; it prints the seed of a failure.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut build = build();
    if options.seeds >= OPTIMISED_FROM {
        build.env("CARGO_PROFILE_DEV_OPT_LEVEL", "1");
    }
    process::run(&mut build)?;
    process::run(&mut simulation(options.seeds, options.from))
}

/// A short run in the test command, always of the same seeds.
pub(crate) fn step(seeds: u64, log: &Log) -> Result<()> {
    log.run(&mut build())?;
    log.run(&mut simulation(seeds, Some(0)))
}

/// The whole workspace is named so that dependencies have the features of every other build, and are shared with it.
fn build() -> Command {
    process::cargo(["build", "--workspace", "--locked", "--bin", "sim"])
}

fn simulation(seeds: u64, from: Option<u64>) -> Command {
    let mut command = Command::new(cache::target_dir().join("debug/sim"));
    command.current_dir(cache::repository());
    command.args(["--seeds".to_owned(), seeds.to_string()]);
    if let Some(from) = from {
        command.args(["--from".to_owned(), from.to_string()]);
    }
    command
}
