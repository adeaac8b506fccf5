//! Runs the seeded simulation: `cargo xtask sim --seeds N [--from SEED]`.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use millrace_sim::{Options, run};

fn main() -> ExitCode {
    match all() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("sim: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether every seed passed.
fn all() -> anyhow::Result<bool> {
    let mut seeds = 100;
    let mut from = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || -> anyhow::Result<u64> {
            let text = arguments.next().with_context(|| format!("{argument} needs a number"))?;
            text.parse().with_context(|| format!("{argument} {text} is not a number"))
        };
        match argument.as_str() {
            "--seeds" => seeds = number()?,
            "--from" => from = number()?,
            other => bail!("unknown argument {other}; it takes --seeds N and --from SEED"),
        }
    }
    let (mut passed, mut acknowledged, mut committed, mut read) = (0, 0, 0, 0);
    let (mut processed, mut assignments, mut faults) = (0, 0, 0);
    for seed in from..from.saturating_add(seeds) {
        match run(seed, Options::default()) {
            Ok(report) => {
                passed += 1;
                acknowledged += report.acknowledged;
                committed += report.committed;
                read += report.read;
                processed += report.processed;
                assignments += report.assignments;
                faults += report.faults.len();
            }
            Err(failure) => println!("{failure}"),
        }
    }
    println!(
        "simulated from seed {from}: {acknowledged} records acknowledged, {committed} transactions committed, {read} records read, {processed} processed exactly once by groups with {assignments} assignments, {faults} faults"
    );
    println!("{passed} passed, {} failed", seeds - passed);
    Ok(passed == seeds)
}
