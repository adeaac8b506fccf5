//! `cargo xtask fuzz`: coverage-guided fuzzing by libFuzzer, on the stable toolchain.
//!
//! The coverage counters come from LLVM's pass, which stable rustc takes as codegen options. A compiler wrapper
//! ([`wrapper`]) gives them to the workspace's own crates only: dependencies are shared with every other build.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::cache;
use crate::process::{self, Log};

pub(crate) mod wrapper;

/// One entry point of arbitrary bytes.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) name: &'static str,
    /// Name of its step in the test command.
    pub(crate) step: &'static str,
    /// Longest input that is tried, bytes.
    max_len: u32,
}

/// All fuzz targets; each is a binary `fuzz_<name>` in `tests/fuzz`.
pub(crate) const TARGETS: [Target; 4] = [
    Target { name: "component", step: "fuzz-component", max_len: 2048 },
    Target { name: "frames", step: "fuzz-frames", max_len: 4096 },
    Target { name: "segments", step: "fuzz-segments", max_len: 16_384 },
    Target { name: "yaml", step: "fuzz-yaml", max_len: 4096 },
];

/// An input that takes longer than this is reported as a hang.
const INPUT_TIMEOUT_SECONDS: u32 = 10;

/// Resident memory past which libFuzzer reports the input.
const MEMORY_LIMIT_MIB: u32 = 1024;

/// What to fuzz.
#[derive(Args)]
pub(crate) struct Options {
    /// component, frames, segments or yaml
    target: String,
    /// How long
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// `cargo xtask fuzz TARGET --seconds N`.
pub(crate) fn run(options: &Options) -> Result<()> {
    let Some(target) = TARGETS.iter().find(|target| target.name == options.target) else {
        let known = TARGETS.map(|target| target.name).join(", ");
        bail!("there is no fuzz target {}; known ones: {known}", options.target);
    };
    wrapper::install()?;
    let log = Log::create(target.step)?;
    let outcome = fuzz(*target, options.seconds, &log);
    println!("{}", log.tail());
    outcome
}

/// Builds and runs one target on the corpus in the cache folder; an input that breaks it is kept there.
pub(crate) fn fuzz(target: Target, seconds: u64, log: &Log) -> Result<()> {
    let program = build(target, log)?;
    let corpus = cache::folder(&format!("fuzz/{}/corpus", target.name))?;
    let broken = cache::folder(&format!("fuzz/{}/broken", target.name))?;
    let seeds = cache::repository().join("tests/fuzz/seeds").join(target.name);
    let mut run = Command::new(program);
    run.arg(corpus).arg(seeds).args([
        format!("-max_total_time={seconds}"),
        format!("-max_len={}", target.max_len),
        format!("-timeout={INPUT_TIMEOUT_SECONDS}"),
        format!("-rss_limit_mb={MEMORY_LIMIT_MIB}"),
        format!("-artifact_prefix={}/", broken.display()),
        "-print_final_stats=1".to_owned(),
        "-verbosity=1".to_owned(),
    ]);
    log.run(&mut run).with_context(|| format!("the input is kept in {}", broken.display()))
}

fn build(target: Target, log: &Log) -> Result<PathBuf> {
    let wrapper = wrapper::path()?;
    let binary = format!("fuzz_{}", target.name);
    let mut build = process::cargo(["build", "--locked", "--workspace", "--bin", &binary]);
    build.env("RUSTC_WORKSPACE_WRAPPER", &wrapper).env(wrapper::VARIABLE, "1");
    log.run(&mut build)?;
    let folder = cache::target_dir().join("debug");
    Ok(folder.join(binary))
}
