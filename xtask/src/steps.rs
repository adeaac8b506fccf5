//! A list of named steps, run in order, each with its log, its duration and, for test suites, its closing line.

use std::time::Instant;

use anyhow::{Result, bail};

use crate::process::Log;

/// What a step does, with its programs' output in the log.
type Action = Box<dyn Fn(&Log) -> Result<()>>;

/// One step of a verb.
pub(crate) struct Step {
    pub(crate) name: String,
    action: Action,
}

impl Step {
    pub(crate) fn new(name: impl Into<String>, action: impl Fn(&Log) -> Result<()> + 'static) -> Step {
        Step { name: name.into(), action: Box::new(action) }
    }
}

/// Runs the steps; the first that fails ends the run with the end of its log and its name.
pub(crate) fn run(steps: &[Step]) -> Result<()> {
    let started = Instant::now();
    let mut total = Count::default();
    for (index, step) in steps.iter().enumerate() {
        println!("[{:>2}/{}] {}", index + 1, steps.len(), step.name);
        let log = Log::create(&step.name)?;
        let begun = Instant::now();
        let outcome = (step.action)(&log);
        let seconds = begun.elapsed().as_secs_f64();
        let count = Count::of(&log.text());
        if let Err(error) = outcome {
            println!("{}", log.tail());
            count.print(&step.name, 1);
            bail!(
                "step {} failed after {seconds:.1} s: {error:#}; whole log: {}",
                step.name,
                log.path().display()
            );
        }
        count.print(&step.name, 0);
        println!("        {} done in {seconds:.1} s", step.name);
        total.passed += count.passed;
    }
    println!("all steps done in {:.0} s", started.elapsed().as_secs_f64());
    total.print("total", 0);
    Ok(())
}

/// Tests counted from the closing lines in a log: those of `cargo test`, and plain ones (`3 passed, 0 failed`).
#[derive(Default)]
struct Count {
    passed: u64,
    failed: u64,
}

impl Count {
    fn of(log: &str) -> Count {
        let mut count = Count::default();
        for line in log.lines() {
            let line = line.trim();
            let result = line.strip_prefix("test result: ");
            let plain = || Some(line).filter(|line| line.contains(" passed, ") && line.ends_with(" failed"));
            let Some(result) = result.or_else(plain) else { continue };
            for part in result.split([';', '.', ',']) {
                let mut words = part.split_whitespace();
                match (words.next().and_then(|number| number.parse::<u64>().ok()), words.next()) {
                    (Some(number), Some("passed")) => count.passed += number,
                    (Some(number), Some("failed")) => count.failed += number,
                    _ => {}
                }
            }
        }
        count
    }

    /// The plain closing line of a suite; nothing for a step without tests. A failed step fails at least `least`.
    fn print(&self, name: &str, least: u64) {
        let failed = self.failed.max(least);
        if self.passed + failed > 0 {
            println!("{name}: {} passed, {failed} failed", self.passed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_every_suite_of_a_log() {
        let log = "running 2 tests\ntest result: ok. 2 passed; 0 failed; 0 ignored; 0 measured\n\
                   test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
        let count = Count::of(log);
        assert_eq!((count.passed, count.failed), (5, 1));
        let count = Count::of("seed 7 failed\n9 passed, 2 failed\n");
        assert_eq!((count.passed, count.failed), (9, 2));
    }

    #[test]
    fn a_failing_step_stops_the_run_and_is_named() {
        let steps = [
            Step::new("xtask-selftest-fails", |_| bail!("broken")),
            Step::new("xtask-selftest-never", |_| panic!("must not run")),
        ];
        let error = run(&steps).expect_err("the first step fails").to_string();
        assert!(error.contains("xtask-selftest-fails") && error.contains("broken"), "{error}");
    }
}
