//! `cargo xtask test`: everything, in one list of steps.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::cache;
use crate::docs;
use crate::fuzz;
use crate::lint;
use crate::process::{self, Log};
use crate::room;
use crate::setup;
use crate::sim;
use crate::steps::{self, Step};

/// Seconds that each fuzz target runs in the test command; `cargo xtask fuzz` runs longer.
const FUZZ_SECONDS: u64 = 20;

/// Seeds of the simulation in the test command; `cargo xtask sim` runs more.
const SIM_SEEDS: u64 = 30;

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Print the names of the steps
    #[arg(long)]
    list: bool,
    /// Run only these steps (and what they need must have been installed before)
    #[arg(long, value_name = "STEP", num_args = 1..)]
    only: Vec<String>,
}

/// Runs all steps, or those asked for.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut all = steps()?;
    if options.list {
        all.iter().for_each(|step| println!("{}", step.name));
        return Ok(());
    }
    if let Some(unknown) = options.only.iter().find(|name| all.iter().all(|step| step.name != name.as_str()))
    {
        bail!("there is no step {unknown}; cargo xtask test --list names them");
    }
    if !options.only.is_empty() {
        all.retain(|step| options.only.contains(&step.name));
    }
    fuzz::wrapper::install()?;
    steps::run(&all)
}

fn steps() -> Result<Vec<Step>> {
    let mut all = vec![Step::new("room", room::step), Step::new("setup", setup::all)];
    all.extend(lint::steps());
    all.push(Step::new("build", |log| {
        log.run(&mut process::cargo(["build", "--workspace", "--locked"]))?;
        log.run(&mut process::cargo(["test", "--workspace", "--locked", "--no-run"]))
    }));
    all.push(Step::new("docs", docs::step));
    all.push(Step::new("members", |log| {
        // Unit, golden and property tests of every member; the suites across members follow.
        log.run(&mut process::cargo(["test", "--workspace", "--exclude", "millrace-tests", "--locked"]))
    }));
    all.extend(
        suites()?.into_iter().map(|suite| Step::new(suite.clone(), move |log| run_suite(&suite, log))),
    );
    all.push(Step::new("simulation", |log| sim::step(SIM_SEEDS, log)));
    for target in fuzz::TARGETS {
        all.push(Step::new(target.step, move |log| fuzz::fuzz(target, FUZZ_SECONDS, log)));
    }
    Ok(all)
}

/// The suites of the crate `millrace-tests`, in the order of its manifest.
fn suites() -> Result<Vec<String>> {
    let path = cache::repository().join("tests/Cargo.toml");
    let manifest = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    let names: Vec<String> = names_of_tests(&manifest).map(str::to_owned).collect();
    ensure!(!names.is_empty(), "{}: no [[test]] in it", path.display());
    Ok(names)
}

fn names_of_tests(manifest: &str) -> impl Iterator<Item = &str> {
    let sections = manifest.split("[[test]]").skip(1);
    sections.filter_map(|section| section.split_once("name = \"")?.1.split('"').next())
}

fn run_suite(suite: &str, log: &Log) -> Result<()> {
    // The whole workspace is named so that dependencies have the features of every other build, and are shared with it.
    let mut test = process::cargo(["test", "--workspace", "--locked", "--test", suite]);
    test.env("MILLRACE_BIN", cache::target_dir().join("debug/millrace"))
        .env("MILLRACE_CACHE", cache::root()?);
    log.run(&mut test)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_is_a_step() {
        let manifest =
            "[package]\nname = \"p\"\n[[test]]\nname = \"one\"\npath = \"x\"\n\n[[test]]\nname = \"two\"\n";
        assert_eq!(names_of_tests(manifest).collect::<Vec<_>>(), ["one", "two"]);
        let steps = steps().expect("the manifest is there");
        assert!(steps.iter().any(|step| step.name == "readme"));
    }
}
