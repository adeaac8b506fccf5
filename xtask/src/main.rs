//! The developer's tool: `cargo xtask help`.
//!
//! What runs here is what continuous integration runs: `.ci/run` only chooses the cache folder and calls
//! `cargo xtask test`. Everything it installs goes to the cache folder ([`cache`]), never into the clone.

mod bench;
mod cache;
mod docs;
mod fuzz;
mod lint;
mod peers;
mod process;
mod room;
mod setup;
mod sim;
mod steps;
mod test;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The developer's tool of Millrace", disable_help_subcommand = false)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Install what the tests need and run them all: lints, unit tests, real clients, kills, simulation, fuzzing, README
    Test(test::Options),
    /// Formatting, clippy, documentation and licences, with warnings denied
    Lint,
    /// Measure Millrace beside Apache Kafka (broker) or Kafka Connect (connect) in one run, with the same clients
    Bench(bench::Options),
    /// Feed arbitrary bytes to what has to bear them: component, frames, segments or yaml
    Fuzz(fuzz::Options),
    /// Run the seeded simulation: broker and clients in one process, kills and power cuts on a simulated disk
    Sim(sim::Options),
    /// Write docs/connectors and docs/pipeline.schema.json from what the connectors say of themselves
    Docs {
        /// Only say whether what is written is current
        #[arg(long, conflicts_with = "open")]
        check: bool,
        /// Build the API documentation of all members, too, and open it in a browser
        #[arg(long)]
        open: bool,
    },
}

fn main() -> Result<()> {
    if fuzz::wrapper::is_asked_for() {
        return fuzz::wrapper::run();
    }
    match Cli::parse().verb {
        Verb::Test(options) => test::run(&options),
        Verb::Lint => lint::run(),
        Verb::Bench(options) => bench::run(&options),
        Verb::Fuzz(options) => fuzz::run(&options),
        Verb::Sim(options) => sim::run(&options),
        Verb::Docs { check: true, .. } => {
            process::run(&mut process::cargo(["build", "--workspace", "--locked", "--bins"]))?;
            docs::check()
        }
        Verb::Docs { open: true, .. } => docs::write().and_then(|()| lint::api()),
        Verb::Docs { .. } => docs::write(),
    }
}
